/* Products. Each of the three (forward, d-input, d-weight) is C = A B over a depth. C is cut into tiles; a tile packs what it needs of A and
 * B (packing.c) and multiplies its panels (panels.c). While panels are multiplied, what comes next is fetched, evenly: many lines at once would
 * keep the caches' own traffic waiting.
 *
 * Weights are used many times between updates and may come packed: then only the rows of a batch are packed here. Nor is B packed where, but for the
 * distance of its rows, its source already is what its panels would be.
 *
 * Element (i, j) is always summed in the same order, however tiles are cut and spread over threads. */
#include <stdint.h>

enum {
    TILE_ROWS = (int)VECTOR_BYTES == 64 ? 240 : 120,
    A_UNITS = TILE_ROWS * A_STRIDE, /* room for the packed part of A, which stays in the second cache, and of B, whose panels go through it */
    B_UNITS = 512 * DEPTH,
    FEW_TILES = 8, /* a thread: with fewer, all get equally many */
    NARROW = 768,  /* B's rows may be so wide where they are read in place; further apart, they would compete for the same sets of the caches */
    DEEP = 256,    /* of two factors that lie along the depth, the second is read in place from here on */
};

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------------ */

/* A depth block of a tile of C: rows row .. row + m, columns column .. column + n, depth k0 .. k0 + deep of `depth`. */
typedef struct {
    real *c; /* of the tile's first element */
    ptrdiff_t stride;
    operand a, b;
    stored_operand stored; /* instead of b, if there are bytes */
    const real *packed;    /* B's panels from `column` on, over the whole depth; NULL: b is packed here */
    ptrdiff_t row, m, column, n, depth, k0, deep;
    bool accumulate, past_caches;
    real *squares; /* of the tile's first panel, or NULL; the next panel down is squares_stride further */
    ptrdiff_t squares_stride;
} block;

/* Source rows that will be packed next. */
typedef struct {
    const operand *o;
    ptrdiff_t row, end, from, length;
} upcoming;

static upcoming upcoming_rows(const operand *o, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t deep) {
    return o->lies == ACROSS ? (upcoming){o, first, first + n, k0, deep} : (upcoming){o, k0, k0 + deep, first, n};
}

static inline void fetch_rows(upcoming *u, ptrdiff_t rows) {
    for (ptrdiff_t stop = smaller(u->row + rows, u->end); u->row < stop; u->row++) {
        const real *source = source_row(u->o, u->row) + u->from;
#pragma GCC unroll 4
        for (ptrdiff_t i = 0; i < u->length; i += LINE) __builtin_prefetch(source + i, 0, 2);
    }
}

_Static_assert(NARROW *DEEP <= B_UNITS, "a narrow factor that is not deep is packed whole");

/* Where a thread packs. */
typedef struct {
    real a[A_UNITS] __attribute__((aligned(64)));
    real b[B_UNITS] __attribute__((aligned(64)));
} room;

/* Whether B, unpacked, is already what its panels would be, but for the distance of units. */
static bool reads_in_place(const arithmetic *how, const operand *a, const operand *b, ptrdiff_t columns, ptrdiff_t depth) {
    const bool lies_so = b->lies == ALONG && !b->row && b->stride <= NARROW;
    return how->values == 1 && lies_so && columns % PANEL_COLUMNS == 0 && (a->lies == ACROSS || depth >= DEEP);
}

/* Whether all columns are taken of rows that follow one another. */
static bool lies_in_one_piece(const operand *b, ptrdiff_t columns) { return b->lies == ALONG && !b->row && columns == b->stride; }

