/* Products. Each of the three (forward, d-input, d-weight) is C = A B over a depth. C is cut into tiles; a tile packs what it needs of A and
 * B (packing.c) and multiplies its panels (panels.c). While panels are multiplied, what comes next is fetched (ahead.c).
 *
 * Weights are used many times between updates and may come packed: then only the rows of a batch are packed here. Nor need a factor be packed where, but
 * for the distance of its rows, its source already is what its panels would be.
 *
 * Element (i, j) is always summed in the same order, however tiles are cut and spread over threads. */
#include <stdint.h>

enum {
    TILE_ROWS = (int)VECTOR_BYTES == 64 ? 240 : 120,
    A_UNITS = TILE_ROWS * A_STRIDE, /* room for the packed part of A, which stays in the second cache, and of B, whose panels go through it */
    B_UNITS = 512 * DEPTH,
    BLOCKS_DOWN = 4, /* in a tile for which B is packed: once for all of them */
    FEW_TILES = 8,   /* a thread: with fewer, all get equally many */
    NARROW = 768,    /* rows may be so wide where they are read in place; further apart, they would compete for the same sets of the caches */
    DEEP = 256,      /* of two factors that lie along the depth, the second is read in place from here on, */
    TALL = 512,      /* unless so many rows of the first share its panels */
};

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------------ */

/* A block of a tile of C: its rows row .. row + m, all its columns, and of `depth` k0 .. k0 + deep. */
typedef struct {
    real *c; /* of the tile's first element */
    ptrdiff_t stride;
    operand a, b;
    stored_operand stored;         /* instead of b, if there are bytes */
    const real *packed;            /* B's panels from `column` on, over the whole depth; NULL: b is packed here */
    ptrdiff_t top, bottom, height; /* rows of the tile, and how many a block has at most */
    ptrdiff_t row, m, column, n, depth, k0, deep;
    bool in_place; /* B is read where it lies */
    bool accumulate, past_caches;
    real *squares; /* of the tile's first panel, or NULL; the next panel down is squares_stride further */
    ptrdiff_t squares_stride;
} block;

/* Where a thread packs. */
typedef struct {
    real a[A_UNITS] __attribute__((aligned(64)));
    real b[B_UNITS] __attribute__((aligned(64)));
    fetch_list list;
} room;

_Static_assert(sizeof(room) <= THREAD_ROOM_BYTES, "");

static room *begin_products(const arithmetic *how) {
    how->begin();
    return thread_room_take();
}

static void end_products(const arithmetic *how, room *r) {
    thread_room_return(r);
    how->end();
}

_Static_assert(NARROW *DEEP <= B_UNITS, "a narrow factor that is not deep is packed whole");

/* Whether m rows of A are read where they lie. Those in bf16 are pairs already, as long as nothing has to be filled up. */
static bool rows_lie_there(const arithmetic *how, const operand *a, ptrdiff_t m, ptrdiff_t deep) {
    const bool there = a->lies == ACROSS && !a->row && a->stride <= NARROW;
    return there && (a->bf16 ? a->stride % 2 == 0 && deep % how->values == 0 && m % how->reads_rows == 0 : how->values == 1);
}

/* Whether B, unpacked, is already what its panels would be, but for the distance of units. */
static bool lies_in_panels(const arithmetic *how, const operand *b, ptrdiff_t columns) {
    return how->values == 1 && b->lies == ALONG && !b->row && b->stride <= NARROW && columns % PANEL_COLUMNS == 0;
}

/* Whether it is read so: made for one product alone, panels pay where the depth is short or A has so many rows, m, that they are used often. */
static bool reads_in_place(const arithmetic *how, const operand *a, const operand *b, ptrdiff_t m, ptrdiff_t columns, ptrdiff_t depth) {
    return lies_in_panels(how, b, columns) && (a->lies == ACROSS || (depth >= DEEP && m < TALL));
}

/* How panels of A lie. */
static direction lies_packed(const arithmetic *how, const operand *a) { return how->a_in_rows ? ACROSS : a->lies; }

