/* Forward products of one or a few rows a group, as generation has them: what counts is how fast the weights stream in. Every row of a weight is
 * read once, as it lies, and multiplied with all rows of its group. Threads take runs of rows; some way ahead of what is multiplied, rows are
 * fetched, beyond the end of a run from the next. */
#include <omp.h>

enum {
    FEW_ROWS = 2,            /* up to so many, packing does not pay */
    RUN_ROWS = 128,          /* of a weight */
    FETCH_BYTES = 1 << 13,   /* how far ahead */
    FETCH_MOST_ROWS = 32,    /* but no more rows than these */
    SMALL_PRODUCT = 1 << 16, /* is not worth a second thread */
    CACHE_LINE = 64,
};

typedef struct {
    real *y;
    rows_of x;
    const matrices *w;             /* of reals, or */
    const stored_matrices *stored; /* as a file stores them */
    row_groups groups;
    ptrdiff_t in, out, stride; /* bytes from row to row of a weight */
} few_rows;

/* Rows of a weight that one thread multiplies. */
typedef struct {
    int group, before; /* how many groups with rows come before it */
    const unsigned char *w;
    ptrdiff_t first, n;
} run;

static inline const real *few_rows_x(const few_rows *p, ptrdiff_t r) { return p->x.x + (p->x.row ? p->x.row[r] : r) * p->in; }
static inline ptrdiff_t fetched_rows(const few_rows *p) { return smaller(FETCH_BYTES / p->stride + 1, FETCH_MOST_ROWS); }

static inline void fetch_bytes(const unsigned char *from, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += CACHE_LINE) __builtin_prefetch(from + i, 0, 2);
}

/* The run after all that were taken before; *r is what this thread took last, or {0}. */
static bool take_run(run *r, const few_rows *p, ptrdiff_t *taken) {
    const ptrdiff_t runs = ceiling(p->out, RUN_ROWS);
    ptrdiff_t mine;
#pragma omp atomic capture
    mine = (*taken)++;
    for (; r->group < p->groups.groups; r->group++) {
        if (p->groups.start[r->group] == p->groups.start[r->group + 1]) continue;
        if (r->before == mine / runs) break;
        r->before++;
    }
    if (r->group >= p->groups.groups) return false;
    const unsigned char *matrix = p->stored ? p->stored->group[r->group] : (const unsigned char *)p->w->value[r->group];
    r->first = mine % runs * RUN_ROWS, r->n = smaller(p->out - r->first, RUN_ROWS);
    r->w = matrix + r->first * p->stride;
    return true;
}

/* What is to be fetched while row i is multiplied; next may be NULL. */
static inline const unsigned char *row_ahead(const run *r, const run *next, ptrdiff_t i, ptrdiff_t stride, ptrdiff_t ahead) {
    const ptrdiff_t beyond = i + ahead - r->n;
    if (beyond < 0) return r->w + (i + ahead) * stride;
    return next && beyond < next->n ? next->w + beyond * stride : r->w + i * stride;
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

static void multiply_run(const few_rows *p, const run *r, const run *next) {
    const ptrdiff_t *start = p->groups.start + r->group, ahead = fetched_rows(p);
    const stored_type type = p->stored ? p->stored->type : STORED_REAL;
    for (ptrdiff_t i = 0; i < r->n; i++)
        for (ptrdiff_t n = start[0]; n < start[1]; n++)
            p->y[n * p->out + r->first + i] =
                dot_stored(few_rows_x(p, n), r->w + i * p->stride, p->in, row_ahead(r, next, i, p->stride, ahead), type);
}

static bool is_small(const few_rows *p) { return p->groups.start[p->groups.groups] * p->out * p->in <= SMALL_PRODUCT; }

static void multiply_few_rows(const few_rows *p) {
    ptrdiff_t taken = 0;
#pragma omp parallel if (!is_small(p))
    {
        run now = {0}, next;
        for (bool more = take_run(&now, p, &taken); more; now = next) {
            next = now;
            more = take_run(&next, p, &taken);
            multiply_run(p, &now, more ? &next : NULL);
        }
    }
}
