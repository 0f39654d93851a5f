/* Noisy top-k (Shazeer et al. 2017, arXiv:1701.06538, equations 3-5 and appendix A): H = x W_g^T + draw softplus(x W_noise^T), and the
 * weights are the softmax over the K largest H alone, which is p = softmax(H) normalised over the chosen. Both matrices begin at zero: all
 * logits tie, the noise (deviation ln 2) chooses, and loads begin even. Otherwise than while training there is no noise; ties then go to the
 * lower expert. With K = 1 the weight is the constant 1 and only the load loss teaches the router. */
#include "base/error.h"
#include "moe/noisy_gate.h"
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    (void)deviation;
    TRY(weights_declare(&w->router, table, "moe.router", layer, ROLE_ROUTER, 1, c->experts, D, 0));
    return weights_declare(&w->noise, table, "moe.router_noise", layer, ROLE_ROUTER, 1, c->experts, D, 0);
}

static tensor *load(tape *t, tensor *clean, tensor *noise, tensor *noisy, const moe_layer *l) {
    int32_t *bin = tape_keep(t, sizeof *bin * (size_t)clean->rows);
    real *one = tape_keep(t, sizeof *one);
    for (ptrdiff_t n = 0; n < clean->rows; n++) bin[n] = token_counts(l->batch, n) ? 0 : -1;
    *one = 1;
    return expected_load(t, clean, noise, noisy, l->c->top_k, bin, 1, one);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    tensor *clean = linear(t, x, l->w->router), *noise = t->training ? linear(t, x, l->w->noise) : NULL;
    tensor *noisy = t->training ? noisy_logits(t, clean, noise, RANDOM_GATE_NOISE, l->layer) : clean, *p = softmax(t, noisy);
    routing r = routing_choose(t, noisy->x, x->rows, l->c, 1);
    r.logits = clean, r.probabilities = p, r.weights = routing_weigh(t, &r, p, l->c);
    if (t->training) r.load = load(t, clean, noise, noisy, l);
    return r;
}

const struct router router_noisy_top_k = {
    .name = "noisy_top_k", .declare = declare, .route = route, .normalize = NORMALIZE_ALWAYS, .takes_drop = true};
