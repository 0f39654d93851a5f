/* Noisy top-k (Shazeer et al. 2017, arXiv:1701.06538, equations 3-5 and appendix A): H = x W_g^T + draw softplus(x W_noise^T), and the
 * weights are the softmax over the K largest H alone, which is p = softmax(H) normalised over the chosen. Both matrices begin at zero: all
 * logits tie, the noise (deviation ln 2) chooses, and loads begin even. Otherwise than while training there is no noise; ties then go to the
 * lower expert. With K = 1 the weight is the constant 1 and only the load loss teaches the router. */
#include "base/error.h"
#include "moe/noisy_gate.h"
#include "moe/route.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    (void)deviation;
    TRY(weights_declare(&w->router, table, "moe.router", layer, ROLE_ROUTER, 1, c->experts, D, 0));
    return weights_declare(&w->noise, table, "moe.router_noise", layer, ROLE_ROUTER, 1, c->experts, D, 0);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    noisy_gate g = noisy_gate_of_tokens(t, x, l->w->router, l->w->noise, RANDOM_GATE_NOISE, l->layer);
    routing r = routing_choose(t, g.noisy->x, x->rows, l->c, 1);
    r.logits = g.clean, r.probabilities = g.p, r.weights = routing_weigh(t, &r, g.p, l->c);
    if (t->training) r.load = noisy_gate_load_of_tokens(t, &g, l->c->top_k, l->batch);
    return r;
}

const struct router router_noisy_top_k = {
    .name = "noisy_top_k", .declare = declare, .route = route, .normalize = NORMALIZE_ALWAYS, .takes_drop = true, .takes_shares = true};
