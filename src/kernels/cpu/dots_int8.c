/* A row of a weight in blocks of q8_0, q4_0 or mxfp4 times a row of x that is rounded to eight bits: what one token takes when it is generated. The
 * weight is read once, as it lies. Four neighbours are summed in integers.
 *
 * The dot instruction multiplies unsigned bytes by signed ones. So there the values of a weight are taken with EXCESS added, and sums begin at
 * -EXCESS times the sum of the values of x. */
#include <float.h>

enum {
    QUADS = STORED_BLOCK / 4,
    ROW_BLOCKS = 256, /* of a row at once */
};

/* ---- x ----------------------------------------------------------------------------------------------------------------------------------- */

/* A block: s value, with s = max |x| / 127. */
typedef struct {
    int8_t value[STORED_BLOCK];
    int32_t begin[QUADS]; /* of the sums with four values each; without EXCESS not used */
} rounded_block;

typedef struct {
    rounded_block block[ROW_BLOCKS];
    float scale[ROW_BLOCKS];
} rounded_row;

/* As the integers that floats without a sign are: so NaN is larger than all. */
static inline float largest_of_block(const real *x) {
    uint32_t largest = 0;
    for (int i = 0; i < STORED_BLOCK; i++) {
        const uint32_t size = bits_of_float((float)x[i]) & INT32_MAX;
        largest = size > largest ? size : largest;
    }
    return float_of_bits(largest);
}

/* scale[b] = s of block b, inverse[b] = 1 / s */
static inline void find_scales(float *scale, float *inverse, const real *x, ptrdiff_t blocks) {
    for (ptrdiff_t b = 0; b < blocks; b++) scale[b] = largest_of_block(x + b * STORED_BLOCK);
    for (ptrdiff_t b = 0; b < blocks; b++) scale[b] /= 127, inverse[b] = scale[b] < FLT_MIN ? 0 : 1 / scale[b];
}

static inline void round_block(int8_t value[STORED_BLOCK], const real *x, float inverse) {
    const float rounder = 12582912; /* 1.5 * 2^23: after adding it, the low byte is the rounded number */
    for (int i = 0; i < STORED_BLOCK; i++) value[i] = (int8_t)bits_of_float(fmaf((float)x[i], inverse, rounder));
}

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
enum { EXCESS = 128 };
static inline void set_beginnings(rounded_block *b) {
    const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), _mm256_loadu_si256((const void *)b->value));
    _mm256_storeu_si256((void *)b->begin, _mm256_mullo_epi32(sums, _mm256_set1_epi32(-EXCESS)));
}
#else
enum { EXCESS = 0 };
static inline void set_beginnings(rounded_block *b) { (void)b; }
#endif

static void round_row(rounded_row *row, const real *x, ptrdiff_t blocks) {
    float inverse[ROW_BLOCKS];
    find_scales(row->scale, inverse, x, blocks);
    for (ptrdiff_t b = 0; b < blocks; b++) {
        rounded_block *to = &row->block[b];
        round_block(to->value, x + b * STORED_BLOCK, inverse[b]);
        set_beginnings(to);
    }
}

/* ---- blocks of a weight; type is a constant wherever these are called -------------------------------------------------------------------- */

static const int8_t q4_0_values[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

static inline ptrdiff_t size_of_block(const stored_type type) {
    return type == STORED_Q8_0 ? Q8_0_BYTES : type == STORED_Q4_0 ? Q4_0_BYTES : MXFP4_BYTES;
}

/* Of its scale: a half, or the exponent of MXFP4. */
static inline uint16_t scale_bits(const unsigned char *w, const stored_type type) { return type == STORED_MXFP4 ? *w : pair_of_bytes(w); }

#ifdef __AVX2__
typedef __m256i block_bytes;

static inline __m256i load_bytes(const void *bytes) { return _mm256_loadu_si256(bytes); }
static inline __m256i load_bytes_twice(const void *bytes) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes)); }

static inline block_bytes bytes_of_nibbles(const unsigned char *nibbles, const int8_t values[16]) {
    const __m256i low_and_high = _mm256_srlv_epi64(load_bytes_twice(nibbles), _mm256_setr_epi64x(0, 0, 4, 4));
    const __m256i table = _mm256_xor_si256(load_bytes_twice(values), _mm256_set1_epi8((char)EXCESS));
    return _mm256_shuffle_epi8(table, _mm256_and_si256(low_and_high, _mm256_set1_epi8(15)));
}
static inline block_bytes bytes_of_q8_0(const unsigned char *values) { return _mm256_xor_si256(load_bytes(values), _mm256_set1_epi8((char)EXCESS)); }

