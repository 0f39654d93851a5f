/* Softmax top-k: p = softmax(x W_r^T) over all experts, and each token takes its K most probable ones, ties to the lower index. Their
 * weights are a p_k (OLMoE; DeepSeek-V2, whose a is 16) or, normalised, a p_k / sum of the chosen (Mixtral, Qwen3): that is the softmax over
 * the chosen logits alone (GPT-OSS), because what p divides by cancels. With groups a token looks only into its best ones, each as good as
 * its best expert (DeepSeek-V2, arXiv:2405.04434, section 2.2.2). */
#include "moe/route.h"
#include "ops/ops.h"

static int declare(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation) {
    return weights_declare(&w->router, table, "moe.router", layer, ROLE_ROUTER, 1, c->experts, D, deviation);
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    tensor *logits = linear(t, x, l->w->router), *p = softmax(t, logits);
    routing r = routing_choose(t, p->x, x->rows, l->c, 1);
    r.logits = logits, r.probabilities = p, r.weights = routing_weigh(t, &r, p, l->c);
    return r;
}

const struct router router_softmax = {
    .name = "softmax", .declare = declare, .route = route, .takes_groups = true, .takes_drop = true, .takes_shares = true, .serves_as_softmax = true};
