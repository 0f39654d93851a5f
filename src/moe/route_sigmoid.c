/* Sigmoid scores (DeepSeek-V3, arXiv:2412.19437, equations 12-16): s = sigmoid(x W_r^T); the K experts with the largest s + b are taken, and
 * weighted by s alone: a s_k / sum of the chosen s. b is no parameter: after each step it moves towards even loads (balance_move_bias), so no
 * loss needs to disturb the model. With groups a token looks only into its best ones, each as good as the sum of its two best s + b;
 * others are excluded, as in DeepSeek's own code. Without b, not normalised, with K = 1 and router.weigh_input, it is Llama-4's router. Balance losses
 * read q = s / sum of all s (equation 19). */
#include <math.h>

#include "base/error.h"
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    TRY(router_softmax.declare(w, table, c, D, layer, deviation));
    return c->unbiased ? LAMP_OK : weights_declare(&w->bias, table, "moe.router_bias", layer, ROLE_STATE, 1, 1, c->experts, 0);
}

struct saved {
    tensor *s, *q;
};

/* q_e = s_e / z with z = sum_j s_j:   ds_e += (dq_e - sum_j q_j dq_j) / z */
static void shares_backward(tape *t, void *saved) {
    struct saved *v = saved;
    ptrdiff_t N = v->s->rows, E = v->s->cols;
    real *ds = tape_gradient(t, v->s);
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (ptrdiff_t n = 0; n < N; n++) {
        const real *s = v->s->x + n * E, *q = v->q->x + n * E, *dq = v->q->dx + n * E;
        real z = 0, mean = 0;
        for (ptrdiff_t e = 0; e < E; e++) z += s[e], mean += q[e] * dq[e];
        for (ptrdiff_t e = 0; e < E; e++) ds[n * E + e] += (dq[e] - mean) / z;
    }
}

static tensor *shares(tape *t, tensor *s) {
    ptrdiff_t N = s->rows, E = s->cols;
    tensor *q = tape_tensor(t, N, E);
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (ptrdiff_t n = 0; n < N; n++) {
        real z = 0;
        for (ptrdiff_t e = 0; e < E; e++) z += s->x[n * E + e];
        for (ptrdiff_t e = 0; e < E; e++) q->x[n * E + e] = s->x[n * E + e] / z;
    }
    RECORD(t, q, shares_backward, (struct saved){s, q});
    return q;
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    ptrdiff_t N = x->rows, E = l->c->experts;
    const real *bias = l->w->bias ? l->w->bias->value[0] : NULL;
    tensor *logits = router_logits(t, x, l), *s = sigmoid(t, logits);
    real *biased = bias ? tape_borrow(t, N * E) : NULL;
    for (ptrdiff_t i = 0; i < N * E && bias; i++) biased[i] = s->x[i] + bias[i % E];
    const real *wanted = bias ? biased : l->c->groups > 0 ? s->x : logits->x; /* in the order of s, but where s rounds to the same */
    routing r = routing_choose(t, wanted, N, l->c, 2);
    tape_return(t, biased);
    r.logits = logits, r.probabilities = shares(t, s), r.weights = routing_weigh(t, &r, s, l->c);
    return r;
}

const struct router router_sigmoid = {
    .name = "sigmoid", .declare = declare, .route = route, .takes_groups = true, .takes_bias = true, .takes_drop = true, .takes_shares = true};
