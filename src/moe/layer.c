/* The layer: the nouns in order. */
#include <string.h>

#include "base/error.h"
#include "comm/comm.h"
#include "moe/moe.h"
#include "ops/ops.h"

/* The default of routing.chosen. */
static int64_t *count_pairs(tape *t, const routing *r, const moe_layer *l) {
    size_t bytes = sizeof(int64_t) * (size_t)l->c->experts;
    int64_t *chosen = memset(tape_keep(t, bytes), 0, bytes);
    for (ptrdiff_t i = 0; i < r->pairs; i++) chosen[r->expert[i]] += token_counts(l->batch, r->token[i]);
    return chosen;
}

/* Collective. */
static void sum_over_ranks(tape *t, int64_t *chosen, ptrdiff_t E) {
    double *sum = tape_keep(t, sizeof *sum * (size_t)E);
    for (ptrdiff_t e = 0; e < E; e++) sum[e] = (double)chosen[e];
    comm_all_reduce(sum, E);
    for (ptrdiff_t e = 0; e < E; e++) chosen[e] = (int64_t)sum[e];
}

static routing drop_what_finds_no_room(tape *t, const routing *r, const moe_config *c) {
    double factor = t->training ? c->capacity : c->eval_capacity;
    routing kept = factor > 0 ? capacity_keep(t, r, (int)c->experts, even_share(r->tokens, c, factor), c->drop_by_score) : *r;
    if (c->router->normalizes_kept) kept.weights = normalize(t, kept.weights, kept.token_start, kept.tokens, c->scale);
    return kept;
}

static routing with_weights_of_one(tape *t, const routing *r) {
    routing one = *r;
    one.weights = tape_tensor(t, r->pairs, 1), one.fixed = true;
    for (ptrdiff_t i = 0; i < r->pairs; i++) one.weights->x[i] = 1;
    return one;
}

static tensor *shared_experts(tape *t, tensor *x, const moe_weights *w) {
    tensor *y = dense_mlp(t, x, &w->shared);
    return w->shared_gate ? scale_rows(t, y, sigmoid(t, linear(t, x, w->shared_gate))) : y;
}

tensor *moe(tape *t, tensor *x, const moe_layer *l, moe_trace *trace) {
    const moe_config *c = l->c;
    CHECK(l->batch->n_tokens == x->rows, "%td tokens, %td rows", l->batch->n_tokens, x->rows);
    routing r = c->router->route(t, x, l);
    if (!r.chosen) r.chosen = count_pairs(t, &r, l);
    if (t->training) sum_over_ranks(t, r.chosen, c->experts);
    routing kept = drop_what_finds_no_room(t, &r, c);
    if (trace) r.chosen = moe_trace_record(trace, l->layer, &r, &kept, l->batch);
    for (int i = 0; t->training && i < BALANCE_LOSSES; i++)
        if (c->balance[i] > 0 && balance_terms[i].add) balance_terms[i].add(t, &r, l->batch, balance_terms[i].name, c->balance[i]);
    moe_plan p = plan_build(t, &kept, (int)c->experts);
    tensor *rows = dispatch(t, x, &p, &kept);
    if (c->weigh_input) rows = weigh_rows(t, rows, &p, &kept), kept = with_weights_of_one(t, &kept);
    rows = experts(t, rows, &l->w->expert, &p, &kept, c->recompute);
    tensor *y = combine(t, rows, &p, &kept);
    return l->w->shared.down ? add(t, y, shared_experts(t, x, l->w)) : y;
}
