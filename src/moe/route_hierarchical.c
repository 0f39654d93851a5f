/* The hierarchical mixture (Shazeer et al. 2017, appendix B): a primary noisy gate chooses groups of experts, a secondary one of each group
 * its experts, as many in each. A pair's weight is the product of its two gates (equation 12), so importance is that of equation 13, and
 *
 *     Load(i, j) = Load_primary(i) Load_i(j) / |X_i|        with X_i the tokens that chose group i (equation 14):
 *
 * Load_i alone would give the primary gate no gradient. E = a b: expert e is number e % b of group e / b, and (N, E) rows of secondary logits
 * are (N a, b) rows of gates. */
#include <string.h>

#include "base/error.h"
#include "moe/noisy_gate.h"
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    TRY(router_noisy_top_k.declare(w, table, c, D, layer, deviation));
    TRY(weights_declare(&w->group_router, table, "moe.group_router", layer, ROLE_ROUTER, 1, c->groups, D, 0));
    return weights_declare(&w->group_noise, table, "moe.group_router_noise", layer, ROLE_ROUTER, 1, c->groups, D, 0);
}

struct saved {
    tensor *x, *group, *y;
};

/* The same numbers in rows of another width:   dx += dy */
static void reshape_backward(tape *t, void *saved) {
    struct saved *s = saved;
    real *dx = tape_gradient(t, s->x);
    t->k->add(dx, dx, s->y->dx, s->y->rows * s->y->cols);
}

static tensor *reshape(tape *t, tensor *x, ptrdiff_t rows, ptrdiff_t cols) {
    tensor *y = tape_keep(t, sizeof *y);
    *y = (tensor){.x = x->x, .rows = rows, .cols = cols};
    RECORD(t, y, reshape_backward, (struct saved){x, NULL, y});
    return y;
}

/* A leaf's logit is the sum along its path, y[n, i b + j] = group[n, i] + x[n, i b + j]:   dgroup[n, i] += sum_j dy,   dx += dy */
static void path_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t b = s->x->cols / s->group->cols;
    real *dgroup = tape_gradient(t, s->group), *dx = tape_gradient(t, s->x);
    for (ptrdiff_t i = 0; i < s->y->rows * s->y->cols; i++) dgroup[i / b] += s->y->dx[i], dx[i] += s->y->dx[i];
}

static tensor *path(tape *t, tensor *group, tensor *x) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    ptrdiff_t b = x->cols / group->cols;
    for (ptrdiff_t i = 0; i < x->rows * x->cols; i++) y->x[i] = group->x[i / b] + x->x[i];
    RECORD(t, y, path_backward, (struct saved){x, group, y});
    return y;
}

/* One level: logits, clean and with noise, and their softmax. */
typedef struct {
    tensor *clean, *noise, *noisy, *p;
} gate;

static gate gate_open(tape *t, tensor *x, const weight *router, const weight *noise, random_use use, int layer) {
    gate g = {.clean = linear(t, x, router)};
    g.noise = t->training ? linear(t, x, noise) : NULL;
    g.noisy = t->training ? noisy_logits(t, g.clean, g.noise, use, layer) : g.clean;
    return g;
}

static void gate_reshape(tape *t, gate *g, ptrdiff_t rows, ptrdiff_t cols) {
    g->noisy = g->noisy == g->clean ? NULL : reshape(t, g->noisy, rows, cols);
    g->clean = reshape(t, g->clean, rows, cols);
    if (g->noise) g->noise = reshape(t, g->noise, rows, cols);
    if (!g->noisy) g->noisy = g->clean;
}

