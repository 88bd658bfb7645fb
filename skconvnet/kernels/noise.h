/* Random numbers without a state: each is a hash of the key and of what it is drawn for. */

#ifndef SKCONVNET_NOISE_H
#define SKCONVNET_NOISE_H

#include "lanes.h"

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

/* For number `element` of each of LANES samples from `sample` on: 0 with probability
   threshold / 2^32, else scale. */
static inline lanes_t draw_mask(
    uint64_t key, uint32_t element, uint32_t sample, uint32_t threshold, real_t scale
) {
    lanes_t mask;
    uint32_t row = mix_bits((uint32_t)key ^ element), other = (uint32_t)(key >> 32);
    for (int lane = 0; lane < LANES; lane++)
        mask[lane] = mix_bits(row + (other ^ (sample + lane))) < threshold ? 0 : scale;
    return mask;
}

#endif