/* One thread. next, if any, is what it multiplies afterwards. */
static void multiply_block(const arithmetic *how, const block *t, const block *next, room *r) {
    ptrdiff_t units = units_of(how, t->deep), a_panel = a_panel_units(t->a.lies, units);
    const bool in_place = !t->packed && !t->stored.bytes && reads_in_place(how, &t->a, &t->b, t->n, t->depth);
    ptrdiff_t b_panel = in_place ? PANEL_COLUMNS : (t->packed ? units_of(how, t->depth) : units) * PANEL_COLUMNS;
    const real *b = in_place ? source_row(&t->b, t->k0) + t->column : t->packed ? t->packed + units_of(how, t->k0) * PANEL_COLUMNS : r->b;
    const bool last = t->k0 + t->deep == t->depth, past_caches = t->past_caches && last && !t->accumulate;
    const ptrdiff_t passes = ceiling(t->m, PANEL_ROWS), calls = passes * ceiling(t->n, PANEL_COLUMNS);
    upcoming a_next = {0}, b_next = {0};
    const real *ahead = b;
    ptrdiff_t ahead_step = t->packed ? ceiling(PANEL_COLUMNS, passes) : 0;
    if (next) a_next = upcoming_rows(&next->a, next->row, next->m, next->k0, next->deep);
    if (next && !next->packed && !next->stored.bytes) {
        if (lies_in_one_piece(&next->b, next->n) && units > 0)
            ahead = source_row(&next->b, next->k0), ahead_step = ceiling(next->deep * next->b.stride, calls * units);
        else b_next = upcoming_rows(&next->b, next->column, next->n, next->k0, next->deep);
    }
    ptrdiff_t fetches = ceiling(a_next.end - a_next.row + b_next.end - b_next.row, calls);
    how->pack_a(r->a, &t->a, t->row, t->m, t->k0, t->deep);
    if (t->stored.bytes) how->pack_stored(r->b, b_panel, &t->stored, t->column, t->n, t->k0, t->deep);
    else if (!t->packed && !in_place) how->pack_b(r->b, b_panel, &t->b, t->column, t->n, t->k0, t->deep);
    for (ptrdiff_t j = 0; j < t->n; j += PANEL_COLUMNS, b += b_panel) {
        if (t->packed) ahead = b + b_panel;
        for (ptrdiff_t i = 0; i < t->m; i += PANEL_ROWS, ahead += units * ahead_step) {
            fetch_rows(a_next.row < a_next.end ? &a_next : &b_next, fetches);
            real *square = t->squares && last ? t->squares + i / PANEL_ROWS * t->squares_stride + j / PANEL_COLUMNS : NULL;
            how->multiply(&(panels){t->c + i * t->stride + j, t->stride, r->a + i / PANEL_ROWS * a_panel, b, t->a.lies,
                                    in_place ? t->b.stride : PANEL_COLUMNS, units, smaller(t->m - i, PANEL_ROWS), t->n - j, t->accumulate, ahead,
                                    ahead_step, square, past_caches});
        }
    }
}

/* c (m, n) (+)= A B, from row `row` of A and column `column` of B on. One thread. */
static void multiply_tile(const arithmetic *how, real *c, ptrdiff_t stride, const operand *a, ptrdiff_t row, ptrdiff_t m, const operand *b,
                          ptrdiff_t column, ptrdiff_t n, ptrdiff_t depth, bool accumulate, room *r) {
    block t = {.c = c, .stride = stride, .a = *a, .b = *b, .row = row, .m = m, .column = column, .n = n, .depth = depth, .accumulate = accumulate};
    for (; t.k0 < depth; t.k0 += how->deep, t.accumulate = true) {
        t.deep = smaller(depth - t.k0, how->deep);
        multiply_block(how, &t, NULL, r);
    }
}

/* ---- all groups -------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const arithmetic *how;
    real *c, *squares;
    operand a, b;
    const matrices *w;             /* b of group g is w->value[g]; NULL: b is the same source for all groups */
    const stored_matrices *stored; /* b of group g as a file stores it; or */
    const real *packed;            /* in panels, of group 0, the others packed_stride apart; both NULL: b is packed here */
    ptrdiff_t packed_stride;
    row_groups groups;
    ptrdiff_t m, n, depth; /* of each group; m or depth is -1 where it is the group's number of rows */
    ptrdiff_t least;       /* rows: groups with fewer are left alone */
    bool accumulate, past_caches;
    ptrdiff_t height, width, down, across; /* of tiles; how many of them there are in a group, at most */
} grouped_product;

