/* Products. Each of the three (forward, d-input, d-weight) is C = A B over a depth, with A and B packed into panels:
 *
 *     A panel: (depth, PANEL_ROWS)      B panel: (depth, PANEL_COLUMNS)      both contiguous, zero-padded
 *
 * so one micro-kernel serves all of them: PANEL_ROWS x PANEL_COLUMNS sums held in registers, one broadcast of A times one row of B per
 * step of the depth. What differs is only how an operand lies in memory, which is the packers' business:
 *
 *     ACROSS  the panel's rows are rows of the source: the source runs along the depth        x, dy, w of y = x w^T
 *     ALONG   the depth runs over rows of the source: the source runs along the panel         w of dx = dy w; both of dw = dy^T x
 *
 * Element (i, j) is always summed in the same order (depth blocks of DEPTH), however the tiles are spread over threads. */

enum {
    PANEL_ROWS = (int)VECTOR_BYTES == 64 ? 12 : (int)VECTOR_BYTES == 32 ? 6 : (int)VECTOR_BYTES == 16 ? 8 : 4,
    PANEL_VECTORS = 2,
    PANEL_COLUMNS = PANEL_VECTORS * LANES,
    DEPTH = 256,
    TILE_ROWS = 40 * 12,
    TILE_COLUMNS = 512,
    FEW_ROWS = 2, /* up to so many, packing does not pay */
};

typedef enum { ACROSS, ALONG } direction;

typedef struct {
    const real *x;
    ptrdiff_t stride;
    const int32_t *row; /* picks source rows; NULL: in order */
    direction lies;
} operand;

static inline const real *source_row(const operand *o, ptrdiff_t i) { return o->x + (o->row ? o->row[i] : i) * o->stride; }

