/* Forward products of weights in eight bits with rows that are rounded to eight bits as they are packed, both in blocks of INT8_BLOCK values
 * along the depth with a scale each. A unit holds four neighbouring values:
 *
 *     a block of a B panel: (INT8_BLOCK / 4, PANEL_COLUMNS) units, then (PANEL_COLUMNS) scales; zero-padded
 *     a block of a row of A: (INT8_BLOCK / 4) units, then its scale and where its sums begin
 *
 * The dot instruction multiplies unsigned bytes by signed ones. Weights are packed as value + 128, so the sums of a block begin at -128 times
 * the sum of the row's values: one number for a whole row of sums, where the other way round it would be read with every column. */
#include <float.h>

enum { QUADS = INT8_BLOCK / 4, A_BLOCK_UNITS = QUADS + 2, B_BLOCK_UNITS = QUADS + 1 };

static inline lane_integer as_integer(real unit) {
    lane_integer i;
    memcpy(&i, &unit, sizeof i);
    return i;
}

/* sum + four values of a, signed, times four of each lane of b, unsigned */
#if defined(__AVX512VNNI__) && REAL_BYTES == 4
#define HAS_INT8_DOT
static inline V add_quads(V sum, V a, V b) { /* with the intrinsic, whose sums are of another type, gcc 12 copies each of them at every step */
    __asm__("vpdpbusd %1, %2, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}
static inline __attribute__((always_inline)) V add_quad(V sum, const real *a, V b) { return add_quads(sum, (V)((VI){0} + as_integer(*a)), b); }
static inline V add_square_quads(V sum, V factor) { return add_quads(sum, factor, factor); }
static double peak_flops_int8(double seconds) { return peak_by(add_square_quads, (V)((VI){0} + 0x01010101), 4, seconds); }
#else
static inline __attribute__((always_inline)) V add_quad(V sum, const real *a, V b) {
    const lane_integer four = as_integer(*a);
    VI total = (VI)sum;
    for (int i = 0; i < 4; i++) total += ((VI)b >> 8 * i & 255) * (lane_integer)(int8_t)(four >> 8 * i);
    return (V)total;
}
#endif

/* ---- packing ----------------------------------------------------------------------------------------------------------------------------- */

/* A block of a row. Sizes are compared as the integers that floats are: so NaN is the largest. */
static inline void round_block(real *a, const real *x) {
    const float rounder = 12582912; /* 1.5 * 2^23: after adding it, the low byte is the rounded number */
    uint32_t bits[INT8_BLOCK], size = 0, sum = 0, nought;
    int8_t value[INT8_BLOCK];
    float largest;
    for (int i = 0; i < INT8_BLOCK; i++) {
        float number = (float)x[i];
        memcpy(&bits[i], &number, sizeof number);
        bits[i] &= INT32_MAX;
        size = bits[i] > size ? bits[i] : size;
    }
    memcpy(&largest, &size, sizeof size), memcpy(&nought, &rounder, sizeof nought);
    const float scale = largest / 127, inverse = scale < FLT_MIN ? 0 : 1 / scale;
    for (int i = 0; i < INT8_BLOCK; i++) {
        float shifted = fmaf((float)x[i], inverse, rounder);
        memcpy(&bits[i], &shifted, sizeof shifted);
        sum += bits[i] - nought;
    }
    for (int i = 0; i < INT8_BLOCK; i++) value[i] = (int8_t)bits[i];
    for (int k = 0; k < QUADS; k++) memcpy(a + k, value + 4 * k, 4);
    a[QUADS] = (real)scale;
    const lane_integer begin = (int32_t)(sum * -128u);
    memcpy(a + QUADS + 1, &begin, sizeof begin);
}

static void pack_a_int8(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    for (ptrdiff_t i = 0; i < rows; i++, a += A_STRIDE)
        for (ptrdiff_t k = 0; k < depth; k += INT8_BLOCK) round_block(a + k / INT8_BLOCK * A_BLOCK_UNITS, source_row(o, first + i) + k0 + k);
}

static void pack_int8(real *packed, const matrix_int8 *w, ptrdiff_t in, ptrdiff_t out) {
    const ptrdiff_t blocks = in / INT8_BLOCK;
    for (ptrdiff_t j = 0; j < out; j += PANEL_COLUMNS)
        for (ptrdiff_t i = 0; i < blocks; i++, packed += B_BLOCK_UNITS * PANEL_COLUMNS) {
            memset(packed, 0, sizeof(real) * B_BLOCK_UNITS * PANEL_COLUMNS);
            for (ptrdiff_t column = 0; column < smaller(out - j, PANEL_COLUMNS); column++) {
                const int8_t *value = w->value + (j + column) * in + i * INT8_BLOCK;
                for (int k = 0; k < QUADS; k++) {
                    uint8_t four[4];
                    for (int byte = 0; byte < 4; byte++) four[byte] = (uint8_t)(value[4 * k + byte] + 128);
                    memcpy(packed + k * PANEL_COLUMNS + column, four, sizeof four);
                }
                packed[QUADS * PANEL_COLUMNS + column] = (real)w->scale[(j + column) * blocks + i];
            }
        }
}

/* ---- the micro-kernel -------------------------------------------------------------------------------------------------------------------- */

/* The sums of a block are kept in registers; there are not enough for those of the whole depth, which are needed once in a block. */
static inline __attribute__((always_inline)) void micro_kernel_int8(add_unit *add, const panels *p, const ptrdiff_t a_row, const ptrdiff_t a_step,
                                                                    const ptrdiff_t b_step, const int most) {
    V sum[PANEL_ROWS][PANEL_VECTORS], part[PANEL_ROWS][PANEL_VECTORS];
    const real *a = p->a, *b = p->b;
    begin_sums(sum, p, most);
    for (ptrdiff_t blocks = p->units / B_BLOCK_UNITS; blocks > 0; blocks--, a += 2 * a_step, b += b_step) {
#pragma GCC unroll 16
        for (int i = 0; i < most; i++) part[i][0] = part[i][1] = (V)((VI){0} + as_integer(a[i * a_row + A_BLOCK_UNITS - 1]));
        for (int k = 0; k < QUADS; k++, a += a_step, b += b_step) {
            V b0 = load(b), b1 = load(b + LANES);
            __builtin_prefetch(b + FETCH_AHEAD * b_step), __builtin_prefetch(b + FETCH_AHEAD * b_step + LANES);
#pragma GCC unroll 16
            for (int i = 0; i < most; i++) part[i][0] = add(part[i][0], a + i * a_row, b0), part[i][1] = add(part[i][1], a + i * a_row, b1);
        }
        const V scale0 = load(b), scale1 = load(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < most; i++) {
            const real scale = a[i * a_row];
            sum[i][0] += __builtin_convertvector((VI)part[i][0], V) * (scale * scale0);
            sum[i][1] += __builtin_convertvector((VI)part[i][1], V) * (scale * scale1);
        }
    }
    keep_sums(sum, p, most);
}

static void multiply_panels_int8(const panels *p) { multiply_rows_by(micro_kernel_int8, add_quad, p, PANEL_COLUMNS); }

static const arithmetic blocks_of_bytes = {INT8_BLOCK, B_BLOCK_UNITS, A_STRIDE / A_BLOCK_UNITS * INT8_BLOCK, pack_a_int8, NULL, multiply_panels_int8, NULL};

static void linear_int8(real *y, rows_of x, const real *const *packed, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    multiply_groups(&(grouped_product){.how = &blocks_of_bytes,
                                       .c = y,
                                       .a = {x.x, in, x.row, ACROSS},
                                       .b = {NULL, in, NULL, ACROSS},
                                       .packed_each = packed,
                                       .groups = g,
                                       .m = -1,
                                       .n = out,
                                       .depth = in});
}

static ptrdiff_t packed_size_int8(ptrdiff_t in, ptrdiff_t out) { return panels_size(&blocks_of_bytes, out, in); }
