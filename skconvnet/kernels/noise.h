/* Random numbers without a state: each is a hash of the key and of what it is drawn for. */

#ifndef SKCONVNET_NOISE_H
#define SKCONVNET_NOISE_H

#include "vecmath.h"

/* A permutation of 32 bits in which every input bit flips about half the output bits
   (C. Wellons, "Prospecting for hash functions", 2018). */
static inline uint32_t mix_bits(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352dU;
    x = (x ^ (x >> 15)) * 0x846ca68bU;
    return x ^ (x >> 16);
}

/* A key for one use of a step's key. */
static inline uint64_t derive_key(uint64_t key, uint32_t use) {
    uint32_t low = mix_bits((uint32_t)key + use * 0x9e3779b9U);
    return (uint64_t)mix_bits((uint32_t)(key >> 32) ^ low) << 32 | low;
}

/* Element `element` of the stream of a sample: 32 bits. */
static inline uint32_t draw_bits(uint64_t key, uint32_t element, uint32_t sample) {
    return mix_bits(mix_bits((uint32_t)key ^ element) + ((uint32_t)(key >> 32) ^ sample));
}

/* An integer from 0 to n - 1. */
static inline uint32_t draw_below(uint64_t key, uint32_t element, uint32_t sample, uint32_t n) {
    return (uint64_t)draw_bits(key, element, sample) * n >> 32;
}

/* A uniform value between 0 and 1, both excluded. */
static inline double draw_uniform(uint64_t key, uint32_t element, uint32_t sample) {
    return (draw_bits(key, element, sample) + 0.5) * 0x1p-32;
}

/* For each of LANES samples from `sample` on: 0 with probability threshold / 2^32, else scale. */
static inline lanes_t draw_mask(
    uint64_t key, uint32_t element, uint32_t sample, uint32_t threshold, real_t scale
) {
    lanes_t mask;
    for (int lane = 0; lane < LANES; lane++)
        mask[lane] = draw_bits(key, element, sample + lane) < threshold ? 0 : scale;
    return mask;
}

/* For each of LANES samples from `sample` on: a draw from the normal distribution of mean 0 and variance
   1, from two uniform ones u and v (Box and Muller 1958): sqrt(-2 log u) cos(2 pi v). */
static inline lanes_t draw_normal(uint64_t key, uint32_t element, uint32_t sample) {
    lanes_t u = {0}, v = {0};  /* GCC 12 does not see that the loop fills every lane */
    for (int lane = 0; lane < LANES; lane++) {
        u[lane] = ((real_t)draw_bits(key, 2 * element, sample + lane) + (real_t)0.5) * (real_t)0x1p-32;
        v[lane] = (real_t)(int32_t)draw_bits(key, 2 * element + 1, sample + lane) * (real_t)0x1p-32;
    }
    lanes_t square = (real_t)-2 * log_lanes(u);
    for (int lane = 0; lane < LANES; lane++) square[lane] = square_root(square[lane]);
    return square * cos_turns(v);
}

#endif
