/* Every entry of every kernel table of this machine, against sums in double written here as plainly as the formulas in kernels.h.
 *
 * A case lists its outputs as parts of one block, fills what it expects term by term, and calls check(), which runs the entry with every
 * table and with 1, 2 and 3 threads. Overwritten parts begin as NaN, so that reading them shows; guards between the parts show writes past
 * an end; inputs are allocated exactly, so that the sanitizer shows reads past one.
 *
 * Tolerance: a sum of n terms in float, in any order, is off by about epsilon sqrt(n) times the sum of its terms' absolute values. Four
 * times that is allowed. Two tables then agree within twice as much, so they are not compared again with each other. exp is clamped at
 * the ends of float's range, which the floor covers. */
#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../bf16.h"
#include "../test.h"
#include "base/random.h"
#include "lamp.h"

enum { ROOM = 1 << 19, PARTS = 4, GUARD = 32, POOL = 64, MOST_GROUPS = 5 };
static const double allowed_epsilons = 4, lowest = 1e-35;
static const real sentinel = 12345;

typedef struct {
    ptrdiff_t rows, width, out, heads; /* a product's width is its depth */
    const real *x, *y, *z, *u, *v, *other;
    real **w;
    const int32_t *row, *other_row;
    row_groups groups;
    attention_span span;
    attention_shape shape;
    real number;
    bool flag, packed;
    update_step step;
    random_key key;
    const uint64_t *first;
} arguments;

typedef void call(const struct kernels *k, const arguments *a, real *const *out);

static real before[ROOM], found[ROOM], first_run[ROOM];
static double expected[ROOM], magnitude[ROOM];
static ptrdiff_t used, part_start[PARTS];
static int parts, pooled;
static void *pool[POOL];
static uint64_t stream;

static void *take(ptrdiff_t n, size_t size) { return pool[pooled++] = malloc((size_t)n * size + (n == 0)); }

/* n numbers in [-1, 1) */
static real *numbers(ptrdiff_t n) {
    real *x = take(n, sizeof *x);
    random_key key = {5, stream++};
    for (ptrdiff_t i = 0; i < n; i++) x[i] = (real)(2 * random_uniform(key, (uint64_t)i) - 1);
    return x;
}

static int32_t *picks(ptrdiff_t n, ptrdiff_t bound) {
    int32_t *row = take(n, sizeof *row);
    random_key key = {6, stream++};
    for (ptrdiff_t i = 0; i < n; i++) row[i] = (int32_t)random_below(key, (uint64_t)i, (uint64_t)bound);
    return row;
}

static ptrdiff_t *ascending(ptrdiff_t n, const int *sizes) {
    ptrdiff_t *start = take(n + 1, sizeof *start);
    start[0] = 0;
    for (ptrdiff_t i = 0; i < n; i++) start[i + 1] = start[i] + sizes[i];
    return start;
}

/* An output of n numbers that begins as `begin` and is accumulated to, or begins as NaN. */
static ptrdiff_t part(ptrdiff_t n, const real *begin) {
    ptrdiff_t at = part_start[parts++] = used;
    for (ptrdiff_t i = 0; i < n + GUARD; i++) {
        bool guard = i >= n;
        before[at + i] = guard ? sentinel : begin ? begin[i] : (real)NAN;
        expected[at + i] = guard || begin ? (double)before[at + i] : 0;
        magnitude[at + i] = guard ? 0 : fabs(expected[at + i]);
    }
    used += n + GUARD;
    return at;
}

static void term(ptrdiff_t at, double value) { expected[at] += value, magnitude[at] += fabs(value); }
static void put(ptrdiff_t at, double value, double size) { expected[at] = value, magnitude[at] = size; }

static void term_of_size(ptrdiff_t at, double value, double size) { expected[at] += value, magnitude[at] += size; }

static bool agrees(ptrdiff_t i, double depth) {
    if (isnan(expected[i])) return isnan(found[i]);
    return fabs((double)found[i] - expected[i]) <= allowed_epsilons * (double)FLT_EPSILON * sqrt(depth + 1) * magnitude[i] + lowest;
}

static void check(const char *what, call *run, const arguments *a, double depth) {
    const struct kernels *tables[KERNEL_TABLES];
    real *out[PARTS];
    size_t bytes = sizeof(real) * (size_t)used;
    int n = kernels_available(tables);
    for (int p = 0; p < parts; p++) out[p] = found + part_start[p];
    for (int t = 0; t < n; t++)
        for (int threads = 1; threads <= 3; threads++) {
            memcpy(found, before, bytes);
            omp_set_num_threads(threads);
            run(tables[t], a, out);
            if (threads > 1) {
                EXPECT(!memcmp(found, first_run, bytes), "%s, %s, %td x %td, out %td: %d threads differ from one", tables[t]->name, what, a->rows,
                       a->width, a->out, threads);
                continue;
            }
            memcpy(first_run, found, bytes);
            ptrdiff_t i = 0;
            while (i < used && agrees(i, depth)) i++;
            EXPECT(i == used, "%s, %s, %td x %td, out %td: element %td is %.9g, expected %.9g", tables[t]->name, what, a->rows, a->width, a->out, i,
                   (double)found[i], expected[i]);
        }
    for (int i = 0; i < pooled; i++) free(pool[i]);
    pooled = parts = 0, used = 0;
}

/* ---- products ---- */

/* w packed by k, in pieces as an update does it; exactly as large as k says */
static real *pack(const struct kernels *k, const arguments *a) {
    ptrdiff_t size = k->products.packed_size(a->width, a->out);
    real *packed = malloc(sizeof(real) * (size_t)(a->groups.groups * size));
    for (int g = 0; g < a->groups.groups; g++)
        for (ptrdiff_t row = 0; row < a->out; row += PACKED_ROWS)
            k->products.pack_rows(packed + g * size, a->w[g], row, a->out - row < PACKED_ROWS ? a->out - row : PACKED_ROWS, a->width, a->out);
    return packed;
}

static void call_linear(const struct kernels *k, const arguments *a, real *const *out) {
    real *packed = a->packed ? pack(k, a) : NULL;
    k->products.linear(out[0], (rows_of){.x = a->x, .row = a->row}, &(matrices){a->w, packed}, a->groups, a->width, a->out);
    free(packed);
}
static void call_linear_dx(const struct kernels *k, const arguments *a, real *const *out) {
    real *packed = a->packed ? pack(k, a) : NULL;
    k->products.linear_dx(out[0], (rows_of){.x = a->y, .row = a->row}, &(matrices){a->w, packed}, a->groups, a->width, a->out, a->flag);
    free(packed);
}
static void call_linear_dw(const struct kernels *k, const arguments *a, real *const *out) {
    k->products.linear_dw(out[0], NULL, (rows_of){.x = a->y, .row = a->other_row}, (rows_of){.x = a->x, .row = a->row}, a->groups, a->width, a->out,
                          a->flag, !a->flag);
}

static const real *picked(const real *x, const int32_t *row, ptrdiff_t r, ptrdiff_t width) { return x + (row ? row[r] : r) * width; }

static arguments product(const int *sizes, ptrdiff_t in, ptrdiff_t out, bool gathered) {
    arguments a = {.width = in, .out = out, .groups = {MOST_GROUPS, ascending(MOST_GROUPS, sizes)}, .packed = (in + out) % 2};
    ptrdiff_t rows = a.rows = a.groups.start[MOST_GROUPS], sources = gathered ? rows / 2 + 1 : rows;
    a.x = numbers(sources * in), a.y = numbers(sources * out);
    if (gathered) a.row = picks(rows, sources), a.other_row = picks(rows, sources);
    a.w = take(MOST_GROUPS, sizeof *a.w);
    for (int g = 0; g < MOST_GROUPS; g++) a.w[g] = numbers(in * out);
    return a;
}

static void check_products(const int *sizes, ptrdiff_t in, ptrdiff_t out, bool gathered) {
    arguments a = product(sizes, in, out, gathered);
    ptrdiff_t y = part(a.rows * out, NULL);
    for (int g = 0; g < MOST_GROUPS; g++)
        for (ptrdiff_t r = a.groups.start[g]; r < a.groups.start[g + 1]; r++)
            for (ptrdiff_t o = 0; o < out; o++)
                for (ptrdiff_t i = 0; i < in; i++) term(y + r * out + o, (double)picked(a.x, a.row, r, in)[i] * (double)a.w[g][o * in + i]);
    check("linear", call_linear, &a, (double)in);

    for (int accumulate = 0; accumulate < 2; accumulate++) {
        a = product(sizes, in, out, gathered);
        a.flag = accumulate;
        ptrdiff_t dx = part(a.rows * in, accumulate ? numbers(a.rows * in) : NULL);
        for (int g = 0; g < MOST_GROUPS; g++)
            for (ptrdiff_t r = a.groups.start[g]; r < a.groups.start[g + 1]; r++)
                for (ptrdiff_t o = 0; o < out; o++)
                    for (ptrdiff_t i = 0; i < in; i++) term(dx + r * in + i, (double)picked(a.y, a.row, r, out)[o] * (double)a.w[g][o * in + i]);
        check("linear_dx", call_linear_dx, &a, (double)out);
    }

    for (int accumulate = 0; accumulate < 2; accumulate++) {
        a = product(sizes, in, out, gathered);
        a.flag = accumulate;
        ptrdiff_t dw = part(MOST_GROUPS * out * in, accumulate ? numbers(MOST_GROUPS * out * in) : NULL);
        for (int g = 0; g < MOST_GROUPS; g++)
            for (ptrdiff_t r = a.groups.start[g]; r < a.groups.start[g + 1]; r++)
                for (ptrdiff_t o = 0; o < out; o++)
                    for (ptrdiff_t i = 0; i < in; i++)
                        term(dw + (g * out + o) * in + i, (double)picked(a.y, a.other_row, r, out)[o] * (double)picked(a.x, a.row, r, in)[i]);
        check("linear_dw", call_linear_dw, &a, (double)a.rows);
    }
}

