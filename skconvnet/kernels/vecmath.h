/* Elementary functions of vectors: the same operations in every lane, without branches and tables.

   They stay within 4 units in the last place of float64 (tests/kernels/test_activation.py has the bounds). */

#ifndef SKCONVNET_VECMATH_H
#define SKCONVNET_VECMATH_H

#include "simd.h"

/* What differs by precision: the bits of the mantissa, the bias of the exponent, the range in which exp
   neither overflows nor is denormal, the Taylor terms of e^r - 1 for |r| <= ln(2) / 2, ln 2 in two parts, the
   first short enough for n * LN2_HIGH to be exact, 1.5 * 2^MANTISSA_BITS, which rounds what it is added to,
   the terms of sum z^k / (2 k + 1) for |z| <= 0.172, of a sine up to pi / 2 and of MILLS, and the bits that
   hold the second half of a mantissa. */
#if SKCONVNET_DOUBLE
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define EXP_RANGE 708.0
#define EXP_TERMS 13
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define ROUNDER 6755399441055744.0
#define SERIES_TERMS 21
#define SINE_TERMS 11
#define MILLS_TERMS 23
#define HALF_MANTISSA 0x7ffffff
#else
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define EXP_RANGE 87.0f
#define EXP_TERMS 7
#define LN2_HIGH 6.93359375e-01f
#define LN2_LOW -2.12194440e-04f
#define ROUNDER 12582912.0f
#define SERIES_TERMS 10
#define SINE_TERMS 7
#define MILLS_TERMS 11
#define HALF_MANTISSA 0xfff
#endif

