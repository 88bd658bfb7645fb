/* The constants of Winograd's convolution with 6 points: F(m, r) for m + r = 7.

   The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity: with the usual 0, 1, -1, 2, -2 rounding errors
   are twice as large.  Row k of INPUT_TERMS has the offsets and factors of the inputs of
   term k, at most four. */

#ifndef SKCONVNET_WINOGRAD_H
#define SKCONVNET_WINOGRAD_H

#define N_POINTS 6

static const double FINITE_POINTS[5] = {0, 3. / 4, -3. / 4, 3. / 2, -3. / 2};

static const struct { int offset[4]; real_t factor[4]; } INPUT_TERMS[N_POINTS] = {
    {{0, 2, 4, 4}, {81. / 64, -45. / 16, 1, 0}},
    {{1, 2, 3, 4}, {-27. / 16, -9. / 4, 3. / 4, 1}},
    {{1, 2, 3, 4}, {27. / 16, -9. / 4, -3. / 4, 1}},
    {{1, 2, 3, 4}, {-27. / 32, -9. / 16, 3. / 2, 1}},
    {{1, 2, 3, 4}, {27. / 32, -9. / 16, -3. / 2, 1}},
    {{1, 3, 5, 5}, {81. / 64, -45. / 16, 1, 0}},
};

/* Element (k, v) of G for r weights: a power of point k over a factor. */
static inline real_t weight_factor(int k, int v, int r) {
    static const double factor[5] = {64. / 81, -128. / 243, -128. / 243, 32. / 243, 32. / 243};
    if (k == 5) return v == r - 1;
    double f = factor[k];
    for (int i = 0; i < v; i++) f *= FINITE_POINTS[k];
    return (real_t)f;
}

/* Element (s, k) of A for m outputs: a power of point k. */
static inline real_t output_factor(int k, int s, int m) {
    if (k == 5) return s == m - 1;
    double f = 1;
    for (int i = 0; i < s; i++) f *= FINITE_POINTS[k];
    return (real_t)f;
}

#endif
