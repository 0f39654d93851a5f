/* The same products with both factors rounded to bf16 and sums in f32 (the dot instruction of AVX-512 BF16, or matrix units: amx.c). A unit holds two
 * neighbours along the depth, since the instruction adds two products to each sum; an odd depth ends in a unit with zero. */

#ifdef __AMX_BF16__
enum { FILLED_DEPTH = 32 };
#else
enum { FILLED_DEPTH = 2 };
#endif

/* Depths are filled up with zeros to whole instructions. */
static inline ptrdiff_t filled(ptrdiff_t depth) { return ceiling(depth, FILLED_DEPTH) * FILLED_DEPTH; }

static inline __mmask16 first_lanes(ptrdiff_t n) { return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
static inline V load_first(const float *x, ptrdiff_t n) { return n >= 16 ? load(x) : (V)_mm512_maskz_loadu_ps(first_lanes(n), x); }

static inline float make_pair(float low, float high) { return _mm_cvtss_f32((__m128)_mm_cvtneps_pbh(_mm_setr_ps(low, high, 0, 0))); }

/* Eight floats as four pairs. */
static inline V4 to_pairs(const float *source) { return (V4)_mm256_cvtneps_pbh(_mm256_loadu_ps(source)); }

/* Of 32 values in bf16 the first 16 side by side with the others. */
static inline V side_by_side(__m512i both) {
    static const uint16_t order[32] __attribute__((aligned(64))) = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (V)_mm512_permutexvar_epi16(_mm512_load_si512(order), both);
}

static inline __m256i load_first_bf16(const uint16_t *x, ptrdiff_t n) {
    return n >= 16 ? _mm256_loadu_si256((const void *)x) : _mm256_maskz_loadu_epi16(first_lanes(n), x);
}

/* Row i of o, which lies ALONG, its first n columns, at most 16, from j on side by side with the next row's; zero beyond, and where the depth ends. */
static inline V pairs_at(const operand *o, ptrdiff_t i, ptrdiff_t end, ptrdiff_t j, ptrdiff_t n) {
    const bool even = i < end, odd = i + 1 < end;
    if (o->bf16) {
        const __m256i first = even ? load_first_bf16(source_row_bf16(o, i) + j, n) : _mm256_setzero_si256();
        return side_by_side(_mm512_inserti64x4(_mm512_castsi256_si512(first),
                                               odd ? load_first_bf16(source_row_bf16(o, i + 1) + j, n) : _mm256_setzero_si256(), 1));
    }
    const V first = even ? load_first(source_row(o, i) + j, n) : (V){0};
    return side_by_side((__m512i)_mm512_cvtne2ps_pbh((__m512)(odd ? load_first(source_row(o, i + 1) + j, n) : (V){0}), (__m512)first));
}

static inline void pack_row_bf16(real *a, const float *source, ptrdiff_t depth) {
    ptrdiff_t k = 0;
    for (; k + 16 <= depth; k += 16) _mm256_storeu_si256((__m256i *)(void *)(a + k / 2), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(source + k)));
    for (; k < depth; k += 2) a[k / 2] = make_pair(source[k], k + 1 < depth ? source[k + 1] : 0);
    for (; k < filled(depth); k += 2) a[k / 2] = 0;
}

static inline void copy_row_bf16(real *a, const uint16_t *source, ptrdiff_t depth) {
    memcpy(a, source, sizeof *source * (size_t)depth);
    memset((uint16_t *)(void *)a + depth, 0, sizeof *source * (size_t)(filled(depth) - depth));
}

static void pack_a_bf16(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    if (o->lies == ACROSS) {
        for (ptrdiff_t i = 0; i < rows; i++, a += A_STRIDE) {
            if (o->bf16) copy_row_bf16(a, source_row_bf16(o, first + i) + k0, depth);
            else pack_row_bf16(a, source_row(o, first + i) + k0, depth);
        }
        return;
    }
    ptrdiff_t panel = a_panel_units(ALONG, ceiling(depth, 2));
    for (ptrdiff_t k = 0; k < depth; k += 2, a += PANEL_ROWS)
        for (ptrdiff_t i = 0; i < rows; i += PANEL_ROWS) /* 16 lanes of which the last four are overwritten next, or lie behind the panel */
            store(a + i / PANEL_ROWS * panel, pairs_at(o, k0 + k, k0 + depth, first + i, rows - i));
}

static inline void pack_four_columns_bf16(real *panel, const float *const source[4], ptrdiff_t k, ptrdiff_t depth) {
    for (; source[3] && k + 8 <= depth; k += 8)
        turn_block(panel + k / 2 * PANEL_COLUMNS, to_pairs(source[0] + k), to_pairs(source[1] + k), to_pairs(source[2] + k), to_pairs(source[3] + k));
    for (; k < depth; k += 2)
        for (int i = 0; i < 4; i++) panel[k / 2 * PANEL_COLUMNS + i] = source[i] ? make_pair(source[i][k], k + 1 < depth ? source[i][k + 1] : 0) : 0;
    for (; k < filled(depth); k += 2) store4(panel + k / 2 * PANEL_COLUMNS, (V4){0});
}