/* mxfp4_scale */
static inline __m256 mxfp4_scales(__m256i e) {
    const __m256i one = _mm256_set1_epi32(1), small = _mm256_slli_epi32(_mm256_add_epi32(e, one), 21);
    return _mm256_castsi256_ps(
        _mm256_blendv_epi8(_mm256_slli_epi32(_mm256_sub_epi32(e, one), 23), small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/* scale[b] = x_scale[b] times the scale that bits[b] are. Those beyond `blocks` are of no account. */
static inline void scales_of_bits(float *scale, const uint16_t *bits, const float *x_scale, ptrdiff_t blocks, const stored_type type) {
    for (ptrdiff_t b = 0; b < blocks; b += 8) {
        const __m128i eight = _mm_loadu_si128((const __m128i *)(const void *)(bits + b));
        const __m256 of_w = type == STORED_MXFP4 ? mxfp4_scales(_mm256_cvtepu16_epi32(eight)) : _mm256_cvtph_ps(eight);
        _mm256_storeu_ps(scale + b, _mm256_mul_ps(_mm256_loadu_ps(x_scale + b), of_w));
    }
}
#else
typedef struct {
    int8_t value[STORED_BLOCK];
} block_bytes;

static inline block_bytes bytes_of_nibbles(const unsigned char *nibbles, const int8_t values[16]) {
    block_bytes b;
    for (int i = 0; i < HALF_BLOCK; i++) b.value[i] = values[nibbles[i] & 15], b.value[i + HALF_BLOCK] = values[nibbles[i] >> 4];
    return b;
}
static inline block_bytes bytes_of_q8_0(const unsigned char *values) {
    block_bytes b;
    memcpy(b.value, values, sizeof b.value);
    return b;
}

static inline void scales_of_bits(float *scale, const uint16_t *bits, const float *x_scale, ptrdiff_t blocks, const stored_type type) {
    for (ptrdiff_t b = 0; b < blocks; b++) scale[b] = x_scale[b] * (type == STORED_MXFP4 ? mxfp4_scale(bits[b]) : float_of_half(bits[b]));
}
#endif

/* Its values, plus EXCESS. */
static inline block_bytes bytes_of_block(const unsigned char *w, const stored_type type) {
    if (type == STORED_Q8_0) return bytes_of_q8_0(w + 2);
    return type == STORED_Q4_0 ? bytes_of_nibbles(w + 2, q4_0_values) : bytes_of_nibbles(w + 1, mxfp4_values);
}

/* ---- sums -------------------------------------------------------------------------------------------------------------------------------- */

#ifdef __AVX2__
typedef __m256 block_sum;

static inline __m256i sum_quads(block_bytes w, const rounded_block *x) {
    const __m256i value = load_bytes(x->value);
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpbusd_epi32(load_bytes(x->begin), w, value);
#else
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(value, w)), _mm256_set1_epi16(1)); /* 2 * 128 * 127 < 2^15 */
#endif
}

static inline block_sum add_block(block_sum sum, block_bytes w, const rounded_block *x, float scale) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum_quads(w, x)), _mm256_set1_ps(scale), sum);
}

