"""The vector types and what is done with whole vectors: see simd.h.

Letters, the same everywhere: `ci co` channels in and out, `hi wi ho wo` sizes, `i j` output
position, `u v` kernel offset, `d` before a name for its gradient.  Offsets and strides of
activations count vectors; those of parameters count elements.
"""


cdef extern from "simd.h" nogil:
    ctypedef float real_t               # float or double: the build says which
    ctypedef float lanes_t              # LANES real_t: Cython only passes it through
    ctypedef int inlined_t              # int; marks a function that must be inlined
    const Py_ssize_t LANES
    enum: TILE_WIDTH                    # columns of a tile, at most
    enum: CHANNEL_TILE_HEIGHT           # filters of a tile whose lanes are channels, at most
    enum: MAX_LANES                     # LANES at its largest
    real_t square_root(real_t x)
    lanes_t inverse_root(lanes_t x)
    lanes_t splat(real_t value)
    lanes_t load_lanes(const real_t* p)
    lanes_t load_strided(const real_t* p, Py_ssize_t step, Py_ssize_t n)
    void store_some(real_t* p, lanes_t v, Py_ssize_t n)
    void prefetch(const real_t* p)
    lanes_t larger(lanes_t a, lanes_t b)
    lanes_t magnitude(lanes_t x)
    lanes_t where_positive(lanes_t test, lanes_t yes, lanes_t no)
    lanes_t select_first_equal(lanes_t a, lanes_t b, lanes_t yes, lanes_t* open)
    real_t sum_lanes(lanes_t v)
    lanes_t sum_each(lanes_t* v)
    void transpose_lanes(lanes_t* v)
    lanes_t load_even(const real_t* p)
    lanes_t join_halves(lanes_t a, lanes_t b)
    lanes_t zip_lanes(lanes_t a, lanes_t b, int half)