static const int groupings[][MOST_GROUPS] = {
    {0}, {1}, {2}, {5}, {12}, {13}, {60}, {241}, {1000}, {16}, {32, 0, 9}, {29, 64, 100}, {17, 0, 31, 6, 24}, {0, 0, 257, 0, 1}, {0, 3, 0, 13, 1}, {2, 1, 0, 2, 0}, {1, 1, 1, 1, 1}};

static void products_equal_plain_sums(void) {
    static const int sizes[][2] = {{1, 1}, {3, 17}, {16, 33}, {31, 64}, {100, 31}, {257, 100}, {300, 16}, {513, 3}, {17, 520}, {96, 50}, {520, 100}};
    for (size_t g = 0; g < sizeof groupings / sizeof *groupings; g++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check_products(groupings[g], sizes[i][0], sizes[i][1], (g + i) % 2);
}

static void packed_weights_change_no_bit(void) {
    static const int sizes[][2] = {{1, 1}, {16, 33}, {96, 50}, {257, 100}, {520, 100}, {17, 520}};
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int t = 0; t < n; t++)
        for (size_t g = 0; g < sizeof groupings / sizeof *groupings; g++)
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                arguments a = product(groupings[g], sizes[s][0], sizes[s][1], g % 2);
                real *y[2], *dx[2];
                for (int packed = 0; packed < 2; packed++) {
                    a.packed = packed, y[packed] = take(a.rows * a.out, sizeof(real)), dx[packed] = take(a.rows * a.width, sizeof(real));
                    call_linear(tables[t], &a, &y[packed]), call_linear_dx(tables[t], &a, &dx[packed]);
                }
                EXPECT(!memcmp(y[0], y[1], sizeof(real) * (size_t)(a.rows * a.out)), "%s, linear, %td x %td, out %td", tables[t]->name, a.rows, a.width,
                       a.out);
                EXPECT(!memcmp(dx[0], dx[1], sizeof(real) * (size_t)(a.rows * a.width)), "%s, linear_dx, %td x %td, out %td", tables[t]->name, a.rows,
                       a.width, a.out);
                for (int i = 0; i < pooled; i++) free(pool[i]);
                pooled = 0;
            }
}

/* What d-weight leaves of its squares is the gradient's norm: overwritten, then added to by rows that reach only some groups. */
static void check_squares(const char *table, const char *precision, const struct products *p, ptrdiff_t in, ptrdiff_t out) {
    static const int first_sizes[] = {3, 0, 40, 0, 300}, then_sizes[] = {0, 0, 5, 7, 0};
    const ptrdiff_t slots = MOST_GROUPS * p->squares_size(in, out), size = MOST_GROUPS * in * out;
    real *dw = malloc(sizeof(real) * (size_t)size), *squares = malloc(sizeof(real) * (size_t)slots);
    for (int pass = 0; pass < 2; pass++) {
        arguments a = product(pass ? then_sizes : first_sizes, in, out, false);
        double norm = 0, sum = 0;
        p->linear_dw(dw, squares, (rows_of){.x = a.y}, (rows_of){.x = a.x}, a.groups, in, out, pass > 0, pass > 0);
        for (ptrdiff_t i = 0; i < size; i++) norm += (double)dw[i] * (double)dw[i];
        for (ptrdiff_t i = 0; i < slots; i++) sum += (double)squares[i];
        EXPECT(norm > 0 && fabs(sum - norm) <= 1e-6 * norm, "%s, %s, %td x %td, pass %d: %.9g, expected %.9g", table, precision, out, in, pass, sum,
               norm);
    }
    free(dw), free(squares);
    for (int i = 0; i < pooled; i++) free(pool[i]);
    pooled = 0;
}

static void squares_of_d_weight_sum_to_its_norm(void) {
    static const int sizes[][2] = {{1, 1}, {33, 17}, {100, 31}, {257, 100}, {520, 40}, {40, 520}, {64, 96}};
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int t = 0; t < n; t++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            check_squares(tables[t]->name, "real", &tables[t]->products, sizes[s][0], sizes[s][1]);
            if (tables[t]->products_bf16) check_squares(tables[t]->name, "bf16", tables[t]->products_bf16, sizes[s][0], sizes[s][1]);
        }
}

static void a_product_passes_nan_to_its_row_only(void) {
    const int sizes[MOST_GROUPS] = {7, 0, 2};
    for (int wrong = 0; wrong < 9; wrong++) {
        arguments a = product(sizes, 37, 19, false);
        ((real *)a.x)[wrong * 37 + 36] = (real)NAN;
        ptrdiff_t y = part(a.rows * a.out, NULL);
        for (int g = 0; g < MOST_GROUPS; g++)
            for (ptrdiff_t r = a.groups.start[g]; r < a.groups.start[g + 1]; r++)
                for (ptrdiff_t o = 0; o < 19; o++)
                    for (ptrdiff_t i = 0; i < 37; i++) term(y + r * 19 + o, (double)a.x[r * 37 + i] * (double)a.w[g][o * 37 + i]);
        check("linear of NaN", call_linear, &a, 37);
    }
}

/* ---- attention ---- */

typedef struct {
    int sequences, queries[3], keys[3], heads, kv_heads, head_dim,
        value_dim;      /* value_dim 0: as wide as keys; negative: the first columns of the keys */
    double scale;       /* of random scores: 30 makes one key take nearly everything */
    int window, unseen; /* unseen: so many keys in front hold no numbers, because nobody looks at them */
    bool chunked, sinks;
} attention_case;

static attention_inputs inputs_of(const arguments *a) {
    const attention_shape *s = &a->shape;
    ptrdiff_t key_row = s->kv_heads * s->head_dim, value_row = s->kv_heads * s->value_dim;
    heads_of keys = {a->y, key_row, s->head_dim}, values = {a->z, value_row, s->value_dim};
    return (attention_inputs){a->x, keys, a->z ? values : keys, a->other};
}

static void call_attention(const struct kernels *k, const arguments *a, real *const *out) {
    attention_inputs in = inputs_of(a);
    k->products.attention(out[0], out[1], &in, a->span, a->shape);
}
static void call_attention_backward(const struct kernels *k, const arguments *a, real *const *out) {
    const real *y = a->v, *log_sum = y + a->rows * a->shape.heads * a->shape.value_dim;
    attention_inputs in = inputs_of(a);
    attention_gradients d = {out[0], out[1], out[2], a->other ? out[3] : NULL};
    k->products.attention_backward(&d, a->u, y, log_sum, &in, a->span, a->shape);
}

static double score(const arguments *a, ptrdiff_t i, ptrdiff_t j, ptrdiff_t h) {
    ptrdiff_t D = a->shape.head_dim, H = a->shape.heads, K = a->shape.kv_heads;
    double sum = 0;
    for (ptrdiff_t d = 0; d < D; d++) sum += (double)a->x[(i * H + h) * D + d] * (double)a->y[(j * K + h / (H / K)) * D + d];
    return sum * (double)a->shape.scale;
}

/* Which keys of a sequence a query at a position of it sees: first .. position. */
static ptrdiff_t first_seen(const attention_case *c, ptrdiff_t position) {
    if (c->window == 0) return 0;
    if (c->chunked) return position / c->window * c->window;
    return position >= c->window ? position - c->window + 1 : 0;
}

/* The value in column d of head kv of key j. */
static double value_of(const arguments *a, ptrdiff_t j, ptrdiff_t kv, ptrdiff_t d) {
    ptrdiff_t K = a->shape.kv_heads;
    return (double)(a->z ? a->z[(j * K + kv) * a->shape.value_dim + d] : a->y[(j * K + kv) * a->shape.head_dim + d]);
}

static real *without_numbers(real *rows, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) rows[i] = (real)NAN;
    return rows;
}

