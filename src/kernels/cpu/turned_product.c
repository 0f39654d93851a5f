/* y = x w^T for up to some hundred rows of x a group, the other way round: y^T = w x^T. Then it is x that becomes panels, in place of w, whose rows
 * are read where they lie. Every sum runs in the order in which packed weights have it (products.c): both give the same bits. */

enum {
    TURNED_ROWS = 512,                 /* of x, at most */
    TURNED_UNITS = 1 << 18,            /* of x, over the whole depth */
    TOGETHER = 4 * 12,                 /* columns of y that are turned at once: whole panels, and whole lines */
    SUMS_STRIDE = TURNED_ROWS + LANES, /* no power of two */
};

typedef struct {
    real x[TURNED_UNITS] __attribute__((aligned(64))); /* B panels */
    real sums[TOGETHER * SUMS_STRIDE] __attribute__((aligned(64)));
    fetch_list list;
} turned_room;

_Static_assert(sizeof(turned_room) <= THREAD_ROOM_BYTES, "");

/* Groups have at most so many rows: those that are read in place, or for which there is room here. */
static ptrdiff_t turned_rows(ptrdiff_t in) {
    const ptrdiff_t most = smaller(TURNED_UNITS / in / PANEL_COLUMNS * PANEL_COLUMNS, TURNED_ROWS);
    return most > FORWARD_ROWS_IN_PLACE ? most : FORWARD_ROWS_IN_PLACE;
}

/* y (columns, rows) = sums (rows, columns) turned; rows of sums lie SUMS_STRIDE apart. */
static void turn_few_sums(real *y, ptrdiff_t stride, const real *sums, ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t j = 0; j < columns; j++)
        for (ptrdiff_t i = 0; i < rows; i++) y[j * stride + i] = sums[i * SUMS_STRIDE + j];
}

#if HAS_WIDE_BLOCKS
static void turn_all_sums(real *y, ptrdiff_t stride, const real *sums, ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t j = 0; j < columns; j += TURN_BY)
        for (ptrdiff_t i = 0; i < rows; i += TURN_BY) {
            if (i + TURN_BY > rows || j + TURN_BY > columns) {
                turn_few_sums(y + j * stride + i, stride, sums + i * SUMS_STRIDE + j, smaller(rows - i, TURN_BY), smaller(columns - j, TURN_BY));
                continue;
            }
            __m512 row[TURN_BY];
#pragma GCC unroll 16
            for (int k = 0; k < TURN_BY; k++) row[k] = _mm512_loadu_ps(sums + (i + k) * SUMS_STRIDE + j);
            turn_wide_block(y + j * stride + i, stride, 0, row);
        }
}
#else
static void turn_all_sums(real *y, ptrdiff_t stride, const real *sums, ptrdiff_t rows, ptrdiff_t columns) {
    turn_few_sums(y, stride, sums, rows, columns);
}
#endif

static void multiply_turned_panel(const panels *p) {
    if (p->columns <= LANES) multiply_rows_by(add_number, p, PANEL_COLUMNS, 1);
    else multiply_rows_by(add_number, p, PANEL_COLUMNS, PANEL_VECTORS);
}

/* Columns first .. end of a group's y. */
static void turned_part(real *y, const operand *x, ptrdiff_t rows, const real *w, ptrdiff_t in, ptrdiff_t out, ptrdiff_t first, ptrdiff_t end,
                        turned_room *r) {
    const ptrdiff_t panel_units = in * PANEL_COLUMNS, calls = ceiling(in, DEPTH) * ceiling(rows, PANEL_COLUMNS);
    const operand of_w = across(w, in, NULL);
    upcoming nothing = {0};
    begin_list(&r->list, smaller(in, DEPTH), w);
    pack_b(r->x, panel_units, x, 0, rows, 0, in);
    for (ptrdiff_t o = first; o < end; o += TOGETHER) {
        const ptrdiff_t together = smaller(end - o, TOGETHER);
        for (ptrdiff_t i = 0; i < together; i += PANEL_ROWS) {
            const ptrdiff_t panel = o + i, below = smaller(panel + PANEL_ROWS, out);
            upcoming next = spread(upcoming_rows(&of_w, below, smaller(out - below, PANEL_ROWS), 0, in), calls);
            for (ptrdiff_t k0 = 0; k0 < in; k0 += DEPTH) {
                const ptrdiff_t deep = smaller(in - k0, DEPTH);
                for (ptrdiff_t j = 0; j < rows; j += PANEL_COLUMNS) {
                    list_lines(&r->list, &next, &nothing);
                    multiply_turned_panel(&(panels){.c = r->sums + i * SUMS_STRIDE + j,
                                                    .stride = SUMS_STRIDE,
                                                    .a = w + panel * in + k0,
                                                    .a_row = in,
                                                    .b = r->x + j * in + k0 * PANEL_COLUMNS,
                                                    .units = deep,
                                                    .rows = smaller(together - i, PANEL_ROWS),
                                                    .columns = rows - j,
                                                    .accumulate = k0 > 0,
                                                    .fetch = r->list.line});
                }
            }
        }
        turn_all_sums(y + o, out, r->sums, together, rows);
    }
}

/* Of the groups that have more than FORWARD_ROWS_IN_PLACE rows and at most turned_rows; w is of reals. */
static void linear_turned(const stored_product *p) {
    const row_groups g = p->groups;
    const ptrdiff_t parts = parts_of_group(g, p->out, TOGETHER), least = FORWARD_ROWS_IN_PLACE + 1, most = turned_rows(p->in);
    if (!some_have(g, least, most)) return;
#pragma omp parallel if (g.groups * parts > 1)
    {
        turned_room *r = thread_room_take();
#pragma omp for schedule(dynamic) nowait
        for (ptrdiff_t task = 0; task < g.groups * parts; task++) {
            const ptrdiff_t group = task / parts, start = g.start[group], rows = g.start[group + 1] - start;
            const operand x = rows_of_group(p->x, g, group, p->in);
            if (rows < least || rows > most) continue;
            turned_part(p->y + start * p->out, &x, rows, p->w.group[group], p->in, p->out, part_start(p->out, TOGETHER, task % parts, parts),
                        part_start(p->out, TOGETHER, task % parts + 1, parts), r);
        }
        thread_room_return(r);
    }
}