/* In each chosen group of each token, the best k of its b experts, and their gates: of pair i group[i / k]. row and col of the secondary gate. */
static routing choose_in_groups(tape *t, tensor **within, const routing *groups, const gate *g, ptrdiff_t a, ptrdiff_t k) {
    ptrdiff_t b = g->p->cols, P = groups->pairs * k;
    routing r = routing_make(t, groups->tokens, P);
    int32_t *row = tape_keep(t, sizeof *row * (size_t)P), *col = tape_keep(t, sizeof *col * (size_t)P);
    ptrdiff_t *start = tape_keep(t, sizeof *start * (size_t)(groups->pairs + 1));
    start[0] = 0;
    for (ptrdiff_t i = 0; i < groups->pairs; i++) {
        int32_t gate_row = (int32_t)(groups->token[i] * a + groups->expert[i]);
        choose_best(col + i * k, g->noisy->x + gate_row * b, b, k);
        for (ptrdiff_t j = i * k; j < (i + 1) * k; j++) {
            row[j] = gate_row;
            r.expert[j] = (int32_t)(groups->expert[i] * b + col[j]), r.token[j] = groups->token[i];
        }
        start[i + 1] = (i + 1) * k;
    }
    for (ptrdiff_t n = 0; n < r.tokens; n++) r.token_start[n + 1] = groups->token_start[n + 1] * k;
    *within = normalize(t, pick(t, g->p, row, col, P, 1), start, groups->pairs, 1);
    return r;
}

/* Equation 14. */
static tensor *load(tape *t, const gate *primary, const gate *secondary, const routing *groups, const moe_layer *l, ptrdiff_t k) {
    ptrdiff_t N = primary->clean->rows, a = primary->clean->cols, b = secondary->clean->cols;
    int32_t *bin = tape_keep(t, sizeof *bin * (size_t)(N * a)), *all = tape_keep(t, sizeof *all * (size_t)N);
    real *inverse = tape_keep(t, sizeof *inverse * (size_t)a), *one = tape_keep(t, sizeof *one);
    for (ptrdiff_t i = 0; i < N * a; i++) bin[i] = -1;
    for (ptrdiff_t n = 0; n < N; n++) all[n] = token_counts(l->batch, n) ? 0 : -1;
    for (ptrdiff_t i = 0; i < a; i++) inverse[i] = 0;
    for (ptrdiff_t i = 0; i < groups->pairs; i++) {
        if (!token_counts(l->batch, groups->token[i])) continue;
        bin[groups->token[i] * a + groups->expert[i]] = groups->expert[i], inverse[groups->expert[i]]++;
    }
    for (ptrdiff_t i = 0; i < a; i++) inverse[i] = inverse[i] > 0 ? 1 / inverse[i] : 0; /* a group nobody chose has no load */
    *one = 1;
    tensor *upper = expected_load(t, primary->clean, primary->noise, primary->noisy, l->c->top_groups, all, 1, one);
    tensor *lower = expected_load(t, secondary->clean, secondary->noise, secondary->noisy, k, bin, a, inverse);
    return reshape(t, scale_rows(t, lower, reshape(t, upper, a, 1)), 1, a * b);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    const moe_config *c = l->c;
    ptrdiff_t N = x->rows, a = c->groups, b = c->experts / a, k = c->top_k / c->top_groups;
    gate primary = gate_open(t, x, l->w->group_router, l->w->group_noise, RANDOM_GROUP_NOISE, l->layer);
    gate secondary = gate_open(t, x, l->w->router, l->w->noise, RANDOM_GATE_NOISE, l->layer);
    tensor *logits = path(t, primary.clean, secondary.clean), *within;
    gate_reshape(t, &secondary, N * a, b);
    primary.p = softmax(t, primary.noisy), secondary.p = softmax(t, secondary.noisy);

    routing groups = routing_choose(t, primary.noisy->x, N, &(moe_config){.experts = a, .top_k = c->top_groups}, 1);
    groups.weights = routing_weigh(t, &groups, primary.p, &(moe_config){.normalize = true, .scale = c->scale});
    routing r = choose_in_groups(t, &within, &groups, &secondary, a, k);
    r.weights = reshape(t, scale_rows(t, reshape(t, within, groups.pairs, k), groups.weights), r.pairs, 1);
    r.logits = logits;
    r.probabilities = reshape(t, scale_rows(t, secondary.p, reshape(t, primary.p, N * a, 1)), N, a * b);
    if (t->training) r.load = load(t, &primary, &secondary, &groups, l, k);
    return r;
}

const struct router router_hierarchical = {.name = "hierarchical",
                                           .declare = declare,
                                           .route = route,
                                           .normalize = NORMALIZE_ALWAYS,
                                           .takes_groups = true,
                                           .needs_groups = true,
                                           .takes_drop = true};
