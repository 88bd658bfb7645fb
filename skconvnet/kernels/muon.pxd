"""Muon's step on the weight of a layer, a matrix: its momentum, made nearly orthogonal.

A Newton-Schulz iteration with an odd polynomial moves all singular values of X = u / |u| towards 1:

    A = X X^T           B = b A + c A A             X = a X + B X

X has no more rows than columns; if the matrix has, X is its transpose.  All threads of a team share every
product by rows, so each element is one sum in one order.
"""

from libc.math cimport sqrt

from skconvnet.kernels.block cimport count_parts
from skconvnet.kernels.optimizer cimport group_t, step_t
from skconvnet.kernels.simd cimport LANES, lanes_t, real_t
from skconvnet.kernels.team cimport divide, member_t, range_t, synchronize

cdef extern from "orthogonalize.h" nogil:
    enum: ROW_BLOCK
    enum: VECTOR_BLOCK
    void multiply_rows(
        const lanes_t* x, Py_ssize_t pitch, Py_ssize_t i, Py_ssize_t j, real_t a, real_t b, real_t* y,
        Py_ssize_t y_pitch
    )
    void add_product(
        const real_t* w, Py_ssize_t w_pitch, const lanes_t* x, Py_ssize_t n, Py_ssize_t pitch, Py_ssize_t i,
        real_t a, lanes_t* y
    )


# The polynomial's coefficients: its slope at 0 is steep, and it keeps [0.7, 1.2] within itself.
cdef extern from *:
    """
    #define SLOPE ((real_t)3.4445)
    #define CUBIC ((real_t)-4.7750)
    #define QUINTIC ((real_t)2.0315)
    """
    const real_t SLOPE, CUBIC, QUINTIC


# A matrix in the scratch memory, and what its products need.
ctypedef struct matrix_t:
    Py_ssize_t rows, columns            # rows <= columns
    bint transposed                     # the parameters have columns x rows
    Py_ssize_t n_rows, pitch            # rounded up; the pitch in vectors
    Py_ssize_t square_pitch             # of A and B, in vectors
    lanes_t* x                          # (n_rows, pitch)
    lanes_t* next_x                     # (n_rows, pitch)
    lanes_t* a                          # (n_rows, square_pitch)
    lanes_t* b                          # (n_rows, square_pitch)


cdef inline Py_ssize_t lay_out(
    Py_ssize_t rows, Py_ssize_t columns, lanes_t* scratch, matrix_t* m
) noexcept nogil:
    """Lay a matrix of parameters out in the scratch memory, and return how many vectors it takes."""
    m.transposed = rows > columns
    m.rows, m.columns = min(rows, columns), max(rows, columns)
    m.n_rows = count_parts(m.rows, ROW_BLOCK) * ROW_BLOCK
    m.pitch = count_parts(m.columns, VECTOR_BLOCK * LANES) * VECTOR_BLOCK
    m.square_pitch = count_parts(m.n_rows, LANES)
    m.x = scratch
    m.next_x = m.x + m.n_rows * m.pitch
    m.a = m.next_x + m.n_rows * m.pitch
    m.b = m.a + m.n_rows * m.square_pitch
    return 2 * m.n_rows * (m.pitch + m.square_pitch)


cdef inline double sum_row_squares(const real_t* values, Py_ssize_t n) noexcept nogil:
    """Return the sum of squares of n values, in one order."""
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(n):
        total += <double> values[k] * values[k]
    return total


cdef inline double measure_rows(
    const real_t* values, Py_ssize_t n_rows, Py_ssize_t n, double* squares, const member_t* member
) noexcept nogil:
    """Return the Euclidean norm of rows of n values each; all threads of the team must call it."""
    cdef Py_ssize_t i
    cdef double total = 0
    cdef range_t own = divide(n_rows, member)
    for i in range(own.first, own.end):
        squares[i] = sum_row_squares(values + i * n, n)
    synchronize()
    for i in range(n_rows):
        total += squares[i]
    synchronize()                       # squares may be used again
    return sqrt(total)


cdef inline void load_matrix(
    const real_t* values, double norm, const matrix_t* m, const member_t* member
) noexcept nogil:
    """Write values / norm, and zeros around them, to a thread's rows of x; zeros to its rows of a and b."""
    cdef Py_ssize_t i, k, n = m.pitch * LANES
    cdef real_t scale = <real_t> (1 / (norm + 1e-7))
    cdef real_t* row
    cdef range_t own = divide(m.n_rows, member)
    for i in range(own.first, own.end):
        row = <real_t*> (m.x + i * m.pitch)
        for k in range(n):
            row[k] = 0
        for k in range(m.columns if i < m.rows else 0):
            row[k] = scale * values[k * m.rows + i if m.transposed else i * m.columns + k]
        for k in range(m.square_pitch * LANES):
            (<real_t*> (m.a + i * m.square_pitch))[k] = 0
            (<real_t*> (m.b + i * m.square_pitch))[k] = 0


