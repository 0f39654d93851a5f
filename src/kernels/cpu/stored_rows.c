/* Values as files store them (kernels/stored.h) become reals. The loops are plain, and the compiler makes vectors of them. */

typedef uint32_t U32 __attribute__((vector_size(4 * LANES)));
typedef uint16_t U16 __attribute__((vector_size(2 * LANES)));
typedef float F32 __attribute__((vector_size(4 * LANES)));

static inline float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The bits of a half, moved into place, are the float 2^-112 times it; what is not finite needs an exponent of ones. */
static inline F32 floats_of_halves(U32 half) {
    const U32 not_finite = (U32)((half & 0x7C00) == 0x7C00) & 0x7F800000, sign = (half & 0x8000) << 16;
    return (F32)((U32)((F32)((half & 0x7FFF) << 13) * 0x1p112f) | not_finite | sign);
}

static inline U32 load_pairs_of_bytes(const unsigned char *bytes) {
    U16 pair;
    memcpy(&pair, bytes, sizeof pair);
    return __builtin_convertvector(pair, U32);
}

static inline V load_f16(const unsigned char *bytes) { return __builtin_convertvector(floats_of_halves(load_pairs_of_bytes(bytes)), V); }
static inline V load_bf16(const unsigned char *bytes) { return __builtin_convertvector((F32)(load_pairs_of_bytes(bytes) << 16), V); }

static inline uint16_t pair_of_bytes(const unsigned char *bytes) {
    uint16_t pair;
    memcpy(&pair, bytes, sizeof pair);
    return pair;
}

static inline float float_of_half(const unsigned char *bytes) {
    const uint32_t half = pair_of_bytes(bytes), bits = (half & 0x7FFF) << 13;
    const float size = (half & 0x7C00) == 0x7C00 ? float_of_bits(bits | 0x7F800000) : float_of_bits(bits) * 0x1p112f;
    return half & 0x8000 ? -size : size;
}

enum { STORED_BLOCK = 32, HALF_BLOCK = STORED_BLOCK / 2, Q8_0_BYTES = 34, Q4_0_BYTES = 18, MXFP4_BYTES = 17 };

static const int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 2^(e - 128), which for small e is less than a normal number. */
static inline float mxfp4_scale(unsigned char e) { return float_of_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23); }

/* ---- n values, whole blocks ------------------------------------------------------------------------------------------------------------- */

static void reals_of_f16(real *x, const unsigned char *bytes, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) store(x + i, load_f16(bytes + 2 * i));
    for (; i < n; i++) x[i] = (real)float_of_half(bytes + 2 * i);
}

static void reals_of_bf16(real *x, const unsigned char *bytes, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) store(x + i, load_bf16(bytes + 2 * i));
    for (; i < n; i++) x[i] = (real)float_of_bits((uint32_t)pair_of_bytes(bytes + 2 * i) << 16);
}

static void reals_of_q8_0(real *x, const unsigned char *bytes, ptrdiff_t n) {
    for (; n > 0; n -= STORED_BLOCK, x += STORED_BLOCK, bytes += Q8_0_BYTES) {
        const float d = float_of_half(bytes);
        for (int j = 0; j < STORED_BLOCK; j++) x[j] = (real)(d * (float)(int8_t)bytes[2 + j]);
    }
}

static void reals_of_q4_0(real *x, const unsigned char *bytes, ptrdiff_t n) {
    for (; n > 0; n -= STORED_BLOCK, x += STORED_BLOCK, bytes += Q4_0_BYTES) {
        const float d = float_of_half(bytes);
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
    const operand source = {reals, depth, NULL, ACROSS};
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
