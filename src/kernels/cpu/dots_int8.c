/* A row of a weight in blocks of q8_0, q4_0 or mxfp4 times a row of x that is rounded to eight bits: what one token takes when it is generated. The
 * weight is read once, as it lies. Four neighbours are summed in integers, of nibbles eight.
 *
 * The dot instruction multiplies unsigned bytes by signed ones. So there the values of a weight are taken with an excess added, and sums begin at
 * minus that times the sum of the values of x: EXCESS, or, where nibbles are multiplied without being made signed, the least that they stand for.
 * Nibbles of a bundle of blocks fill a register, first the low ones of all, then the high ones; so the values of x lie. */
#include <float.h>

enum {
    QUADS = STORED_BLOCK / 4,
    ROW_BLOCKS = 256, /* of a row at once, whole bundles */
};

/* ---- x ----------------------------------------------------------------------------------------------------------------------------------- */

/* In blocks of s value, with s = max |x| / 127. begin: of the sums with four values each, or, in bundles, with four of the low half and four of the
 * high one; without an excess not used. */
typedef struct {
    int8_t value[ROW_BLOCKS * STORED_BLOCK] __attribute__((aligned(64)));
    int32_t begin[ROW_BLOCKS * QUADS];
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
#define EXCESS 128
#else
#define EXCESS 0
#endif

#ifdef __AVX2__
static inline __m256i load_bytes(const void *bytes) { return _mm256_loadu_si256(bytes); }

/* Blocks of nibbles in a register. */
#if EXCESS > 0
enum { BUNDLE = 4 };
#else
enum { BUNDLE = 2 };
#endif
typedef int8_t bundle_bytes __attribute__((vector_size(BUNDLE * HALF_BLOCK)));
typedef uint16_t bundle_pairs __attribute__((vector_size(BUNDLE * HALF_BLOCK)));
typedef int32_t bundle_fours __attribute__((vector_size(BUNDLE * HALF_BLOCK)));
typedef float bundle_floats __attribute__((vector_size(BUNDLE * HALF_BLOCK)));

static inline bundle_bytes load_bundle(const void *bytes) {
    bundle_bytes b;
    memcpy(&b, bytes, sizeof b);
    return b;
}

/* sum + four bytes of u, without a sign, times four of s. Two of u together are below 2^8, or their products, in 16 bits, would not fit. */
static inline bundle_fours add_fours(bundle_fours sum, bundle_bytes u, bundle_bytes s) {
#if EXCESS > 0
    return (bundle_fours)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)u, (__m512i)s);
#else
    return sum + (bundle_fours)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)u, (__m256i)s), _mm256_set1_epi16(1));
#endif
}

/* For blocks of nibbles, of which the least is -excess. */
static void round_row_in_bundles(rounded_row *row, const real *x, ptrdiff_t blocks, int excess) {
    float inverse[ROW_BLOCKS];
    find_scales(row->scale, inverse, x, blocks);
    for (ptrdiff_t b = 0; b < blocks; b += BUNDLE) {
        int8_t *low = row->value + b * STORED_BLOCK, *high = low + BUNDLE * HALF_BLOCK;
        for (ptrdiff_t i = 0; i < BUNDLE; i++) {
            int8_t value[STORED_BLOCK] = {0};
            if (b + i < blocks) round_block(value, x + (b + i) * STORED_BLOCK, inverse[b + i]);
            memcpy(low + i * HALF_BLOCK, value, HALF_BLOCK), memcpy(high + i * HALF_BLOCK, value + HALF_BLOCK, HALF_BLOCK);
        }
        const bundle_bytes ones = (bundle_bytes){0} + 1;
        const bundle_fours begin = -excess * add_fours(add_fours((bundle_fours){0}, ones, load_bundle(low)), ones, load_bundle(high));
        memcpy(row->begin + b * QUADS / 2, &begin, sizeof begin);
    }
}
#endif

static void round_row(rounded_row *row, const real *x, ptrdiff_t blocks) {
    float inverse[ROW_BLOCKS];
    find_scales(row->scale, inverse, x, blocks);
    for (ptrdiff_t b = 0; b < blocks; b++) {
        round_block(row->value + b * STORED_BLOCK, x + b * STORED_BLOCK, inverse[b]);
#if EXCESS > 0
        const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), load_bytes(row->value + b * STORED_BLOCK));
        _mm256_storeu_si256((void *)(row->begin + b * QUADS), _mm256_mullo_epi32(sums, _mm256_set1_epi32(-EXCESS)));
#endif
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

static inline __m256i sum_quads(block_bytes w, const int8_t *value, const int32_t *begin) {
#if EXCESS > 0
    return _mm256_dpbusd_epi32(load_bytes(begin), w, load_bytes(value));
#else
    (void)begin; /* 2 * 128 * 127 < 2^15 */
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(load_bytes(value), w)), _mm256_set1_epi16(1));
#endif
}

static inline block_sum add_block(block_sum sum, block_bytes w, const int8_t *value, const int32_t *begin, float scale) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum_quads(w, value, begin)), _mm256_set1_ps(scale), sum);
}