cdef inline void iterate(matrix_t* m, const member_t* member) noexcept nogil:
    """Take one step of the Newton-Schulz iteration; all threads of the team must call it."""
    cdef range_t own = divide(m.n_rows // ROW_BLOCK, member)
    cdef Py_ssize_t block, j, k
    cdef const real_t* b = <const real_t*> m.b
    cdef lanes_t* x = m.x
    for block in range(own.first, own.end):
        for j in range(m.n_rows // ROW_BLOCK):
            multiply_rows(
                m.x, m.pitch, block * ROW_BLOCK, j * ROW_BLOCK, 0, 1, <real_t*> m.a, m.square_pitch * LANES
            )
    synchronize()
    for block in range(own.first, own.end):
        for j in range(m.n_rows // ROW_BLOCK):      # A is symmetric: A A = A A^T
            multiply_rows(
                m.a, m.square_pitch, block * ROW_BLOCK, j * ROW_BLOCK, CUBIC, QUINTIC, <real_t*> m.b,
                m.square_pitch * LANES,
            )
    synchronize()
    for block in range(own.first, own.end):
        for k in range(m.pitch // VECTOR_BLOCK):
            j = k * VECTOR_BLOCK
            add_product(
                b, m.square_pitch * LANES, m.x + j, m.n_rows, m.pitch, block * ROW_BLOCK, SLOPE, m.next_x + j
            )
    synchronize()
    m.x, m.next_x = m.next_x, x


cdef inline void move_weights(
    const step_t* s, const group_t* group, const matrix_t* m, double norm, const member_t* member
) noexcept nogil:
    """Decay, normalise and move a thread's rows of the weights."""
    cdef real_t* params = s.params + group.start
    cdef Py_ssize_t n = (group.end - group.start) // group.rows, i, k
    cdef double rate = s.rate * group.rate
    cdef real_t keep = <real_t> (1 - rate * group.decay)
    # the step's root mean square is 0.2 * rate, as that of Adam is
    cdef real_t move = <real_t> (rate * 0.2 * sqrt(<double> m.columns))
    cdef real_t direction
    cdef range_t own = divide(group.rows, member)
    if s.optimizer.normalize and norm > 0:
        keep = <real_t> (keep * sqrt(<double> group.rows) / norm)
    for i in range(own.first, own.end):
        for k in range(n):
            if m.transposed:
                direction = (<const real_t*> m.x)[k * m.pitch * LANES + i]
            else:
                direction = (<const real_t*> m.x)[i * m.pitch * LANES + k]
            params[i * n + k] = keep * params[i * n + k] - move * direction


cdef inline void collect_momentum(
    const step_t* s, const group_t* group, const real_t* gradient, Py_ssize_t start, Py_ssize_t n
) noexcept nogil:
    """Update the momentum of n weights, and write the direction of their step to the second state."""
    cdef real_t* first = s.first + start
    cdef real_t* second = s.second + start
    cdef real_t momentum = <real_t> s.optimizer.momentum, scale = <real_t> s.scale
    cdef Py_ssize_t k
    for k in range(n):
        first[k] = momentum * first[k] + scale * gradient[k]
        second[k] = scale * gradient[k] + momentum * first[k] if s.optimizer.nesterov else first[k]


cdef inline void move_matrix(const step_t* s, const group_t* group, const member_t* member) noexcept nogil:
    """Take the step on the weight of a layer; all threads of the team must call it."""
    cdef matrix_t m
    cdef Py_ssize_t n = (group.end - group.start) // group.rows, _
    cdef const real_t* direction = s.second + group.start
    cdef double norm = 0
    lay_out(group.rows, n, s.matrix_scratch, &m)
    if s.optimizer.normalize:
        norm = measure_rows(s.params + group.start, group.rows, n, s.row_squares, member)
    load_matrix(direction, measure_rows(direction, group.rows, n, s.row_squares, member), &m, member)
    synchronize()
    for _ in range(s.optimizer.iterations):
        iterate(&m, member)
    move_weights(s, group, &m, norm, member)
    synchronize()                       # the scratch memory may be used again


cdef inline void move_matrices(const step_t* s, const member_t* member) noexcept nogil:
    """Take the step on all matrices, one after the other, after `collect_momentum` of all threads."""
    cdef Py_ssize_t k
    if s.optimizer.iterations == 0:
        return
    synchronize()
    for k in range(s.n_groups):
        if s.groups[k].rows > 0 and s.groups[k].rate > 0:
            move_matrix(s, &s.groups[k], member)
