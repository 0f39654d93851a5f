/* Forward products of weights in blocks of q8_0, q4_0 or mxfp4 with rows that are rounded to eight bits as they are packed (dots_int8.c has them for
 * few rows). A unit holds four neighbouring values:
 *
 *     a block of a B panel: (QUADS, PANEL_COLUMNS) units, then (PANEL_COLUMNS) scales; zero-padded
 *     a block of a row of A: (QUADS) units, then its scale and where its sums begin
 *
 * The dot instruction multiplies unsigned bytes by signed ones. Weights are packed as value + 128, so the sums of a block begin at -128 times
 * the sum of the row's values: one number for a whole row of sums, where the other way round it would be read with every column. */

enum { A_BLOCK_UNITS = QUADS + 2, B_BLOCK_UNITS = QUADS + 1 };

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

static void pack_a_int8(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    const ptrdiff_t blocks = depth / STORED_BLOCK;
    float scale[A_STRIDE / A_BLOCK_UNITS], inverse[A_STRIDE / A_BLOCK_UNITS];
    int8_t value[STORED_BLOCK];
    for (ptrdiff_t i = 0; i < rows; i++, a += A_STRIDE) {
        const real *x = source_row(o, first + i) + k0;
        find_scales(scale, inverse, x, blocks);
        for (ptrdiff_t b = 0; b < blocks; b++) {
            real *to = a + b * A_BLOCK_UNITS;
            lane_integer begin = 0;
            round_block(value, x + b * STORED_BLOCK, inverse[b]);
            for (int j = 0; j < STORED_BLOCK; j++) begin -= 128 * value[j];
            for (int k = 0; k < QUADS; k++) memcpy(to + k, value + 4 * k, 4);
            to[QUADS] = (real)scale[b];
            memcpy(to + QUADS + 1, &begin, sizeof begin);
        }
    }
}

/* A block of one column of a panel. */
static inline void pack_block(real *panel, const unsigned char *w, const stored_type type) {
    const block_bytes bytes = bytes_of_block(w, type);
    uint8_t value[STORED_BLOCK];
    memcpy(value, &bytes, sizeof value);
    for (int i = 0; i < STORED_BLOCK; i++) value[i] ^= 128 ^ EXCESS;
    for (int k = 0; k < QUADS; k++) memcpy(panel + k * PANEL_COLUMNS, value + 4 * k, 4);
    panel[QUADS * PANEL_COLUMNS] = (real)(type == STORED_MXFP4 ? mxfp4_scale(*w) : float_of_half(pair_of_bytes(w)));
}

/* Sixteen columns, all of which are there; as many blocks as come in pairs. Returns how many. w: of the first; columns lie stride bytes apart */
#if HAS_WIDE_BLOCKS
static inline __attribute__((always_inline)) ptrdiff_t pack_wide_blocks(real *panel, const unsigned char *w, ptrdiff_t stride, ptrdiff_t blocks,
                                                                        const stored_type type) {
    const ptrdiff_t bytes = size_of_block(type), whole = blocks / 2 * 2;
    uint16_t bits[A_STRIDE / A_BLOCK_UNITS][TURN_BY];
    float ones[TURN_BY];
    for (int i = 0; i < TURN_BY; i++) ones[i] = 1;
    for (ptrdiff_t b = 0; b < whole; b += 2) {
        __m512 row[TURN_BY];
#pragma GCC unroll 16
        for (int i = 0; i < TURN_BY; i++) {
            const unsigned char *even = w + i * stride + b * bytes, *odd = even + bytes;
            const __m512i pair = _mm512_inserti64x4(_mm512_castsi256_si512(bytes_of_block(even, type)), bytes_of_block(odd, type), 1);
            row[i] = (__m512)_mm512_xor_si512(pair, _mm512_set1_epi8((char)(128 ^ EXCESS)));
            bits[b][i] = scale_bits(even, type), bits[b + 1][i] = scale_bits(odd, type);
        }
        turn_wide_block(panel + b * B_BLOCK_UNITS * PANEL_COLUMNS, PANEL_COLUMNS, row);
    }
    for (ptrdiff_t b = 0; b < whole; b++) scales_of_bits(panel + (b * B_BLOCK_UNITS + QUADS) * PANEL_COLUMNS, bits[b], ones, TURN_BY, type);
    return whole;
}
#else
static inline ptrdiff_t pack_wide_blocks(real *panel, const unsigned char *w, ptrdiff_t stride, ptrdiff_t blocks, const stored_type type) {
    return (void)panel, (void)w, (void)stride, (void)blocks, (void)type, 0;
}
#endif

static inline __attribute__((always_inline)) void pack_stored_int8_by(real *b, ptrdiff_t panel_units, const stored_operand *o, ptrdiff_t first,
                                                                      ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth, const stored_type type) {
    const ptrdiff_t blocks = depth / STORED_BLOCK, bytes = size_of_block(type);
    for (ptrdiff_t j = 0; j < columns; j += PANEL_COLUMNS, b += panel_units) {
        const ptrdiff_t there = smaller(columns - j, PANEL_COLUMNS);
        const unsigned char *w = o->bytes + (first + j) * o->stride + k0 / STORED_BLOCK * bytes;
        ptrdiff_t done = 0;
        if (there < PANEL_COLUMNS) memset(b, 0, sizeof(real) * (size_t)(blocks * B_BLOCK_UNITS * PANEL_COLUMNS));
        for (ptrdiff_t column = 0; column < there; column++) {
            if (column % TURN_BY == 0)
                done = column + TURN_BY <= there ? pack_wide_blocks(b + column, w + column * o->stride, o->stride, blocks, type) : 0;
            for (ptrdiff_t i = done; i < blocks; i++)
                pack_block(b + i * B_BLOCK_UNITS * PANEL_COLUMNS + column, w + column * o->stride + i * bytes, type);
        }
    }
}

static void pack_stored_int8(real *b, ptrdiff_t panel_units, const stored_operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0,
                             ptrdiff_t depth) {
    if (o->type == STORED_Q8_0) pack_stored_int8_by(b, panel_units, o, first, columns, k0, depth, STORED_Q8_0);
    else if (o->type == STORED_Q4_0) pack_stored_int8_by(b, panel_units, o, first, columns, k0, depth, STORED_Q4_0);
    else pack_stored_int8_by(b, panel_units, o, first, columns, k0, depth, STORED_MXFP4);
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

static const arithmetic blocks_of_bytes = {STORED_BLOCK,         B_BLOCK_UNITS,   A_STRIDE / A_BLOCK_UNITS / 2 * 2 * STORED_BLOCK, pack_a_int8, NULL,
                                           multiply_panels_int8, pack_stored_int8};

/* Pairs of bytes have no scale that a block of them shares. */
static void linear_stored_int8(real *y, rows_of x, const stored_matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    grouped_product p = {.how = &blocks_of_bytes, .c = y, .a = {x.x, in, x.row, ACROSS}, .stored = w, .groups = g, .m = -1, .n = out, .depth = in};
    if (stored_formats[w->type].values == 1) linear_stored(y, x, w, g, in, out);
    else if (most_rows(g) > FEW_ROUNDED) multiply_groups(&p);
    else multiply_few_rows_int8(&(few_rows){.y = y, .x = x, .stored = w, .groups = g, .in = in, .out = out, .stride = stored_row_bytes(w->type, in)});
}
