/* Vectors of reals as bf16, which is the upper half of a float, and back (load_bf16 is in stored_rows.c). */

enum { VALUES_IN_LINE = 32 };

/* The upper halves of floats to which `up`, 16 bits, was added. */
static inline U32 upper_halves(V x, U32 up) { return ((U32)__builtin_convertvector(x, F32) + up) >> 16; }

static inline void store_halves(uint16_t *p, U32 x) {
#if defined(__AVX512F__) && REAL_BYTES == 4
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16((__m512i)x));
#else
    const U16 half = __builtin_convertvector(x, U16);
    memcpy(p, &half, sizeof half);
#endif
}

/* To the nearest, ties to even. */
#if defined(__AVX512BF16__) && REAL_BYTES == 4
static inline void store_bf16(uint16_t *p, V x) { _mm256_storeu_si256((void *)p, (__m256i)_mm512_cvtneps_pbh((__m512)x)); }
#else
static inline void store_bf16(uint16_t *p, V x) {
    const V number = select_lanes(x == x, x, (real)NAN - (V){0}); /* the NaN that rounding does not carry over */
    store_halves(p, upper_halves(number, 0x7FFF + ((U32)__builtin_convertvector(number, F32) >> 16 & 1)));
}
#endif

/* All lanes, or as many as are left. */
static inline void store_bf16_left(uint16_t *p, V x, ptrdiff_t left) {
    uint16_t part[LANES];
    if (left >= LANES) {
        store_bf16(p, x);
        return;
    }
    store_bf16(part, x);
    memcpy(p, part, sizeof *p * (size_t)left);
}

static inline V load_bf16_left(const uint16_t *p, ptrdiff_t left) {
    uint16_t part[LANES] = {0};
    if (left >= LANES) return load_bf16((const unsigned char *)p);
    memcpy(part, p, sizeof *p * (size_t)left);
    return load_bf16((const unsigned char *)part);
}

/* Copies of reals that nobody reads soon. Where a vector is half a line of bf16, two of them go past the caches (vector.h); p is aligned to lines. */
#if defined(__AVX512BF16__) && REAL_BYTES == 4
static inline void round_past_caches(uint16_t *p, const real *x) {
    _mm512_stream_si512((void *)p, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + LANES), _mm512_loadu_ps(x)));
}
#else
static inline void round_past_caches(uint16_t *p, const real *x) {
    for (int i = 0; i < VALUES_IN_LINE; i += LANES) store_bf16(p + i, load(x + i));
}
#endif

static void round_row_bf16(uint16_t *y, const real *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; (uintptr_t)y % 64 == 0 && i + VALUES_IN_LINE <= n; i += VALUES_IN_LINE) round_past_caches(y + i, x + i);
    for (; i < n; i += LANES) store_bf16_left(y + i, load_left(x + i, n - i, 0), n - i);
}