static ptrdiff_t halved(ptrdiff_t size, ptrdiff_t panel) { return ceiling(ceiling(size, 2), panel) * panel; }

/* As large as the caches allow, but enough of them for all threads. */
static void cut_tiles(grouped_product *p) {
    const ptrdiff_t most = most_rows(p->groups), m = p->m < 0 ? most : p->m, depth = p->depth < 0 ? most : p->depth;
    const ptrdiff_t units = depth > 0 ? smaller(units_of(p->how, depth), DEPTH) : 1, threads = threads_here();
    p->height = smaller(p->a.lies == ACROSS ? TILE_ROWS : A_UNITS / a_panel_units(ALONG, units) * PANEL_ROWS, ceiling(m, PANEL_ROWS) * PANEL_ROWS);
    p->width = p->packed || reads_in_place(p->how, &p->a, &p->b, p->n, depth) ? p->n : smaller(p->n, B_UNITS / units / PANEL_COLUMNS * PANEL_COLUMNS);
    for (;;) {
        p->down = ceiling(m, p->height), p->across = ceiling(p->n, p->width);
        if (p->groups.groups * p->down * p->across >= threads) break;
        bool tall = p->height > 4 * PANEL_ROWS, wide = p->width > 4 * PANEL_COLUMNS;
        if (tall && (p->packed || p->height >= p->width || !wide)) p->height = halved(p->height, PANEL_ROWS);
        else if (wide) p->width = halved(p->width, PANEL_COLUMNS);
        else break;
    }
    for (; p->height > PANEL_ROWS; p->height = ceiling(ceiling(m, ++p->down), PANEL_ROWS) * PANEL_ROWS) {
        const ptrdiff_t tiles = p->groups.groups * p->down * p->across;
        if (tiles >= FEW_TILES * threads || tiles % threads == 0) break;
    }
}

/* false: there is nothing to do in this tile */
static bool find_tile(block *t, const grouped_product *p, ptrdiff_t tile) {
    const ptrdiff_t g = tile / (p->down * p->across), start = p->groups.start[g], rows = p->groups.start[g + 1] - start;
    const ptrdiff_t m = p->m < 0 ? rows : p->m, depth = p->depth < 0 ? rows : p->depth;
    const ptrdiff_t down = ceiling(m, p->height), from_top = tile / p->across % p->down, from_left = tile % p->across;
    if (rows == 0 || rows < p->least || from_top >= down) return false;
    const ptrdiff_t i = part_start(m, PANEL_ROWS, from_top, down), j = part_start(p->n, PANEL_COLUMNS, from_left, p->across);
    *t = (block){.c = p->c + i * p->n + j, .stride = p->n, .a = p->a, .b = p->b, .depth = depth, .deep = smaller(depth, p->how->deep)};
    t->row = i, t->m = part_start(m, PANEL_ROWS, from_top + 1, down) - i;
    t->column = j, t->n = part_start(p->n, PANEL_COLUMNS, from_left + 1, p->across) - j;
    t->accumulate = p->accumulate, t->past_caches = p->past_caches, t->squares_stride = ceiling(p->n, PANEL_COLUMNS);
    if (t->a.row) t->a.row += start; /* operands over the batch begin at the group's first row */
    else t->a.x += start * t->a.stride;
    if (p->m < 0) t->c += start * p->n;
    if (p->packed) t->packed = p->packed + g * p->packed_stride + j * units_of(p->how, depth);
    else if (p->stored) t->stored = (stored_operand){p->stored->group[g], stored_row_bytes(p->stored->type, p->depth), p->stored->type};
    else if (p->w) t->b.x = p->w->value[g];
    if (p->m < 0) return true;
    if (t->b.row) t->b.row += start;
    else t->b.x += start * t->b.stride;
    t->c += g * p->m * p->n;
    if (p->squares) t->squares = p->squares + (g * ceiling(p->m, PANEL_ROWS) + i / PANEL_ROWS) * t->squares_stride + j / PANEL_COLUMNS;
    return true;
}