/* Packs A, where that is necessary, and returns where its panels begin and how far apart its rows are. */
static const real *panels_of_a(const arithmetic *how, const block *t, real *to, ptrdiff_t *row) {
    *row = A_STRIDE;
    if (rows_lie_there(how, &t->a, t->m, t->deep)) {
        if (t->a.bf16) return *row = t->a.stride / 2, (const real *)(const void *)(source_row_bf16(&t->a, t->row) + t->k0);
        return *row = t->a.stride, source_row(&t->a, t->row) + t->k0;
    }
    how->pack_a(to, &t->a, t->row, t->m, t->k0, t->deep);
    return to;
}

/* B is packed DEPTH units at once, also where blocks are less deep: memory is faster where long rows are read. */
static ptrdiff_t packed_deep(const arithmetic *how) { return DEPTH / how->units * how->values; }

/* Whether it is this block that packs B for itself and those below and, as far as it is packed at once, behind. */
static bool packs_b(const arithmetic *how, const block *t) { return !t->packed && t->row == t->top && t->k0 % packed_deep(how) == 0; }

/* Packs B, where that is necessary, and returns where its panels begin and how far apart they are. */
static const real *panels_of_b(const arithmetic *how, const block *t, real *to, ptrdiff_t *apart) {
    const ptrdiff_t begin = t->k0 - t->k0 % packed_deep(how), deep = smaller(t->depth - begin, packed_deep(how));
    *apart = t->in_place ? PANEL_COLUMNS : units_of(how, t->packed ? t->depth : deep) * PANEL_COLUMNS;
    if (t->in_place) return source_row(&t->b, t->k0) + t->column;
    if (t->packed) return t->packed + units_of(how, t->k0) * PANEL_COLUMNS;
    if (packs_b(how, t)) {
        if (t->stored.bytes) how->pack_stored(to, *apart, &t->stored, t->column, t->n, begin, deep);
        else how->pack_b(to, *apart, &t->b, t->column, t->n, begin, deep);
    }
    return to + units_of(how, t->k0 - begin) * PANEL_COLUMNS;
}

/* One thread. next, if any, is what it multiplies afterwards. */
static void multiply_block(const arithmetic *how, const block *t, const block *next, room *r) {
    const bool last = t->k0 + t->deep == t->depth, accumulate = t->accumulate || t->k0 > 0, past_caches = t->past_caches && last && !accumulate;
    const ptrdiff_t units = units_of(how, t->deep), first_panel = (t->row - t->top) / how->panel_rows;
    const ptrdiff_t passes = ceiling(t->m, how->panel_rows), calls = passes * ceiling(t->n, PANEL_COLUMNS);
    ptrdiff_t a_row, b_panel;
    const real *a = panels_of_a(how, t, r->a, &a_row), *b = panels_of_b(how, t, r->b, &b_panel);
    const direction a_lies = lies_packed(how, &t->a);
    const ptrdiff_t a_panel = a_lies == ACROSS ? how->panel_rows * a_row : a_panel_units(ALONG, units);
    upcoming a_next = {0}, b_next = {0};
    begin_list(&r->list, units, b);
    if (next) a_next = spread(upcoming_rows(&next->a, next->row, next->m, next->k0, next->deep), calls);
    if (next && packs_b(how, next) && !next->stored.bytes)
        b_next = spread(upcoming_rows(&next->b, next->column, next->n, next->k0, smaller(next->depth - next->k0, packed_deep(how))), calls);
    for (ptrdiff_t j = 0; j < t->n; j += PANEL_COLUMNS, b += b_panel) {
        if (t->packed) b_next = spread(upcoming_panel(b + b_panel, units), passes);
        for (ptrdiff_t i = 0; i < passes; i++) {
            list_lines(&r->list, &a_next, &b_next);
            how->multiply(&(panels){.c = t->c + (first_panel + i) * how->panel_rows * t->stride + j,
                                    .stride = t->stride,
                                    .a = a + i * a_panel,
                                    .a_row = a_row,
                                    .a_lies = a_lies,
                                    .b = b,
                                    .b_step = t->in_place ? t->b.stride : PANEL_COLUMNS,
                                    .units = units,
                                    .rows = smaller(t->m - i * how->panel_rows, how->panel_rows),
                                    .columns = t->n - j,
                                    .accumulate = accumulate,
                                    .fetch = r->list.line,
                                    .square = t->squares && last ? t->squares + (first_panel + i) * t->squares_stride + j / PANEL_COLUMNS : NULL,
                                    .past_caches = past_caches});
        }
    }
}