static void check_attention(const attention_case *c) {
    enum { SPARE = 3, MOST_KEYS = 640 }; /* cached sequences have room behind them */
    ptrdiff_t H = c->heads, K = c->kv_heads, D = c->head_dim, W = c->value_dim == 0 ? D : labs(c->value_dim);
    ptrdiff_t *key_start = take(c->sequences, sizeof *key_start), *key_end = take(c->sequences, sizeof *key_end);
    arguments a = {.shape = {H, K, D, W, (real)(c->scale / sqrt(c->head_dim)), c->window, c->chunked}, .width = D, .out = H};
    ptrdiff_t keys = 0;
    for (int s = 0; s < c->sequences; s++) key_start[s] = keys, key_end[s] = keys + c->keys[s], keys += c->keys[s] + SPARE;
    a.span = (attention_span){c->sequences, ascending(c->sequences, c->queries), key_start, key_end};
    ptrdiff_t rows = a.rows = a.span.query_start[c->sequences];
    a.x = numbers(rows * H * D), a.y = without_numbers(numbers(keys * K * D), c->unseen * K * D), a.other = c->sinks ? numbers(H) : NULL;
    a.z = c->value_dim < 0 ? NULL : without_numbers(numbers(keys * K * W), c->unseen * K * W);
    int kept = pooled; /* backward uses the same inputs */
    pooled = 0;
    ptrdiff_t y = part(rows * H * W, NULL), log_sum = part(rows * H, NULL);
    real *forward = malloc(sizeof(real) * (size_t)(rows * H * (W + 1)));
    for (int s = 0; s < c->sequences; s++)
        for (ptrdiff_t i = a.span.query_start[s]; i < a.span.query_start[s + 1]; i++)
            for (ptrdiff_t h = 0; h < H; h++) {
                ptrdiff_t end = key_end[s] - (a.span.query_start[s + 1] - 1 - i), kv = h / (H / K);
                ptrdiff_t first = key_start[s] + first_seen(c, end - 1 - key_start[s]);
                double p[MOST_KEYS], sum = c->sinks ? exp((double)a.other[h]) : 0;
                for (ptrdiff_t j = first; j < end; j++) sum += p[j - first] = exp(score(&a, i, j, h));
                for (ptrdiff_t j = first; j < end; j++)
                    for (ptrdiff_t d = 0; d < W; d++) term(y + (i * H + h) * W + d, (1 + 2 * c->scale) * p[j - first] / sum * value_of(&a, j, kv, d));
                for (ptrdiff_t d = 0; d < W; d++) expected[y + (i * H + h) * W + d] /= 1 + 2 * c->scale;
                put(log_sum + i * H + h, log(sum), 1 + 2 * c->scale + fabs(log(sum)));
                for (ptrdiff_t d = 0; d < W; d++) forward[(i * H + h) * W + d] = (real)expected[y + (i * H + h) * W + d];
                forward[rows * H * W + i * H + h] = (real)log(sum);
            }
    check("attention", call_attention, &a, (double)(D + MOST_KEYS));
    if (c->unseen || c->value_dim < 0) { /* of a cache, which has no backward */
        for (int i = 0; i < kept; i++) free(pool[i]);
        free(forward);
        return;
    }

    pooled = kept, pool[pooled++] = forward;
    a.u = numbers(rows * H * W), a.v = forward;
    ptrdiff_t dq = part(rows * H * D, numbers(rows * H * D));
    ptrdiff_t dk = part(keys * K * D, numbers(keys * K * D)), dv = part(keys * K * W, numbers(keys * K * W));
    ptrdiff_t dsink = c->sinks ? part(H, numbers(H)) : 0;
    double loss = 4 + 4 * c->scale; /* relative error of a probability, in epsilons: that of its score and of log_sum */
    for (int s = 0; s < c->sequences; s++)
        for (ptrdiff_t i = a.span.query_start[s]; i < a.span.query_start[s + 1]; i++)
            for (ptrdiff_t h = 0; h < H; h++) {
                ptrdiff_t end = key_end[s] - (a.span.query_start[s + 1] - 1 - i), kv = h / (H / K);
                const real *dy = a.u + (i * H + h) * W;
                double delta = 0, delta_size = 0, log_of_sum = (double)forward[rows * H * W + i * H + h];
                for (ptrdiff_t d = 0; d < W; d++) {
                    double product = (double)dy[d] * (double)forward[(i * H + h) * W + d];
                    delta += product, delta_size += fabs(product);
                }
                if (c->sinks)
                    term_of_size(dsink + h, -exp((double)a.other[h] - log_of_sum) * delta, exp((double)a.other[h] - log_of_sum) * delta_size * loss);
                for (ptrdiff_t j = key_start[s] + first_seen(c, end - 1 - key_start[s]); j < end; j++) {
                    double p = exp(score(&a, i, j, h) - log_of_sum), dp = 0, dp_size = 0;
                    for (ptrdiff_t d = 0; d < W; d++) {
                        double product = (double)dy[d] * value_of(&a, j, kv, d);
                        dp += product, dp_size += fabs(product);
                    }
                    double scaled = p * (double)a.shape.scale, ds = scaled * (dp - delta), ds_size = scaled * (dp_size + delta_size) * loss;
                    for (ptrdiff_t d = 0; d < W; d++) term_of_size(dv + (j * K + kv) * W + d, p * (double)dy[d], loss * p * fabs((double)dy[d]));
                    for (ptrdiff_t d = 0; d < D; d++) {
                        ptrdiff_t at_q = (i * H + h) * D + d, at_k = (j * K + kv) * D + d;
                        term_of_size(dq + at_q, ds * (double)a.y[at_k], ds_size * fabs((double)a.y[at_k]));
                        term_of_size(dk + at_k, ds * (double)a.x[at_q], ds_size * fabs((double)a.x[at_q]));
                    }
                }
            }
    check("attention_backward", call_attention_backward, &a, (double)(D + MOST_KEYS));
}

