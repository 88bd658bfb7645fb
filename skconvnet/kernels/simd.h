/* The lane type: a compiler vector that holds the same element of LANES different samples.

   Cython treats lanes_t and real_t as scalars (simd.pxd); the compiler gets their real types here.
   The build defines SKCONVNET_DOUBLE (0 or 1); the instruction set that this file is compiled for gives
   the width of a vector.  Only sum_lanes, sum_each, transpose_lanes, load_even, join_halves and zip_lanes
   take values from one lane to another. */

#ifndef SKCONVNET_SIMD_H
#define SKCONVNET_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if SKCONVNET_DOUBLE
typedef double real_t;
#define square_root sqrt
#else
typedef float real_t;
#define square_root sqrtf
#endif

#if defined(__AVX512F__)
#define LANE_BYTES 64 /* 32 registers: 4 x 6 or 8 x 3 accumulators */
#define TILE_WIDTH 6
#define CHANNEL_TILE_HEIGHT 8
#elif defined(__AVX2__)
#define LANE_BYTES 32 /* 16 registers: 4 x 3 accumulators */
#define TILE_WIDTH 3
#define CHANNEL_TILE_HEIGHT 4
#elif defined(__aarch64__)
#define LANE_BYTES 16
#define TILE_WIDTH 6
#define CHANNEL_TILE_HEIGHT 8
#else
#define LANE_BYTES 16
#define TILE_WIDTH 3
#define CHANNEL_TILE_HEIGHT 4
#endif
#define LANES ((Py_ssize_t)(LANE_BYTES / sizeof(real_t)))
#define MAX_LANES 16

typedef real_t lanes_t __attribute__((vector_size(LANE_BYTES)));
typedef real_t unaligned_lanes_t
    __attribute__((vector_size(LANE_BYTES), aligned(__alignof__(real_t)), may_alias));

/* A function with this return type is always inlined, so that the sizes that its caller passes as
   literals are constants in its loops (-Wno-attributes: on the returned variable it means nothing). */
#define inlined_t __attribute__((always_inline)) int

/* An integer vector of the same shape: what a comparison gives. */
#if SKCONVNET_DOUBLE
typedef int64_t bits_t __attribute__((vector_size(LANE_BYTES)));
#else
typedef int32_t bits_t __attribute__((vector_size(LANE_BYTES)));
#endif

static inline lanes_t splat(real_t value) { return value - (lanes_t){0}; }

static inline lanes_t load_lanes(const real_t *p) { return *(const unaligned_lanes_t *)p; }

/* The first n of the values that lie `step` apart, at most LANES, and zeros. */
static inline lanes_t load_strided(const real_t *p, Py_ssize_t step, Py_ssize_t n) {
    lanes_t v = splat(0);
    if (n >= LANES) for (int k = 0; k < LANES; k++) v[k] = p[k * step];
    else for (Py_ssize_t k = 0; k < n; k++) v[k] = p[k * step];
    return v;
}

/* Write the first n lanes, at most all of them. */
static inline void store_some(real_t *p, lanes_t v, Py_ssize_t n) {
    if (n >= LANES) *(unaligned_lanes_t *)p = v;
    else for (Py_ssize_t k = 0; k < n; k++) p[k] = v[k];
}

/* Ask for the vector at p, which need not be memory of the process. */
static inline void prefetch(const real_t *p) { __builtin_prefetch(p); }

static inline lanes_t choose(bits_t mask, lanes_t yes, lanes_t no) {
    return (lanes_t)((mask & (bits_t)yes) | (~mask & (bits_t)no));
}

/* The larger of two; NaN if either is. */
static inline lanes_t larger(lanes_t a, lanes_t b) { return choose((a > b) | (a != a), a, b); }

static inline lanes_t magnitude(lanes_t x) { return choose(x < splat(0), -x, x); }

static inline lanes_t where_positive(lanes_t test, lanes_t yes, lanes_t no) {
    return choose(test > splat(0), yes, no);
}

/* 1 / sqrt(x) */
static inline lanes_t inverse_root(lanes_t x) {
    for (int k = 0; k < LANES; k++) x[k] = square_root(x[k]);
    return (real_t)1 / x;
}

/* yes where a == b and open is not zero, else 0; open becomes zero in these lanes, so that of several calls
   with one `open` the first equal one wins */
static inline lanes_t select_first_equal(lanes_t a, lanes_t b, lanes_t yes, lanes_t *open) {
    bits_t mask = (a == b) & (*open != splat(0));
    *open = choose(mask, splat(0), *open);
    return choose(mask, yes, splat(0));
}

/* The sum over the lanes: halves are folded onto each other, always in the same order. */
static inline real_t sum_lanes(lanes_t v) {
    typedef real_t v16_t __attribute__((vector_size(16)));
#if LANE_BYTES == 64
    typedef real_t v32_t __attribute__((vector_size(32)));
    union { lanes_t whole; v32_t half[2]; } a = {v};
    union { v32_t whole; v16_t half[2]; } b = {a.half[0] + a.half[1]};
    v16_t q = b.half[0] + b.half[1];
#elif LANE_BYTES == 32
    union { lanes_t whole; v16_t half[2]; } b = {v};
    v16_t q = b.half[0] + b.half[1];
#else
    v16_t q = v;
#endif
#if SKCONVNET_DOUBLE
    return q[0] + q[1];
#else
    return (q[0] + q[2]) + (q[1] + q[3]);
#endif
}

/* The sums over the lanes of LANES vectors at once: the sum of vector k becomes lane k.  FOLD(h) folds the
   segments of h lanes of two vectors onto each other; the order of additions is that of sum_lanes. */
