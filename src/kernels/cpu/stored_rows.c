/* Values as files store them (kernels/stored.h) become reals. The loops are plain, and the compiler makes vectors of them. */

typedef uint32_t U32 __attribute__((vector_size(4 * LANES)));
typedef uint16_t U16 __attribute__((vector_size(2 * LANES)));
typedef float F32 __attribute__((vector_size(4 * LANES)));

static inline float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* A half's fraction moves into place, its exponent too, and 112 is added. Where that was 0 there is no leading one, and where it was all ones it
 * stays so. Numbers below the normal ones never meet an instruction for floats, which would take a hundred times as long. */
static inline F32 floats_of_halves(U32 half) {
    const U32 exponent = half & 0x7C00, small = (U32)(exponent == 0), not_finite = (U32)(exponent == 0x7C00), sign = (half & 0x8000) << 16;
    const U32 bits = ((half & 0x7FFF) << 13) + (112 << 23) + (small & 1 << 23) + (not_finite & 112 << 23);
    return (F32)((U32)((F32)bits - (F32)(small & 113 << 23)) | sign);
}

static inline U32 load_pairs_of_bytes(const unsigned char *bytes) {
    U16 pair;
    memcpy(&pair, bytes, sizeof pair);
    return __builtin_convertvector(pair, U32);
}

#if defined(__AVX512F__) && REAL_BYTES == 4
static inline V load_f16(const unsigned char *bytes) { return (V)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)bytes)); }
#elif defined(__F16C__) && REAL_BYTES == 4
static inline V load_f16(const unsigned char *bytes) { return (V)_mm256_cvtph_ps(_mm_loadu_si128((const void *)bytes)); }
#else
static inline V load_f16(const unsigned char *bytes) { return __builtin_convertvector(floats_of_halves(load_pairs_of_bytes(bytes)), V); }
#endif
#if defined(__AVX512F__) && REAL_BYTES == 4
static inline V load_bf16(const unsigned char *bytes) {
    return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)bytes)), 16);
}
#else
static inline V load_bf16(const unsigned char *bytes) { return __builtin_convertvector((F32)(load_pairs_of_bytes(bytes) << 16), V); }
#endif

static inline uint16_t pair_of_bytes(const unsigned char *bytes) {
    uint16_t pair;
    memcpy(&pair, bytes, sizeof pair);
    return pair;
}

static inline float float_of_half(uint16_t half) { return floats_of_halves((U32){0} + half)[0]; }

enum { STORED_BLOCK = 32, HALF_BLOCK = STORED_BLOCK / 2, Q8_0_BYTES = 34, Q4_0_BYTES = 18, MXFP4_BYTES = 17 };

static const int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 2^(e - 128), which for small e is below the normal numbers. */
static inline float mxfp4_scale(uint32_t e) { return float_of_bits(e < 2 ? (e + 1) << 21 : (e - 1) << 23); }

/* ---- n values, whole blocks ------------------------------------------------------------------------------------------------------------- */

static void reals_of_f16(real *x, const unsigned char *bytes, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) store(x + i, load_f16(bytes + 2 * i));
    for (; i < n; i++) x[i] = (real)float_of_half(pair_of_bytes(bytes + 2 * i));
}

static void reals_of_bf16(real *x, const unsigned char *bytes, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) store(x + i, load_bf16(bytes + 2 * i));
    for (; i < n; i++) x[i] = (real)float_of_bits((uint32_t)pair_of_bytes(bytes + 2 * i) << 16);
}

static void reals_of_q8_0(real *x, const unsigned char *bytes, ptrdiff_t n) {
    for (; n > 0; n -= STORED_BLOCK, x += STORED_BLOCK, bytes += Q8_0_BYTES) {
        const float d = float_of_half(pair_of_bytes(bytes));
        for (int j = 0; j < STORED_BLOCK; j++) x[j] = (real)(d * (float)(int8_t)bytes[2 + j]);
    }
}

static void reals_of_q4_0(real *x, const unsigned char *bytes, ptrdiff_t n) {
    for (; n > 0; n -= STORED_BLOCK, x += STORED_BLOCK, bytes += Q4_0_BYTES) {
        const float d = float_of_half(pair_of_bytes(bytes));
        for (int j = 0; j < HALF_BLOCK; j++) x[j] = (real)(d * (float)((bytes[2 + j] & 15) - 8));
        for (int j = 0; j < HALF_BLOCK; j++) x[j + HALF_BLOCK] = (real)(d * (float)((bytes[2 + j] >> 4) - 8));
    }
}

static void reals_of_mxfp4(real *x, const unsigned char *bytes, ptrdiff_t n) {
    for (; n > 0; n -= STORED_BLOCK, x += STORED_BLOCK, bytes += MXFP4_BYTES) {
        const float scale = mxfp4_scale(*bytes);
        for (int j = 0; j < HALF_BLOCK; j++) x[j] = (real)(scale * (float)mxfp4_values[bytes[1 + j] & 15]);
        for (int j = 0; j < HALF_BLOCK; j++) x[j + HALF_BLOCK] = (real)(scale * (float)mxfp4_values[bytes[1 + j] >> 4]);
    }
}

static void (*const reals_of[STORED_TYPES])(real *x, const unsigned char *bytes, ptrdiff_t n) = {
    [STORED_F16] = reals_of_f16,   [STORED_BF16] = reals_of_bf16,   [STORED_Q8_0] = reals_of_q8_0,
    [STORED_Q4_0] = reals_of_q4_0, [STORED_MXFP4] = reals_of_mxfp4,
};

static void stored_rows(real *y, const void *w, stored_type type, const int32_t *row, ptrdiff_t rows, ptrdiff_t width) {
    const ptrdiff_t bytes = stored_row_bytes(type, width);
#pragma omp parallel for schedule(static) if (rows * width > 1 << 14)
    for (ptrdiff_t r = 0; r < rows; r++) reals_of[type](y + r * width, (const unsigned char *)w + row[r] * bytes, width);
}

/* ---- panels of B, by way of reals, one at a time ------------------------------------------------------------------------------------------ */

typedef void pack_b_function(real *b, ptrdiff_t panel_units, const operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth);

static void pack_stored_by(pack_b_function *pack, real *b, ptrdiff_t panel_units, const stored_operand *o, ptrdiff_t first, ptrdiff_t columns,
                           ptrdiff_t k0, ptrdiff_t depth) {
    real reals[PANEL_COLUMNS * 2 * DEPTH] __attribute__((aligned(64))); /* no precision has more than two values in a unit */
    const operand source = across(reals, depth, NULL);
    for (ptrdiff_t j = 0; j < columns; j += PANEL_COLUMNS, b += panel_units) {
        const ptrdiff_t there = smaller(columns - j, PANEL_COLUMNS);
        for (ptrdiff_t i = 0; i < there; i++)
            reals_of[o->type](reals + i * depth, o->bytes + (first + j + i) * o->stride + stored_row_bytes(o->type, k0), depth);
        pack(b, panel_units, &source, 0, there, 0, depth);
    }
}

static void pack_stored(real *b, ptrdiff_t panel_units, const stored_operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth) {
    pack_stored_by(pack_b, b, panel_units, o, first, columns, k0, depth);
}
