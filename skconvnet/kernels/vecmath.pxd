"""Elementary functions of vectors: see vecmath.h."""

from skconvnet.kernels.simd cimport lanes_t


cdef extern from "vecmath.h" nogil:
    lanes_t exp_lanes(lanes_t x)
    lanes_t expm1_lanes(lanes_t x)
    lanes_t log_each_lane(lanes_t x)
    lanes_t sigmoid_lanes(lanes_t x)
    lanes_t tanh_lanes(lanes_t x)
    lanes_t softplus_lanes(lanes_t x)
    lanes_t arctan_lanes(lanes_t x)
    lanes_t normal_lanes(lanes_t x, lanes_t* density)