/* Rows a, b, c, d of four 32-bit values become columns of the panel. */
static inline void turn_block(void *panel, ptrdiff_t width, V4 a, V4 b, V4 c, V4 d) {
    float *column = panel;
    V4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    V4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store4(column, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store4(column + width, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store4(column + 2 * width, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store4(column + 3 * width, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/* Four rows at a time; floats in blocks of 4 x 4 that are turned in registers. */
static inline void pack_four_rows(real *panel, const real *const source[4], ptrdiff_t width, ptrdiff_t depth) {
    ptrdiff_t k = 0;
    for (; sizeof(real) == sizeof(float) && k + 4 <= depth; k += 4)
        turn_block(panel + k * width, width, load4(source[0] + k), load4(source[1] + k), load4(source[2] + k), load4(source[3] + k));
    for (; k < depth; k++)
        for (int i = 0; i < 4; i++) panel[k * width + i] = source[i][k];
}

/* panel[k * width + i] = element (first + i, k0 + k) for i < n, zero for n <= i < width. width is a constant wherever this is called. */
static inline __attribute__((always_inline)) void pack_panel(real *panel, const operand *o, ptrdiff_t first, ptrdiff_t n, const int width, ptrdiff_t k0,
                                                             ptrdiff_t depth) {
    if (o->lies == ALONG && n == width) {
        for (ptrdiff_t k = 0; k < depth; k++) memcpy(panel + k * width, source_row(o, k0 + k) + first, sizeof(real) * (size_t)width);
        return;
    }
    if (o->lies == ALONG) {
        for (ptrdiff_t k = 0; k < depth; k++) {
            memcpy(panel + k * width, source_row(o, k0 + k) + first, sizeof(real) * (size_t)n);
            memset(panel + k * width + n, 0, sizeof(real) * (size_t)(width - n));
        }
        return;
    }
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const real *const source[] = {source_row(o, first + i) + k0, source_row(o, first + i + 1) + k0, source_row(o, first + i + 2) + k0,
                                      source_row(o, first + i + 3) + k0};
        pack_four_rows(panel + i, source, width, depth);
    }
    for (; i < width; i++) {
        const real *source = i < n ? source_row(o, first + i) + k0 : NULL;
        for (ptrdiff_t k = 0; k < depth; k++) panel[k * width + i] = source ? source[k] : 0;
    }
}

static void pack_rows(real *panel, const operand *o, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t depth) {
    pack_panel(panel, o, first, n, PANEL_ROWS, k0, depth);
}
static void pack_columns(real *panel, const operand *o, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t depth) {
    pack_panel(panel, o, first, n, PANEL_COLUMNS, k0, depth);
}

/* c (rows, n) (+)= A panel times B panel. rows is a constant wherever this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void micro_kernel(real *c, ptrdiff_t stride, const real *a, const real *b, ptrdiff_t depth, const int rows,
                                                               ptrdiff_t n, bool accumulate) {
    V sum[PANEL_ROWS][PANEL_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < PANEL_VECTORS; j++) sum[i][j] = (V){0};
    for (ptrdiff_t k = 0; k < depth; k++, a += PANEL_ROWS, b += PANEL_COLUMNS) {
        V b0 = load(b), b1 = load(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) sum[i][0] += a[i] * b0, sum[i][1] += a[i] * b1;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, c += stride)
        for (int j = 0; j < PANEL_VECTORS; j++) {
            ptrdiff_t left = n - j * LANES;
            if (left >= LANES) store(c + j * LANES, accumulate ? load(c + j * LANES) + sum[i][j] : sum[i][j]);
            else if (left > 0) store_part(c + j * LANES, accumulate ? load_part(c + j * LANES, left, 0) + sum[i][j] : sum[i][j], left);
        }
}

static void multiply_panels(real *c, ptrdiff_t stride, const real *a, const real *b, ptrdiff_t depth, ptrdiff_t rows, ptrdiff_t n, bool accumulate) {
    switch (rows) { /* short panels at the end of a group do not pay for full ones */
#define SHORT(r) case r: micro_kernel(c, stride, a, b, depth, r < PANEL_ROWS ? r : PANEL_ROWS, n, accumulate); return;
        SHORT(1) SHORT(2) SHORT(3) SHORT(4) SHORT(5) SHORT(6) SHORT(7) SHORT(8) SHORT(9) SHORT(10) SHORT(11)
#undef SHORT
    default: micro_kernel(c, stride, a, b, depth, PANEL_ROWS, n, accumulate);
    }
}

/* c (m, n) (+)= A B, where row i of A and column j of B are row0 + i and column0 + j of the operands. One thread. */
static void multiply_tile(real *c, ptrdiff_t stride, const operand *a, ptrdiff_t row0, ptrdiff_t m, const operand *b, ptrdiff_t column0, ptrdiff_t n,
                          ptrdiff_t depth, bool accumulate) {
    real a_panel[DEPTH * PANEL_ROWS] __attribute__((aligned(64)));
    real b_panels[DEPTH * TILE_COLUMNS] __attribute__((aligned(64)));
    if (depth == 0 && !accumulate)
        for (ptrdiff_t i = 0; i < m; i++) memset(c + i * stride, 0, sizeof(real) * (size_t)n);
    for (ptrdiff_t k0 = 0; k0 < depth; k0 += DEPTH, accumulate = true) {
        ptrdiff_t deep = depth - k0 < DEPTH ? depth - k0 : DEPTH;
        for (ptrdiff_t j = 0; j < n; j += PANEL_COLUMNS)
            pack_columns(b_panels + j * deep, b, column0 + j, n - j < PANEL_COLUMNS ? n - j : PANEL_COLUMNS, k0, deep);
        for (ptrdiff_t i = 0; i < m; i += PANEL_ROWS) {
            ptrdiff_t rows = m - i < PANEL_ROWS ? m - i : PANEL_ROWS;
            pack_rows(a_panel, a, row0 + i, rows, k0, deep);
            for (ptrdiff_t j = 0; j < n; j += PANEL_COLUMNS)
                multiply_panels(c + i * stride + j, stride, a_panel, b_panels + j * deep, deep, rows, n - j, accumulate);
        }
    }
}

static inline ptrdiff_t ceiling(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* multiply_tile, in this or another precision. */
typedef void tile_function(real *c, ptrdiff_t stride, const operand *a, ptrdiff_t row0, ptrdiff_t m, const operand *b, ptrdiff_t column0, ptrdiff_t n,
                           ptrdiff_t depth, bool accumulate);

/* Tiles of (TILE_ROWS, TILE_COLUMNS) of every group's C, spread over threads as they become free. */
typedef struct {
    tile_function *multiply;
    real *c;
    operand a, b;
    real *const *w;           /* b of group g is w[g]; NULL: b is the same source for all groups */
    row_groups groups;
    ptrdiff_t m, n, depth;    /* of each group; m or depth is -1 where it is the group's number of rows */
    bool accumulate;
} grouped_product;

static ptrdiff_t most_rows(row_groups g) {
    ptrdiff_t most = 0;
    for (int e = 0; e < g.groups; e++)
        if (g.start[e + 1] - g.start[e] > most) most = g.start[e + 1] - g.start[e];
    return most;
}

static void multiply_groups(const grouped_product *p) {
    ptrdiff_t tiles_down = ceiling(p->m < 0 ? most_rows(p->groups) : p->m, TILE_ROWS), tiles_across = ceiling(p->n, TILE_COLUMNS);
    ptrdiff_t tiles = p->groups.groups * tiles_down * tiles_across;
#pragma omp parallel for schedule(dynamic) if (tiles > 1)
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        ptrdiff_t g = tile / (tiles_down * tiles_across), j = tile % tiles_across * TILE_COLUMNS;
        ptrdiff_t start = p->groups.start[g], rows = p->groups.start[g + 1] - start;
        ptrdiff_t m = p->m < 0 ? rows : p->m, depth = p->depth < 0 ? rows : p->depth;
        if (rows == 0) continue;
        ptrdiff_t height = ceiling(ceiling(m, ceiling(m, TILE_ROWS)), PANEL_ROWS) * PANEL_ROWS; /* tiles of a group are of one height */
        ptrdiff_t i = tile / tiles_across % tiles_down * height;
        if (i >= m) continue;
        operand a = p->a, b = p->b;
        real *c = p->c;
        if (a.row) a.row += start; /* operands over the batch begin at the group's first row */
        else a.x += start * a.stride;
        if (p->w) b.x = p->w[g], c += start * p->n;
        else if (b.row) b.row += start;
        else b.x += start * b.stride;
        if (!p->w) c += g * p->m * p->n;
        p->multiply(c + i * p->n + j, p->n, &a, i, m - i < height ? m - i : height, &b, j, p->n - j < TILE_COLUMNS ? p->n - j : TILE_COLUMNS, depth,
                      p->accumulate);
    }
}

/* One or two rows per group (generation): the weights are read once, in place, and never packed. */
static void linear_few_rows(real *y, rows_of x, real *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    enum { BLOCK = 64 };
    ptrdiff_t blocks = ceiling(out, BLOCK);
#pragma omp parallel for schedule(static) if (g.groups * out * in > 1 << 16)
    for (ptrdiff_t task = 0; task < g.groups * blocks; task++) {
        ptrdiff_t e = task / blocks, first = task % blocks * BLOCK, last = first + BLOCK < out ? first + BLOCK : out;
        for (ptrdiff_t o = first; o < last; o++)
            for (ptrdiff_t r = g.start[e]; r < g.start[e + 1]; r++) y[r * out + o] = dot(x.x + (x.row ? x.row[r] : r) * in, w[e] + o * in, in);
    }
}

static grouped_product forward_product(real *y, rows_of x, real *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    return (grouped_product){multiply_tile, y, {x.x, in, x.row, ACROSS}, {NULL, in, NULL, ACROSS}, w, g, -1, out, in, false};
}

static grouped_product input_product(real *dx, rows_of dy, real *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    return (grouped_product){multiply_tile, dx, {dy.x, out, dy.row, ACROSS}, {NULL, in, NULL, ALONG}, w, g, -1, in, out, accumulate};
}

static grouped_product weight_product(real *dw, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    return (grouped_product){multiply_tile, dw, {dy.x, out, dy.row, ALONG}, {x.x, in, x.row, ALONG}, NULL, g, out, in, -1, true};
}

static void linear(real *y, rows_of x, real *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    grouped_product p = forward_product(y, x, w, g, in, out);
    if (most_rows(g) <= FEW_ROWS) linear_few_rows(y, x, w, g, in, out);
    else multiply_groups(&p);
}

static void linear_dx(real *dx, rows_of dy, real *const *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    grouped_product p = input_product(dx, dy, w, g, in, out, accumulate);
    multiply_groups(&p);
}

static void linear_dw(real *dw, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    grouped_product p = weight_product(dw, dy, x, g, in, out);
    multiply_groups(&p);
}
