/* Forward products of one or a few rows a group, as generation has them: what counts is how fast the weights stream in. Every row of a weight is
 * read once, as it lies, and multiplied with all rows of its group. Threads take runs of rows; some way ahead of what is multiplied, rows are
 * fetched, beyond the end of a run from the next. */
#include <omp.h>

enum {
    FEW_ROWS = 2,            /* up to so many, packing does not pay */
    RUN_BYTES = 1 << 16,     /* of a weight, about */
    FETCH_BYTES = 1 << 13,   /* how far ahead */
    FETCH_MOST_ROWS = 32,    /* but no more rows than these */
    SMALL_PRODUCT = 1 << 16, /* is not worth a second thread */
    CACHE_LINE = 64,
};

/* Rows of a weight that one thread multiplies. */
typedef struct {
    int product, group;
    ptrdiff_t before; /* how many runs come before those of this group */
    const unsigned char *w;
    ptrdiff_t first, n;
} run;

/* What runs are taken from. */
typedef struct {
    const stored_product *each;
    int n;
    ptrdiff_t taken;
} run_queue;

static inline const real *product_x(const stored_product *p, ptrdiff_t r) { return p->x.x + (p->x.row ? p->x.row[r] : r) * p->in; }
static inline ptrdiff_t product_stride(const stored_product *p) { return stored_row_bytes(p->w.type, p->in); }

static inline void fetch_bytes(const unsigned char *from, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += CACHE_LINE) __builtin_prefetch(from + i, 0, 2);
}

static ptrdiff_t rows_of_runs(const stored_product *p) { return RUN_BYTES / product_stride(p) + 1; }

static ptrdiff_t runs_of(const stored_product *p, int group) {
    return p->groups.start[group] < p->groups.start[group + 1] ? ceiling(p->out, rows_of_runs(p)) : 0;
}

/* The run after all that were taken before; *r is what this thread took last, or {0}. */
static bool take_run(run *r, run_queue *q) {
    ptrdiff_t mine;
#pragma omp atomic capture
    mine = q->taken++;
    for (; r->product < q->n; r->product++, r->group = 0) {
        const stored_product *p = &q->each[r->product];
        for (; r->group < p->groups.groups; r->before += runs_of(p, r->group++)) {
            if (mine >= r->before + runs_of(p, r->group)) continue;
            const ptrdiff_t rows = rows_of_runs(p);
            r->first = (mine - r->before) * rows, r->n = smaller(p->out - r->first, rows);
            r->w = (const unsigned char *)p->w.group[r->group] + r->first * product_stride(p);
            return true;
        }
    }
    return false;
}

/* What is to be fetched while row i is multiplied: some rows ahead, of the next run if need be, which may be NULL or of another product. */
static inline const unsigned char *row_ahead(const run *r, const run *next, ptrdiff_t i, ptrdiff_t stride) {
    const ptrdiff_t ahead = i + smaller(FETCH_BYTES / stride + 1, FETCH_MOST_ROWS), beyond = ahead - r->n;
    if (beyond < 0) return r->w + ahead * stride;
    return next && next->product == r->product && beyond < next->n ? next->w + beyond * stride : r->w + i * stride;
}

/* ---- exact ------------------------------------------------------------------------------------------------------------------------------- */

typedef V load_values(const unsigned char *w);

static inline V load_real(const unsigned char *w) { return load((const real *)(const void *)w); }

/* In the order of dot(), so that nothing changes where a file is converted. */
static inline __attribute__((always_inline)) real dot_of_values(const real *x, const unsigned char *w, ptrdiff_t n, const unsigned char *ahead,
                                                                load_values *load_w, const ptrdiff_t size) {
    V s0 = {0}, s1 = {0};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        fetch_bytes(ahead + i * size, 2 * LANES * size);
        s0 += load(x + i) * load_w(w + i * size), s1 += load(x + i + LANES) * load_w(w + (i + LANES) * size);
    }
    for (; i + LANES <= n; i += LANES) s0 += load(x + i) * load_w(w + i * size);
    if (i < n) {
        unsigned char last[sizeof(V)] = {0};
        memcpy(last, w + i * size, (size_t)((n - i) * size));
        s1 += load_part(x + i, n - i, 0) * load_w(last);
    }
    return sum_lanes(s0 + s1);
}

/* Blocks become reals while they are at hand. */
static inline real dot_of_blocks(const real *x, const unsigned char *w, ptrdiff_t n, const unsigned char *ahead, stored_type type) {
    enum { AT_ONCE = 8 * STORED_BLOCK };
    real reals[AT_ONCE], sum = 0;
    for (ptrdiff_t i = 0; i < n; i += AT_ONCE) {
        const ptrdiff_t here = smaller(n - i, AT_ONCE), at = stored_row_bytes(type, i);
        fetch_bytes(ahead + at, stored_row_bytes(type, here));
        reals_of[type](reals, w + at, here);
        sum += dot(x + i, reals, here);
    }
    return sum;
}

static inline real dot_stored(const real *x, const unsigned char *w, ptrdiff_t n, const unsigned char *ahead, stored_type type) {
    if (type == STORED_REAL) return dot_of_values(x, w, n, ahead, load_real, sizeof(real));
    if (type == STORED_F16) return dot_of_values(x, w, n, ahead, load_f16, 2);
    if (type == STORED_BF16) return dot_of_values(x, w, n, ahead, load_bf16, 2);
    return dot_of_blocks(x, w, n, ahead, type);
}

static void multiply_run(const stored_product *p, const run *r, const run *next) {
    const ptrdiff_t *start = p->groups.start + r->group, stride = product_stride(p);
    for (ptrdiff_t i = 0; i < r->n; i++)
        for (ptrdiff_t n = start[0]; n < start[1]; n++)
            p->y[n * p->out + r->first + i] = dot_stored(product_x(p, n), r->w + i * stride, p->in, row_ahead(r, next, i, stride), p->w.type);
}

static bool are_small(const stored_product *each, int n) {
    ptrdiff_t size = 0;
    for (int i = 0; i < n; i++) size += each[i].groups.start[each[i].groups.groups] * each[i].out * each[i].in;
    return size <= SMALL_PRODUCT;
}

static void multiply_few_rows(const stored_product *each, int n) {
    run_queue q = {each, n, 0};
#pragma omp parallel if (!are_small(each, n))
    {
        run now = {0}, next;
        for (bool more = take_run(&now, &q); more; now = next) {
            next = now;
            more = take_run(&next, &q);
            multiply_run(&each[now.product], &now, more ? &next : NULL);
        }
    }
}

static ptrdiff_t most_rows(row_groups g) {
    ptrdiff_t most = 0;
    for (int e = 0; e < g.groups; e++)
        if (g.start[e + 1] - g.start[e] > most) most = g.start[e + 1] - g.start[e];
    return most;
}

static bool have_few_rows(const stored_product *each, int n) {
    ptrdiff_t most = 0;
    for (int i = 0; i < n; i++) {
        const ptrdiff_t rows = most_rows(each[i].groups);
        if (rows > most) most = rows;
    }
    return most <= FEW_ROWS;
}