static void attention_equals_plain_sums(void) {
    static const attention_case cases[] = {
        {1, {1}, {1}, 1, 1, 1, 0, 1, 0, 0, false, false},
        {3, {63, 64, 65}, {63, 64, 65}, 2, 1, 16, 0, 1, 0, 0, false, false},
        {2, {129, 200}, {129, 200}, 4, 2, 17, 0, 1, 0, 0, false, true},
        {1, {1}, {200}, 4, 1, 40, 0, 1, 0, 0, false, false},
        {3, {1, 5, 65}, {63, 129, 200}, 6, 2, 33, 0, 1, 0, 0, false, false},
        {2, {64, 65}, {128, 129}, 1, 1, 8, 0, 1, 0, 0, false, true},
        {1, {200}, {200}, 2, 2, 32, 0, 30, 0, 0, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_attention(&cases[i]);
}

/* Windows and chunks narrower and wider than a block of keys, sinks, values of another width, and in generation all heads of a query. */
static void attention_sees_what_it_should(void) {
    static const attention_case cases[] = {
        {2, {200, 140}, {200, 140}, 4, 2, 12, 20, 1, 1, 0, false, false},
        {2, {200, 140}, {200, 140}, 4, 2, 12, 5, 1, 7, 0, false, true},
        {1, {300}, {300}, 2, 1, 16, 0, 1, 128, 0, false, true},
        {1, {300}, {300}, 2, 1, 16, 24, 1, 200, 0, false, false},
        {2, {200, 140}, {200, 140}, 4, 2, 12, 0, 1, 7, 0, true, true},
        {1, {300}, {300}, 2, 1, 16, 9, 1, 130, 0, true, false},
        {3, {1, 5, 65}, {63, 129, 200}, 6, 2, 33, 17, 1, 40, 0, false, true},
        {3, {1, 5, 65}, {63, 129, 200}, 6, 2, 33, 17, 1, 50, 0, true, true},
        {1, {1}, {600}, 70, 1, 24, -16, 1, 0, 0, false, false},
        {2, {1, 9}, {257, 300}, 130, 1, 24, -16, 1, 0, 0, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_attention(&cases[i]);
}

static void attention_passes_over_blocks_it_does_not_see(void) {
    static const attention_case cases[] = {
        {1, {1}, {600}, 6, 2, 17, 0, 1, 100, 384, false, true},
        {1, {65}, {600}, 2, 2, 17, 9, 1, 100, 384, false, false},
        {1, {1}, {600}, 6, 2, 17, 0, 1, 150, 384, true, false},
        {1, {65}, {600}, 2, 1, 17, 0, 1, 260, 512, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_attention(&cases[i]);
}

static void attention_takes_every_head_dim(void) {
    for (int D = 1; D <= 40; D++) check_attention(&(attention_case){2, {7, 3}, {7, 20}, 2 + D % 2 * 2, 2, D, 1 + D * 7 % 40, 1, 0, 0, false, false});
}

/* ---- rows ---- */

static const ptrdiff_t row_counts[] = {0, 1, 2, 5, 13, 60, 241}, widths[] = {1, 3, 16, 17, 31, 33, 64, 100, 257};

static void for_all_shapes(void (*one)(ptrdiff_t rows, ptrdiff_t width)) {
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) one(row_counts[r], widths[w]);
}

static void call_rmsnorm(const struct kernels *k, const arguments *a, real *const *out) {
    k->rmsnorm(out[0], out[1], a->x, a->y, a->rows, a->width, a->number);
}
static void call_rmsnorm_backward(const struct kernels *k, const arguments *a, real *const *out) {
    k->rmsnorm_backward(out[0], out[1], a->u, a->x, a->v, a->y, a->rows, a->width);
}

static void check_rmsnorm(ptrdiff_t rows, ptrdiff_t width) {
    real *inverse = malloc(sizeof(real) * (size_t)(rows + 1));
    arguments a = {.rows = rows, .width = width, .x = numbers(rows * width), .y = numbers(width), .number = (real)1e-5};
    int kept = pooled;
    pooled = 0;
    ptrdiff_t y = part(rows * width, NULL), inverse_rms = part(rows, NULL);
    for (ptrdiff_t r = 0; r < rows; r++) {
        double square = 0;
        for (ptrdiff_t i = 0; i < width; i++) square += (double)a.x[r * width + i] * (double)a.x[r * width + i];
        double scale = 1 / sqrt(square / (double)width + (double)a.number);
        inverse[r] = (real)scale;
        put(inverse_rms + r, scale, scale);
        for (ptrdiff_t i = 0; i < width; i++) term(y + r * width + i, (double)a.x[r * width + i] * (double)a.y[i] * scale);
    }
    check("rmsnorm", call_rmsnorm, &a, (double)width);

    pooled = kept, pool[pooled++] = inverse;
    a.u = numbers(rows * width), a.v = inverse;
    ptrdiff_t dx = part(rows * width, numbers(rows * width)), dw = part(width, numbers(width));
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < width; i++) {
            double scale = (double)inverse[r], x = (double)a.x[r * width + i], dy = (double)a.u[r * width + i];
            term(dw + i, dy * x * scale);
            term(dx + r * width + i, scale * (double)a.y[i] * dy);
            for (ptrdiff_t j = 0; j < width; j++)
                term(dx + r * width + i,
                     -x * pow(scale, 3) / (double)width * (double)a.u[r * width + j] * (double)a.y[j] * (double)a.x[r * width + j]);
        }
    check("rmsnorm_backward", call_rmsnorm_backward, &a, (double)(rows + width));
}

static void rmsnorm_equals_plain_sums(void) { for_all_shapes(check_rmsnorm); }

static rotation_shape rotation_of(const arguments *a) { return (rotation_shape){a->heads, a->out, a->width, a->packed}; }

static void call_rotate(const struct kernels *k, const arguments *a, real *const *out) {
    const bool in_place = a->x == a->u;
    if (in_place) memcpy(out[0], a->x, sizeof(real) * (size_t)(a->rows * a->heads * a->out));
    k->rotate(out[0], in_place ? out[0] : a->x, a->y, a->z, a->rows, rotation_of(a), a->number);
}

static void check_rotate(ptrdiff_t rows, ptrdiff_t half) {
    for (int kind = 0; kind < 8; kind++) { /* in place or not, both signs, neighbours or halves, all columns or not */
        bool neighbours = kind > 3;
        ptrdiff_t still = kind % 3, heads = 1 + kind % 4, width = still + 2 * half;
        arguments a = {
            .rows = rows, .width = half, .out = width, .heads = heads, .number = kind % 2 ? 1 : -1, .packed = neighbours};
        a.x = numbers(rows * heads * width), a.y = numbers(rows * half), a.z = numbers(rows * half), a.u = kind % 4 < 2 ? a.x : NULL;
        ptrdiff_t size = rows * heads * width, y = part(size, NULL);
        for (ptrdiff_t i = 0; i < size; i++) {
            ptrdiff_t r = i / (heads * width), column = i % width - still, pair = neighbours ? column / 2 : column % half;
            ptrdiff_t apart = neighbours ? 1 : half;
            if (column < 0) {
                term(y + i, (double)a.x[i]);
                continue;
            }
            double c = (double)a.y[r * half + pair], s = (double)a.z[r * half + pair] * (double)a.number;
            bool second = neighbours ? column % 2 : column >= half;
            term(y + i, (double)a.x[i] * c);
            term(y + i, second ? (double)a.x[i - apart] * s : -(double)a.x[i + apart] * s);
        }
        check("rotate", call_rotate, &a, 1);
    }
}

static void rotate_equals_plain_sums(void) { for_all_shapes(check_rotate); }

static void call_add_bias(const struct kernels *k, const arguments *a, real *const *out) { k->add_bias(out[0], a->w, a->x, a->groups, a->width); }
static void call_add_bias_backward(const struct kernels *k, const arguments *a, real *const *out) {
    k->add_bias_backward(out[0], a->x ? out[1] : NULL, (rows_of){.x = a->y, .row = a->row}, a->w, a->x, a->groups, a->width);
}

static void check_bias(const int *sizes, ptrdiff_t width, bool weighted) {
    arguments a = product(sizes, 1, width, weighted); /* of which w are the biases */
    a.width = width, a.x = weighted ? numbers(a.rows) : NULL;
    ptrdiff_t y = part(a.rows * width, numbers(a.rows * width));
    for (int g = 0; g < MOST_GROUPS; g++)
        for (ptrdiff_t r = a.groups.start[g]; r < a.groups.start[g + 1]; r++)
            for (ptrdiff_t i = 0; i < width; i++) term(y + r * width + i, (a.x ? (double)a.x[r] : 1) * (double)a.w[g][i]);
    check("add_bias", call_add_bias, &a, 1);

    a = product(sizes, 1, width, weighted);
    a.width = width, a.x = weighted ? numbers(a.rows) : NULL;
    ptrdiff_t dbias = part(MOST_GROUPS * width, numbers(MOST_GROUPS * width)), dweight = weighted ? part(a.rows, numbers(a.rows)) : 0;
    for (int g = 0; g < MOST_GROUPS; g++)
        for (ptrdiff_t r = a.groups.start[g]; r < a.groups.start[g + 1]; r++)
            for (ptrdiff_t i = 0; i < width; i++) {
                double dy = (double)picked(a.y, a.row, r, width)[i];
                term(dbias + g * width + i, (a.x ? (double)a.x[r] : 1) * dy);
                if (weighted) term(dweight + r, dy * (double)a.w[g][i]);
            }
    check("add_bias_backward", call_add_bias_backward, &a, (double)(a.rows + width));
}

static void biases_equal_plain_sums(void) {
    for (size_t g = 0; g < sizeof groupings / sizeof *groupings; g++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) check_bias(groupings[g], widths[w], (g + w) % 2);
}

static void call_softmax(const struct kernels *k, const arguments *a, real *const *out) {
    k->softmax(out[0], a->x, a->rows, a->width);
    memcpy(out[1], a->x, sizeof(real) * (size_t)(a->rows * a->width));
    k->softmax(out[1], out[1], a->rows, a->width); /* in place */
    k->log_sum_exp(out[2], a->x, a->rows, a->width);
}
static void call_softmax_backward(const struct kernels *k, const arguments *a, real *const *out) {
    k->softmax_backward(out[0], a->x, a->y, a->rows, a->width);
}
static void call_cross_entropy(const struct kernels *k, const arguments *a, real *const *out) {
    double *loss = malloc(sizeof *loss * (size_t)(a->rows + 1));
    k->cross_entropy(loss, out[0], NULL, a->row, a->rows, a->width, a->number);
    for (ptrdiff_t r = 0; r < a->rows; r++) out[1][r] = (real)loss[r];
    free(loss);
}

/* Rows of every temper: ordinary, all equal, some -infinity, huge, far below zero, one NaN. */
static real *tempered_rows(ptrdiff_t rows, ptrdiff_t width) {
    real *x = numbers(rows * width);
    for (ptrdiff_t i = 0; i < rows * width; i++) switch (i / width % 6) {
        case 1: x[i] = 3; break;
        case 2: x[i] = i % width % 2 ? -(real)INFINITY : x[i]; break;
        case 3: x[i] = x[i] * 30 + 10000; break;
        case 4: x[i] = x[i] * 100 - 1000; break;
        case 5: x[i] = i % width == width - 1 ? (real)NAN : x[i]; break;
        default: break;
        }
    return x;
}

static double row_log_sum(const real *x, ptrdiff_t width, double *most) {
    double sum = 0;
    *most = -INFINITY;
    for (ptrdiff_t i = 0; i < width; i++) *most = fmax(*most, (double)x[i]);
    for (ptrdiff_t i = 0; i < width; i++) sum += exp((double)x[i] - *most);
    return *most + log(sum);
}

static void check_softmax(ptrdiff_t rows, ptrdiff_t width) {
    arguments a = {.rows = rows, .width = width, .x = tempered_rows(rows, width)};
    ptrdiff_t p = part(rows * width, NULL), in_place = part(rows * width, NULL), log_sum = part(rows, NULL);
    for (ptrdiff_t r = 0; r < rows; r++) {
        double most, sum = row_log_sum(a.x + r * width, width, &most);
        put(log_sum + r, sum, fabs(most) + fabs(sum) + 1);
        for (ptrdiff_t i = 0; i < width; i++) {
            double x = (double)a.x[r * width + i], value = exp(x - sum), size = isinf(x) ? 0 : value * (2 + fabs(x - most));
            put(p + r * width + i, value, size), put(in_place + r * width + i, value, size);
        }
    }
    check("softmax and log_sum_exp", call_softmax, &a, (double)width);

    a = (arguments){.rows = rows, .width = width, .x = numbers(rows * width), .y = numbers(rows * width)};
    ptrdiff_t dx = part(rows * width, numbers(rows * width));
    for (ptrdiff_t i = 0; i < rows * width; i++) {
        term(dx + i, (double)a.y[i] * (double)a.x[i]);
        for (ptrdiff_t j = i / width * width; j < (i / width + 1) * width; j++) term(dx + i, -(double)a.y[i] * (double)a.y[j] * (double)a.x[j]);
    }
    check("softmax_backward", call_softmax_backward, &a, (double)width);

    int32_t *target = picks(rows, width + 1);
    real *logits = tempered_rows(rows, width);
    a = (arguments){.rows = rows, .width = width, .row = target, .number = (real)0.3};
    ptrdiff_t dlogits = part(rows * width, logits), loss = part(rows, NULL);
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *x = logits + r * width;
        double most, sum = row_log_sum(x, width, &most);
        if (target[r] == width) target[r] = -1;
        else if (isinf(x[target[r]])) target[r] = 0;
        if (target[r] >= 0) put(loss + r, sum - (double)x[target[r]], fabs(sum) + fabs((double)x[target[r]]) + 1);
        for (ptrdiff_t i = 0; i < width; i++) {
            double value = exp((double)x[i] - sum), one = i == target[r];
            double size = isinf(x[i]) ? 0 : 0.3 * value * (4 + fabs(sum) + fabs((double)x[i])) + 0.3 * one;
            if (target[r] < 0) put(dlogits + r * width + i, 0, 0);
            else put(dlogits + r * width + i, (double)a.number * (value - one), size);
        }
    }
    check("cross_entropy", call_cross_entropy, &a, (double)width);
}

static void softmax_and_cross_entropy_equal_plain_sums(void) { for_all_shapes(check_softmax); }

/* Forward only reads it. */
static real *as_room(const real *x) { return (real *)(uintptr_t)x; }

static void call_swiglu(const struct kernels *k, const arguments *a, real *const *out) {
    k->swiglu(&(inner_rows){.act = out[0], .gate = as_room(a->x), .up = as_room(a->y)}, a->z, a->rows, a->width);
}
static void call_swiglu_backward(const struct kernels *k, const arguments *a, real *const *out) {
    k->swiglu_backward(&(inner_rows){.act = out[0], .gate = out[1], .up = out[2]}, a->z ? out[3] : NULL, a->x, a->z, a->rows, a->width);
}

static void check_swiglu(ptrdiff_t rows, ptrdiff_t width) {
    for (int weighted = 0; weighted < 2; weighted++) {
        ptrdiff_t n = rows * width;
        real *gate = numbers(n), *up = numbers(n);
        for (ptrdiff_t i = 0; i < n; i++) gate[i] *= i % 7 == 3 ? 100 : 5;
        if (n > 2) gate[0] = 100, gate[n - 1] = -100;
        arguments a = {.rows = rows, .width = width, .x = gate, .y = up, .z = weighted ? numbers(rows) : NULL};
        ptrdiff_t act = part(n, NULL);
        for (ptrdiff_t i = 0; i < n; i++)
            term(act + i, (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i] * (a.z ? (double)a.z[i / width] : 1));
        int kept = pooled;
        pooled = 0;
        check("swiglu", call_swiglu, &a, 4);

        pooled = kept, a.x = numbers(n);
        act = part(n, NULL);
        ptrdiff_t dgate = part(n, gate), dup = part(n, up), drow_weight = part(rows, NULL);
        for (ptrdiff_t r = 0; r < rows && !weighted; r++) expected[drow_weight + r] = NAN; /* untouched */
        for (ptrdiff_t i = 0; i < n; i++) {
            double g = (double)gate[i], u = (double)up[i], w = a.z ? (double)a.z[i / width] : 1, da = (double)a.x[i], s = 1 / (1 + exp(-g));
            put(act + i, w * g * s * u, fabs(w * g * s * u));
            put(dgate + i, da * w * u * s * (1 + g * (1 - s)), fabs(da * w * u * s) * (1 + fabs(g)));
            put(dup + i, da * w * g * s, fabs(da * w * g * s));
            if (weighted) term(drow_weight + i / width, da * g * s * u);
        }
        check("swiglu_backward", call_swiglu_backward, &a, (double)(4 + width));
    }
}

static swiglu_bounds bounds_of(const arguments *a) { return (swiglu_bounds){(real)1.7, a->number}; }
static void call_bounded(const struct kernels *k, const arguments *a, real *const *out) {
    k->swiglu_bounded(&(inner_rows){.act = out[0], .gate = as_room(a->x), .up = as_room(a->y)}, a->z, a->rows, a->width, bounds_of(a));
}
static void call_bounded_backward(const struct kernels *k, const arguments *a, real *const *out) {
    const inner_rows inner = {.act = out[0], .gate = out[1], .up = out[2]};
    k->swiglu_bounded_backward(&inner, a->z ? out[3] : NULL, a->x, a->z, a->rows, a->width, bounds_of(a));
}

/* Gates are bounded from above alone, and ups on both sides; what is beyond has no gradient, and what is no number stays none. */
static void check_bounded_swiglu(ptrdiff_t rows, ptrdiff_t width) {
    for (int weighted = 0; weighted < 2; weighted++) {
        ptrdiff_t n = rows * width;
        real *gate = numbers(n), *up = numbers(n), *weight = weighted ? numbers(rows) : NULL;
        const double limit = weighted ? 0.6 : 7, alpha = (double)(real)1.7;
        for (ptrdiff_t i = 0; i < n; i++) gate[i] *= i % 7 == 3 ? 40 : 3, up[i] *= 3;
        if (n > 2) gate[0] = (real)NAN, up[n - 1] = (real)NAN;
        arguments a = {.rows = rows, .width = width, .x = gate, .y = up, .z = weight, .number = (real)limit};
        ptrdiff_t act = part(n, NULL);
        int kept = pooled;
        for (int backward = 0; backward < 2; backward++) {
            pooled = 0;
            ptrdiff_t dgate = 0, dup = 0, drow_weight = 0;
            if (backward) {
                pooled = kept, a.x = numbers(n), act = part(n, NULL);
                dgate = part(n, gate), dup = part(n, up), drow_weight = part(rows, NULL);
                for (ptrdiff_t r = 0; r < rows && !weighted; r++) expected[drow_weight + r] = NAN; /* untouched */
            }
            for (ptrdiff_t i = 0; i < n; i++) {
                double g = (double)gate[i], u = (double)up[i], w = weight ? (double)weight[i / width] : 1, da = backward ? (double)a.x[i] : 0;
                bool g_in = !(g > (double)(real)limit), u_in = !(fabs(u) > (double)(real)limit);
                if (!g_in) g = (double)(real)limit;
                if (!u_in) u = copysign((double)(real)limit, u);
                double s = 1 / (1 + exp(-alpha * g)), y = g * s * (u + 1), loss = 1 + alpha * fabs(g); /* of the sigmoid's argument, rounded */
                double size = fabs(g * s) * (fabs(u) + 1) * loss;
                put(act + i, w * y, fabs(w) * size);
                if (!backward) continue;
                put(dgate + i, g_in ? da * w * (u + 1) * s * (1 + alpha * g * (1 - s)) : 0,
                    g_in ? fabs(da * w * s) * (fabs(u) + 1) * loss * loss : 0);
                put(dup + i, u_in ? da * w * g * s : 0, u_in ? fabs(da * w * g * s) * loss : 0);
                if (weighted) term_of_size(drow_weight + i / width, da * y, fabs(da) * size);
            }
            if (backward) check("swiglu_bounded_backward", call_bounded_backward, &a, (double)(4 + width));
            else check("swiglu_bounded", call_bounded, &a, 4);
        }
    }
}

static void bounded_swiglu_equals_plain_sums(void) { for_all_shapes(check_bounded_swiglu); }
static void swiglu_equals_plain_sums(void) { for_all_shapes(check_swiglu); }

static void call_relu(const struct kernels *k, const arguments *a, real *const *out) {
    k->relu(&(inner_rows){.act = out[0], .up = as_room(a->x)}, a->z, a->rows, a->width);
}
static void call_relu_backward(const struct kernels *k, const arguments *a, real *const *out) {
    k->relu_backward(&(inner_rows){.act = out[0], .up = out[1]}, a->z ? out[2] : NULL, a->x, a->z, a->rows, a->width);
}

static void check_relu(ptrdiff_t rows, ptrdiff_t width) {
    for (int weighted = 0; weighted < 2; weighted++) {
        ptrdiff_t n = rows * width;
        real *x = numbers(n);
        if (n > 1) x[1] = 0;
        arguments a = {.rows = rows, .width = width, .x = x, .z = weighted ? numbers(rows) : NULL};
        ptrdiff_t act = part(n, NULL);
        for (ptrdiff_t i = 0; i < n; i++) term(act + i, x[i] > 0 ? (double)x[i] * (a.z ? (double)a.z[i / width] : 1) : 0);
        int kept = pooled;
        pooled = 0;
        check("relu", call_relu, &a, 4);

        pooled = kept, a.x = numbers(n);
        act = part(n, NULL);
        ptrdiff_t dx = part(n, x), drow_weight = part(rows, NULL);
        for (ptrdiff_t r = 0; r < rows && !weighted; r++) expected[drow_weight + r] = NAN; /* untouched */
        for (ptrdiff_t i = 0; i < n; i++) {
            double w = a.z ? (double)a.z[i / width] : 1, da = (double)a.x[i], kept_x = x[i] > 0 ? (double)x[i] : 0;
            put(act + i, w * kept_x, fabs(w * kept_x));
            put(dx + i, x[i] > 0 ? da * w : 0, fabs(da * w));
            if (weighted) term(drow_weight + i / width, da * kept_x);
        }
        check("relu_backward", call_relu_backward, &a, (double)(4 + width));
        pooled = 0;
    }
}

static void relu_equals_plain_sums(void) { for_all_shapes(check_relu); }

static void call_moves(const struct kernels *k, const arguments *a, real *const *out) {
    k->add(out[0], a->x, a->y, a->rows * a->width);
    k->gather(out[1], a->x, a->row, a->rows, a->width);
    k->scatter_add(out[2], a->x, a->row, a->rows, a->width);
    k->sum_rows(out[3], a->x, a->row, a->groups.start, a->groups.groups, a->width, a->flag);
}

/* Sums of rows come in runs of 0, 1, 2, 3, 0, 1, ... */
static void check_moves(ptrdiff_t rows, ptrdiff_t width) {
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        ptrdiff_t n = rows * width, *start = take(2 * rows + 1, sizeof *start);
        int runs = 0;
        for (start[0] = 0; start[runs] < rows; runs++) start[runs + 1] = start[runs] + runs % 4 < rows ? start[runs] + runs % 4 : rows;
        arguments a = {
            .rows = rows, .width = width, .x = numbers(n), .y = numbers(n), .row = picks(rows, rows), .groups = {runs, start}, .flag = accumulate};
        ptrdiff_t sum = part(n, NULL), gathered = part(n, NULL), scattered = part(n, numbers(n));
        ptrdiff_t summed = part(runs * width, accumulate ? numbers(runs * width) : NULL);
        for (ptrdiff_t i = 0; i < n; i++) {
            ptrdiff_t r = i / width, d = i % width;
            put(sum + i, (double)(a.x[i] + a.y[i]), 0);
            put(gathered + i, (double)a.x[a.row[r] * width + d], 0);
            term(scattered + a.row[r] * width + d, (double)a.x[i]);
        }
        for (int run = 0; run < runs; run++)
            for (ptrdiff_t i = start[run]; i < start[run + 1]; i++)
                for (ptrdiff_t d = 0; d < width; d++) term(summed + run * width + d, (double)a.x[a.row[i] * width + d]);
        check("add, gather, scatter_add and sum_rows", call_moves, &a, (double)rows);
    }
}

static void rows_are_moved_and_summed(void) { for_all_shapes(check_moves); }

/* ---- LSTM ---- */

static double logistic(double x) { return 1 / (1 + exp(-x)); }

static void call_lstm(const struct kernels *k, const arguments *a, real *const *out) {
    k->lstm(out[0], out[1], out[2], a->x, a->y, a->z, a->rows, a->width);
}

static void check_lstm(ptrdiff_t rows, ptrdiff_t U) {
    const ptrdiff_t n = rows * U;
    real *gates_before = numbers(LSTM_GATES * n);
    arguments a = {.rows = rows, .width = U, .x = numbers(LSTM_GATES * n), .y = numbers(LSTM_GATES * U), .z = numbers(n)};
    for (ptrdiff_t i = 0; i < LSTM_GATES * n; i++) gates_before[i] *= rows % 2 ? 3 : 100;
    const ptrdiff_t gates = part(LSTM_GATES * n, gates_before), cell = part(n, NULL), said = part(n, NULL);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t u = 0; u < U; u++) {
            double y[LSTM_GATES], size = 0;
            for (int g = 0; g < LSTM_GATES; g++) {
                const ptrdiff_t at = (r * LSTM_GATES + g) * U + u;
                double sum = expected[gates + at] + (double)a.x[at] + (double)a.y[g * U + u] + (g == 1 ? LSTM_FORGET_BIAS : 0);
                y[g] = g == 2 ? tanh(sum) : logistic(sum), size = fmax(size, fabs(sum));
                put(gates + at, y[g], 1 + fmin(size, 4)); /* the slope makes less of what a larger sum is off */
            }
            double c = y[1] * (double)a.z[r * U + u] + y[0] * y[2];
            put(cell + r * U + u, c, 4), put(said + r * U + u, y[3] * tanh(c), 4);
        }
    check("lstm", call_lstm, &a, 4);
}

static void call_lstm_backward(const struct kernels *k, const arguments *a, real *const *out) {
    k->lstm_backward(out[0], out[1], a->x, a->y, a->z, a->rows, a->width);
    k->column_sums(out[2], a->x, a->rows, a->width);
}

static void check_lstm_backward(ptrdiff_t rows, ptrdiff_t U) {
    const ptrdiff_t n = rows * U;
    arguments a = {.rows = rows, .width = U, .x = numbers(n), .y = numbers(n), .z = numbers(n)};
    const ptrdiff_t gates = part(LSTM_GATES * n, numbers(LSTM_GATES * n)), dcell = part(n, numbers(n)), sums = part(U, numbers(U));
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t u = 0; u < U; u++) {
            const ptrdiff_t at = r * U + u, row = gates + r * LSTM_GATES * U + u;
            double i = expected[row], f = expected[row + U], g = expected[row + 2 * U], o = expected[row + 3 * U];
            double ds = (double)a.x[at], t = tanh((double)a.y[at]), dc = expected[dcell + at] + ds * o * (1 - t * t);
            put(row, dc * g * i * (1 - i), 8), put(row + U, dc * (double)a.z[at] * f * (1 - f), 8);
            put(row + 2 * U, dc * i * (1 - g * g), 8), put(row + 3 * U, ds * t * o * (1 - o), 8);
            put(dcell + at, dc * f, 4);
            term(sums + u, ds);
        }
    check("lstm_backward and column_sums", call_lstm_backward, &a, (double)(4 + rows));
}

