/* Expert choice (Zhou et al. 2022, arXiv:2202.09368): p = softmax(x W_r^T), and while training each expert takes the N K / E tokens that score
 * highest with it: loads are even by construction, a token gets none to E experts. Weights are p itself. A token's experts then depend on
 * the tokens after it, which a language model may not know; otherwise than while training each token takes its own K best. */
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    return router_softmax.declare(w, table, c, D, layer, deviation);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    if (!t->training) return router_softmax.route(t, x, l);
    tensor *logits = router_logits(t, x, l), *p = softmax(t, logits);
    routing r = routing_choose_tokens(t, p->x, x->rows, p->cols, even_share(x->rows, l->c, 1));
    r.logits = logits, r.probabilities = p, r.weights = routing_weigh(t, &r, p, l->c);
    return r;
}

const struct router router_expert_choice = {
    .name = "expert_choice",
    .declare = declare,
    .route = route,
    .normalize = NORMALIZE_NEVER,
    .takes_shares = true,
    .looks_ahead = true,
    .serves_as_softmax = true,
};