static inline float total(block_sum a) {
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
#else
typedef float block_sum __attribute__((vector_size(4)));

static inline block_sum add_block(block_sum sum, block_bytes w, const int8_t *value, const int32_t *begin, float scale) {
    int32_t part = 0;
    (void)begin;
    for (int i = 0; i < STORED_BLOCK; i++) part += w.value[i] * value[i];
    return sum + (float)part * scale;
}

static inline float total(block_sum a) { return a[0]; }
#endif

/* Some blocks of a row of a weight; type is a constant wherever it is used. Meanwhile the bits of the scales of the row that comes next are
 * collected: they are too far apart to be loaded together, and what was stored in pieces cannot be loaded as a whole at once. */
typedef struct {
    const unsigned char *w, *next, *ahead; /* ahead: a row to be fetched */
    uint16_t *next_bits;
    ptrdiff_t blocks;
} weight_row;

static inline void collect_bits(const weight_row *r, ptrdiff_t b, const stored_type type) {
    r->next_bits[b] = scale_bits(r->next + b * size_of_block(type), type);
}

enum { CHAINS = 4 /* sums that do not wait for one another */ };

/* scale: of both factors, block by block. */
static inline __attribute__((always_inline)) float dot_int8(const weight_row *r, const rounded_row *x, const float *scale, const stored_type type) {
    const ptrdiff_t bytes = size_of_block(type);
    block_sum sum[CHAINS] = {{0}};
    ptrdiff_t b = 0;
    for (; b + CHAINS <= r->blocks; b += CHAINS) {
        fetch_bytes(r->ahead + b * bytes, CHAINS * bytes);
#pragma GCC unroll 4
        for (ptrdiff_t i = b; i < b + CHAINS; i++) {
            const block_bytes w = bytes_of_block(r->w + i * bytes, type);
            sum[i - b] = add_block(sum[i - b], w, x->value + i * STORED_BLOCK, x->begin + i * QUADS, scale[i]);
            collect_bits(r, i, type);
        }
    }
    for (; b < r->blocks; b++) {
        sum[0] = add_block(sum[0], bytes_of_block(r->w + b * bytes, type), x->value + b * STORED_BLOCK, x->begin + b * QUADS, scale[b]);
        collect_bits(r, b, type);
    }
    return total((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

#ifdef __AVX2__
/* The least that a nibble stands for is -this. */
static inline int excess_of_nibbles(const stored_type type) { return type == STORED_Q4_0 ? 8 : 12; }

/* Nibbles of n blocks, so many bytes apart; the rest is zero. */
static inline bundle_bytes load_nibbles(const unsigned char *w, ptrdiff_t bytes, const ptrdiff_t n) {
#if EXCESS > 0
    if (n == BUNDLE) {
        const __m256i low =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)w)), _mm_loadu_si128((const void *)(w + bytes)), 1);
        const __m512i three = _mm512_inserti32x4(_mm512_castsi256_si512(low), _mm_loadu_si128((const void *)(w + 2 * bytes)), 2);
        return (bundle_bytes)_mm512_inserti32x4(three, _mm_loadu_si128((const void *)(w + 3 * bytes)), 3);
    }
#endif
    bundle_bytes some = {0};
    for (ptrdiff_t i = 0; i < n; i++) memcpy((char *)&some + i * HALF_BLOCK, w + i * bytes, HALF_BLOCK);
    return some;
}

/* What nibbles stand for, plus the excess. */
static inline bundle_bytes values_of_nibbles(bundle_bytes nibbles, const stored_type type) {
    if (type == STORED_Q4_0) return nibbles;
    const __m128i value = _mm_add_epi8(_mm_loadu_si128((const void *)mxfp4_values), _mm_set1_epi8((char)excess_of_nibbles(type)));
#if EXCESS > 0
    return (bundle_bytes)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(value), (__m512i)nibbles);
#else
    return (bundle_bytes)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(value), (__m256i)nibbles);
#endif
}

/* sum + n blocks from b on, a bundle or what is left, times theirs of x; scale has four lanes for each. */
static inline __attribute__((always_inline)) bundle_floats add_bundle(bundle_floats sum, const weight_row *r, ptrdiff_t b, const ptrdiff_t n,
                                                                      const rounded_row *x, bundle_floats scale, const stored_type type) {
    const ptrdiff_t bytes = size_of_block(type);
    const bundle_bytes all = load_nibbles(r->w + b * bytes + (type == STORED_Q4_0 ? 2 : 1), bytes, n);
    const bundle_bytes low = values_of_nibbles(all & 15, type), high = values_of_nibbles((bundle_bytes)((bundle_pairs)all >> 4) & 15, type);
    const int8_t *value = x->value + b * STORED_BLOCK;
    bundle_fours fours;
    memcpy(&fours, x->begin + b * QUADS / 2, sizeof fours);
    fours = add_fours(add_fours(fours, low, load_bundle(value)), high, load_bundle(value + BUNDLE * HALF_BLOCK));
#if EXCESS > 0
    return (bundle_floats)_mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)fours), (__m512)scale, (__m512)sum);