static ptrdiff_t next_tile(ptrdiff_t *taken) {
    ptrdiff_t before;
#pragma omp atomic capture
    before = (*taken)++;
    return omp_get_num_threads() + before; /* every thread has begun with one */
}

/* The first block of this tile or, if there is nothing to do in it, of the next that nobody has taken. */
static bool begin_tile(block *t, const grouped_product *p, ptrdiff_t tile, ptrdiff_t *taken) {
    for (; tile < p->groups.groups * p->down * p->across; tile = next_tile(taken))
        if (find_tile(t, p, tile)) return true;
    return false;
}

/* The tile's next depth block, or another tile's first. */
static bool next_block(block *t, const grouped_product *p, ptrdiff_t *taken) {
    if (t->k0 + t->deep >= t->depth) return begin_tile(t, p, next_tile(taken), taken);
    t->k0 += t->deep, t->deep = smaller(t->depth - t->k0, p->how->deep), t->accumulate = true;
    return true;
}

static void multiply_groups(grouped_product *p) {
    ptrdiff_t taken = 0;
    if (!some_have(p->groups, p->least > 1 ? p->least : 1, PTRDIFF_MAX)) return;
    cut_tiles(p);
#pragma omp parallel if (p->groups.groups * p->down * p->across > 1)
    {
        room r;
        block now, next;
        for (bool more = begin_tile(&now, p, omp_get_thread_num(), &taken); more; now = next) {
            next = now;
            more = next_block(&next, p, &taken);
            multiply_block(p->how, &now, more ? &next : NULL, &r);
        }
        if (p->past_caches) finish_stores();
    }
}

/* ---- packed weights: the panels of forward, then those of d-input ---------------------------------------------------------------------- */

static ptrdiff_t panels_size(const arithmetic *how, ptrdiff_t n, ptrdiff_t depth) {
    return ceiling(n, PANEL_COLUMNS) * PANEL_COLUMNS * units_of(how, depth);
}

static ptrdiff_t packed_size_by(const arithmetic *how, ptrdiff_t in, ptrdiff_t out) { return panels_size(how, out, in) + panels_size(how, in, out); }

static void pack_rows_by(const arithmetic *how, real *packed, const real *w, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out) {
    const operand forward = {w, in, NULL, ACROSS}, input = {w, in, NULL, ALONG};
    const ptrdiff_t units_in = units_of(how, in), units_out = units_of(how, out);
    how->pack_b(packed + first * units_in, units_in * PANEL_COLUMNS, &forward, first, rows, 0, in);
    how->pack_b(packed + panels_size(how, out, in) + units_of(how, first) * PANEL_COLUMNS, units_out * PANEL_COLUMNS, &input, 0, in, first, rows);
}

/* Sums of squares that d-weight leaves: one for each panel of a group. */
static ptrdiff_t squares_size(ptrdiff_t in, ptrdiff_t out) { return ceiling(out, PANEL_ROWS) * ceiling(in, PANEL_COLUMNS); }

/* ---- the three products ------------------------------------------------------------------------------------------------------------------ */

/* One or two rows a group, a few dozen, hundreds, and more: four ways to the same product. The second is not for numbers that are rounded, which
 * packing does by the way, nor for blocks, which it unpacks; the third for reals alone, as long as nobody packed them. */
static void multiply_by_rows(grouped_product *p, const stored_product *s) {
    if (have_few_rows(s, 1)) {
        multiply_few_rows(s, 1);
        return;
    }
    if (p->how->values == 1 && stored_formats[s->w.type].values == 1) {
        linear_in_place(s), p->least = FORWARD_ROWS_IN_PLACE + 1;
        if (s->w.type == STORED_REAL && !p->packed) linear_turned(s), p->least = turned_rows(s->in) + 1;
    }
    multiply_groups(p);
}

