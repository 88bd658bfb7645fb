/* The constants of Winograd's convolution with 6 points: F(m, r) for m + r = 7.

   The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity: with the usual 0, 1, -1, 2, -2 rounding errors
   are twice as large.  Points 1 and 2, and 3 and 4, differ in their sign alone, so their terms share an even
   and an odd part. */

#ifndef SKCONVNET_WINOGRAD_H
#define SKCONVNET_WINOGRAD_H

#define N_POINTS 6

static const double FINITE_POINTS[5] = {0, 3. / 4, -3. / 4, 3. / 2, -3. / 2};

#define EVEN_PART(a) (d[4] - (real_t)(a) * d[2])
#define ODD_PART(a, b) ((real_t)(a) * d[3] - (real_t)(b) * d[1])

/* Term k of B d. */
static inline lanes_t transform_point(const lanes_t d[N_POINTS], int k) {
    switch (k) {
    case 0: return (d[4] - (real_t)(45. / 16) * d[2]) + (real_t)(81. / 64) * d[0];
    case 1: return EVEN_PART(9. / 4) + ODD_PART(3. / 4, 27. / 16);
    case 2: return EVEN_PART(9. / 4) - ODD_PART(3. / 4, 27. / 16);
    case 3: return EVEN_PART(9. / 16) + ODD_PART(3. / 2, 27. / 32);
    case 4: return EVEN_PART(9. / 16) - ODD_PART(3. / 2, 27. / 32);
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
    const real_t a = (real_t)(k < 3 ? FINITE_POINTS[1] : FINITE_POINTS[3]);
    lanes_t even = d[0], odd = a * d[1];
    if (m == 4) {
        even = even + a * a * d[2];
        odd = odd + a * a * a * d[3];
    }
    return k % 2 ? even + odd : even - odd;
}

/* Element (s, k) of A for m outputs: a power of point k. */
static inline real_t output_factor(int k, int s, int m) {
    if (k == 5) return s == m - 1;
    double f = 1;
    for (int i = 0; i < s; i++) f *= FINITE_POINTS[k];
    return (real_t)f;
}

/* A s for the six sums s[0], s[stride], ...: output number `s` of m, a literal at the call. */
static inline lanes_t transform_sums(const lanes_t *sums, Py_ssize_t stride, int s, int m) {
    const lanes_t *a = sums + stride, *b = sums + 3 * stride;
    lanes_t total;
    if (s % 2 == 0) {
        total = output_factor(1, s, m) * (a[0] + a[stride]) + output_factor(3, s, m) * (b[0] + b[stride]);
    } else {
        total = output_factor(1, s, m) * (a[0] - a[stride]) + output_factor(3, s, m) * (b[0] - b[stride]);
    }
    if (s == 0) total = total + sums[0];
    if (s == m - 1) total = total + sums[5 * stride];
    return total;
}

#endif
