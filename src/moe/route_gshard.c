/* GShard top-2 (Lepikhin et al. 2020, arXiv:2006.16668, algorithm 1): softmax; the first choice is always dispatched, while training the
 * second only with probability min(1, 2 g_2), g_1 + g_2 = 1, because a small weight is not worth a row. Weights are normalised over the
 * pairs that found room: a token that lost one of its experts gives the other weight 1. Balance counts first choices only. */
#include <string.h>

#include "base/random.h"
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    return router_softmax.declare(w, table, c, D, layer, deviation);
}

/* Takes the pairs of some second choices out. */
static void draw_second_choices(tape *t, routing *r, const tensor *p, int layer) {
    random_key key = tape_random_key(t, RANDOM_SECOND_CHOICE, layer);
    ptrdiff_t kept = 0;
    for (ptrdiff_t n = 0; n < r->tokens; n++) {
        int32_t first = r->expert[2 * n], second = r->expert[2 * n + 1];
        double g1 = (double)p->x[n * p->cols + first], g2 = (double)p->x[n * p->cols + second];
        r->expert[kept] = first, r->token[kept++] = (int32_t)n;
        if (random_uniform(key, tape_random_index(t, n, 1)) < 2 * g2 / (g1 + g2)) r->expert[kept] = second, r->token[kept++] = (int32_t)n;
        r->token_start[n + 1] = kept;
    }
    r->pairs = kept;
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    tensor *logits = router_logits(t, x, l), *p = softmax(t, logits);
    routing r = routing_choose(t, p->x, x->rows, l->c, 1);
    r.logits = logits, r.probabilities = p;
    r.chosen = tape_keep(t, sizeof *r.chosen * (size_t)l->c->experts);
    memset(r.chosen, 0, sizeof *r.chosen * (size_t)l->c->experts);
    for (ptrdiff_t n = 0; n < r.tokens; n++) r.chosen[r.expert[2 * n]] += token_counts(l->batch, n);
    if (t->training) draw_second_choices(t, &r, p, l->layer);
    r.weights = pick(t, p, r.token, r.expert, r.pairs, 1);
    return r;
}

const struct router router_gshard = {
    .name = "gshard",
    .declare = declare,
    .route = route,
    .top_k = 2,
    .normalize = NORMALIZE_ALWAYS,
    .takes_drop = true,
    .takes_shares = true,
    .normalizes_kept = true,
    .serves_as_softmax = true,
};
