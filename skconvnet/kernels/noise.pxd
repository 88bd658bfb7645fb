"""Random numbers without a state: see noise.h."""

from libc.stdint cimport uint32_t, uint64_t

from skconvnet.kernels.simd cimport lanes_t, real_t


cdef extern from "noise.h" nogil:
    uint64_t derive_key(uint64_t key, uint32_t use)
    uint32_t draw_bits(uint64_t key, uint32_t element, uint32_t sample)
    uint32_t draw_below(uint64_t key, uint32_t element, uint32_t sample, uint32_t n)
    double draw_uniform(uint64_t key, uint32_t element, uint32_t sample)
    lanes_t draw_mask(
        uint64_t key, uint32_t element, uint32_t sample, uint32_t threshold, real_t scale
    )
    lanes_t draw_normal(uint64_t key, uint32_t element, uint32_t sample)
