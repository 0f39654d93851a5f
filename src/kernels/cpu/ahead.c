/* What is fetched while panels are multiplied: lines of what comes next, evenly, since many at once would keep the caches' own traffic waiting.
 * Before each call of the micro-kernel its lines are listed, and it fetches FETCHES of them at each segment of its depth. */

enum { MOST_FETCHES = DEPTH / SEGMENT * FETCHES };

typedef struct {
    const real *line[MOST_FETCHES];
    ptrdiff_t slots; /* fetched in a call; those that no line is left for hold one that has been fetched */
} fetch_list;

/* Rows row .. end of a source, `length` values of each from `from` on. */
typedef struct {
    operand source;
    ptrdiff_t row, end, from, length;
    ptrdiff_t done;  /* values of the first row that are fetched */
    ptrdiff_t lines; /* fetched in a call, at most */
} upcoming;

/* What a block takes of a factor: rows (of B: columns) first .. first + n, depth k0 .. k0 + deep. */
static upcoming upcoming_rows(const operand *o, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t deep) {
    if (o->bf16) { /* two values are as wide as a real */
        const operand pairs = {.x = (const real *)(const void *)o->bf16, .stride = o->stride / 2, .row = o->row, .lies = o->lies};
        return o->lies == ACROSS ? upcoming_rows(&pairs, first, n, k0 / 2, deep / 2) : upcoming_rows(&pairs, first / 2, n / 2, k0, deep);
    }
    return o->lies == ACROSS ? (upcoming){*o, first, first + n, k0, deep, 0, 0} : (upcoming){*o, k0, k0 + deep, first, n, 0, 0};
}

static upcoming upcoming_panel(const real *b, ptrdiff_t units) { return (upcoming){across(b, 0, NULL), 0, 1, 0, units * PANEL_COLUMNS, 0, 0}; }

/* All of it in so many calls. */
static upcoming spread(upcoming u, ptrdiff_t calls) {
    u.lines = ceiling((u.end - u.row) * ceiling(u.length, LINE), calls);
    return u;
}

static void begin_list(fetch_list *list, ptrdiff_t units, const real *fetched) {
    list->slots = ceiling(units, SEGMENT) * FETCHES;
    for (ptrdiff_t i = 0; i < list->slots; i++) list->line[i] = fetched;
}

static ptrdiff_t list_from(fetch_list *list, ptrdiff_t slot, upcoming *u) {
    const ptrdiff_t end = smaller(slot + u->lines, list->slots);
    while (slot < end && u->row < u->end) {
        const real *from = source_row(&u->source, u->row) + u->from + u->done;
        const ptrdiff_t n = smaller(ceiling(u->length - u->done, LINE), end - slot);
        for (ptrdiff_t i = 0; i < n; i++) list->line[slot + i] = from + i * LINE;
        slot += n, u->done += n * LINE;
        if (u->done >= u->length) u->row++, u->done = 0;
    }
    return slot;
}

/* The lines of the next call: the first factor's, then as many of the second's as there is room for. */
static void list_lines(fetch_list *list, upcoming *a, upcoming *b) { list_from(list, list_from(list, 0, a), b); }