static inline float total(block_sum a) {
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
#else
typedef float block_sum __attribute__((vector_size(4)));

static inline block_sum add_block(block_sum sum, block_bytes w, const rounded_block *x, float scale) {
    int32_t part = 0;
    for (int i = 0; i < STORED_BLOCK; i++) part += w.value[i] * x->value[i];
    return sum + (float)part * scale;
}

static inline float total(block_sum a) { return a[0]; }
#endif

/* scale: of both factors, block by block. Meanwhile the bits of the scales of the row that comes next are collected: they are too far apart to be
 * loaded together, and what was stored in pieces cannot be loaded as a whole at once. ahead: a row to be fetched. */
static inline __attribute__((always_inline)) float dot_int8(const unsigned char *w, const rounded_block *x, const float *scale, ptrdiff_t blocks,
                                                            const unsigned char *next, uint16_t *next_bits, const unsigned char *ahead,
                                                            const stored_type type) {
    enum { CHAINS = 4 };
    const ptrdiff_t bytes = size_of_block(type);
    block_sum sum[CHAINS] = {{0}};
    ptrdiff_t b = 0;
    for (; b + CHAINS <= blocks; b += CHAINS) {
        fetch_bytes(ahead + b * bytes, CHAINS * bytes);
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = add_block(sum[i], bytes_of_block(w + (b + i) * bytes, type), &x[b + i], scale[b + i]);
            next_bits[b + i] = scale_bits(next + (b + i) * bytes, type);
        }
    }
    for (; b < blocks; b++) {
        sum[0] = add_block(sum[0], bytes_of_block(w + b * bytes, type), &x[b], scale[b]);
        next_bits[b] = scale_bits(next + b * bytes, type);
    }
    return total((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* ---- all rows ---------------------------------------------------------------------------------------------------------------------------- */

/* What a thread has rounded last. */
typedef struct {
    rounded_row row[FEW_ROWS];
    const real *source[FEW_ROWS];
} rounded_rows;

static void hold_row(rounded_rows *held, ptrdiff_t i, const real *x, ptrdiff_t blocks) {
    if (held->source[i] == x) return;
    round_row(&held->row[i], x, blocks);
    held->source[i] = x;
}

/* Blocks k0 .. k0 + blocks of the rows. */
static inline __attribute__((always_inline)) void multiply_run_int8_by(const stored_product *p, const run *r, const run *next, const rounded_rows *x,
                                                                       ptrdiff_t k0, ptrdiff_t blocks, const stored_type type) {
    const ptrdiff_t bytes = size_of_block(type), stride = product_stride(p);
    const ptrdiff_t n0 = p->groups.start[r->group], rows = p->groups.start[r->group + 1] - n0;
    const unsigned char *w = r->w + k0 * bytes;
    uint16_t bits[2][ROW_BLOCKS];
    float scale[ROW_BLOCKS];
    for (ptrdiff_t b = 0; b < blocks; b++) bits[0][b] = scale_bits(w + b * bytes, type);
    for (ptrdiff_t i = 0; i < r->n; i++, w += stride)
        for (ptrdiff_t n = 0; n < rows; n++) {
            real *y = p->y + (n0 + n) * p->out + r->first + i;
            const unsigned char *after = i + 1 < r->n ? w + stride : w;
            scales_of_bits(scale, bits[i & 1], x->row[n].scale, blocks, type);
            const real sum = (real)dot_int8(w, x->row[n].block, scale, blocks, after, bits[~i & 1], row_ahead(r, next, i, stride) + k0 * bytes, type);
            *y = k0 > 0 ? *y + sum : sum;
        }
}

static void multiply_run_int8(const stored_product *p, const run *r, const run *next, rounded_rows *held) {
    const ptrdiff_t all = p->in / STORED_BLOCK, n0 = p->groups.start[r->group], rows = p->groups.start[r->group + 1] - n0;
    for (ptrdiff_t k0 = 0; k0 < all; k0 += ROW_BLOCKS) {
        const ptrdiff_t blocks = smaller(all - k0, ROW_BLOCKS);
        for (ptrdiff_t n = 0; n < rows; n++) hold_row(held, n, product_x(p, n0 + n) + k0 * STORED_BLOCK, blocks);
        if (p->w.type == STORED_Q8_0) multiply_run_int8_by(p, r, next, held, k0, blocks, STORED_Q8_0);
        else if (p->w.type == STORED_Q4_0) multiply_run_int8_by(p, r, next, held, k0, blocks, STORED_Q4_0);
        else multiply_run_int8_by(p, r, next, held, k0, blocks, STORED_MXFP4);
    }
}

static void multiply_few_rows_int8(const stored_product *each, int n) {
    run_queue q = {each, n, 0};
#pragma omp parallel if (!are_small(each, n))
    {
        rounded_rows held;
        run now = {0}, next;
        memset(held.source, 0, sizeof held.source);
        for (bool more = take_run(&now, &q); more; now = next) {
            next = now;
            more = take_run(&next, &q);
            multiply_run_int8(&each[now.product], &now, more ? &next : NULL, &held);
        }
    }
}
