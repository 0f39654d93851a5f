#include "models/declare.h"

#include <math.h>

#include "base/error.h"

/* Of a matrix that reads `in` channels. */
static double initial_deviation(const model_config *c, ptrdiff_t in) {
    return c->initializer_range > 0 ? c->initializer_range : 1 / sqrt((double)in);
}

static double residual_deviation(const model_config *c, ptrdiff_t in) {
    return 1 / sqrt(2.0 * (double)c->num_hidden_layers) * initial_deviation(c, in);
}

int declare_matrix(weight **w, model *m, const char *kind, int layer, ptrdiff_t out, ptrdiff_t in) {
    return weights_declare(w, &m->weights, kind, layer, ROLE_MATRIX, 1, out, in, initial_deviation(&m->config, in));
}

int declare_output(weight **w, model *m, const char *kind, int layer, ptrdiff_t out, ptrdiff_t in) {
    return weights_declare(w, &m->weights, kind, layer, ROLE_MATRIX, 1, out, in, residual_deviation(&m->config, in));
}

int declare_norm(weight **w, model *m, const char *kind, int layer, ptrdiff_t in) {
    return weights_declare(w, &m->weights, kind, layer, ROLE_NORM, 1, 1, in, 0);
}

int declare_bias(weight **w, model *m, const char *kind, int layer, ptrdiff_t groups, ptrdiff_t in) {
    return weights_declare(w, &m->weights, kind, layer, ROLE_BIAS, groups, 1, in, 0);
}

int declare_embedding(weight **w, model *m, const char *kind, ptrdiff_t rows, ptrdiff_t in) {
    return weights_declare(w, &m->weights, kind, -1, ROLE_EMBEDDING, 1, rows, in, initial_deviation(&m->config, in));
}

int declare_head(model *m, weight *embedding) {
    m->head = embedding;
    return m->config.tie_word_embeddings ? LAMP_OK : declare_matrix(&m->head, m, "head", -1, m->config.vocab_size, m->config.hidden_size);
}

/* kinds[0] NULL: no gate. */
static int declare_mlp(mlp_weights *w, model *m, const char *const kinds[3], int layer, weight_role role, ptrdiff_t groups, ptrdiff_t F) {
    const model_config *c = &m->config;
    ptrdiff_t D = c->hidden_size;
    double deviation = initial_deviation(c, D);
    if (kinds[0]) TRY(weights_declare(&w->gate, &m->weights, kinds[0], layer, role, groups, F, D, deviation));
    TRY(weights_declare(&w->up, &m->weights, kinds[1], layer, role, groups, F, D, deviation));
    return weights_declare(&w->down, &m->weights, kinds[2], layer, role, groups, D, F, residual_deviation(c, F));
}

int declare_dense_mlp(mlp_weights *w, model *m, int layer, bool gated) {
    const char *const kinds[] = {gated ? "mlp.gate" : NULL, "mlp.up", "mlp.down"};
    return declare_mlp(w, m, kinds, layer, ROLE_MATRIX, 1, declared_dense_width(&m->config));
}

static int declare_expert_biases(moe_weights *w, model *m, int layer) {
    const moe_config *c = &m->config.moe;
    ptrdiff_t D = m->config.hidden_size, F = m->config.intermediate_size;
    if (!c->relu) TRY(declare_bias(&w->expert.gate_bias, m, "moe.gate_bias", layer, c->experts, F));
    TRY(declare_bias(&w->expert.up_bias, m, "moe.up_bias", layer, c->experts, F));
    return declare_bias(&w->expert.down_bias, m, "moe.down_bias", layer, c->experts, D);
}

int declare_experts(moe_weights *w, model *m, int layer) {
    const moe_config *c = &m->config.moe;
    const char *const expert[] = {c->relu ? NULL : "moe.gate", "moe.up", "moe.down"};
    const char *const shared[] = {c->relu ? NULL : "shared.gate", "shared.up", "shared.down"};
    ptrdiff_t D = m->config.hidden_size;
    double deviation = initial_deviation(&m->config, D);
    if (c->router->declare) TRY(c->router->declare(w, &m->weights, c, D, layer, deviation));
    TRY(declare_mlp(&w->expert, m, expert, layer, ROLE_EXPERT, c->experts, m->config.intermediate_size));
    if (c->biases) TRY(declare_expert_biases(w, m, layer));
    w->expert.bounds = (swiglu_bounds){(real)c->swiglu_alpha, (real)c->swiglu_limit};
    if (c->shared_experts > 0) TRY(declare_mlp(&w->shared, m, shared, layer, ROLE_MATRIX, 1, c->shared_experts * c->shared_size));
    if (c->shared_experts > 0 && c->shared_gate) TRY(declare_matrix(&w->shared_gate, m, "shared.expert_gate", layer, 1, D));
    return LAMP_OK;
}

double declared_tables(const model_config *c) { return (double)c->vocab_size * (double)c->hidden_size * (c->tie_word_embeddings ? 1 : 2); }

double declared_experts(const model_config *c) {
    const moe_config *m = &c->moe;
    if (m->experts == 1) return 0;
    const double D = (double)c->hidden_size, E = (double)m->experts, F = (double)c->intermediate_size;
    double inner = E * F + (double)m->shared_experts * (double)m->shared_size, biases = m->biases ? E * ((m->relu ? 1 : 2) * F + D + 1) : 0;
    return D * (m->relu ? 2 : 3) * inner + biases + (m->router->declare ? E * D : 0);
}

double declared_sparse_layers(const model_config *c) {
    int64_t n = 0;
    for (int64_t l = 0; l < c->encoder_layers + c->num_hidden_layers; l++) n += model_layer_is_sparse(c, l);
    return (double)n;
}

int64_t declared_dense_width(const model_config *c) { return c->moe.experts > 1 ? c->dense_size : c->intermediate_size; }
