/* The only place that knows how wide a vector is. V behaves like a number: + - * / and comparisons work lane by lane (the vector extension
 * of gcc and clang), so one source serves every instruction set and both number types. */
#ifndef VECTOR_H
#define VECTOR_H

#include <math.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "base/real.h"

#define LANES ((int)(VECTOR_BYTES) / (int)sizeof(real))

typedef real V __attribute__((vector_size(VECTOR_BYTES)));
#define INTEGER_LIKE(type) __typeof__(_Generic((type)0, float: (int)0, double: (long)0))
typedef INTEGER_LIKE(real) lane_integer;
typedef lane_integer VI __attribute__((vector_size(VECTOR_BYTES)));

static inline V load(const real *p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(real *p, V v) { memcpy(p, &v, sizeof v); }

/* sum + a b, written over sum. Of many sums that all fit in registers the compiler, left to itself, keeps some in memory, and where it may choose which of
 * the three it overwrites, it moves sums from register to register as often as it multiplies. */
#if REAL_BYTES == 8
#define ADD_PRODUCT "vfmadd231pd %2, %1, %0"
#else
#define ADD_PRODUCT "vfmadd231ps %2, %1, %0"
#endif
static inline __attribute__((always_inline)) V add_product(V sum, V a, V b) {
#if defined(__AVX512F__)
    __asm__(ADD_PRODUCT : "+v"(sum) : "v"(a), "v"(b));
#elif defined(__AVX2__)
    __asm__(ADD_PRODUCT : "+x"(sum) : "x"(a), "x"(b));
#else
    sum += a * b;
#endif
    return sum;
}

/* For what nobody reads soon: a line that is written whole need not be read before. p is aligned to V. Other threads may read it only after
 * finish_stores(). */
#if defined(__AVX512F__)
static inline void store_past_caches(real *p, V v) { _mm512_stream_si512((__m512i *)(void *)p, (__m512i)v); }
static inline void finish_stores(void) { _mm_sfence(); }
#elif defined(__AVX2__)
static inline void store_past_caches(real *p, V v) { _mm256_stream_si256((__m256i *)(void *)p, (__m256i)v); }
static inline void finish_stores(void) { _mm_sfence(); }
#else
static inline void store_past_caches(real *p, V v) { store(p, v); }
static inline void finish_stores(void) {}
#endif

/* Four floats, whatever the width of V. */
typedef float V4 __attribute__((vector_size(16)));
static inline V4 load4(const void *p) {
    V4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store4(void *p, V4 v) { memcpy(p, &v, sizeof v); }

/* The first n lanes; the rest is filled. */
static inline V load_part(const real *p, ptrdiff_t n, real fill) {
    V v = fill - (V){0};
    memcpy(&v, p, sizeof(real) * (size_t)n);
    return v;
}
static inline void store_part(real *p, V v, ptrdiff_t n) { memcpy(p, &v, sizeof(real) * (size_t)n); }

/* All lanes, or as many as are left. */
static inline V load_left(const real *p, ptrdiff_t left, real fill) { return left >= LANES ? load(p) : load_part(p, left, fill); }
static inline void store_left(real *p, V v, ptrdiff_t left) { left >= LANES ? store(p, v) : store_part(p, v, left); }

static inline V select_lanes(VI which, V a, V b) { return (V)(((VI)a & which) | ((VI)b & ~which)); }

/* first, first + 1, ... */
static inline VI counting_lanes(ptrdiff_t first) {
    VI v;
    for (int i = 0; i < LANES; i++) v[i] = (lane_integer)(first + i);
    return v;
}

static inline V each_lane(double (*f)(double), V x) {
    for (int i = 0; i < LANES; i++) x[i] = (real)f((double)x[i]);
    return x;
}

/* The lower half plus the upper, and so on. */
static inline real sum_lanes(V v) {
#if defined(__AVX512F__) && REAL_BYTES == 4
    return _mm512_reduce_add_ps((__m512)v); /* in this order */
#else
    real lane[LANES];
    memcpy(lane, &v, sizeof v);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
#endif
}

static inline V larger(V a, V b) { return select_lanes(a > b, a, b); }

static inline real max_lanes(V v) {
#if defined(__AVX512F__) && REAL_BYTES == 4
    return _mm512_reduce_max_ps((__m512)v);
#else
    real most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
#endif
}

/* exp(x) = 2^n exp(r) with n the nearest integer to x / ln 2, so |r| <= ln(2) / 2; exp(r) by its Taylor polynomial, whose first left-out
 * term is below the type's rounding (degree 7: 5e-9, degree 13: 4e-18). Below the smallest normal number the result is 0. */
static inline V exp_lanes(V x) {
    const int single = sizeof(real) == 4, mantissa = single ? 23 : 52, bias = single ? 127 : 1023;
    const real lowest = single ? (real)-87 : (real)-708, highest = single ? (real)88 : (real)709;
    const real round = single ? (real)12582912 : (real)6755399441055744; /* 1.5 * 2^mantissa: adding it rounds to an integer */
    VI underflow = x < lowest, not_a_number = x != x;
    V clamped = larger(x, lowest - (V){0});
    VI over = clamped > highest;
    clamped = (V)(((VI)(highest - (V){0}) & over) | ((VI)clamped & ~over));
    V shifted = clamped * (real)1.4426950408889634 + round, n = shifted - round;
    V r = clamped - n * (real)0.693145751953125 - n * (real)1.4286068203094172321e-6; /* ln 2 in two parts: n times the first is exact */
    V p = (V){0} + (real)(single ? 1.0 / 5040 : 1.0 / 6227020800.0);
    static const double factorial[] = {1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600};
    for (int i = single ? 6 : 12; i >= 0; i--) p = p * r + (real)(1 / factorial[i]);
    lane_integer base;
    real rounder = round;
    memcpy(&base, &rounder, sizeof base);
    VI exponent = (VI)shifted - base + bias;
    V scaled = p * (V)(exponent << mantissa);
    return (V)(((VI)scaled & ~underflow & ~not_a_number) | ((VI)x & not_a_number));
}

/* 1 / x to the last bit or the one before it, faster where there is an estimate to begin with (one step of Newton's). */
#if defined(__AVX512F__) && REAL_BYTES == 4
static inline V reciprocal_lanes(V x) {
    V r = (V)_mm512_rcp14_ps((__m512)x);
    return r * (2 - x * r);
}
#else
static inline V reciprocal_lanes(V x) { return 1 / x; }
#endif

static inline real root_of(real x) { return sizeof(real) == 4 ? (real)sqrtf((float)x) : (real)sqrt((double)x); }
static inline V root_lanes(V x) {
    for (int i = 0; i < LANES; i++) x[i] = root_of(x[i]);
    return x;
}

static inline V sigmoid_lanes(V x) { return 1 / (1 + exp_lanes(-x)); }

/* log(1 + f) = 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), s = f / (2 + f), for -1/3 < f <= 1, so |s| <= 1/3: what is left out is below 1e-8. */
static inline V log1p_lanes(V f) {
    if (sizeof(real) == 8) return each_lane(log1p, f);
    V s = f / (2 + f), square = s * s, sum = (V){0} + (real)(1.0 / 13);
    for (int odd = 11; odd >= 1; odd -= 2) sum = sum * square + (real)(1.0 / odd);
    return 2 * s * sum;
}

/* exp(-z^2 / 2), and of it the normal distribution Phi(z): below zero it is exp(-x^2) t Q(t) / 2 with x = |z| / sqrt(2), t = 1 / (1 + x / 2), and Q
 * the polynomial that meets exp(x^2) erfc(x) / t at the nine Chebyshev nodes of x <= 10, 5e-8 of it away at most. */
static inline V normal_lanes(V z, V *distribution) {
    V e = exp_lanes(z * z * (real)-0.5);
    if (sizeof(real) == 8) {
        *distribution = each_lane(erfc, z * (real)-M_SQRT1_2) / 2;
        return e;
    }
    static const double q[] = {0.282082674, 0.282445042, 0.242572893, 0.204853655, -0.0318417574, 0.28569771, -0.493863649, 0.28776831, -0.059714919};
    V t = 1 / (1 + larger(z, -z) * (real)(M_SQRT1_2 / 2)), sum = (V){0};
    for (int i = 8; i >= 0; i--) sum = sum * t + (real)q[i];
    V tail = e * t * sum / 2;
    *distribution = select_lanes(z > 0, 1 - tail, tail);
    return e;
}

static inline real dot(const real *a, const real *b, ptrdiff_t n) {
    V s0 = {0}, s1 = {0};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) s0 += load(a + i) * load(b + i), s1 += load(a + i + LANES) * load(b + i + LANES);
    for (; i + LANES <= n; i += LANES) s0 += load(a + i) * load(b + i);
    if (i < n) s1 += load_part(a + i, n - i, 0) * load_part(b + i, n - i, 0);
    return sum_lanes(s0 + s1);
}

static inline real largest(const real *x, ptrdiff_t n) {
    V most = -(real)INFINITY - (V){0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) most = larger(load(x + i), most);
    if (i < n) most = larger(load_part(x + i, n - i, -(real)INFINITY), most);
    return max_lanes(most);
}

/* row = exp(row - shift); returns the sum */
static inline real exponentiate(real *row, real shift, ptrdiff_t n) {
    V sum = {0};
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        V e = exp_lanes(load(row + j) - shift);
        store(row + j, e), sum += e;
    }
    real total = sum_lanes(sum);
    if (j < n) {
        V e = exp_lanes(load_part(row + j, n - j, -(real)INFINITY) - shift);
        store_part(row + j, e, n - j), total += sum_lanes(e);
    }
    return total;
}

#endif