/* Sixteen columns, as pack_wide_columns has it; the next sixteen are fetched meanwhile. */
static inline ptrdiff_t pack_wide_columns_bf16(real *panel, const operand *o, ptrdiff_t first, ptrdiff_t k0, ptrdiff_t depth) {
    ptrdiff_t k = 0;
    for (; k + 2 * TURN_BY <= depth; k += 2 * TURN_BY) {
        __m512 row[TURN_BY];
#pragma GCC unroll 16
        for (int i = 0; i < TURN_BY; i++) {
            const float *source = source_row(o, first + i) + k0 + k, *next = source + TURN_BY * o->stride;
            __builtin_prefetch(next, 0, 2), __builtin_prefetch(next + LINE, 0, 2);
            row[i] = (__m512)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(source + TURN_BY), _mm512_loadu_ps(source));
        }
        turn_wide_block(panel + k / 2 * PANEL_COLUMNS, PANEL_COLUMNS, 0, row);
    }
    return k;
}

/* Where the depth runs over rows, these are read in order, each to its end. */
static void pack_b_along_bf16(real *b, ptrdiff_t panel_units, const operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth) {
    const ptrdiff_t width = ceiling(columns, PANEL_COLUMNS) * PANEL_COLUMNS;
    for (ptrdiff_t k = 0; k < filled(depth); k += 2, b += PANEL_COLUMNS)
        for (ptrdiff_t j = 0; j < width; j += LANES)
            store(b + j / PANEL_COLUMNS * panel_units + j % PANEL_COLUMNS, pairs_at(o, k0 + k, k0 + depth, first + j, columns - j));
}

static void pack_b_bf16(real *b, ptrdiff_t panel_units, const operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth) {
    if (o->lies == ALONG) {
        pack_b_along_bf16(b, panel_units, o, first, columns, k0, depth);
        return;
    }
    for (ptrdiff_t j = 0; j < columns; j += PANEL_COLUMNS, b += panel_units) {
        ptrdiff_t done = 0;
        for (ptrdiff_t column = 0; column < PANEL_COLUMNS; column += 4) {
            const real *source[4];
            if (column % TURN_BY == 0)
                done = j + column + TURN_BY <= columns ? pack_wide_columns_bf16(b + column, o, first + j + column, k0, depth) : 0;
            for (ptrdiff_t i = 0; i < 4; i++) source[i] = j + column + i < columns ? source_row(o, first + j + column + i) + k0 : NULL;
            pack_four_columns_bf16(b + column, source, done, depth);
        }
    }
}

static void pack_stored_bf16(real *b, ptrdiff_t panel_units, const stored_operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0,
                             ptrdiff_t depth) {
    pack_stored_by(pack_b_bf16, b, panel_units, o, first, columns, k0, depth);
}

#ifdef __AMX_BF16__
#include "kernels/cpu/amx.c"
#else
/* As add_product has it. */
static inline __attribute__((always_inline)) V add_pairs(V sum, const real *a, V b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(_mm512_set1_ps(*a)), "v"(b));
    return sum;
}

static void multiply_panels_bf16(const panels *p) { multiply_panels_by(add_pairs, p); }

static inline V add_square_pairs(V sum, V factor) { return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)factor, (__m512bh)factor); }
static double peak_flops_bf16(double seconds) { return peak_by(add_square_pairs, (V)_mm512_set1_epi32(0x3F003F00), 2, seconds); } /* halves */

static bool worth_packing_bf16(ptrdiff_t in, double rows) { return (void)in, (void)rows, true; } /* rounding comes with it */

static const arithmetic pairs = {.values = 2,
                                 .units = 1,
                                 .deep = 2 * DEPTH,
                                 .panel_rows = PANEL_ROWS,
                                 .reads_rows = 1,
                                 .pack_a = pack_a_bf16,
                                 .pack_b = pack_b_bf16,
                                 .multiply = multiply_panels_bf16,
                                 .pack_stored = pack_stored_bf16,
                                 .begin = nothing,
                                 .end = nothing};
#endif

static void linear_bf16(real *y, rows_of x, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) { linear_by(&pairs, y, x, w, g, in, out); }
static void linear_dx_bf16(real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    linear_dx_by(&pairs, dx, dy, w, g, in, out, accumulate);
}
static void linear_dw_bf16(real *dw, real *squares, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate, bool soon) {
    linear_dw_by(&pairs, dw, squares, dy, x, g, in, out, accumulate, soon);
}
static void linear_stored_bf16(const stored_product *each, int n) { linear_stored_by(&pairs, each, n); }
static ptrdiff_t packed_size_bf16(ptrdiff_t in, ptrdiff_t out) { return packed_size_by(&pairs, in, out); }
static void pack_rows_bf16(real *packed, const real *w, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out) {
    pack_rows_by(&pairs, packed, w, first, rows, in, out);
}
static ptrdiff_t squares_size_bf16(ptrdiff_t in, ptrdiff_t out) { return squares_size_by(&pairs, in, out); }
static void attention_bf16(real *y, real *log_sum, const attention_inputs *in, attention_span span, attention_shape shape) {
    attention_by(&pairs, y, log_sum, in, span, shape);
}
static void attention_backward_bf16(const attention_gradients *d, const real *dy, const real *y, const real *log_sum, const attention_inputs *in,
                                    attention_span span, attention_shape shape) {
    attention_backward_by(&pairs, d, dy, y, log_sum, in, span, shape);
}

static const struct products products_bf16 = {.rounds = true,
                                              .linear = linear_bf16,
                                              .linear_dx = linear_dx_bf16,
                                              .linear_dw = linear_dw_bf16,
                                              .linear_stored = linear_stored_bf16,
                                              .attention = attention_bf16,
                                              .attention_backward = attention_backward_bf16,
                                              .packed_size = packed_size_bf16,
                                              .pack_rows = pack_rows_bf16,
                                              .squares_size = squares_size_bf16,
                                              .worth_packing = worth_packing_bf16};
