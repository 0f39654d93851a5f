/* Forward products with weights as files store them. Of one or two rows a group, each row of a weight is read once, and its products summed as it
 * lies; of more, panels of reals are made from it, tile by tile. */

/* ---- a row of a weight times a row of x -------------------------------------------------------------------------------------------------- */

typedef real stored_dot(const real *x, const unsigned char *w, ptrdiff_t n);

/* In the order of dot(), so that nothing changes where a file is converted. */
static inline __attribute__((always_inline)) real dot_of_pairs(const real *x, const unsigned char *w, ptrdiff_t n,
                                                               V (*load_w)(const unsigned char *)) {
    V s0 = {0}, s1 = {0};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) s0 += load(x + i) * load_w(w + 2 * i), s1 += load(x + i + LANES) * load_w(w + 2 * (i + LANES));
    for (; i + LANES <= n; i += LANES) s0 += load(x + i) * load_w(w + 2 * i);
    if (i < n) {
        unsigned char last[2 * LANES] = {0};
        memcpy(last, w + 2 * i, (size_t)(2 * (n - i)));
        s1 += load_part(x + i, n - i, 0) * load_w(last);
    }
    return sum_lanes(s0 + s1);
}

static real dot_f16(const real *x, const unsigned char *w, ptrdiff_t n) { return dot_of_pairs(x, w, n, load_f16); }
static real dot_bf16(const real *x, const unsigned char *w, ptrdiff_t n) { return dot_of_pairs(x, w, n, load_bf16); }

/* Blocks become reals where they are still at hand. */
static inline real dot_of_blocks(const real *x, const unsigned char *w, ptrdiff_t n, stored_type type) {
    enum { AT_ONCE = 8 * STORED_BLOCK };
    real w_reals[AT_ONCE], sum = 0;
    for (ptrdiff_t i = 0; i < n; i += AT_ONCE) {
        const ptrdiff_t here = smaller(n - i, AT_ONCE);
        reals_of[type](w_reals, w + stored_row_bytes(type, i), here);
        sum += dot(x + i, w_reals, here);
    }
    return sum;
}

static real dot_q8_0(const real *x, const unsigned char *w, ptrdiff_t n) { return dot_of_blocks(x, w, n, STORED_Q8_0); }
static real dot_q4_0(const real *x, const unsigned char *w, ptrdiff_t n) { return dot_of_blocks(x, w, n, STORED_Q4_0); }
static real dot_mxfp4(const real *x, const unsigned char *w, ptrdiff_t n) { return dot_of_blocks(x, w, n, STORED_MXFP4); }

static stored_dot *const stored_dots[STORED_TYPES] = {
    [STORED_F16] = dot_f16, [STORED_BF16] = dot_bf16, [STORED_Q8_0] = dot_q8_0, [STORED_Q4_0] = dot_q4_0, [STORED_MXFP4] = dot_mxfp4,
};

static int busy_groups(row_groups g) {
    int busy = 0;
    for (int e = 0; e < g.groups; e++) busy += g.start[e] < g.start[e + 1];
    return busy;
}

enum { ROWS_AT_ONCE = 32 /* of a weight */ };

/* A group that has rows, and how many of those were before it. Begins as {0}. */
typedef struct {
    int group, before;
} busy_group;

/* Task `task` is rows first .. last of which group's matrix? Tasks only ever ascend. */
static void find_rows(busy_group *at, ptrdiff_t task, row_groups g, ptrdiff_t out, ptrdiff_t *first, ptrdiff_t *last) {
    const ptrdiff_t tasks = ceiling(out, ROWS_AT_ONCE);
    for (;; at->group++) {
        if (g.start[at->group] == g.start[at->group + 1]) continue;
        if (at->before == task / tasks) break;
        at->before++;
    }
    *first = task % tasks * ROWS_AT_ONCE, *last = smaller(*first + ROWS_AT_ONCE, out);
}

static void linear_stored_few_rows(real *y, rows_of x, const stored_matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    const ptrdiff_t bytes = stored_row_bytes(w->type, in), tasks = busy_groups(g) * ceiling(out, ROWS_AT_ONCE);
    stored_dot *dot_of = stored_dots[w->type];
#pragma omp parallel if (tasks * in > 1 << 13)
    {
        busy_group at = {0};
#pragma omp for schedule(dynamic) nowait
        for (ptrdiff_t task = 0; task < tasks; task++) {
            ptrdiff_t first, last;
            find_rows(&at, task, g, out, &first, &last);
            const unsigned char *matrix = w->group[at.group];
            for (ptrdiff_t o = first; o < last; o++)
                for (ptrdiff_t r = g.start[at.group]; r < g.start[at.group + 1]; r++)
                    y[r * out + o] = dot_of(x.x + (x.row ? x.row[r] : r) * in, matrix + o * bytes, in);
        }
    }
}

/* ---- all groups -------------------------------------------------------------------------------------------------------------------------- */

static void linear_stored_by(const arithmetic *how, real *y, rows_of x, const stored_matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    grouped_product p = {.how = how, .c = y, .a = {x.x, in, x.row, ACROSS}, .stored = w, .groups = g, .m = -1, .n = out, .depth = in};
    if (most_rows(g) <= FEW_ROWS) linear_stored_few_rows(y, x, w, g, in, out);
    else multiply_groups(&p);
}

static void linear_stored(real *y, rows_of x, const stored_matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    linear_stored_by(&numbers, y, x, w, g, in, out);
}
