/* Switch (Fedus et al. 2021, arXiv:2101.03961): softmax top-1. The weight stays the probability: normalised it would be the constant 1, and
 * the router would not learn. While training the router may read its input times U(1 - jitter, 1 + jitter), so that it explores. */
#include "base/random.h"
#include "moe/route.h"
#include "ops/ops.h"

struct saved {
    tensor *x, *y;
    const real *factor;
};

/* y = f x:   dx += f dy */
static void jitter_backward(tape *t, void *saved) {
    struct saved *s = saved;
    real *dx = tape_gradient(t, s->x);
    for (ptrdiff_t i = 0; i < s->x->rows * s->x->cols; i++) dx[i] += s->factor[i] * s->y->dx[i];
}

static tensor *jitter(tape *t, tensor *x, double by, int layer) {
    ptrdiff_t N = x->rows, D = x->cols;
    tensor *y = tape_tensor(t, N, D);
    real *factor = tape_keep(t, sizeof(real) * (size_t)(N * D));
    random_key key = tape_random_key(t, RANDOM_JITTER, layer);
#pragma omp parallel for schedule(static) if (N * D > 4096)
    for (ptrdiff_t i = 0; i < N * D; i++) {
        factor[i] = (real)(1 + by * (2 * random_uniform(key, tape_random_index(t, i / D, D) + (uint64_t)(i % D)) - 1));
        y->x[i] = factor[i] * x->x[i];
    }
    RECORD(t, y, jitter_backward, (struct saved){x, y, factor});
    return y;
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    return router_softmax.route(t, t->training && l->c->jitter > 0 ? jitter(t, x, l->c->jitter, l->layer) : x, l);
}

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    return router_softmax.declare(w, table, c, D, layer, deviation);
}

const struct router router_switch = {
    .name = "switch",
    .declare = declare,
    .route = route,
    .top_k = 1,
    .normalize = NORMALIZE_NEVER,
    .takes_jitter = true,
    .takes_drop = true,
    .takes_shares = true,
    .serves_as_softmax = true,
};
