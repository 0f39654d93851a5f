/* Products of at most a few dozen rows a group, as thousands of experts have them: weights are read where they lie, since to pack one costs as
 * much as to multiply sixteen rows with it.
 *
 *     y = x w^T     a tile is a few rows of x and of w: vectors of both run along the depth, and each sum's lanes are added at its end
 *     dx = dy w     rows of w are vectors as they lie, rows of dy give the factors; w comes in strips, each whole while it is near
 *
 * What is read after this is fetched meanwhile, evenly: many lines at once would keep the caches' own traffic waiting.
 *
 * Every sum runs over the depth in order, whatever the tiles, and which path a group takes depends on its own rows and the shape of w alone, not on
 * whether w came packed. */

enum {
    FORWARD_ROWS_IN_PLACE = (int)VECTOR_BYTES == 32 ? 12 : 24, /* beyond, w is the first factor (turned_product.c), or packed */
    INPUT_ROWS_IN_PLACE = 32,
    INPUT_ROWS_IN_PLACE_OF_NARROW = 24,          /* beyond, a narrow w is read by panels (products.c) */
    TILE_OF_X = (int)VECTOR_BYTES == 32 ? 2 : 4, /* rows; AVX2 has registers for sixteen vectors only */
    TILE_OF_W = 4,
    INPUT_VECTORS = 3,
    INPUT_ROWS = PANEL_ROWS * PANEL_VECTORS / INPUT_VECTORS,
    STRIP = 32, /* rows of w */
};

/* Whether a group has at least and at most so many rows. */
static bool some_have(row_groups g, ptrdiff_t least, ptrdiff_t most) {
    for (int e = 0; e < g.groups; e++)
        if (g.start[e + 1] - g.start[e] >= least && g.start[e + 1] - g.start[e] <= most) return true;
    return false;
}

/* A group's work is cut into parts, where there are too few groups for all threads. */
static ptrdiff_t parts_of_group(row_groups g, ptrdiff_t size, ptrdiff_t least) {
    const ptrdiff_t wanted = threads_here() == 1 ? 1 : ceiling(4 * threads_here(), g.groups), most = ceiling(size, least);
    return smaller(wanted, most);
}

/* ---- forward ------------------------------------------------------------------------------------------------------------------------------ */

/* The lanes of each sum, added: total[i] = sum of s[i]. */
#if defined(__AVX512F__) && REAL_BYTES == 4
static inline __m512 add_quarters(__m512 a, __m512 b) { return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD)); }
static inline __attribute__((always_inline)) void add_lanes(real total[TILE_OF_X * TILE_OF_W], V s[TILE_OF_X * TILE_OF_W]) {
    __m512 four[4]; /* of each four sums, four parts of each side by side */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512 a = (__m512)s[4 * i], b = (__m512)s[4 * i + 1], c = (__m512)s[4 * i + 2], d = (__m512)s[4 * i + 3];
        __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
        __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    }
    _mm512_storeu_ps(total, add_quarters(add_quarters(four[0], four[1]), add_quarters(four[2], four[3])));
}
#else
static inline __attribute__((always_inline)) void add_lanes(real total[TILE_OF_X * TILE_OF_W], V s[TILE_OF_X * TILE_OF_W]) {
    for (int i = 0; i < TILE_OF_X * TILE_OF_W; i++) total[i] = sum_lanes(s[i]);
}
#endif

/* y (rows, columns) = rows of x times rows of w. What is read later is fetched meanwhile, from `ahead` on. */
typedef struct {
    real *y;
    ptrdiff_t stride;
    const real *x[TILE_OF_X];
    const unsigned char *w[TILE_OF_W], *ahead;
    stored_type type;                           /* of w */
    ptrdiff_t depth, rows, columns, ahead_step; /* bytes, at each vector of the depth */
} forward_tile;

