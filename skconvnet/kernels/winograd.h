/* The constants of Winograd's convolution: F(m, r) with m + r - 1 points.

   Along the axis there are 6: 0, 3/4, -3/4, 3/2, -3/2 and infinity; with the usual 0, 1, -1, 2, -2 rounding
   errors are twice as large.  Points 1 and 2, and 3 and 4, differ in their sign alone, so their terms share an
   even and an odd part.  Across it m is 2: for r = 5 the points are the same, for r = 3 they are 0, 1, -1 and
   infinity.  No sum is of two products, which compilers may round in either of two ways. */

#ifndef SKCONVNET_WINOGRAD_H
#define SKCONVNET_WINOGRAD_H

#define N_POINTS 6

static const double FINITE_POINTS[5] = {0, 3. / 4, -3. / 4, 3. / 2, -3. / 2};

/* Term k of B d. */
static inline lanes_t transform_point(const lanes_t d[N_POINTS], int k) {
    const real_t point = (real_t)(k < 3 ? FINITE_POINTS[1] : FINITE_POINTS[3]);
    const real_t other = (real_t)(k < 3 ? 9. / 4 : 9. / 16);    /* the square of the other pair's point */
    switch (k) {
    case 0: return (d[4] - (real_t)(45. / 16) * d[2]) + (real_t)(81. / 64) * d[0];
    case 1:
    case 3: return (d[4] - other * d[2]) + point * (d[3] - other * d[1]);
    case 2:
    case 4: return (d[4] - other * d[2]) - point * (d[3] - other * d[1]);
    default: return (d[5] - (real_t)(45. / 16) * d[3]) + (real_t)(81. / 64) * d[1];
    }
}

/* Element (k, v) of G for r weights: a power of point k over a factor. */
static inline real_t weight_factor(int k, int v, int r) {
    static const double factor[5] = {64. / 81, -128. / 243, -128. / 243, 32. / 243, 32. / 243};
    if (k == 5) return v == r - 1;
    double f = factor[k];
    for (int i = 0; i < v; i++) f *= FINITE_POINTS[k];
    return (real_t)f;
}

/* Element k of A' d for m outputs d[0], d[1] ... */
static inline lanes_t transform_gradient(const lanes_t *d, int k, int m) {
    if (k == 0) return d[0];
    if (k == 5) return d[m - 1];
    const real_t point = (real_t)(k < 3 ? FINITE_POINTS[1] : FINITE_POINTS[3]);
    lanes_t even = d[0], odd = d[1];
    if (m == 4) {
        even = even + point * point * d[2];
        odd = odd + point * point * d[3];
    }
    return k % 2 ? even + point * odd : even - point * odd;
}

/* A s for the six sums s[0], s[stride], ...: output number `s` of m, a literal at the call.

   Element (s, k) of A is power s of point k.  Points 3 and 4 are twice points 1 and 2. */
static inline lanes_t transform_sums(const lanes_t *sums, Py_ssize_t stride, int s, int m) {
    static const double powers[4] = {1, 3. / 4, 9. / 16, 27. / 64};
    const lanes_t *a = sums + stride, *b = sums + 3 * stride;
    lanes_t total;
    if (s % 2 == 0) {
        total = (a[0] + a[stride]) + (real_t)(1 << s) * (b[0] + b[stride]);
    } else {
        total = (a[0] - a[stride]) + (real_t)(1 << s) * (b[0] - b[stride]);
    }
    total = (real_t)powers[s] * total;
    if (s == 0) total = total + sums[0];
    if (s == m - 1) total = total + sums[5 * stride];
    return total;
}

/* Term k of B d across the axis; n: points. */
static inline lanes_t transform_point_across(const lanes_t *d, int k, int n) {
    if (n == 6) return transform_point(d, k);
    switch (k) {
    case 0: return d[0] - d[2];
    case 1: return d[1] + d[2];
    case 2: return d[2] - d[1];
    default: return d[1] - d[3];
    }
}

/* G across the axis for r weights, (r + 1, r). */
static inline void list_factors_across(int r, real_t *factors) {
    static const double of_3[12] = {1, 0, 0, .5, .5, .5, .5, -.5, .5, 0, 0, 1};
    for (int i = 0; i < (r + 1) * r; i++) factors[i] = r == 3 ? (real_t)of_3[i] : weight_factor(i / r, i % r, r);
}

/* A s across the axis: output number `s` of 2, a literal at the call. */
static inline lanes_t transform_sums_across(const lanes_t *sums, Py_ssize_t stride, int s, int n) {
    if (n == 6) return transform_sums(sums, stride, s, 2);
    if (s == 0) return (sums[0] + sums[stride]) + sums[2 * stride];
    return (sums[stride] - sums[2 * stride]) - sums[3 * stride];
}

#endif