static void lstm_steps_equal_their_formula(void) { for_all_shapes(check_lstm), for_all_shapes(check_lstm_backward); }

/* ---- dropout ---- */

static void call_dropout(const struct kernels *k, const arguments *a, real *const *out) {
    k->dropout(out[0], a->x, a->key, a->first[0], a->rows * a->width, (double)a->number, false);
    k->dropout(out[1], a->x, a->key, a->first[0], a->rows * a->width, (double)a->number, true);
}

static void check_dropout(ptrdiff_t rows, ptrdiff_t width) {
    const ptrdiff_t n = rows * width;
    uint64_t *first = take(1, sizeof *first);
    first[0] = rows % 2 ? 0 : UINT64_MAX / 3;
    arguments a = {.rows = rows, .width = width, .x = numbers(n), .key = {7, (uint64_t)width}, .first = first, .number = rows % 3 ? (real)0.25 : 0};
    const ptrdiff_t y = part(n, NULL), sum = part(n, numbers(n));
    for (ptrdiff_t i = 0; i < n; i++) {
        bool stays = (double)(random_bits(a.key, first[0] + (uint64_t)i) >> 32) >= (double)a.number * 0x1p32;
        double kept = stays ? (double)a.x[i] / (1 - (double)a.number) : 0;
        put(y + i, kept, fabs(kept)), term(sum + i, kept);
    }
    check("dropout", call_dropout, &a, 1);
}