/* high is a constant, at least t->rows; size is that of a value of w. */
static inline __attribute__((always_inline)) void multiply_forward(const forward_tile *t, const int high, load_values *load_w, const ptrdiff_t size) {
    V sum[TILE_OF_X * TILE_OF_W];
    real total[TILE_OF_X * TILE_OF_W];
    const ptrdiff_t whole = t->depth / LANES * LANES;
    const unsigned char *ahead = t->ahead;
#pragma GCC unroll 16
    for (int i = 0; i < TILE_OF_X * TILE_OF_W; i++) sum[i] = (V){0};
    for (ptrdiff_t k = 0; k < whole; k += LANES) {
        V w[TILE_OF_W];
        fetch_bytes(ahead, t->ahead_step), ahead += t->ahead_step;
#pragma GCC unroll 4
        for (int j = 0; j < TILE_OF_W; j++) w[j] = load_w(t->w[j] + k * size);
#pragma GCC unroll 4
        for (int i = 0; i < high; i++) {
            const V x = load(t->x[i] + k);
#pragma GCC unroll 4
            for (int j = 0; j < TILE_OF_W; j++) sum[i * TILE_OF_W + j] = add_product(sum[i * TILE_OF_W + j], x, w[j]);
        }
    }
    for (int j = 0; j < TILE_OF_W && whole < t->depth; j++) {
        unsigned char last[sizeof(V)] = {0};
        memcpy(last, t->w[j] + whole * size, (size_t)((t->depth - whole) * size));
        for (int i = 0; i < high; i++) sum[i * TILE_OF_W + j] += load_part(t->x[i] + whole, t->depth - whole, 0) * load_w(last);
    }
    add_lanes(total, sum);
    for (ptrdiff_t i = 0; i < t->rows; i++)
        if (t->columns == TILE_OF_W) memcpy(t->y + i * t->stride, total + i * TILE_OF_W, sizeof(real) * TILE_OF_W);
        else memcpy(t->y + i * t->stride, total + i * TILE_OF_W, sizeof(real) * (size_t)t->columns);
}

static inline __attribute__((always_inline)) void multiply_forward_by(const forward_tile *t, load_values *load_w, const ptrdiff_t size) {
    if (t->rows == 1) multiply_forward(t, 1, load_w, size);
    else if (t->rows == 2) multiply_forward(t, 2, load_w, size);
    else multiply_forward(t, TILE_OF_X, load_w, size);
}

static void multiply_forward_tile(const forward_tile *t) {
    if (t->type == STORED_F16) multiply_forward_by(t, load_f16, 2);
    else if (t->type == STORED_BF16) multiply_forward_by(t, load_bf16, 2);
    else multiply_forward_by(t, load_real, sizeof(real));
}

/* Rows first .. end of a group's w with all of its rows. */
static void forward_part(const stored_product *p, int group, ptrdiff_t first, ptrdiff_t end) {
    enum { NEAR_BYTES = 1 << 13 };
    const ptrdiff_t start = p->groups.start[group], rows = p->groups.start[group + 1] - start, passes = ceiling(rows, TILE_OF_X);
    const ptrdiff_t stride = product_stride(p), ahead = (NEAR_BYTES / (TILE_OF_W * stride) + 1) * TILE_OF_W;
    const unsigned char *w = p->w.group[group];
    const ptrdiff_t share = ceiling(TILE_OF_W * stride, passes);
    forward_tile t = {.stride = p->out, .depth = p->in, .ahead_step = ceiling(share, ceiling(p->in, LANES)), .type = p->w.type};
    for (ptrdiff_t o = first; o < end; o += TILE_OF_W) {
        t.columns = smaller(end - o, TILE_OF_W);
        for (ptrdiff_t j = 0; j < TILE_OF_W; j++) t.w[j] = w + (o + (j < t.columns ? j : 0)) * stride;
        for (ptrdiff_t pass = 0; pass < passes; pass++) {
            const ptrdiff_t row = start + pass * TILE_OF_X;
            t.rows = smaller(start + rows - row, TILE_OF_X), t.y = p->y + row * p->out + o;
            for (ptrdiff_t i = 0; i < TILE_OF_X; i++) t.x[i] = product_x(p, row + (i < t.rows ? i : 0));
            t.ahead = w + (o + ahead) * stride + pass * share;
            multiply_forward_tile(&t);
        }
    }
}

/* Of the groups that have at most FORWARD_ROWS_IN_PLACE rows; w is of values, not of blocks. */
static void linear_in_place(const stored_product *p) {
    const ptrdiff_t parts = parts_of_group(p->groups, p->out, 8 * TILE_OF_W);
    if (!some_have(p->groups, 1, FORWARD_ROWS_IN_PLACE)) return;
#pragma omp parallel for schedule(dynamic) if (p->groups.groups * parts > 1)
    for (ptrdiff_t task = 0; task < p->groups.groups * parts; task++) {
        const int group = (int)(task / parts);
        const ptrdiff_t rows = p->groups.start[group + 1] - p->groups.start[group];
        if (rows == 0 || rows > FORWARD_ROWS_IN_PLACE) continue;
        forward_part(p, group, part_start(p->out, TILE_OF_W, task % parts, parts), part_start(p->out, TILE_OF_W, task % parts + 1, parts));
    }
}

/* ---- d-input ------------------------------------------------------------------------------------------------------------------------------ */

static operand rows_of_group(rows_of x, row_groups g, ptrdiff_t group, ptrdiff_t width) {
    const ptrdiff_t start = g.start[group];
    return across(x.row ? x.x : x.x + start * width, width, x.row ? x.row + start : NULL);
}

