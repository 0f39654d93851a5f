/* How factors of a product are laid out for the micro-kernel (products.c). What is packed are units of real's size: a number, or two
 * neighbours along the depth as bf16 (products_bf16.c). In blocks of DEPTH units:
 *
 *     B panel: (units, PANEL_COLUMNS), zero-padded
 *     A panel: (PANEL_ROWS, A_STRIDE), rows as they lie, where the source runs along the depth
 *              (units, PANEL_ROWS), zero-padded, where it runs along the panel */

enum {
    PANEL_ROWS = (int)VECTOR_BYTES == 64 ? 12 : (int)VECTOR_BYTES == 32 ? 6 : (int)VECTOR_BYTES == 16 ? 8 : 4,
    PANEL_VECTORS = 2,
    PANEL_COLUMNS = PANEL_VECTORS * LANES,
    DEPTH = 256,           /* units */
    A_STRIDE = DEPTH + 16, /* no power of two, or rows would compete for the same sets of the cache */
};

typedef enum {
    ACROSS, /* a panel's rows (of B: columns) are rows of the source     x, dy, w of y = x w^T */
    ALONG   /* the depth runs over rows of the source                    w of dx = dy w; both of dw = dy^T x */
} direction;

typedef struct {
    const real *x;
    ptrdiff_t stride;
    const int32_t *row; /* picks source rows; NULL: in order */
    direction lies;
} operand;

static inline const real *source_row(const operand *o, ptrdiff_t i) { return o->x + (o->row ? o->row[i] : i) * o->stride; }
static inline ptrdiff_t ceiling(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t a_panel_units(direction lies, ptrdiff_t units) { return lies == ACROSS ? PANEL_ROWS * A_STRIDE : PANEL_ROWS * units + LANES; }

/* Rows a, b, c, d of four 32-bit values become columns of the panel. */
static inline void turn_block(void *panel, V4 a, V4 b, V4 c, V4 d) {
    float *column = panel;
    V4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    V4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store4(column, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store4(column + PANEL_COLUMNS, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store4(column + 2 * PANEL_COLUMNS, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store4(column + 3 * PANEL_COLUMNS, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/* rows first .. first + rows of A, depth k0 .. k0 + depth */
static void pack_a(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    if (o->lies == ACROSS) {
        for (ptrdiff_t i = 0; i < rows; i++, a += A_STRIDE) memcpy(a, source_row(o, first + i) + k0, sizeof(real) * (size_t)depth);
        return;
    }
    ptrdiff_t panel = a_panel_units(ALONG, depth);
    for (ptrdiff_t k = 0; k < depth; k++, a += PANEL_ROWS) {
        const real *source = source_row(o, k0 + k) + first;
        ptrdiff_t i = 0;
        for (; i + PANEL_ROWS <= rows; i += PANEL_ROWS) memcpy(a + i / PANEL_ROWS * panel, source + i, sizeof(real) * PANEL_ROWS);
        if (i == rows) continue;
        real *last = a + i / PANEL_ROWS * panel;
        memset(last, 0, sizeof(real) * PANEL_ROWS);
        memcpy(last, source + i, sizeof(real) * (size_t)(rows - i));
    }
}

/* Four columns of a B panel from four source rows, NULL where there is none; floats in blocks of 4 x 4 that are turned in registers. */
static inline void pack_four_columns(real *panel, const real *const source[4], ptrdiff_t depth) {
    ptrdiff_t k = 0;
    for (; sizeof(real) == sizeof(float) && PANEL_COLUMNS >= 4 && source[3] && k + 4 <= depth; k += 4)
        turn_block(panel + k * PANEL_COLUMNS, load4(source[0] + k), load4(source[1] + k), load4(source[2] + k), load4(source[3] + k));
    for (; k < depth; k++)
        for (int i = 0; i < 4 && i < PANEL_COLUMNS; i++) panel[k * PANEL_COLUMNS + i] = source[i] ? source[i][k] : 0;
}

/* columns first .. first + columns of B, depth k0 .. k0 + depth; panels lie panel_units apart */
static void pack_b(real *b, ptrdiff_t panel_units, const operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth) {
    for (ptrdiff_t j = 0; j < columns; j += PANEL_COLUMNS, b += panel_units) {
        size_t there = (size_t)smaller(columns - j, PANEL_COLUMNS);
        if (o->lies == ALONG) {
            for (ptrdiff_t k = 0; k < depth; k++) {
                real *unit = b + k * PANEL_COLUMNS;
                if (there < PANEL_COLUMNS) memset(unit, 0, sizeof(real) * PANEL_COLUMNS);
                memcpy(unit, source_row(o, k0 + k) + first + j, sizeof(real) * there);
            }
            continue;
        }
        for (ptrdiff_t column = 0; column < PANEL_COLUMNS; column += 4) {
            const real *source[4];
            for (ptrdiff_t i = 0; i < 4; i++) source[i] = j + column + i < columns ? source_row(o, first + j + column + i) + k0 : NULL;
            pack_four_columns(b + column, source, depth);
        }
    }
}