static void dropout_follows_the_random_bits(void) { for_all_shapes(check_dropout); }

/* ---- whole blocks ---- */

static void call_sum_squares(const struct kernels *k, const arguments *a, real *const *out) { out[0][0] = (real)k->sum_squares(a->x, a->rows); }

static void sum_squares_equals_a_plain_sum(void) {
    static const ptrdiff_t sizes[] = {0, 1, 3, 31, 257, 4096, 4097, 16385, 100001, (1 << 22) + 12345};
    static const double scales[] = {1, 1e-15, 1e15};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int i = 0; i < 3; i++) {
            real *x = numbers(sizes[s]);
            arguments a = {.rows = sizes[s], .width = 1, .x = x};
            ptrdiff_t sum = part(1, NULL);
            for (ptrdiff_t j = 0; j < sizes[s]; j++) x[j] *= (real)scales[i], term(sum, (double)x[j] * (double)x[j]);
            check("sum_squares", call_sum_squares, &a, 4096); /* the depth that is summed in float */
        }
}

typedef void update(const updated_weight *u, const update_step *step);

/* With a packed copy, which must be what packing the new w gives. */
static void call_update(const struct kernels *k, update *run, const arguments *a, const update_step *step, ptrdiff_t groups, ptrdiff_t rows,
                        real *const *out) {
    const ptrdiff_t in = a->width, size = a->packed ? k->products.packed_size(in, rows) : 0;
    real *packed = a->packed ? malloc(sizeof(real) * (size_t)(groups * size)) : NULL;
    run(&(updated_weight){.w = out[0], .first = out[1], .second = out[2], .gradient = a->x, .groups = groups, .out = rows, .in = in, .packed = packed,
                          .products = &k->products},
        step);
    if (!packed) return;
    real *again = malloc(sizeof(real) * (size_t)size);
    for (ptrdiff_t g = 0; g < groups; g++) {
        if (step[g].gradient_scale == 0) continue;
        k->products.pack_rows(again, out[0] + g * rows * in, 0, rows, in, rows);
        EXPECT(!memcmp(again, packed + g * size, sizeof(real) * (size_t)size), "%s: group %td of %td x %td was not packed anew", k->name, g, rows,
               in);
    }
    free(again), free(packed);
}

/* Three weights of a third each, the second of which stays as it is, or one that is a column. */
static void call_adamw(const struct kernels *k, const arguments *a, real *const *out) {
    const ptrdiff_t groups = a->rows % 3 ? 1 : 3;
    update_step step[3] = {a->step, a->step, a->step};
    step[1].gradient_scale = 0;
    call_update(k, k->adamw, a, step, groups, a->rows / groups / a->width, out);
}