#define AT(i, h) ((i) / (h) * 2 * (h) + (i) % (h))
#if SKCONVNET_DOUBLE + LANE_BYTES == 64
#define FOLD_LIST(h, d) AT(0, h) + d, AT(1, h) + d, AT(2, h) + d, AT(3, h) + d, AT(4, h) + d,       \
        AT(5, h) + d, AT(6, h) + d, AT(7, h) + d, AT(8, h) + d, AT(9, h) + d, AT(10, h) + d,        \
        AT(11, h) + d, AT(12, h) + d, AT(13, h) + d, AT(14, h) + d, AT(15, h) + d
#elif LANE_BYTES == 64 || SKCONVNET_DOUBLE + LANE_BYTES == 32
#define FOLD_LIST(h, d) AT(0, h) + d, AT(1, h) + d, AT(2, h) + d, AT(3, h) + d, AT(4, h) + d,       \
        AT(5, h) + d, AT(6, h) + d, AT(7, h) + d
#elif LANE_BYTES == 32 || SKCONVNET_DOUBLE + LANE_BYTES == 16
#define FOLD_LIST(h, d) AT(0, h) + d, AT(1, h) + d, AT(2, h) + d, AT(3, h) + d
#else
#define FOLD_LIST(h, d) AT(0, h) + d, AT(1, h) + d
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (bits_t){__VA_ARGS__})
#endif
#define FOLD(h)                                                                                     \
    for (int k = 0; k < (h); k++)                                                                   \
        v[k] = SHUFFLE(v[2 * k], v[2 * k + 1], FOLD_LIST(h, 0)) +                                   \
               SHUFFLE(v[2 * k], v[2 * k + 1], FOLD_LIST(h, h));

static inline lanes_t sum_each(lanes_t v[LANE_BYTES / sizeof(real_t)]) {
#if SKCONVNET_DOUBLE + LANE_BYTES == 64
    FOLD(8)
#endif
#if LANE_BYTES == 64 || SKCONVNET_DOUBLE + LANE_BYTES == 32
    FOLD(4)
#endif
#if LANE_BYTES >= 32 || !SKCONVNET_DOUBLE
    FOLD(2)
#endif
    FOLD(1)
    return v[0];
}

/* Transpose a square of LANES vectors.  Each of log2(LANES) steps interleaves the lanes of vectors that are
   half of them apart: ZIP_LIST has the lanes from `d` on of two vectors, in turn. */
#define ZIP(i, d) (d) + (i), LANES_OF_REAL + (d) + (i)
#define JOIN(i) (i) % (LANES_OF_REAL / 2) + (i) / (LANES_OF_REAL / 2) * LANES_OF_REAL
#define LANES_OF_REAL (LANE_BYTES / (4 << SKCONVNET_DOUBLE))
#if SKCONVNET_DOUBLE + LANE_BYTES == 64
#define ZIP_LIST(d) ZIP(0, d), ZIP(1, d), ZIP(2, d), ZIP(3, d), ZIP(4, d), ZIP(5, d), ZIP(6, d), ZIP(7, d)
#define JOIN_LIST JOIN(0), JOIN(1), JOIN(2), JOIN(3), JOIN(4), JOIN(5), JOIN(6), JOIN(7), JOIN(8), JOIN(9), \
        JOIN(10), JOIN(11), JOIN(12), JOIN(13), JOIN(14), JOIN(15)
#elif LANE_BYTES == 64 || SKCONVNET_DOUBLE + LANE_BYTES == 32
#define ZIP_LIST(d) ZIP(0, d), ZIP(1, d), ZIP(2, d), ZIP(3, d)
#define JOIN_LIST JOIN(0), JOIN(1), JOIN(2), JOIN(3), JOIN(4), JOIN(5), JOIN(6), JOIN(7)
#elif LANE_BYTES == 32 || SKCONVNET_DOUBLE + LANE_BYTES == 16
#define ZIP_LIST(d) ZIP(0, d), ZIP(1, d)
#define JOIN_LIST JOIN(0), JOIN(1), JOIN(2), JOIN(3)
#else
#define ZIP_LIST(d) ZIP(0, d)
#define JOIN_LIST JOIN(0), JOIN(1)
#endif

static inline void transpose_lanes(lanes_t v[LANES_OF_REAL]) {
    enum { HALF = LANES_OF_REAL / 2 };
    for (int step = 1; step < LANES_OF_REAL; step *= 2) {
        lanes_t mixed[LANES_OF_REAL];
        for (int k = 0; k < HALF; k++) {
            mixed[2 * k] = SHUFFLE(v[k], v[k + HALF], ZIP_LIST(0));
            mixed[2 * k + 1] = SHUFFLE(v[k], v[k + HALF], ZIP_LIST(HALF));
        }
        for (int k = 0; k < LANES_OF_REAL; k++) v[k] = mixed[k];
    }
}

/* Elements 0, 2, 4 ... of 2 LANES. */
static inline lanes_t load_even(const real_t *p) {
    return SHUFFLE(load_lanes(p), load_lanes(p + LANES), FOLD_LIST(1, 0));
}

/* The first halves of two vectors. */
static inline lanes_t join_halves(lanes_t a, lanes_t b) {
    return SHUFFLE(a, b, JOIN_LIST);
}

/* The lanes of two vectors, in turn: half 0 or 1 of them. */
static inline lanes_t zip_lanes(lanes_t a, lanes_t b, int half) {
    return half ? SHUFFLE(a, b, ZIP_LIST(LANES_OF_REAL / 2)) : SHUFFLE(a, b, ZIP_LIST(0));
}

#endif