/* A tile of dx (rows, columns) += dy w over one strip of w. */
typedef struct {
    real *dx;
    const real *w, *dy[INPUT_ROWS];
    ptrdiff_t in, strip, rows, columns;
    bool begins;
    const real *ahead;
    ptrdiff_t lines; /* of it are fetched */
} input_tile;

/* high and vectors are constants; high is at least t->rows. whole: all lanes are there. */
static inline __attribute__((always_inline)) void multiply_strip(const input_tile *t, const int high, const int vectors, const bool whole) {
    V sum[INPUT_ROWS][INPUT_VECTORS];
    const real *w = t->w;
    ptrdiff_t fetched = 0;
    const ptrdiff_t left = whole ? LANES : t->columns;
#pragma GCC unroll 8
    for (int i = 0; i < high; i++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) sum[i][v] = t->begins || i >= t->rows ? (V){0} : load_left(t->dx + i * t->in + v * LANES, left, 0);
    for (ptrdiff_t o = 0; o < t->strip; o++, w += t->in) {
        V row[INPUT_VECTORS];
        for (; fetched * t->strip < o * t->lines; fetched++) __builtin_prefetch(t->ahead + fetched * LINE, 0, 2);
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) row[v] = load_left(w + v * LANES, left, 0);
#pragma GCC unroll 8
        for (int i = 0; i < high; i++)
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) sum[i][v] = add_product(sum[i][v], t->dy[i][o] - (V){0}, row[v]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < high; i++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            if (i < t->rows) store_left(t->dx + i * t->in + v * LANES, sum[i][v], left);
}

static void multiply_input_tile(const input_tile *t) {
    enum { HIGH = INPUT_ROWS, HALF = (HIGH + 1) / 2, QUARTER = (HIGH + 3) / 4 };
    if (t->columns < INPUT_VECTORS * LANES) multiply_strip(t, HIGH, 1, false);
    else if (t->rows <= QUARTER) multiply_strip(t, QUARTER, INPUT_VECTORS, true);
    else if (t->rows <= HALF) multiply_strip(t, HALF, INPUT_VECTORS, true);
    else if (t->rows <= HALF + QUARTER) multiply_strip(t, HALF + QUARTER <= HIGH ? HALF + QUARTER : HIGH, INPUT_VECTORS, true);
    else multiply_strip(t, HIGH, INPUT_VECTORS, true);
}

/* Columns first .. end of dx with all rows of a group. */
static void input_part(real *dx, const operand *dy, ptrdiff_t rows, const real *w, ptrdiff_t in, ptrdiff_t out, ptrdiff_t first, ptrdiff_t end,
                       bool accumulate) {
    const ptrdiff_t blocks = ceiling(rows, INPUT_ROWS),
                    tiles = (in / (INPUT_VECTORS * LANES) + ceiling(in % (INPUT_VECTORS * LANES), LANES)) * blocks;
    input_tile t = {.in = in};
    for (ptrdiff_t o = 0; o < out; o += STRIP) {
        t.strip = smaller(out - o, STRIP), t.begins = o == 0 && !accumulate;
        t.ahead = w + (o + t.strip) * in, t.lines = end - first == in ? t.strip * in / (LINE * tiles) : 0;
        for (ptrdiff_t j = first; j < end; j += t.columns) {
            t.columns = end - j >= INPUT_VECTORS * LANES ? INPUT_VECTORS * LANES : smaller(end - j, LANES), t.w = w + o * in + j;
            for (ptrdiff_t block = 0; block < blocks; block++, t.ahead += t.lines * LINE) {
                const ptrdiff_t row = rows * block / blocks;
                t.rows = rows * (block + 1) / blocks - row, t.dx = dx + row * in + j;
                for (ptrdiff_t i = 0; i < INPUT_ROWS; i++) t.dy[i] = source_row(dy, row + (i < t.rows ? i : 0)) + o;
                multiply_input_tile(&t);
            }
        }
    }
}

/* Of the groups that have at most so many rows. */
static void input_in_place(real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate, ptrdiff_t most) {
    const ptrdiff_t columns = INPUT_VECTORS * LANES, parts = parts_of_group(g, in, columns);
    if (!some_have(g, 1, most)) return;
#pragma omp parallel for schedule(dynamic) if (g.groups * parts > 1)
    for (ptrdiff_t task = 0; task < g.groups * parts; task++) {
        const ptrdiff_t group = task / parts, start = g.start[group], rows = g.start[group + 1] - start;
        const operand of_dy = rows_of_group(dy, g, group, out);
        if (rows == 0 || rows > most) continue;
        input_part(dx + start * in, &of_dy, rows, w->value[group], in, out, part_start(in, columns, task % parts, parts),
                   part_start(in, columns, task % parts + 1, parts), accumulate);
    }
}