static void linear_by(const arithmetic *how, real *y, rows_of x, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    grouped_product p = {
        .how = how, .c = y, .a = {x.x, in, x.row, ACROSS}, .b = {NULL, in, NULL, ACROSS}, .w = w, .groups = g, .m = -1, .n = out, .depth = in};
    p.packed = w->packed, p.packed_stride = packed_size_by(how, in, out);
    multiply_by_rows(&p, &(stored_product){y, x, {STORED_REAL, (const void *const *)w->value}, g, in, out});
}

static void linear_stored_by(const arithmetic *how, const stored_product *each, int n) {
    if (have_few_rows(each, n)) {
        multiply_few_rows(each, n);
        return;
    }
    for (const stored_product *s = each; s < each + n; s++) {
        grouped_product p = {.how = how, .c = s->y, .a = {s->x.x, s->in, s->x.row, ACROSS}, .stored = &s->w, .groups = s->groups};
        p.m = -1, p.n = s->out, p.depth = s->in;
        multiply_by_rows(&p, s);
    }
}

static void linear_dx_by(const arithmetic *how, real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    grouped_product p = {
        .how = how, .c = dx, .a = {dy.x, out, dy.row, ACROSS}, .b = {NULL, in, NULL, ALONG}, .w = w, .groups = g, .m = -1, .n = in, .depth = out};
    p.accumulate = accumulate;
    if (w->packed) p.packed = w->packed + panels_size(how, out, in), p.packed_stride = packed_size_by(how, in, out);
    if (how->values == 1) {
        const ptrdiff_t most = reads_in_place(how, &p.a, &p.b, in, out) ? INPUT_ROWS_IN_PLACE_OF_NARROW : INPUT_ROWS_IN_PLACE;
        input_in_place(dx, dy, w, g, in, out, accumulate, most), p.least = most + 1;
    }
    multiply_groups(&p);
}

static bool lies_on_lines(const real *c, ptrdiff_t stride) { return (uintptr_t)c % VECTOR_BYTES == 0 && stride % LANES == 0; }

static void linear_dw_by(const arithmetic *how, real *dw, real *squares, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out,
                         bool accumulate, bool soon) {
    grouped_product p = {
        .how = how, .c = dw, .a = {dy.x, out, dy.row, ALONG}, .b = {x.x, in, x.row, ALONG}, .groups = g, .m = out, .n = in, .depth = -1};
    p.accumulate = accumulate, p.squares = squares;
    p.past_caches = !soon && lies_on_lines(dw, in);
    const ptrdiff_t slots = squares_size(in, out);
#pragma omp parallel for schedule(static) if (g.groups > 1)
    for (int e = 0; e < g.groups; e++) {
        if (accumulate || g.start[e] < g.start[e + 1]) continue;
        memset(dw + e * out * in, 0, sizeof(real) * (size_t)(out * in));
        if (squares) memset(squares + e * slots, 0, sizeof(real) * (size_t)slots);
    }
    multiply_groups(&p);
}

static void linear(real *y, rows_of x, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) { linear_by(&numbers, y, x, w, g, in, out); }
static void linear_stored(const stored_product *each, int n) { linear_stored_by(&numbers, each, n); }
static void linear_dx(real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    linear_dx_by(&numbers, dx, dy, w, g, in, out, accumulate);
}
static void linear_dw(real *dw, real *squares, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate, bool soon) {
    linear_dw_by(&numbers, dw, squares, dy, x, g, in, out, accumulate, soon);
}
static ptrdiff_t packed_size(ptrdiff_t in, ptrdiff_t out) { return packed_size_by(&numbers, in, out); }
static void pack_rows(real *packed, const real *w, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out) {
    pack_rows_by(&numbers, packed, w, first, rows, in, out);
}

/* As it lies, a narrow weight is multiplied at nine tenths of a packed one's speed, and an update that writes no copies of it moves three quarters of
 * the bytes (docs/performance.md): with few rows from one update to the next that is faster. */
static bool worth_packing(ptrdiff_t in, double rows) {
    enum { ROWS_WORTH_PACKING = 256 };
    return rows >= ROWS_WORTH_PACKING || in > NARROW;
}
