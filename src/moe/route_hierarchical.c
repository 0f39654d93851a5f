/* The hierarchical mixture (Shazeer et al. 2017, appendix B): a primary noisy gate chooses groups of experts, a secondary one of each group
 * its experts, as many in each. A pair's weight is the product of its two gates (equation 12), so importance is that of equation 13, and
 *
 *     Load(i, j) = Load_primary(i) Load_i(j) / |X_i|        with X_i the tokens that chose group i (equation 14):
 *
 * Load_i alone would give the primary gate no gradient. E = a b: expert e is number e % b of group e / b. The secondary gate of group i is asked
 * by X_i alone: a row of b logits for each pair (token, group), R in all, sorted by group like the rows of experts (plan.c), of which the
 * router's matrix is a grouped product, b of its E rows a group. Nothing here is (N, E). */
#include <string.h>

#include "base/error.h"
#include "moe/moe.h"
#include "moe/noisy_gate.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    TRY(router_noisy_top_k.declare(w, table, c, D, layer, deviation));
    TRY(weights_declare(&w->group_router, table, "moe.group_router", layer, ROLE_ROUTER, 1, c->groups, D, 0));
    return weights_declare(&w->group_noise, table, "moe.group_router_noise", layer, ROLE_ROUTER, 1, c->groups, D, 0);
}

struct reshape_saved {
    tensor *x, *y;
};

/* The same numbers in rows of another width:   dx += dy */
static void reshape_backward(tape *t, void *saved) {
    struct reshape_saved *s = saved;
    real *dx = tape_gradient(t, s->x);
    t->k->add(dx, dx, s->y->dx, s->y->rows * s->y->cols);
}

static tensor *reshape(tape *t, tensor *x, ptrdiff_t rows, ptrdiff_t cols) {
    tensor *y = tape_keep(t, sizeof *y);
    *y = (tensor){.x = x->x, .rows = rows, .cols = cols};
    RECORD(t, y, reshape_backward, (struct reshape_saved){x, y});
    return y;
}

/* Token n's pairs (token, group) are groups->token_start[n] and on, and pair i has row plan.row[i] of the secondary gate. */
typedef struct {
    const routing *groups;
    moe_plan plan;
} members;

struct path_saved {
    tensor *primary, *secondary, *y;
    const int32_t *token, *group, *row;
};

/* A leaf's logit is the sum along its path, y[i, j] = primary[token_i, group_i] + secondary[row_i, j] of pair i:
 *     dprimary[token_i, group_i] += sum_j dy[i, j],   dsecondary[row_i, j] += dy[i, j] */
static void path_backward(tape *t, void *saved) {
    struct path_saved *s = saved;
    ptrdiff_t a = s->primary->cols, b = s->secondary->cols, R = s->secondary->rows;
    real *dprimary = tape_gradient(t, s->primary), *dsecondary = tape_gradient(t, s->secondary);
#pragma omp parallel for schedule(static) if (R * b > 4096)
    for (ptrdiff_t i = 0; i < R; i++) {
        const real *dy = s->y->dx + i * b;
        real *dx = dsecondary + s->row[i] * b, sum = 0;
        for (ptrdiff_t j = 0; j < b; j++) dx[j] += dy[j], sum += dy[j];
        dprimary[s->token[i] * a + s->group[i]] += sum;
    }
}

/* (N, top_groups b): the leaves of each token's groups, in the order of their choice. */
static tensor *path(tape *t, tensor *primary, tensor *secondary, const members *m) {
    ptrdiff_t a = primary->cols, b = secondary->cols, R = secondary->rows, N = primary->rows;
    tensor *y = tape_tensor(t, N, R / N * b);
    const int32_t *token = m->groups->token, *group = m->groups->expert, *row = m->plan.row;
#pragma omp parallel for schedule(static) if (R * b > 4096)
    for (ptrdiff_t i = 0; i < R; i++)
        for (ptrdiff_t j = 0; j < b; j++) y->x[i * b + j] = primary->x[token[i] * a + group[i]] + secondary->x[row[i] * b + j];
    RECORD(t, y, path_backward, (struct path_saved){primary, secondary, y, token, group, row});
    return y;
}

/* What the router says of these leaves, without a gradient: p_i p_i(j), the primary gate being the softmax over the chosen groups. */
static tensor *leaf_probabilities(tape *t, const noisy_gate *secondary, const members *m, double scale) {
    ptrdiff_t b = secondary->p->cols, R = secondary->p->rows, N = m->groups->tokens;
    tensor *y = tape_tensor(t, N, R / N * b);
#pragma omp parallel for schedule(static) if (R * b > 4096)
    for (ptrdiff_t i = 0; i < R; i++)
        for (ptrdiff_t j = 0; j < b; j++) y->x[i * b + j] = m->groups->weights->x[i] / (real)scale * secondary->p->x[m->plan.row[i] * b + j];
    return y;
}

