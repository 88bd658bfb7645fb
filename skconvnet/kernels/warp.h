/* Pixels that every lane reads and writes at places of its own. */

#ifndef SKCONVNET_WARP_H
#define SKCONVNET_WARP_H

#include "lanes.h"

/* Four neighbouring pixels and their shares; where a position lies on a pixel, that is the first, of
   share 1, and no other is read from beyond the image. */
typedef struct {
    bits_t place[4];
    lanes_t share[4];
} source_t;

static inline lanes_t gather_lanes(const lanes_t *x, bits_t place) {
    lanes_t y;
    for (int lane = 0; lane < LANES; lane++) y[lane] = x[place[lane]][lane];
    return y;
}

/* Bilinear shares of the pixels around a position, which is moved into the image first; pitch: places from
   row to row. */
static inline void find_source(
    lanes_t row, lanes_t column, Py_ssize_t height, Py_ssize_t width, Py_ssize_t pitch, source_t *s
) {
    lanes_t last_row = splat(height - 1), last_column = splat(width - 1);
    row = larger(choose(row > last_row, last_row, row), splat(0));
    column = larger(choose(column > last_column, last_column, column), splat(0));
    bits_t i = __builtin_convertvector(row, bits_t), j = __builtin_convertvector(column, bits_t);
    lanes_t low = row - __builtin_convertvector(i, lanes_t);
    lanes_t right = column - __builtin_convertvector(j, lanes_t);
    bits_t below = (low > splat(0)) & ((bits_t){0} + (int)pitch), beside = (right > splat(0)) & 1;
    s->place[0] = i * (int)pitch + j;
    s->place[1] = s->place[0] + beside;
    s->place[2] = s->place[0] + below;
    s->place[3] = s->place[2] + beside;
    s->share[0] = ((real_t)1 - low) * ((real_t)1 - right);
    s->share[1] = ((real_t)1 - low) * right;
    s->share[2] = low * ((real_t)1 - right);
    s->share[3] = low * right;
}

/* The pixels of a source, mixed. */
static inline lanes_t mix_pixels(const lanes_t *x, const source_t *s) {
    lanes_t sum = s->share[0] * gather_lanes(x, s->place[0]);
    for (int k = 1; k < 4; k++) sum += s->share[k] * gather_lanes(x, s->place[k]);
    return sum;
}

/* The first pixel of a source. */
static inline lanes_t copy_pixel(const lanes_t *x, const source_t *s) {
    return gather_lanes(x, s->place[0]);
}

/* Add to n pixels of a source their shares. */
static inline void add_shares(lanes_t *x, const source_t *s, int n, lanes_t y) {
    for (int k = 0; k < n; k++) {
        lanes_t part = s->share[k] * y;
        for (int lane = 0; lane < LANES; lane++) x[s->place[k][lane]][lane] += part[lane];
    }
}

#endif
