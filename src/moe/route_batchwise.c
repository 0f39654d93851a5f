/* Strictly balanced gating (Shazeer et al. 2017, appendix F): g = softmax(x W_g^T) over all experts, and while training each expert keeps the
 * m = K N / E largest of its column over the batch (equation 18). Every expert gets exactly m rows; a token gets none to E of them, K on
 * average, with weights normalised over its own (equation 16).
 *
 * A single token has no batch to be compared with: otherwise it takes every expert with g_e > T_e / E (equation 19). The thresholds T,
 * in units of the mean gate so that one learning rate fits any E, learn from a loss that is least where both masks agree (equation 20),
 *
 *     L = mean over tokens of  sum_e (M_threshold - M_batch)_ne (g_ne - T_e / E),   so
 *     dg_ne += (M_threshold - M_batch)_ne / N,     dT_e += sum_n (M_batch - M_threshold)_ne / (N E):
 *
 * a threshold rises while more than m tokens exceed it. */
#include "base/error.h"
#include "moe/moe.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    TRY(router_softmax.declare(w, table, c, D, layer, deviation));
    return weights_declare(&w->threshold, table, "moe.router_threshold", layer, ROLE_THRESHOLD, 1, 1, c->experts, 0);
}

struct saved {
    tensor *g;
    const weight *threshold;
    const signed char *difference; /* (N, E) of the masks */
    real factor;                   /* of the sum over tokens */
};

static void threshold_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t N = s->g->rows, E = s->g->cols;
    real *dg = tape_gradient(t, s->g), *dthreshold = tape_weight_gradient(t, s->threshold);
    for (ptrdiff_t i = 0; i < N * E; i++) {
        dg[i] += s->factor * (real)s->difference[i];
        dthreshold[i % E] -= s->factor * (real)s->difference[i] / (real)E;
    }
}

static bool exceeds(const tensor *g, const weight *threshold, ptrdiff_t i) { return g->x[i] * (real)g->cols > threshold->value[0][i % g->cols]; }

static void threshold_loss(tape *t, tensor *g, const routing *r, const moe_layer *l, double coefficient) {
    ptrdiff_t N = g->rows, E = g->cols;
    const weight *threshold = l->w->threshold;
    signed char *difference = tape_keep(t, (size_t)(N * E));
    double factor = coefficient * t->loss_scale, sum = 0;
    for (ptrdiff_t i = 0; i < N * E; i++) difference[i] = token_counts(l->batch, i / E) && exceeds(g, threshold, i);
    for (ptrdiff_t i = 0; i < r->pairs; i++) difference[r->token[i] * E + r->expert[i]] -= token_counts(l->batch, r->token[i]);
    for (ptrdiff_t i = 0; i < N * E; i++) sum += difference[i] * ((double)g->x[i] - (double)threshold->value[0][i % E] / (double)E);
    tape_add_loss(t, balance_terms[BALANCE_THRESHOLD].name, sum * factor);
    RECORD(t, NULL, threshold_backward, (struct saved){g, threshold, difference, (real)factor});
    tape_use(t, threshold);
}

static routing choose_above(tape *t, const tensor *g, const weight *threshold) {
    bool *mask = tape_keep(t, (size_t)(g->rows * g->cols));
    for (ptrdiff_t i = 0; i < g->rows * g->cols; i++) mask[i] = exceeds(g, threshold, i);
    return routing_of_mask(t, mask, g->rows, g->cols);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    tensor *logits = router_logits(t, x, l), *g = softmax(t, logits);
    double coefficient = l->c->balance[BALANCE_THRESHOLD];
    routing r = t->training ? routing_choose_tokens(t, g->x, x->rows, g->cols, even_share(x->rows, l->c, 1)) : choose_above(t, g, l->w->threshold);
    r.logits = logits, r.probabilities = g, r.weights = routing_weigh(t, &r, g, l->c);
    if (t->training && coefficient > 0) threshold_loss(t, g, &r, l, coefficient);
    return r;
}

const struct router router_batchwise = {
    .name = "batchwise", .declare = declare, .route = route, .normalize = NORMALIZE_ALWAYS, .takes_shares = true, .looks_ahead = true};