/* c (m, n) (+)= A B, from row `row` of A and column `column` of B on. One thread. */
static void multiply_tile(const arithmetic *how, real *c, ptrdiff_t stride, const operand *a, ptrdiff_t row, ptrdiff_t m, const operand *b,
                          ptrdiff_t column, ptrdiff_t n, ptrdiff_t depth, bool accumulate, room *r) {
    block t = {.c = c, .stride = stride, .a = *a, .b = *b, .column = column, .n = n, .depth = depth, .accumulate = accumulate};
    t.row = t.top = row, t.m = m, t.in_place = reads_in_place(how, a, b, m, n, depth);
    for (; t.k0 < depth; t.k0 += how->deep) {
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
    ptrdiff_t block_height;                /* at most */
} grouped_product;

static ptrdiff_t halved(ptrdiff_t size, ptrdiff_t panel) { return ceiling(ceiling(size, 2), panel) * panel; }

/* As large as the caches allow, but enough of them for all threads. */
static void cut_tiles(grouped_product *p) {
    const ptrdiff_t most = most_rows(p->groups), m = p->m < 0 ? most : p->m, depth = p->depth < 0 ? most : p->depth;
    const ptrdiff_t units = depth > 0 ? smaller(units_of(p->how, depth), DEPTH) : 1, threads = threads_here();
    const bool ready = p->packed || reads_in_place(p->how, &p->a, &p->b, m, p->n, depth);
    const ptrdiff_t panel = p->how->panel_rows, a_panel = lies_packed(p->how, &p->a) == ACROSS ? panel * A_STRIDE : a_panel_units(ALONG, units);
    p->block_height = A_UNITS / a_panel * panel;
    p->height = smaller(ready ? p->block_height : BLOCKS_DOWN * p->block_height, ceiling(m, panel) * panel);
    p->width = ready ? p->n : smaller(p->n, B_UNITS / units / PANEL_COLUMNS * PANEL_COLUMNS);
    for (;;) {
        p->down = ceiling(m, p->height), p->across = ceiling(p->n, p->width);
        if (p->groups.groups * p->down * p->across >= threads) break;
        bool tall = p->height > 4 * panel, wide = p->width > 4 * PANEL_COLUMNS;
        if (tall && (p->packed || p->height >= p->width || !wide)) p->height = halved(p->height, panel);
        else if (wide) p->width = halved(p->width, PANEL_COLUMNS);
        else break;
    }
    for (; p->height > panel; p->height = ceiling(ceiling(m, ++p->down), panel) * panel) {
        const ptrdiff_t tiles = p->groups.groups * p->down * p->across;
        if (tiles >= FEW_TILES * threads || tiles % threads == 0) break;
    }
}

/* o's row 0 becomes this one. */
static void begin_at(operand *o, ptrdiff_t row) {
    if (o->row) o->row += row;
    else if (o->bf16) o->bf16 += row * o->stride;
    else o->x += row * o->stride;
}

/* false: there is nothing to do in this tile */
static bool find_tile(block *t, const grouped_product *p, ptrdiff_t tile) {
    const ptrdiff_t g = tile / (p->down * p->across), start = p->groups.start[g], rows = p->groups.start[g + 1] - start;
    const ptrdiff_t m = p->m < 0 ? rows : p->m, depth = p->depth < 0 ? rows : p->depth;
    const ptrdiff_t down = ceiling(m, p->height), from_top = tile / p->across % p->down, from_left = tile % p->across;
    if (rows == 0 || rows < p->least || from_top >= down) return false;
    const ptrdiff_t i = part_start(m, p->how->panel_rows, from_top, down), j = part_start(p->n, PANEL_COLUMNS, from_left, p->across);
    *t = (block){.c = p->c + i * p->n + j, .stride = p->n, .a = p->a, .b = p->b, .depth = depth, .deep = smaller(depth, p->how->deep)};
    t->row = t->top = i, t->bottom = part_start(m, p->how->panel_rows, from_top + 1, down);
    t->height = p->block_height, t->m = smaller(t->height, t->bottom - t->top);
    t->column = j, t->n = part_start(p->n, PANEL_COLUMNS, from_left + 1, p->across) - j;
    t->in_place = !p->packed && !p->stored && reads_in_place(p->how, &p->a, &p->b, m, t->n, depth);
    t->accumulate = p->accumulate, t->past_caches = p->past_caches, t->squares_stride = ceiling(p->n, PANEL_COLUMNS);
    begin_at(&t->a, start); /* operands over the batch begin at the group's first row */
    if (p->m < 0) t->c += start * p->n;
    if (p->packed) t->packed = p->packed + g * p->packed_stride + j * units_of(p->how, depth);
    else if (p->stored) t->stored = (stored_operand){p->stored->group[g], stored_row_bytes(p->stored->type, p->depth), p->stored->type};
    else if (p->w) t->b.x = p->w->value[g];
    if (p->m < 0) return true;
    begin_at(&t->b, start);
    t->c += g * p->m * p->n;
    const ptrdiff_t panel = p->how->panel_rows;
    if (p->squares) t->squares = p->squares + (g * ceiling(p->m, panel) + i / panel) * t->squares_stride + j / PANEL_COLUMNS;
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

/* The tile's next block, first down and then along the depth, or another tile's first. */
static bool next_block(block *t, const grouped_product *p, ptrdiff_t *taken) {
    if (t->row + t->m < t->bottom) t->row += t->m;
    else if (t->k0 + t->deep < t->depth) t->row = t->top, t->k0 += t->deep, t->deep = smaller(t->depth - t->k0, p->how->deep);
    else return begin_tile(t, p, next_tile(taken), taken);
    t->m = smaller(t->height, t->bottom - t->row);
    return true;
}

static void multiply_groups(grouped_product *p) {
    ptrdiff_t taken = 0;
    if (!some_have(p->groups, p->least > 1 ? p->least : 1, PTRDIFF_MAX)) return;
    cut_tiles(p);
#pragma omp parallel if (p->groups.groups * p->down * p->across > 1)
    {
        room *r = begin_products(p->how);
        block now, next;
        for (bool more = begin_tile(&now, p, omp_get_thread_num(), &taken); more; now = next) {
            next = now;
            more = next_block(&next, p, &taken);
            multiply_block(p->how, &now, more ? &next : NULL, r);
        }
        end_products(p->how, r);
        if (p->past_caches) finish_stores();
    }
}

/* ---- packed weights: the panels of forward, then those of d-input ---------------------------------------------------------------------- */

static ptrdiff_t panels_size(const arithmetic *how, ptrdiff_t n, ptrdiff_t depth) {
    return ceiling(n, PANEL_COLUMNS) * PANEL_COLUMNS * units_of(how, depth);
}

static ptrdiff_t packed_size_by(const arithmetic *how, ptrdiff_t in, ptrdiff_t out) { return panels_size(how, out, in) + panels_size(how, in, out); }

static void pack_rows_by(const arithmetic *how, real *packed, const real *w, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out) {
    const operand forward = across(w, in, NULL), input = along(w, in, NULL);
    const ptrdiff_t units_in = units_of(how, in), units_out = units_of(how, out);
    how->pack_b(packed + first * units_in, units_in * PANEL_COLUMNS, &forward, first, rows, 0, in);
    how->pack_b(packed + panels_size(how, out, in) + units_of(how, first) * PANEL_COLUMNS, units_out * PANEL_COLUMNS, &input, 0, in, first, rows);
}

/* Sums of squares that d-weight leaves: one for each panel of a group. */
static ptrdiff_t squares_size_by(const arithmetic *how, ptrdiff_t in, ptrdiff_t out) {
    return ceiling(out, how->panel_rows) * ceiling(in, PANEL_COLUMNS);
}

/* ---- the three products ------------------------------------------------------------------------------------------------------------------ */

/* One or two rows a group, a few dozen, hundreds, and more: four ways to the same product. The second is not for numbers that are rounded, which
 * packing does by the way, nor for blocks, which it unpacks; the third for reals alone, as long as nobody packed them. */
static void multiply_by_rows(grouped_product *p, const stored_product *s) {
    if (!s->x.bf16 && have_few_rows(s, 1)) {
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
        .how = how, .c = y, .a = batch(x, in, ACROSS), .b = across(NULL, in, NULL), .w = w, .groups = g, .m = -1, .n = out, .depth = in};
    p.packed = w->packed, p.packed_stride = packed_size_by(how, in, out);
    multiply_by_rows(&p, &(stored_product){y, x, {STORED_REAL, (const void *const *)w->value}, g, in, out});
}

static void linear_stored_by(const arithmetic *how, const stored_product *each, int n) {
    if (have_few_rows(each, n)) {
        multiply_few_rows(each, n);
        return;
    }
    for (const stored_product *s = each; s < each + n; s++) {
        grouped_product p = {.how = how, .c = s->y, .a = across(s->x.x, s->in, s->x.row), .stored = &s->w, .groups = s->groups};
        p.m = -1, p.n = s->out, p.depth = s->in;
        multiply_by_rows(&p, s);
    }
}

static void linear_dx_by(const arithmetic *how, real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    grouped_product p = {
        .how = how, .c = dx, .a = batch(dy, out, ACROSS), .b = along(NULL, in, NULL), .w = w, .groups = g, .m = -1, .n = in, .depth = out};
    p.accumulate = accumulate;
    if (w->packed) p.packed = w->packed + panels_size(how, out, in), p.packed_stride = packed_size_by(how, in, out);
    if (how->values == 1) {
        const ptrdiff_t most = lies_in_panels(how, &p.b, in) ? INPUT_ROWS_IN_PLACE_OF_NARROW : INPUT_ROWS_IN_PLACE;
        input_in_place(dx, dy, w, g, in, out, accumulate, most), p.least = most + 1;
    }
    multiply_groups(&p);
}

static bool lies_on_lines(const real *c, ptrdiff_t stride) { return (uintptr_t)c % VECTOR_BYTES == 0 && stride % LANES == 0; }

static void linear_dw_by(const arithmetic *how, real *dw, real *squares, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out,
                         bool accumulate, bool soon) {
    grouped_product p = {
        .how = how, .c = dw, .a = batch(dy, out, ALONG), .b = batch(x, in, ALONG), .groups = g, .m = out, .n = in, .depth = -1};
    p.accumulate = accumulate, p.squares = squares;
    p.past_caches = !soon && lies_on_lines(dw, in);
    const ptrdiff_t slots = squares_size_by(how, in, out);
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
static ptrdiff_t squares_size(ptrdiff_t in, ptrdiff_t out) { return squares_size_by(&numbers, in, out); }

/* As it lies, a narrow weight is multiplied at nine tenths of a packed one's speed, and an update that writes no copies of it moves three quarters of
 * the bytes (docs/performance.md): with few rows from one update to the next that is faster. */
enum { ROWS_WORTH_PACKING = 256 };
static bool worth_packing(ptrdiff_t in, double rows) {
    return rows >= ROWS_WORTH_PACKING || in > NARROW;
}
