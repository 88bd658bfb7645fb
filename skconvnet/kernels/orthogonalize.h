/* Products of small matrices whose rows are whole vectors: zeros fill up rows, and their number to a multiple
   of ROW_BLOCK, so that no loop has a rest. */

#ifndef SKCONVNET_ORTHOGONALIZE_H
#define SKCONVNET_ORTHOGONALIZE_H

#include "simd.h"

#define ROW_BLOCK 4
#define VECTOR_BLOCK 4

/* ROW_BLOCK x ROW_BLOCK elements of y = a x + b x x^T, for rows of x from i and from j on; x: rows of `pitch`
   vectors; y: rows of `y_pitch` elements, of which x is the same matrix if a is not 0. */
static inline void multiply_rows(
    const lanes_t *x, Py_ssize_t pitch, Py_ssize_t i, Py_ssize_t j, real_t a, real_t b, real_t *y,
    Py_ssize_t y_pitch
) {
    lanes_t sums[ROW_BLOCK][ROW_BLOCK];
    const lanes_t *p = x + i * pitch, *q = x + j * pitch;
    for (int r = 0; r < ROW_BLOCK; r++) for (int s = 0; s < ROW_BLOCK; s++) sums[r][s] = splat(0);
    for (Py_ssize_t k = 0; k < pitch; k++)
        for (int r = 0; r < ROW_BLOCK; r++)
            for (int s = 0; s < ROW_BLOCK; s++) sums[r][s] += p[r * pitch + k] * q[s * pitch + k];
    for (int r = 0; r < ROW_BLOCK; r++)
        for (int s = 0; s < ROW_BLOCK; s++) {
            real_t own = a == 0 ? 0 : a * ((const real_t *)x)[(i + r) * y_pitch + j + s];
            y[(i + r) * y_pitch + j + s] = own + b * sum_lanes(sums[r][s]);
        }
}

/* ROW_BLOCK rows and VECTOR_BLOCK vectors of y = a x + w x, from row i on; w: rows of `w_pitch` elements; x, y: n
   rows of `pitch` vectors, of which the first VECTOR_BLOCK are meant. */
static inline void add_product(
    const real_t *w, Py_ssize_t w_pitch, const lanes_t *x, Py_ssize_t n, Py_ssize_t pitch, Py_ssize_t i, real_t a,
    lanes_t *y
) {
    lanes_t sums[ROW_BLOCK][VECTOR_BLOCK];
    for (int r = 0; r < ROW_BLOCK; r++)
        for (int v = 0; v < VECTOR_BLOCK; v++) sums[r][v] = a * x[(i + r) * pitch + v];
    for (Py_ssize_t l = 0; l < n; l++)
        for (int r = 0; r < ROW_BLOCK; r++)
            for (int v = 0; v < VECTOR_BLOCK; v++) sums[r][v] += w[(i + r) * w_pitch + l] * x[l * pitch + v];
    for (int r = 0; r < ROW_BLOCK; r++)
        for (int v = 0; v < VECTOR_BLOCK; v++) y[(i + r) * pitch + v] = sums[r][v];
}

#endif