/* The numbers of the step reach the kernel as float, and 1 - beta is formed from them: so it is here. */
static void adamw_equals_its_formula(void) {
    static const struct {
        ptrdiff_t n, width;
        bool packed;
    } sizes[] = {{0, 1, 0},   {1, 1, 1},       {3, 1, 0},     {16, 1, 0},        {17, 17, 1},      {33, 11, 1},
                 {257, 1, 0}, {16384, 128, 1}, {16385, 5, 1}, {39999, 13333, 1}, {99 * 210, 33, 1}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        ptrdiff_t n = sizes[s].n;
        arguments a = {.rows = n, .width = sizes[s].width, .packed = sizes[s].packed, .x = numbers(n)};
        a.step = (update_step){.learning_rate = 0.01,
                               .beta1 = 0.9,
                               .beta2 = 0.95,
                               .epsilon = 1e-8,
                               .decay = s % 2 ? 0.1 : 0,
                               .gradient_scale = 0.4,
                               .correction1 = 0.271,
                               .correction2 = 0.142625};
        real *v = numbers(n);
        for (ptrdiff_t i = 0; i < n; i++) v[i] = v[i] * v[i];
        ptrdiff_t w = part(n, numbers(n)), first = part(n, numbers(n)), second = part(n, v);
        const update_step *p = &a.step;
        double b1 = (double)(real)p->beta1, b2 = (double)(real)p->beta2;
        for (ptrdiff_t i = 0; i < n; i++) {
            if (n % 3 == 0 && i / (n / 3) == 1) continue;
            double g = (double)a.x[i] * p->gradient_scale, m = b1 * expected[first + i], square = b2 * expected[second + i];
            put(first + i, m + (1 - b1) * g, fabs(m) + fabs((1 - b1) * g));
            put(second + i, square + (1 - b2) * g * g, square + (1 - b2) * g * g);
            double step = p->learning_rate / p->correction1 / (sqrt(expected[second + i] / p->correction2) + p->epsilon);
            double kept = expected[w + i] * (1 - p->learning_rate * p->decay);
            put(w + i, kept - step * expected[first + i], fabs(kept) + step * magnitude[first + i]);
        }
        check("adamw", call_adamw, &a, 1);
    }
}

/* A neighbour of the exact value in bf16, whose spacing is at most 2^-7 of it; the exact one is itself known to a few units of float. */
static double error_of_moment(uint16_t moment, double exact, const char *table, ptrdiff_t i) {
    const double value = bf16_value(moment), error = value - exact;
    EXPECT(fabs(error) <= 0x1.01p-7 * fabs(exact), "%s: moment %td is %g, expected %g", table, i, value, exact);
    return error;
}

/* Each moment becomes one of its two neighbours, and on average neither; what moves w is not rounded. The second of three groups rests. */
static void adamw_rounds_moments_at_random(void) {
    enum { OUT = 333, IN = 77, SIZE = OUT * IN, ALL = 3 * SIZE };
    static real w[ALL], gradient[ALL];
    static uint16_t first[ALL], second[ALL];
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    update_step step[3];
    for (int g = 0; g < 3; g++)
        step[g] = (update_step){.learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .decay = 0.1, .gradient_scale = g == 1 ? 0 : 0.4,
                                .correction1 = 0.271, .correction2 = 0.142625, .rounding = (uint32_t)g + 5};
    for (int t = 0; t < n; t++) {
        double sum[2] = {0};
        for (ptrdiff_t i = 0; i < ALL; i++) w[i] = 1, gradient[i] = (real)0.3, first[i] = 0x3DCD /* 0.1001 */, second[i] = 0x3C24 /* 0.01001 */;
        tables[t]->adamw(&(updated_weight){.w = w, .gradient = gradient, .groups = 3, .out = OUT, .in = IN, .first_bf16 = first, .second_bf16 = second},
                         step);
        const double g = (double)(real)0.3 * 0.4, m = 0.9 * bf16_value(0x3DCD) + 0.1 * g, v = 0.95 * bf16_value(0x3C24) + 0.05 * g * g;
        const double moved = 1 - 0.01 * 0.1 - 0.01 / 0.271 * m / (sqrt(v / 0.142625) + 1e-8);
        for (ptrdiff_t i = 0; i < ALL; i++) {
            if (i / SIZE == 1) {
                EXPECT(w[i] == 1 && first[i] == 0x3DCD && second[i] == 0x3C24, "%s: what rests moved", tables[t]->name);
                continue;
            }
            EXPECT(fabs((double)w[i] - moved) < 1e-6, "%s: weight %td is %.8g, expected %.8g", tables[t]->name, i, (double)w[i], moved);
            sum[0] += error_of_moment(first[i], m, tables[t]->name, i), sum[1] += error_of_moment(second[i], v, tables[t]->name, i);
        }
        const double noise = 5 * 0x1p-8 / sqrt(2.0 * SIZE); /* five deviations of the mean, each at most half of the spacing */
        EXPECT(fabs(sum[0]) / (2 * SIZE * m) < noise && fabs(sum[1]) / (2 * SIZE * v) < noise, "%s: on average %g and %g too much", tables[t]->name,
               sum[0] / (2 * SIZE), sum[1] / (2 * SIZE));
        EXPECT(memcmp(first, first + 2 * SIZE, SIZE * sizeof *first), "%s: two groups were rounded by the same bits", tables[t]->name);
    }
}

/* Every group has its own step; the second of several stays as it is. */
static update_step step_of_group(const arguments *a, ptrdiff_t g) {
    update_step step = a->step;
    step.gradient_scale *= g == 1 ? 0 : 1 / (double)(g + 1), step.correction2 /= (double)(g + 1);
    return step;
}

static void call_factored(const struct kernels *k, const arguments *a, real *const *out) {
    update_step step[MOST_GROUPS];
    for (ptrdiff_t g = 0; g < a->rows; g++) step[g] = step_of_group(a, g);
    call_update(k, k->factored, a, step, a->rows, a->out, out);
}

static void expect_factored(const arguments *a, ptrdiff_t g, ptrdiff_t w, ptrdiff_t row, ptrdiff_t column) {
    const update_step p = step_of_group(a, g);
    const ptrdiff_t in = a->width, out = a->out;
    const real *x = a->x + g * out * in;
    double mean = 0, rest = (1 - p.beta2) * p.gradient_scale * p.gradient_scale;
    if (p.gradient_scale == 0) return;
    for (ptrdiff_t o = 0; o < out; o++) {
        put(row + o, p.beta2 * expected[row + o], p.beta2 * expected[row + o]);
        for (ptrdiff_t i = 0; i < in; i++) term(row + o, rest * (double)x[o * in + i] * (double)x[o * in + i] / (double)in);
        mean += expected[row + o] / (double)out;
    }
    for (ptrdiff_t i = 0; i < in; i++) {
        put(column + i, p.beta2 * expected[column + i], p.beta2 * expected[column + i]);
        for (ptrdiff_t o = 0; o < out; o++) term(column + i, rest * (double)x[o * in + i] * (double)x[o * in + i] / (double)out);
    }
    for (ptrdiff_t o = 0; o < out; o++)
        for (ptrdiff_t i = 0; i < in; i++) {
            double v = mean > 0 ? expected[row + o] * expected[column + i] / mean : 0, at = expected[w + o * in + i];
            double kept = at * (1 - p.learning_rate * p.decay);
            double step = p.learning_rate * p.gradient_scale * (double)x[o * in + i] / (sqrt(v / p.correction2) + p.epsilon);
            put(w + o * in + i, kept - step, fabs(kept) + fabs(step));
        }
}

static void factored_equals_its_formula(void) {
    static const struct {
        ptrdiff_t groups, out, in;
        bool packed, zero; /* zero: the first gradient is, and so are the means */
    } sizes[] = {{0, 1, 1, 0, 0},   {1, 1, 1, 1, 0},     {1, 17, 3, 0, 1},   {2, 3, 17, 1, 0},   {3, 33, 300, 1, 1},
                 {5, 64, 40, 1, 0}, {1, 200, 257, 1, 0}, {2, 96, 520, 1, 1}, {4, 130, 33, 0, 0}, {1, 70, 600, 0, 0}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const ptrdiff_t groups = sizes[s].groups, out = sizes[s].out, in = sizes[s].in;
        real *x = numbers(groups * out * in), *row_means = numbers(groups * out), *column_means = numbers(groups * in);
        for (ptrdiff_t i = 0; i < groups * out; i++) row_means[i] = sizes[s].zero && i < out ? 0 : row_means[i] * row_means[i];
        for (ptrdiff_t i = 0; i < groups * in; i++) column_means[i] = sizes[s].zero && i < in ? 0 : column_means[i] * column_means[i];
        for (ptrdiff_t i = 0; sizes[s].zero && i < out * in; i++) x[i] = 0;
        arguments a = {.rows = groups, .width = in, .out = out, .packed = sizes[s].packed, .x = x};
        a.step = (update_step){.learning_rate = 0.01, .beta2 = 0.95, .epsilon = 1e-8, .decay = s % 2 ? 0.1 : 0, .gradient_scale = 0.4};
        a.step.correction2 = 0.142625;
        ptrdiff_t w = part(groups * out * in, numbers(groups * out * in)), row = part(groups * out, row_means),
                  column = part(groups * in, column_means);
        for (ptrdiff_t g = 0; g < groups; g++) expect_factored(&a, g, w + g * out * in, row + g * out, column + g * in);
        check("factored", call_factored, &a, (double)(in > out ? in : out));
    }
}

/* ---- the tables themselves ---- */

