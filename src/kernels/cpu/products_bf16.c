/* The same products with both factors rounded to bf16 and sums in f32 (the dot instruction of AVX-512 BF16): twice the work per instruction.
 * Only the panels differ: they hold pairs of neighbouring depths, since the instruction adds two products to each sum.
 *
 *     A panel: (depth / 2, PANEL_ROWS) pairs      B panel: (depth / 2, PANEL_COLUMNS) pairs      an odd depth ends in a pair with zero */
#include <immintrin.h>

enum { DEPTH_BF16 = 2 * DEPTH };

typedef uint32_t pair;

static inline __mmask16 first_lanes(ptrdiff_t n) { return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* Eight floats as four pairs. */
static inline V4 to_pairs(const float *source) { return (V4)_mm256_cvtneps_pbh(_mm256_loadu_ps(source)); }

static inline pair make_pair(float low, float high) {
    __m128i both = (__m128i)_mm_cvtneps_pbh(_mm_setr_ps(low, high, 0, 0));
    return (pair)_mm_cvtsi128_si32(both);
}

static void pack_four_rows_bf16(pair *panel, const float *const source[4], ptrdiff_t width, ptrdiff_t depth) {
    ptrdiff_t k = 0;
    for (; k + 8 <= depth; k += 8, panel += 4 * width) {
        V4 a = to_pairs(source[0] + k), b = to_pairs(source[1] + k), c = to_pairs(source[2] + k), d = to_pairs(source[3] + k);
        turn_block(panel, width, a, b, c, d);
    }
    for (; k < depth; k += 2, panel += width)
        for (int i = 0; i < 4; i++) panel[i] = make_pair(source[i][k], k + 1 < depth ? source[i][k + 1] : 0);
}

/* Two source rows, element by element side by side. */
static inline void pack_two_depths(pair *panel, const float *even, const float *odd, ptrdiff_t n, ptrdiff_t width) {
    for (ptrdiff_t i = 0; i < width; i += 16) {
        __mmask16 there = first_lanes(n - i);
        __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(there, even + i)));
        __m512i high = odd ? _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(there, odd + i))) : _mm512_setzero_si512();
        _mm512_mask_storeu_epi32(panel + i, first_lanes(width - i), _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/* panel[k / 2 * width + i] = elements (first + i, k0 + k) and (first + i, k0 + k + 1) for i < n, zero for n <= i < width */
static inline __attribute__((always_inline)) void pack_panel_bf16(pair *panel, const operand *o, ptrdiff_t first, ptrdiff_t n, const int width, ptrdiff_t k0,
                                                                  ptrdiff_t depth) {
    if (o->lies == ALONG) {
        for (ptrdiff_t k = 0; k < depth; k += 2)
            pack_two_depths(panel + k / 2 * width, source_row(o, k0 + k) + first, k + 1 < depth ? source_row(o, k0 + k + 1) + first : NULL, n, width);
        return;
    }
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const float *const source[] = {source_row(o, first + i) + k0, source_row(o, first + i + 1) + k0, source_row(o, first + i + 2) + k0,
                                       source_row(o, first + i + 3) + k0};
        pack_four_rows_bf16(panel + i, source, width, depth);
    }
    for (; i < width; i++) {
        const float *source = i < n ? source_row(o, first + i) + k0 : NULL;
        for (ptrdiff_t k = 0; k < depth; k += 2)
            panel[k / 2 * width + i] = source ? make_pair(source[k], k + 1 < depth ? source[k + 1] : 0) : 0;
    }
}

static void pack_rows_bf16(pair *panel, const operand *o, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t depth) {
    pack_panel_bf16(panel, o, first, n, PANEL_ROWS, k0, depth);
}
static void pack_columns_bf16(pair *panel, const operand *o, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t depth) {
    pack_panel_bf16(panel, o, first, n, PANEL_COLUMNS, k0, depth);
}

static inline __attribute__((always_inline)) void micro_kernel_bf16(float *c, ptrdiff_t stride, const pair *a, const pair *b, ptrdiff_t pairs,
                                                                    const int rows, ptrdiff_t n, bool accumulate) {
    __m512 sum[PANEL_ROWS][PANEL_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (ptrdiff_t k = 0; k < pairs; k++, a += PANEL_ROWS, b += PANEL_COLUMNS) {
        __m512bh b0 = (__m512bh)_mm512_load_si512(b), b1 = (__m512bh)_mm512_load_si512(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            __m512bh both = (__m512bh)_mm512_set1_epi32((int)a[i]);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], both, b0), sum[i][1] = _mm512_dpbf16_ps(sum[i][1], both, b1);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, c += stride)
        for (int j = 0; j < PANEL_VECTORS; j++) {
            __mmask16 there = first_lanes(n - j * LANES);
            __m512 before = accumulate ? _mm512_maskz_loadu_ps(there, c + j * LANES) : _mm512_setzero_ps();
            _mm512_mask_storeu_ps(c + j * LANES, there, _mm512_add_ps(before, sum[i][j]));
        }
}