/* Numbers are drawn as if every token asked every group: number e of token n is of index n E + e. */
static noisy_gate secondary_gate(tape *t, tensor *x, const members *m, const moe_layer *l) {
    ptrdiff_t R = m->plan.rows, E = l->c->experts, b = E / m->plan.experts;
    row_groups groups = {m->plan.experts, m->plan.start, 0};
    uint64_t *first = tape_keep(t, sizeof *first * (size_t)R);
    for (ptrdiff_t r = 0; r < R; r++) first[r] = tape_random_index(t, m->plan.token[r], E) + (uint64_t)(m->groups->expert[m->plan.pair[r]] * b);
    tensor *rows = dispatch(t, x, &m->plan, m->groups), *clean = linear_in_groups(t, rows, l->w->router, groups);
    tensor *noise = t->training ? linear_in_groups(t, rows, l->w->noise, groups) : NULL;
    return noisy_gate_open(t, clean, noise, tape_random_key(t, RANDOM_GATE_NOISE, l->layer), first);
}

/* In each chosen group of each token, the best k of its b experts, and their gates. */
static routing choose_in_groups(tape *t, tensor **within, const members *m, const noisy_gate *g, ptrdiff_t k) {
    const routing *groups = m->groups;
    ptrdiff_t b = g->p->cols, R = groups->pairs, P = R * k;
    routing r = routing_make(t, groups->tokens, P, m->plan.experts * b);
    int32_t *row = tape_keep(t, sizeof *row * (size_t)P), *col = tape_keep(t, sizeof *col * (size_t)P);
    int32_t *best = tape_keep(t, sizeof *best * (size_t)P); /* (R, k) */
    ptrdiff_t *start = tape_keep(t, sizeof *start * (size_t)(R + 1));
    t->k->choose(best, g->noisy->x, R, b, k);
    for (ptrdiff_t j = 0; j < P; j++) {
        ptrdiff_t i = j / k;
        row[j] = m->plan.row[i], col[j] = best[row[j] * k + j % k];
        r.expert[j] = (int32_t)(groups->expert[i] * b + col[j]), r.token[j] = groups->token[i];
    }
    for (ptrdiff_t i = 0; i <= R; i++) start[i] = i * k;
    for (ptrdiff_t n = 0; n < r.tokens; n++) r.token_start[n + 1] = groups->token_start[n + 1] * k;
    *within = normalize(t, pick(t, g->p, row, col, P, 1), start, R, 1);
    return r;
}

/* Equation 14. */
static tensor *load(tape *t, const noisy_gate *primary, const noisy_gate *secondary, const members *m, const moe_layer *l, ptrdiff_t k) {
    const moe_plan *p = &m->plan;
    ptrdiff_t a = primary->clean->cols, b = secondary->clean->cols;
    int32_t *group = tape_keep(t, sizeof *group * (size_t)p->rows);
    real *share = tape_keep(t, sizeof *share * (size_t)p->rows);
    for (ptrdiff_t i = 0; i < a; i++) {
        ptrdiff_t size = 0; /* |X_i| */
        for (ptrdiff_t r = p->start[i]; r < p->start[i + 1]; r++) size += token_counts(l->batch, p->token[r]);
        for (ptrdiff_t r = p->start[i]; r < p->start[i + 1]; r++)
            group[r] = (int32_t)i, share[r] = token_counts(l->batch, p->token[r]) ? 1 / (real)size : 0;
    }
    tensor *upper = noisy_gate_load_of_tokens(t, primary, l->c->top_groups, l->batch);
    tensor *lower = expected_load(t, secondary->clean, secondary->noise, secondary->noisy, k, group, a, share);
    return reshape(t, scale_rows(t, lower, reshape(t, upper, a, 1)), 1, a * b);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    const moe_config *c = l->c;
    ptrdiff_t k = c->top_k / c->top_groups;
    noisy_gate primary = noisy_gate_of_tokens(t, x, l->w->group_router, l->w->group_noise, RANDOM_GROUP_NOISE, l->layer);
    routing groups = routing_choose(t, primary.noisy->x, x->rows, &(moe_config){.experts = c->groups, .top_k = c->top_groups}, 1);
    groups.weights = routing_weigh(t, &groups, primary.p, &(moe_config){.normalize = true, .scale = c->scale});
    members m = {&groups, plan_build(t, &groups, (int)c->groups)};
    noisy_gate secondary = secondary_gate(t, x, &m, l);
    tensor *within;
    routing r = choose_in_groups(t, &within, &m, &secondary, k);
    r.weights = reshape(t, scale_rows(t, reshape(t, within, groups.pairs, k), groups.weights), r.pairs, 1);
    r.logits = path(t, primary.clean, secondary.clean, &m);
    r.probabilities = leaf_probabilities(t, &secondary, &m, c->scale);
    if (t->training) r.load = load(t, &primary, &secondary, &m, l, k);
    return r;
}

const struct router router_hierarchical = {.name = "hierarchical",
                                           .declare = declare,
                                           .route = route,
                                           .normalize = NORMALIZE_ALWAYS,
                                           .takes_groups = true,
                                           .needs_groups = true,
                                           .takes_drop = true};
