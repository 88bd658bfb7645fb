"""Elementwise functions of the user's, which the kernel calls with the values of a block.

    y = f(x)            dx = dy f'(x)

The kernel holds the GIL while it calls them.  One thread does all of a block's call, so that the arrays that
a function gets do not depend on the number of threads.  The first exception of a pass is left in the block's
`error`, and no function is called after it.
"""

from cpython.ref cimport Py_INCREF, PyObject
from cython cimport view

from skconvnet.kernels.block cimport block_t, buffer_t, find_row, is_first_member
from skconvnet.kernels.simd cimport LANES, real_t


ctypedef struct function_t:
    buffer_t x, y, dx, dy               # dx and dy are the same buffer
    Py_ssize_t channels, ho, wo
    # addresses of callables, which the program keeps alive: they take an array (channels, ho, wo, samples)
    # and return another one, of the same shape and dtype, C-contiguous
    size_t function, derivative


cdef inline int write_values(const function_t* g, const block_t* b) except -1:
    """Write y; 0 in the lanes without a sample."""
    cdef real_t[:, :, :, ::1] values = call_function(g, b, g.function)
    cdef real_t* y
    cdef Py_ssize_t c, i, j, lane
    for c in range(g.channels):
        for i in range(g.ho):
            y = <real_t*> find_row(b, &g.y, c, i)
            for j in range(g.wo):
                for lane in range(LANES):
                    y[j * LANES + lane] = values[c, i, j, lane] if lane < b.n else 0
    return 0


cdef inline int multiply_gradient(const function_t* g, const block_t* b) except -1:
    """Overwrite dy with dx."""
    cdef real_t[:, :, :, ::1] slopes = call_function(g, b, g.derivative)
    cdef real_t* dy
    cdef Py_ssize_t c, i, j, lane
    for c in range(g.channels):
        for i in range(g.ho):
            dy = <real_t*> find_row(b, &g.dy, c, i)
            for j in range(g.wo):
                for lane in range(b.n):
                    dy[j * LANES + lane] *= slopes[c, i, j, lane]
    return 0


cdef inline object call_function(const function_t* g, const block_t* b, size_t function):
    """Return what a function returns for the samples of x."""
    cdef real_t[:, :, :, ::1] x = view.array(
        shape=(g.channels, g.ho, g.wo, b.n), itemsize=sizeof(real_t),
        format="d" if sizeof(real_t) == 8 else "f",
    )
    cdef const real_t* row
    cdef Py_ssize_t c, i, j, lane
    for c in range(g.channels):
        for i in range(g.ho):
            row = <const real_t*> find_row(b, &g.x, c, i)
            for j in range(g.wo):
                for lane in range(b.n):
                    x[c, i, j, lane] = row[j * LANES + lane]
    return (<object> <PyObject*> function)(x)


cdef inline void run_with_gil(const function_t* g, const block_t* b, bint backward) noexcept with gil:
    """Do the forward or the backward pass, unless there was an exception."""
    if b.error[0] != NULL:
        return
    try:
        if backward:
            multiply_gradient(g, b)
        else:
            write_values(g, b)
    except BaseException as exception:
        Py_INCREF(exception)
        b.error[0] = <void*> <PyObject*> exception


cdef inline void function_forward(const void* fields, const block_t* b) noexcept nogil:
    """Write y."""
    if is_first_member(b):
        run_with_gil(<const function_t*> fields, b, False)


cdef inline void function_backward(const void* fields, const block_t* b) noexcept nogil:
    """Overwrite dy with dx, if required."""
    cdef const function_t* g = <const function_t*> fields
    if g.dx.offset >= 0 and is_first_member(b):
        run_with_gil(g, b, True)