#else
    return (bundle_floats)_mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)fours), (__m256)scale, (__m256)sum);
#endif
}

/* scale[0 .. BUNDLE], each four times */
static inline bundle_floats scales_of_bundle(const float *scale) {
    const __m256i two = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
#if EXCESS > 0
    const __m512i four = _mm512_inserti64x4(_mm512_castsi256_si512(two), _mm256_add_epi32(two, _mm256_set1_epi32(2)), 1);
    return (bundle_floats)_mm512_permutexvar_ps(four, _mm512_castps128_ps512(_mm_loadu_ps(scale)));
#else
    return (bundle_floats)_mm256_permutevar8x32_ps(_mm256_castsi256_ps(_mm256_castsi128_si256(_mm_loadl_epi64((const void *)scale))), two);
#endif
}

static inline float total_of_bundle(bundle_floats a) {
#if EXCESS > 0
    return total(_mm256_add_ps(_mm512_castps512_ps256((__m512)a), _mm512_extractf32x8_ps((__m512)a, 1)));
#else
    return total((__m256)a);
#endif
}

/* dot_int8 for blocks of nibbles, with a row that is rounded in bundles. */
static inline __attribute__((always_inline)) float dot_in_bundles(const weight_row *r, const rounded_row *x, const float *scale,
                                                                  const stored_type type) {
    enum { AT_ONCE = CHAINS * BUNDLE };
    const ptrdiff_t bytes = size_of_block(type);
    bundle_floats sum[CHAINS] = {{0}};
    ptrdiff_t b = 0;
    for (; b + AT_ONCE <= r->blocks; b += AT_ONCE) {
        fetch_bytes(r->ahead + b * bytes, AT_ONCE * bytes);
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS; i++) {
            const ptrdiff_t first = b + i * BUNDLE;
            sum[i] = add_bundle(sum[i], r, first, BUNDLE, x, scales_of_bundle(scale + first), type);
            for (ptrdiff_t j = first; j < first + BUNDLE; j++) collect_bits(r, j, type);
        }
    }
    for (; b < r->blocks; b += BUNDLE) {
        const ptrdiff_t n = smaller(r->blocks - b, BUNDLE);
        float of_these[BUNDLE] = {0};
        memcpy(of_these, scale + b, sizeof *scale * (size_t)n);
        sum[0] = add_bundle(sum[0], r, b, n, x, scales_of_bundle(of_these), type);
        for (ptrdiff_t j = b; j < b + n; j++) collect_bits(r, j, type);
    }
    return total_of_bundle((sum[0] + sum[1]) + (sum[2] + sum[3]));
}
#endif

/* ---- all rows ---------------------------------------------------------------------------------------------------------------------------- */

/* What a thread has rounded last, and for what type. */
typedef struct {
    rounded_row row[FEW_ROWS];
    const real *source[FEW_ROWS];
    stored_type type[FEW_ROWS];
} rounded_rows;

static void hold_row(rounded_rows *held, ptrdiff_t i, const real *x, ptrdiff_t blocks, stored_type type) {
    if (held->source[i] == x && held->type[i] == type) return;
#ifdef __AVX2__
    if (type != STORED_Q8_0) round_row_in_bundles(&held->row[i], x, blocks, excess_of_nibbles(type));
    else
#endif
        round_row(&held->row[i], x, blocks);
    held->source[i] = x, held->type[i] = type;
}

static inline __attribute__((always_inline)) float dot_rounded(const weight_row *r, const rounded_row *x, const float *scale,
                                                               const stored_type type) {
#ifdef __AVX2__
    if (type != STORED_Q8_0) return dot_in_bundles(r, x, scale, type);
#endif
    return dot_int8(r, x, scale, type);
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
            const weight_row row = {w, i + 1 < r->n ? w + stride : w, row_ahead(r, next, i, stride) + k0 * bytes, bits[~i & 1], blocks};
            real *y = p->y + (n0 + n) * p->out + r->first + i;
            scales_of_bits(scale, bits[i & 1], x->row[n].scale, blocks, type);
            const real sum = (real)dot_rounded(&row, &x->row[n], scale, type);
            *y = k0 > 0 ? *y + sum : sum;
        }
}

static void multiply_run_int8(const stored_product *p, const run *r, const run *next, rounded_rows *held) {
    const ptrdiff_t all = p->in / STORED_BLOCK, n0 = p->groups.start[r->group], rows = p->groups.start[r->group + 1] - n0;
    for (ptrdiff_t k0 = 0; k0 < all; k0 += ROW_BLOCKS) {
        const ptrdiff_t blocks = smaller(all - k0, ROW_BLOCKS);
        for (ptrdiff_t n = 0; n < rows; n++) hold_row(held, n, product_x(p, n0 + n) + k0 * STORED_BLOCK, blocks, p->w.type);
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