static void tables_are_chosen_by_name(void) {
    const struct kernels *tables[KERNEL_TABLES], *chosen;
    int n = kernels_available(tables);
    EXPECT(n >= 1 && !strcmp(tables[0]->name, "scalar"), "%d tables, the first is %s", n, tables[0]->name);
    for (int i = 0; i < n; i++) {
        setenv("LAMP_KERNELS", tables[i]->name, 1);
        EXPECT_OK(kernels_choose(&chosen));
        EXPECT(chosen == tables[i], "asked for %s, chose %s", tables[i]->name, chosen->name);
        EXPECT(tables[i]->peak_flops(0.001) > 0, "%s has no peak", tables[i]->name);
    }
    setenv("LAMP_KERNELS", "abacus", 1);
    EXPECT_ERROR(kernels_choose(&chosen), LAMP_INVALID, "LAMP_KERNELS=abacus: this machine runs scalar");
    unsetenv("LAMP_KERNELS");
    EXPECT_OK(kernels_choose(&chosen));
    EXPECT(chosen == tables[n - 1], "chose %s", chosen->name);
}

/* ---- gates; of a row, out are chosen ---- */

/* How many of a row come before entry i; what is not a number comes last. */
static ptrdiff_t rank_of(const real *x, ptrdiff_t width, ptrdiff_t i) {
    ptrdiff_t rank = 0;
    for (ptrdiff_t j = 0; j < width; j++) {
        bool behind = isnan(x[i]) && !isnan(x[j]), equal = x[j] == x[i] || (isnan(x[i]) && isnan(x[j]));
        rank += behind || x[j] > x[i] || (equal && j < i);
    }
    return rank;
}

static void call_choose(const struct kernels *k, const arguments *a, real *const *out) {
    int32_t *best = malloc(sizeof *best * (size_t)(a->rows * a->out + 1));
    k->choose(best, a->x, a->rows, a->width, a->out);
    for (ptrdiff_t i = 0; i < a->rows * a->out; i++) out[0][i] = (real)best[i];
    free(best);
}

/* Rows of every temper, then with few different numbers, zeros of both signs among them. */
static void check_choose(ptrdiff_t rows, ptrdiff_t width) {
    for (int round = 0; round < 4; round++) {
        real *x = tempered_rows(rows, width);
        arguments a = {.rows = rows, .width = width, .out = round % 2 && width > 4 ? 5 : 1, .x = x};
        for (ptrdiff_t i = 0; i < rows * width && round > 1; i++) x[i] = (real)(rint(2 * (double)x[i]) * (i % 2 ? -0.5 : 0.5));
        ptrdiff_t best = part(rows * a.out, NULL);
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t i = 0; i < width; i++) {
                ptrdiff_t rank = rank_of(x + r * width, width, i);
                if (rank < a.out) put(best + r * a.out + rank, (double)i, 0);
            }
        check("choose", call_choose, &a, 1);
    }
}

static void the_largest_are_chosen(void) { for_all_shapes(check_choose); }

static void call_normals(const struct kernels *k, const arguments *a, real *const *out) { k->normals(out[0], a->key, a->first, a->rows, a->width); }

/* Indices that cross 32 bits, and overlap. */
static void check_normals(ptrdiff_t rows, ptrdiff_t width) {
    uint64_t *first = take(rows, sizeof *first);
    arguments a = {.rows = rows, .width = width, .key = {stream++ << 30 | 17, 0x123456789abcdefu}, .first = first};
    ptrdiff_t draw = part(rows * width, NULL);
    for (ptrdiff_t r = 0; r < rows; r++) {
        first[r] = 0xfffffff0u + (uint64_t)(rows - r) * 11;
        for (ptrdiff_t i = 0; i < width; i++) {
            double x = random_normal(a.key, first[r] + (uint64_t)i);
            put(draw + r * width + i, x, 1 + fabs(x));
        }
    }
    check("normals", call_normals, &a, 1);
}

static double softplus(double a) { return fmax(a, 0) + log1p(exp(-fabs(a))); }

static real *scaled(ptrdiff_t n, real scale, real shift) {
    real *x = numbers(n);
    for (ptrdiff_t i = 0; i < n; i++) x[i] = x[i] * scale + shift;
    return x;
}

static void call_noisy(const struct kernels *k, const arguments *a, real *const *out) {
    k->noisy(out[0], a->x, a->y, a->z, a->rows * a->width);
    k->noisy_backward(out[1], out[2], a->x, a->y, a->z, a->rows * a->width);
}

static void check_noisy(ptrdiff_t rows, ptrdiff_t width) {
    ptrdiff_t n = rows * width;
    check_normals(rows, width);
    arguments a = {.rows = rows, .width = width, .x = numbers(n), .y = scaled(n, rows % 2 ? 3 : 120, 0), .z = scaled(n, 3, 0)};
    ptrdiff_t y = part(n, NULL), dclean = part(n, numbers(n)), dnoise = part(n, numbers(n));
    for (ptrdiff_t i = 0; i < n; i++) {
        double dy = (double)a.x[i], s = (double)a.y[i], d = (double)a.z[i];
        term(y + i, dy), term(y + i, d * softplus(s)), term(dclean + i, dy), term(dnoise + i, d * logistic(s) * dy);
    }
    check("noisy", call_noisy, &a, 1);
}

static void noise_equals_its_formula(void) { for_all_shapes(check_noisy); }

static void call_chances(const struct kernels *k, const arguments *a, real *const *out) {
    k->chances(out[0], a->x, a->y, a->z, a->row, a->out, a->u, a->rows, a->width);
    k->chances_backward(out[1], out[2], out[3], a->v, a->other_row, a->x, a->y, a->z, a->row, a->out, a->u, a->rows, a->width);
}

static void check_chances(ptrdiff_t rows, ptrdiff_t width) {
    enum { BINS = 3 };
    if (width < 2) return;
    ptrdiff_t n = rows * width, K = width > 4 ? 1 + rows % 4 : 1;
    real *row_weight = numbers(rows);
    int32_t *best = take(rows * (K + 1), sizeof *best);
    arguments a = {.rows = rows, .width = width, .out = K, .x = scaled(n, 2, 0), .y = scaled(n, 6, -2), .z = scaled(n, 3, 0), .u = row_weight,
                   .v = numbers(BINS * width), .row = best, .other_row = picks(rows, BINS)};
    ptrdiff_t p = part(n, NULL), dclean = part(n, numbers(n)), dnoise = part(n, numbers(n)), dnoisy = part(n, numbers(n));
    for (ptrdiff_t r = 0; r < rows; r += 5) row_weight[r] = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t rank = rank_of(a.z + i / width * width, width, i % width);
        if (rank <= K) best[i / width * (K + 1) + rank] = (int32_t)(i % width);
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t r = i / width, rival = r * width + best[r * (K + 1) + (rank_of(a.z + r * width, width, i % width) < K ? K : K - 1)];
        double s = softplus((double)a.y[i]), z = ((double)a.x[i] - (double)a.z[rival]) / s, w = (double)row_weight[r];
        double g = w * (double)a.v[a.other_row[r] * width + i % width] * exp(-0.5 * z * z) / sqrt(2 * M_PI) / s, size = fabs(g) * (2 + 2 * z * z);
        double da = g * z * logistic((double)a.y[i]);
        put(p + i, w * 0.5 * erfc(-z / sqrt(2)), fabs(w));
        term_of_size(dclean + i, g, size), term_of_size(dnoise + i, -da, fabs(da) * (2 + 2 * z * z)), term_of_size(dnoisy + rival, -g, size);
    }
    check("chances", call_chances, &a, 1);
}

static void chances_equal_their_formula(void) { for_all_shapes(check_chances); }

static const test_case cases[] = {
    {"products equal plain sums", products_equal_plain_sums},
    {"packed weights change no bit", packed_weights_change_no_bit},
    {"squares of d-weight sum to its norm", squares_of_d_weight_sum_to_its_norm},
    {"a product passes NaN to its row only", a_product_passes_nan_to_its_row_only},
    {"attention equals plain sums", attention_equals_plain_sums},
    {"attention sees what it should", attention_sees_what_it_should},
    {"attention passes over blocks it does not see", attention_passes_over_blocks_it_does_not_see},
    {"attention takes every head_dim", attention_takes_every_head_dim},
    {"rmsnorm equals plain sums", rmsnorm_equals_plain_sums},
    {"rotate equals plain sums", rotate_equals_plain_sums},
    {"biases equal plain sums", biases_equal_plain_sums},
    {"softmax and cross-entropy equal plain sums", softmax_and_cross_entropy_equal_plain_sums},
    {"swiglu equals plain sums", swiglu_equals_plain_sums},
    {"relu equals plain sums", relu_equals_plain_sums},
    {"rows are moved and summed", rows_are_moved_and_summed},
    {"LSTM steps equal their formula", lstm_steps_equal_their_formula},
    {"dropout follows the random bits", dropout_follows_the_random_bits},
    {"sum_squares equals a plain sum", sum_squares_equals_a_plain_sum},
    {"adamw equals its formula", adamw_equals_its_formula},
    {"adamw rounds moments at random", adamw_rounds_moments_at_random},
    {"factored equals its formula", factored_equals_its_formula},
    {"the largest are chosen", the_largest_are_chosen},
    {"noise equals its formula", noise_equals_its_formula},
    {"chances equal their formula", chances_equal_their_formula},
    {"bounded swiglu equals plain sums", bounded_swiglu_equals_plain_sums},
    {"tables are chosen by name", tables_are_chosen_by_name},
};

int main(void) { return test_run("kernels", cases, sizeof cases / sizeof *cases); }