/* e^r - 1 for |r| <= ln(2) / 2, by its Taylor series. */
static inline lanes_t expm1_near_zero(lanes_t r) {
    static const real_t inverse_factorial[14] = {
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
        1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
    lanes_t q = splat(inverse_factorial[EXP_TERMS]);
    for (int k = EXP_TERMS - 1; k >= 2; k--) q = q * r + inverse_factorial[k];
    return r + r * r * q;
}

/* e^x = 2^n (1 + q) with n = round(x / ln 2) and q = e^r - 1, r = x - n ln 2 (Cody and Waite 1980);
   x is clipped to EXP_RANGE.  Writes 2^n to scale and returns q. */
static inline lanes_t exp_parts(lanes_t x, lanes_t *scale) {
    x = choose(x > splat(EXP_RANGE), splat(EXP_RANGE), x);
    x = choose(x < splat(-EXP_RANGE), splat(-EXP_RANGE), x);
    lanes_t shifted = x * (real_t)1.44269504088896340736 + splat(ROUNDER);
    lanes_t n = shifted - splat(ROUNDER);
    lanes_t r = (x - n * (real_t)LN2_HIGH) - n * (real_t)LN2_LOW;
    bits_t power = (bits_t)shifted - (bits_t)splat(ROUNDER) + EXPONENT_BIAS;
    *scale = (lanes_t)(power << MANTISSA_BITS);
    return expm1_near_zero(r);
}

static inline lanes_t exp_lanes(lanes_t x) {
    lanes_t scale, q = exp_parts(x, &scale);
    return scale + scale * q;
}

/* e^x - 1, without cancellation near zero */
static inline lanes_t expm1_lanes(lanes_t x) {
    lanes_t scale, q = exp_parts(x, &scale);
    return scale * q + (scale - (real_t)1);
}

/* 1 / (1 + e^-x) */
static inline lanes_t sigmoid_lanes(lanes_t x) { return (real_t)1 / ((real_t)1 + exp_lanes(-x)); }

/* tanh x = m / (m + 2), m = e^2x - 1 */
static inline lanes_t tanh_lanes(lanes_t x) {
    lanes_t m = expm1_lanes(x + x);
    return m / (m + (real_t)2);
}

/* sum z^k / (2 k + 1) for |z| <= 0.172: artanh(s) / s at z = s^2, arctan(s) / s at z = -s^2 */
static inline lanes_t arc_series(lanes_t z) {
    lanes_t sum = splat((real_t)1 / (2 * SERIES_TERMS - 1));
    for (int k = SERIES_TERMS - 2; k >= 0; k--) sum = sum * z + (real_t)1 / (2 * k + 1);
    return sum;
}

/* log x of a normal x > 0: n log 2 + 2 artanh((m - 1) / (m + 1)), x = m 2^n, m from sqrt(1/2) to sqrt(2) */
static inline lanes_t log_lanes(lanes_t x) {
    bits_t n = ((bits_t)x - (bits_t)splat(0.70710678118654752440)) >> MANTISSA_BITS;
    lanes_t m = (lanes_t)((bits_t)x - (n << MANTISSA_BITS)), s = (m - (real_t)1) / (m + (real_t)1);
    return __builtin_convertvector(n, lanes_t) * (real_t)0.69314718055994530942 +
           (s + s) * arc_series(s * s);
}

/* The natural logarithm by the C library, in double precision, one lane at a time. */
static inline lanes_t log_each_lane(lanes_t x) {
    for (int k = 0; k < LANES; k++) x[k] = (real_t)log((double)x[k]);
    return x;
}

/* cos(2 pi t) = sin(2 pi (1/4 - |t|)) for |t| <= 1/2, by its Taylor series. */
static inline lanes_t cos_turns(lanes_t t) {
    lanes_t r = (real_t)6.28318530717958647693 * ((real_t)0.25 - magnitude(t)), z = r * r;
    lanes_t q = splat(1);
    for (int k = SINE_TERMS - 1; k >= 1; k--) q = (real_t)1 - q * z * ((real_t)1 / (2 * k * (2 * k + 1)));
    return r * q;
}

/* log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|; the logarithm is 2 artanh(s), s = t / (2 + t) */
static inline lanes_t softplus_lanes(lanes_t x) {
    lanes_t t = exp_lanes(-magnitude(x)), s = t / ((real_t)2 + t);
    return larger(x, splat(0)) + (s + s) * arc_series(s * s);
}

/* With a = |x|: arctan a, pi/4 + arctan((a - 1) / (a + 1)) or pi/2 + arctan(-1 / a), whichever takes
   the arc tangent of a value of at most tan(pi/8) */
static inline lanes_t arctan_lanes(lanes_t x) {
    lanes_t a = magnitude(x);
    bits_t middle = a > splat(0.41421356237309504880), high = a > splat(2.41421356237309504880);
    lanes_t s = choose(middle, (a - (real_t)1) / (a + (real_t)1), a);
    s = choose(high, (real_t)-1 / a, s);
    lanes_t start = choose(middle, splat(0.78539816339744830962), splat(0));
    start = choose(high, splat(1.57079632679489661923), start);
    lanes_t y = start + s * arc_series(-(s * s));
    return choose(x < splat(0), -y, y);
}

/* The normal distribution below x, and its density e^(-x^2/2) / sqrt(2 pi).  With a = |x|, the tail
   beyond a is e^(-a^2/2) P(t) / (a + 4), t = (a - 4) / (a + 4), after Shepherd and Laframboise 1981;
   P interpolates at Chebyshev nodes up to where the tail is subnormal.  The square has
   a rounding error that grows with it, so the first half of the mantissa is squared by itself. */
static inline lanes_t normal_lanes(lanes_t x, lanes_t *density) {
#if SKCONVNET_DOUBLE
    static const real_t mills[MILLS_TERMS] = {
        0.755285130415751481, -0.607896641971891756, 0.387137400742218413, -0.186521857959694697,
        0.0603965748907229828, -0.0075401889655676717, -0.00347969236269969402,
        0.00163081844137903808, 0.000133344258490337253, -0.000231094812961477023,
        -1.90789129348843226e-6, 0.0000351441487267285358, 7.15087015872470668e-7,
        -5.91877330945121604e-6, -6.25289633815107653e-7, 1.01953348514889732e-6,
        2.63844221939081531e-7, -1.53891919795552534e-7, -7.64296684455120437e-8,
        1.42983759702724165e-8, 1.38733755572451973e-8, 1.62268565223351499e-10,
        -9.29610552411404009e-10};
    const real_t end = 37.5;
#else
    static const real_t mills[MILLS_TERMS] = {
        0.75528513f, -0.607896655f, 0.387137407f, -0.18652138f, 0.060396835f, -0.00754508565f,
        -0.00348544443f, 0.00164809856f, 0.000165267899f, -0.000240693018f, -5.4909974e-5f};
    const real_t end = 13;
#endif
    lanes_t a = magnitude(x);
    bits_t beyond = a > splat(end);
    a = choose(beyond, splat(end), a);
    lanes_t high = (lanes_t)((bits_t)a & ~((bits_t){0} + HALF_MANTISSA));
    lanes_t power = exp_lanes((real_t)-0.5 * (high * high));
    power = power + power * expm1_near_zero((real_t)-0.5 * ((a - high) * (a + high)));
    power = choose(beyond, splat(0), power);
    lanes_t t = (a - (real_t)4) / (a + (real_t)4), p = splat(mills[MILLS_TERMS - 1]);
    for (int k = MILLS_TERMS - 2; k >= 0; k--) p = p * t + mills[k];
    lanes_t tail = power * p / (a + (real_t)4);
    *density = power * (real_t)0.39894228040143267794;
    return choose(x > splat(0), (real_t)1 - tail, tail);
}

#endif
