/* One panel of a product: PANEL_ROWS x PANEL_COLUMNS sums in registers, to which each step of the depth adds a broadcast of each row of A times one
 * row of B (packing.c). */

enum {
    FETCH_AHEAD = 32, /* units of B, where they lie apart */
    SEGMENT = 4,      /* units of the depth, at which */
    FETCHES = 2,      /* lines of what comes next are fetched */
};

/* One call of the micro-kernel: c (rows, columns) (+)= A panel times B panel. */
typedef struct {
    real *c;
    ptrdiff_t stride;
    const real *a;
    direction a_lies;
    ptrdiff_t a_row; /* between rows of A, if it lies ACROSS */
    const real *b;
    ptrdiff_t b_step; /* between units of B: PANEL_COLUMNS where it is packed */
    ptrdiff_t units, rows, columns;
    bool accumulate;
    const real *const *fetch; /* lines to fetch meanwhile (ahead.c) */
    real *square;             /* receives the sum of c's squares; may be NULL */
    bool past_caches;         /* c is written once, in whole lines, and not read soon */
} panels;

/* What differs between precisions. k0 and depth count values along the depth, of which `values` take `units` of B. */
typedef struct {
    int values, units;
    ptrdiff_t deep;       /* values in a depth block, at most */
    ptrdiff_t panel_rows; /* of A and of the sums */
    bool a_in_rows;       /* panels of A are rows also where it lies ALONG */
    ptrdiff_t reads_rows; /* of A, at a time, whether they are wanted or not */
    void (*pack_a)(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth);
    void (*pack_b)(real *b, ptrdiff_t panel_units, const operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth);
    void (*multiply)(const panels *p);
    void (*pack_stored)(real *b, ptrdiff_t panel_units, const stored_operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth);
    void (*begin)(void), (*end)(void); /* around all multiplications of a thread */
} arithmetic;

static inline ptrdiff_t units_of(const arithmetic *how, ptrdiff_t depth) { return ceiling(depth, how->values) * how->units; }

/* sum + unit a times units b */
typedef V add_unit(V sum, const real *a, V b);
static inline __attribute__((always_inline)) V add_number(V sum, const real *a, V b) { return add_product(sum, *a - (V){0}, b); }

static inline V keep_sum(real *c, V sum, ptrdiff_t there, bool accumulate, bool past_caches) {
    if (there >= LANES) {
        if (accumulate) sum += load(c);
        if (past_caches) store_past_caches(c, sum);
        else store(c, sum);
    } else if (there > 0) {
        if (accumulate) sum += load_part(c, there, 0);
        store_part(c, sum, there);
    }
    return sum * sum;
}

/* c's lines are on their way while the sums that go there are made. */
static inline __attribute__((always_inline)) void begin_sums(V sum[PANEL_ROWS][PANEL_VECTORS], const panels *p, const int most) {
    const real *c = p->c;
#pragma GCC unroll 16
    for (int i = 0; i < most; i++) {
        if (i < p->rows && !p->past_caches) __builtin_prefetch(c + i * p->stride, 1), __builtin_prefetch(c + i * p->stride + PANEL_COLUMNS - 1, 1);
        for (int v = 0; v < PANEL_VECTORS; v++) sum[i][v] = (V){0};
    }
}

/* Returns their squares. */
static inline __attribute__((always_inline)) V keep_sums(V sum[PANEL_ROWS][PANEL_VECTORS], const panels *p, const int most, const int vectors) {
    V squares = {0};
    real *c = p->c;
#pragma GCC unroll 16
    for (int i = 0; i < most; i++, c += p->stride) {
        if (i >= p->rows) break;
        squares += keep_sum(c, sum[i][0], p->columns, p->accumulate, p->past_caches);
        if (vectors > 1) squares += keep_sum(c + LANES, sum[i][1], p->columns - LANES, p->accumulate, p->past_caches);
    }
    return squares;
}

