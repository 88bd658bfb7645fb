/* Pixels that every lane reads and writes at offsets of its own. */

#ifndef SKCONVNET_WARP_H
#define SKCONVNET_WARP_H

#include "simd.h"

/* Four neighbouring pixels and their fractions; where a position lies on a pixel, this is the first one, with
   fraction 1, and no other one is read from beyond the image. */
typedef struct {
    bits_t offset[4];
    lanes_t fraction[4];
} source_t;

static inline lanes_t gather_lanes(const lanes_t *x, bits_t offset) {
    lanes_t y;
    for (int lane = 0; lane < LANES; lane++) y[lane] = x[offset[lane]][lane];
    return y;
}

/* A position, mirrored at the first and the last pixel. */
static inline lanes_t reflect_position(lanes_t position, lanes_t last) {
    position = last - larger(position, -position);
    return last - larger(position, -position);
}

/* Bilinear fractions of the pixels around a position, which is moved into the image first; pitch: offset from
   row to row. */
static inline void find_source(
    lanes_t row, lanes_t column, Py_ssize_t height, Py_ssize_t width, Py_ssize_t pitch, int reflect,
    source_t *s
) {
    lanes_t last_row = splat(height - 1), last_column = splat(width - 1);
    if (reflect) {
        row = reflect_position(row, last_row);
        column = reflect_position(column, last_column);
    }
    row = larger(choose(row > last_row, last_row, row), splat(0));
    column = larger(choose(column > last_column, last_column, column), splat(0));
    bits_t i = __builtin_convertvector(row, bits_t), j = __builtin_convertvector(column, bits_t);
    lanes_t low = row - __builtin_convertvector(i, lanes_t);
    lanes_t right = column - __builtin_convertvector(j, lanes_t);
    bits_t below = (low > splat(0)) & ((bits_t){0} + (int)pitch), beside = (right > splat(0)) & 1;
    s->offset[0] = i * (int)pitch + j;
    s->offset[1] = s->offset[0] + beside;
    s->offset[2] = s->offset[0] + below;
    s->offset[3] = s->offset[2] + beside;
    s->fraction[0] = ((real_t)1 - low) * ((real_t)1 - right);
    s->fraction[1] = ((real_t)1 - low) * right;
    s->fraction[2] = low * ((real_t)1 - right);
    s->fraction[3] = low * right;
}

/* The interpolated pixel of a source. */
static inline lanes_t mix_pixels(const lanes_t *x, const source_t *s) {
    lanes_t sum = s->fraction[0] * gather_lanes(x, s->offset[0]);
    for (int k = 1; k < 4; k++) sum += s->fraction[k] * gather_lanes(x, s->offset[k]);
    return sum;
}

/* The first pixel of a source. */
static inline lanes_t copy_pixel(const lanes_t *x, const source_t *s) {
    return gather_lanes(x, s->offset[0]);
}

/* Add to n pixels of a source their fractions of y. */
static inline void add_fractions(lanes_t *x, const source_t *s, int n, lanes_t y) {
    for (int k = 0; k < n; k++) {
        lanes_t part = s->fraction[k] * y;
        for (int lane = 0; lane < LANES; lane++) x[s->offset[k][lane]][lane] += part[lane];
    }
}

#endif
