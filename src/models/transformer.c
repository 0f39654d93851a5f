/* The decoder-only transformer of the Llama line: RMSNorm before each half of a block, rotary grouped-query attention with optional norms
 * of queries and keys, and SwiGLU, dense or a mixture of experts. It reads like the figure in any of their papers. */
#include <math.h>

#include "base/error.h"
#include "base/memory.h"
#include "models/model.h"
#include "ops/ops.h"

typedef struct {
    weight *attention_norm, *query, *key, *value, *output;
    weight *query_norm, *key_norm; /* NULL without qk_norm */
    weight *mlp_norm;
    bool sparse;
    mlp_weights mlp; /* of a dense block */
    moe_weights moe; /* of a sparse one */
} block;

typedef struct {
    weight *embedding, *norm;
    block blocks[];
} transformer;

/* Of a matrix that reads `in` channels. */
static double initial_deviation(const model_config *c, ptrdiff_t in) {
    return c->initializer_range > 0 ? c->initializer_range : 1 / sqrt((double)in);
}

/* kinds[0] NULL: no gate. */
static int declare_mlp(mlp_weights *w, model *m, const char *const kinds[3], int layer, weight_role role, ptrdiff_t groups, ptrdiff_t F) {
    const model_config *c = &m->config;
    ptrdiff_t D = c->hidden_size;
    double deviation = initial_deviation(c, D), residual = 1 / sqrt(2.0 * (double)c->num_hidden_layers);
    if (kinds[0]) TRY(weights_declare(&w->gate, &m->weights, kinds[0], layer, role, groups, F, D, deviation));
    TRY(weights_declare(&w->up, &m->weights, kinds[1], layer, role, groups, F, D, deviation));
    return weights_declare(&w->down, &m->weights, kinds[2], layer, role, groups, D, F, residual * initial_deviation(c, F));
}

static int declare_experts(moe_weights *w, model *m, int layer) {
    const moe_config *c = &m->config.moe;
    const char *const expert[] = {c->relu ? NULL : "moe.gate", "moe.up", "moe.down"};
    const char *const shared[] = {c->relu ? NULL : "shared.gate", "shared.up", "shared.down"};
    ptrdiff_t D = m->config.hidden_size;
    double deviation = initial_deviation(&m->config, D);
    if (c->router->declare) TRY(c->router->declare(w, &m->weights, c, D, layer, deviation));
    TRY(declare_mlp(&w->expert, m, expert, layer, ROLE_EXPERT, c->experts, m->config.intermediate_size));
    if (c->shared_experts > 0) TRY(declare_mlp(&w->shared, m, shared, layer, ROLE_MATRIX, 1, c->shared_experts * c->shared_size));
    if (c->shared_experts > 0 && c->shared_gate)
        TRY(weights_declare(&w->shared_gate, &m->weights, "shared.expert_gate", layer, ROLE_MATRIX, 1, 1, D, deviation));
    return LAMP_OK;
}

static int declare_block(block *b, model *m, int layer) {
    const model_config *c = &m->config;
    weights *table = &m->weights;
    ptrdiff_t D = c->hidden_size, query_width = c->num_attention_heads * c->head_dim, key_width = c->num_key_value_heads * c->head_dim;
    double deviation = initial_deviation(c, D), residual = 1 / sqrt(2.0 * (double)c->num_hidden_layers);
    TRY(weights_declare(&b->attention_norm, table, "attention.norm", layer, ROLE_NORM, 1, 1, D, 0));
    TRY(weights_declare(&b->query, table, "attention.query", layer, ROLE_MATRIX, 1, query_width, D, deviation));
    TRY(weights_declare(&b->key, table, "attention.key", layer, ROLE_MATRIX, 1, key_width, D, deviation));
    TRY(weights_declare(&b->value, table, "attention.value", layer, ROLE_MATRIX, 1, key_width, D, deviation));
    TRY(weights_declare(&b->output, table, "attention.output", layer, ROLE_MATRIX, 1, D, query_width, residual * initial_deviation(c, query_width)));
    if (c->qk_norm != QK_NORM_NONE) {
        bool full = c->qk_norm == QK_NORM_FULL;
        TRY(weights_declare(&b->query_norm, table, "attention.query_norm", layer, ROLE_NORM, 1, 1, full ? query_width : c->head_dim, 0));
        TRY(weights_declare(&b->key_norm, table, "attention.key_norm", layer, ROLE_NORM, 1, 1, full ? key_width : c->head_dim, 0));
    }
    TRY(weights_declare(&b->mlp_norm, table, "mlp.norm", layer, ROLE_NORM, 1, 1, D, 0));
    b->sparse = model_layer_is_sparse(c, layer);
    if (b->sparse) return declare_experts(&b->moe, m, layer);
    const char *const kinds[] = {"mlp.gate", "mlp.up", "mlp.down"};
    return declare_mlp(&b->mlp, m, kinds, layer, ROLE_MATRIX, 1, c->moe.experts > 1 ? c->dense_size : c->intermediate_size);
}