/* One unit of the depth. Three pointers reach twelve rows of A whose distance is no constant. */
static inline __attribute__((always_inline)) void add_step(add_unit *add, V sum[PANEL_ROWS][PANEL_VECTORS], const real *a, const ptrdiff_t a_row,
                                                           const real *b, const ptrdiff_t b_step, const int most, const int vectors) {
    const real *a4 = a + 4 * a_row, *a8 = a + 8 * a_row;
    const V b0 = load(b), b1 = vectors > 1 ? load(b + LANES) : (V){0};
    if (b_step != PANEL_COLUMNS) __builtin_prefetch(b + FETCH_AHEAD * b_step), __builtin_prefetch(b + FETCH_AHEAD * b_step + PANEL_COLUMNS - 1);
#pragma GCC unroll 16
    for (int i = 0; i < most; i++) {
        const real *factor = (i < 4 ? a : i < 8 ? a4 : a8) + i % 4 * a_row;
        sum[i][0] = add(sum[i][0], factor, b0);
        if (vectors > 1) sum[i][1] = add(sum[i][1], factor, b1);
    }
}

/* In A, rows lie a_row units apart and steps of the depth a_step. add, a_step, `most`, at least p->rows, and vectors, of a row of sums, are
 * constants wherever this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void micro_kernel(add_unit *add, const panels *p, const ptrdiff_t a_row, const ptrdiff_t a_step,
                                                               const ptrdiff_t b_step, const int most, const int vectors) {
    V sum[PANEL_ROWS][PANEL_VECTORS];
    const real *a = p->a, *b = p->b, *const *fetch = p->fetch;
    ptrdiff_t left = p->units;
    begin_sums(sum, p, most);
    for (; left >= SEGMENT; left -= SEGMENT, fetch += FETCHES) {
#pragma GCC unroll 4
        for (int i = 0; i < FETCHES; i++) __builtin_prefetch(fetch[i], 0, 2);
#pragma GCC unroll 4
        for (int k = 0; k < SEGMENT; k++, a += a_step, b += b_step) add_step(add, sum, a, a_row, b, b_step, most, vectors);
    }
    for (; left > 0; left--, a += a_step, b += b_step) add_step(add, sum, a, a_row, b, b_step, most, vectors);
    V squares = keep_sums(sum, p, most, vectors);
    if (p->square) *p->square = sum_lanes(squares);
}

/* A lies ACROSS. Short panels at the end of a group do not pay for full ones. */
static inline __attribute__((always_inline)) void multiply_rows_by(add_unit *add, const panels *p, const ptrdiff_t b_step, const int vectors) {
    /* clang-format off */
    switch (p->rows) {
#define SHORT(r) case r: micro_kernel(add, p, p->a_row, 1, b_step, r < PANEL_ROWS ? r : PANEL_ROWS, vectors); return;
        SHORT(1) SHORT(2) SHORT(3) SHORT(4) SHORT(5) SHORT(6) SHORT(7) SHORT(8) SHORT(9) SHORT(10) SHORT(11)
#undef SHORT
    default: micro_kernel(add, p, p->a_row, 1, b_step, PANEL_ROWS, vectors);
    }
    /* clang-format on */
}

static inline __attribute__((always_inline)) void multiply_panels_by(add_unit *add, const panels *p) {
    const bool packed = p->b_step == PANEL_COLUMNS;
    if (p->a_lies == ALONG && packed) micro_kernel(add, p, 1, PANEL_ROWS, PANEL_COLUMNS, PANEL_ROWS, PANEL_VECTORS);
    else if (p->a_lies == ALONG) micro_kernel(add, p, 1, PANEL_ROWS, p->b_step, PANEL_ROWS, PANEL_VECTORS);
    else if (packed) multiply_rows_by(add, p, PANEL_COLUMNS, PANEL_VECTORS);
    else multiply_rows_by(add, p, p->b_step, PANEL_VECTORS);
}

static void multiply_panels(const panels *p) { multiply_panels_by(add_number, p); }

static void nothing(void) {}

static const arithmetic numbers = {.values = 1,
                                   .units = 1,
                                   .deep = DEPTH,
                                   .panel_rows = PANEL_ROWS,
                                   .reads_rows = 1,
                                   .pack_a = pack_a,
                                   .pack_b = pack_b,
                                   .multiply = multiply_panels,
                                   .pack_stored = pack_stored,
                                   .begin = nothing,
                                   .end = nothing};
