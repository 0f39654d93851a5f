#include "train/memory_needs.h"

#include "base/error.h"
#include "base/human.h"
#include "ops/ops.h"

/* Values per token of a router: logits and what is made of them; those of the hierarchical one are of the groups and of the experts in chosen
 * groups. */
static double router_values(const moe_config *m) {
    if (!m->router->needs_groups) return 4 * (double)m->experts;
    return 7 * (double)(m->groups + m->top_groups * (m->experts / m->groups));
}

/* Of experts the two inner activations of each pair (one of ReLU), each as large as so many reals. */
static double expert_values(const moe_config *m, const model_config *c, double each) {
    const int64_t inner = (m->recompute ? 0 : m->top_k * c->intermediate_size) + m->shared_experts * m->shared_size;
    return router_values(m) + (m->relu ? 1 : 2) * (double)inner * each;
}

/* Values per token that stay until backward: the embedding, what leaves the last layer, and what each layer keeps. Of what only has a price,
 * nothing is known. */
static double kept_values(const model_config *c, double inner) {
    double values = 2 * (double)c->hidden_size;
    for (int64_t l = 0; l < c->num_hidden_layers && model_backbone(c)->kept; l++)
        values += model_backbone(c)->kept(c, l) + (model_layer_is_sparse(c, l) ? expert_values(&c->moe, c, inner) : 0);
    return values;
}

/* Values per token that live for a moment, where they are most: gradients of a few widths, and of experts the pairs' rows and inner gradients. */
static double passing_values(const model_config *c) {
    const double D = (double)c->hidden_size, K = c->moe.experts > 1 ? (double)c->moe.top_k : 1;
    return 4 * D + 2 * K * (D + (double)c->intermediate_size);
}

memory_needs memory_needs_of(const recipe *r, const model *m, const struct products *products) {
    const weights *table = &m->weights;
    memory_needs n = {.weights = table->total};
    n.packed = weights_square_values(table, products) + weights_packed_values(table, products, recipe_packing(r));
    ptrdiff_t passing = 0; /* the largest gradient that passes, or part of one: they come one at a time */
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        if (!w->step->passing) n.gradients += weight_size(w);
        else if (experts_gradient_values(w) > passing) passing = experts_gradient_values(w);
    }
    n.moments = (int64_t)optimizer_moment_bytes(&r->optimizer, table);
    double head = (double)head_loss_values(r->micro_batch_tokens, m->head, r->model.softmax_samples, products->rounds);
    const bool rounded = experts_are_rounded(products, m->config.moe.biases, optimizer_takes_factors(&r->optimizer));
    const double kept = kept_values(&m->config, rounded ? sizeof(uint16_t) / (double)sizeof(real) : 1);
    n.activations = (int64_t)((double)r->micro_batch_tokens * (kept + passing_values(&m->config)) + head) + passing;
    n.weights *= (int64_t)sizeof(real), n.packed *= (int64_t)sizeof(real), n.gradients *= (int64_t)sizeof(real);
    n.activations *= (int64_t)sizeof(real);
    return n;
}

int64_t memory_needs_total(const memory_needs *n) { return n->weights + n->packed + n->gradients + n->moments + n->activations; }

int memory_needs_check(const memory_needs *n, int64_t machine_bytes) {
    char all[HUMAN_BYTES], there[HUMAN_BYTES], values[HUMAN_BYTES], packed[HUMAN_BYTES], gradients[HUMAN_BYTES], moments[HUMAN_BYTES],
        activations[HUMAN_BYTES];
    if (memory_needs_total(n) <= machine_bytes) return LAMP_OK;
    FAIL(LAMP_NO_MEMORY,
         "this run needs about %sB of memory and may have %sB here: weights %sB, packed copies %sB, gradients %sB, moments %sB, activations %sB. "
         "Try "
         "%s",
         human_count(all, (double)memory_needs_total(n)), human_count(there, (double)machine_bytes), human_count(values, (double)n->weights),
         human_count(packed, (double)n->packed), human_count(gradients, (double)n->gradients), human_count(moments, (double)n->moments),
         human_count(activations, (double)n->activations),
         n->activations > memory_needs_total(n) / 2 ? "a smaller train.micro_batch_tokens"
                                                    : "fewer router.experts, optim.experts=adamw_in_backward or factored, optim.moments=bf16 or "
                                                      "train.pack_weights=false");
}