static int transformer_declare(model *m) {
    const model_config *c = &m->config;
    transformer *parts;
    TRY(memory_new(&m->parts, sizeof(transformer) + (size_t)c->num_hidden_layers * sizeof(block), 1, "the transformer's blocks"));
    parts = m->parts;
    TRY(weights_declare(&parts->embedding, &m->weights, "embedding", -1, ROLE_EMBEDDING, 1, c->vocab_size, c->hidden_size,
                        initial_deviation(c, c->hidden_size)));
    for (int l = 0; l < c->num_hidden_layers; l++) TRY(declare_block(&parts->blocks[l], m, l));
    TRY(weights_declare(&parts->norm, &m->weights, "norm", -1, ROLE_NORM, 1, 1, c->hidden_size, 0));
    m->head = parts->embedding;
    if (c->tie_word_embeddings) return LAMP_OK;
    return weights_declare(&m->head, &m->weights, "head", -1, ROLE_MATRIX, 1, c->vocab_size, c->hidden_size, initial_deviation(c, c->hidden_size));
}

/* What attention needs to know of a batch, made once for all layers. */
typedef struct {
    rotary_angles angles;
    attention_span span;
} positions;

static positions positions_make(tape *t, const model_config *c, const token_batch *batch, const state *s) {
    size_t bytes = sizeof(ptrdiff_t) * (size_t)batch->n_sequences;
    ptrdiff_t past = s ? s->length : 0, *position = tape_keep(t, sizeof *position * (size_t)batch->n_tokens);
    ptrdiff_t *key_start = tape_keep(t, bytes), *key_end = tape_keep(t, bytes);
    for (int i = 0; i < batch->n_sequences; i++) {
        ptrdiff_t first = batch->sequence_start[i], end = batch->sequence_start[i + 1];
        for (ptrdiff_t n = first; n < end; n++) position[n] = past + n - first;
        key_start[i] = s ? 0 : first, key_end[i] = s ? past + end : end;
    }
    return (positions){rotary_angles_make(t, position, batch->n_tokens, c->head_dim, c->rope_theta),
                       {batch->n_sequences, batch->sequence_start, key_start, key_end}};
}

static tensor *attend(tape *t, tensor *x, const block *b, const model_config *c, const positions *at, state *s, int layer) {
    attention_shape shape = {c->num_attention_heads, c->num_key_value_heads, c->head_dim, (real)(1 / sqrt((double)c->head_dim))};
    tensor *q = linear(t, x, b->query), *k = linear(t, x, b->key), *v = linear(t, x, b->value), *y;
    if (b->query_norm) q = rmsnorm(t, q, b->query_norm, c->rms_norm_eps);
    if (b->key_norm) k = rmsnorm(t, k, b->key_norm, c->rms_norm_eps);
    q = rotary(t, q, at->angles);
    k = rotary(t, k, at->angles);
    if (s) {
        state_append(s, layer, k->x, v->x, k->rows);
        y = attention_cached(t, q, s->key[layer], s->value[layer], at->span, shape);
    } else {
        y = attention(t, q, k, v, at->span, shape);
    }
    return linear(t, y, b->output);
}

static tensor *transformer_forward(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace) {
    const model_config *c = &m->config;
    const transformer *parts = m->parts;
    positions at = positions_make(t, c, batch, s);
    tensor *x = embedding(t, parts->embedding, batch->token, batch->n_tokens), *h;
    for (int l = 0; l < c->num_hidden_layers; l++) {
        const block *b = &parts->blocks[l];
        h = rmsnorm(t, x, b->attention_norm, c->rms_norm_eps);
        h = attend(t, h, b, c, &at, s, l);
        x = add(t, x, h);
        h = rmsnorm(t, x, b->mlp_norm, c->rms_norm_eps);
        h = b->sparse ? moe(t, h, &(moe_layer){&b->moe, &c->moe, batch, l}, trace) : dense_mlp(t, h, &b->mlp);
        x = add(t, x, h);
    }
    if (s) s->length += batch->n_tokens;
    return rmsnorm(t, x, parts->norm, c->rms_norm_eps);
}

const struct backbone transformer_backbone = {transformer_declare, transformer_forward};