static void multiply_panels_bf16(float *c, ptrdiff_t stride, const pair *a, const pair *b, ptrdiff_t pairs, ptrdiff_t rows, ptrdiff_t n, bool accumulate) {
    switch (rows) {
#define SHORT(r) case r: micro_kernel_bf16(c, stride, a, b, pairs, r, n, accumulate); return;
        SHORT(1) SHORT(2) SHORT(3) SHORT(4) SHORT(5) SHORT(6) SHORT(7) SHORT(8) SHORT(9) SHORT(10) SHORT(11)
#undef SHORT
    default: micro_kernel_bf16(c, stride, a, b, pairs, PANEL_ROWS, n, accumulate);
    }
}

static void multiply_tile_bf16(float *c, ptrdiff_t stride, const operand *a, ptrdiff_t row0, ptrdiff_t m, const operand *b, ptrdiff_t column0, ptrdiff_t n,
                               ptrdiff_t depth, bool accumulate) {
    pair a_panel[DEPTH_BF16 / 2 * PANEL_ROWS] __attribute__((aligned(64)));
    pair b_panels[DEPTH_BF16 / 2 * TILE_COLUMNS] __attribute__((aligned(64)));
    if (depth == 0 && !accumulate)
        for (ptrdiff_t i = 0; i < m; i++) memset(c + i * stride, 0, sizeof(float) * (size_t)n);
    for (ptrdiff_t k0 = 0; k0 < depth; k0 += DEPTH_BF16, accumulate = true) {
        ptrdiff_t deep = depth - k0 < DEPTH_BF16 ? depth - k0 : DEPTH_BF16, pairs = ceiling(deep, 2);
        for (ptrdiff_t j = 0; j < n; j += PANEL_COLUMNS)
            pack_columns_bf16(b_panels + j * pairs, b, column0 + j, n - j < PANEL_COLUMNS ? n - j : PANEL_COLUMNS, k0, deep);
        for (ptrdiff_t i = 0; i < m; i += PANEL_ROWS) {
            ptrdiff_t rows = m - i < PANEL_ROWS ? m - i : PANEL_ROWS;
            pack_rows_bf16(a_panel, a, row0 + i, rows, k0, deep);
            for (ptrdiff_t j = 0; j < n; j += PANEL_COLUMNS)
                multiply_panels_bf16(c + i * stride + j, stride, a_panel, b_panels + j * pairs, pairs, rows, n - j, accumulate);
        }
    }
}

static void multiply_groups_bf16(grouped_product p) {
    p.multiply = multiply_tile_bf16;
    multiply_groups(&p);
}

static void linear_bf16(float *y, rows_of x, float *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    if (most_rows(g) <= FEW_ROWS) linear_few_rows(y, x, w, g, in, out);
    else multiply_groups_bf16(forward_product(y, x, w, g, in, out));
}

static void linear_dx_bf16(float *dx, rows_of dy, float *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    multiply_groups_bf16(input_product(dx, dy, w, g, in, out, accumulate));
}

static void linear_dw_bf16(float *dw, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    multiply_groups_bf16(weight_product(dw, dy, x, g, in, out));
}

static const struct products products_bf16 = {linear_bf16, linear_dx_bf16, linear_dw_bf16};

static double peak_flops_bf16(double seconds) {
    enum { CHAINS = 24, ROUNDS = 1000 };
    __m512 sum[CHAINS];
    __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3F003F00); /* one half, twice */
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    double begin = clock_seconds(), now = begin, operations = 0;
    while (now - begin < seconds) {
        for (int round = 0; round < ROUNDS; round++)
#pragma GCC unroll 24
            for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], factor, factor);
        operations += 4.0 * ROUNDS * CHAINS * LANES;
        now = clock_seconds();
    }
    __m512 total = _mm512_setzero_ps();
    for (int i = 0; i < CHAINS; i++) total = _mm512_add_ps(total, sum[i]);
    return _mm512_reduce_add_ps(total) == 0 ? 0 : operations / (now - begin);
}
