/* Softmax top-k: p = softmax(x W_r^T) over all experts, and each token takes its K most probable ones, ties to the lower index. Their
 * weights are a p_k (OLMoE; DeepSeek-V2, whose a is 16) or, normalised, a p_k / sum of the chosen (Mixtral, Qwen3): that is the softmax over
 * the chosen logits alone (GPT-OSS), because what p divides by cancels. With groups a token looks only into its best ones, each as good as
 * its best expert (DeepSeek-V2, arXiv:2405.04434, section 2.2.2). */
#include "base/error.h"
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    if (c->biases) TRY(weights_declare(&w->logit_bias, table, "moe.router_logit_bias", layer, ROLE_BIAS, 1, 1, c->experts, 0));
    return weights_declare(&w->router, table, "moe.router", layer, ROLE_ROUTER, 1, c->experts, D, deviation);
}

tensor *router_logits(tape *t, tensor *x, const moe_layer *l) { return add_bias(t, linear(t, x, l->w->router), l->w->logit_bias); }

static routing route(tape *t, tensor *x, const moe_layer *l) {
    tensor *logits = router_logits(t, x, l), *p = softmax(t, logits);
    routing r = routing_choose(t, logits->x, x->rows, l->c, 1); /* in the order of p, but where p rounds to the same */
    r.logits = logits, r.probabilities = p, r.weights = routing_weigh(t, &r, p, l->c);
    return r;
}

const struct router router_softmax = {
    .name = "softmax", .declare = declare, .route = route, .takes_groups = true, .takes_drop = true, .takes_shares = true, .serves_as_softmax = true};
