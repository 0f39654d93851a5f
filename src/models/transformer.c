/* The decoder-only transformer of the Llama line: RMSNorm before each half of a block, rotary grouped-query attention with optional norms
 * of queries and keys, and SwiGLU, dense or a mixture of experts. It reads like the figure in any of their papers. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "models/declare.h"
#include "models/model.h"
#include "models/rope.h"
#include "ops/ops.h"

static const double LATENT_EPSILON = 1e-6; /* of the norms of narrow rows, whatever rms_norm_eps says: as DeepSeek's code has it */

typedef struct {
    weight *attention_norm, *query, *key, *value, *output;
    weight *query_norm, *key_norm; /* NULL without qk_norm; of latent attention, of the narrow rows */
    weight *query_down, *key_down; /* of latent attention, whose key makes the values too; else NULL, as each of these may be: */
    weight *query_bias, *key_bias, *value_bias, *output_bias, *sinks;
    weight *mlp_norm;
    bool sparse;
    mlp_weights mlp; /* of a dense block */
    moe_weights moe; /* of a sparse one */
} block;

typedef struct {
    weight *embedding, *norm;
    block blocks[];
} transformer;

static int declare_latent_attention(block *b, model *m, int layer) {
    const model_config *c = &m->config;
    const latent_attention *a = &c->latent;
    ptrdiff_t D = c->hidden_size, H = c->num_attention_heads, query_width = H * c->head_dim;
    if (a->query_rank > 0) {
        TRY(declare_matrix(&b->query_down, m, "attention.query_down", layer, a->query_rank, D));
        TRY(declare_norm(&b->query_norm, m, "attention.query_down_norm", layer, a->query_rank));
    }
    if (a->query_rank > 0) TRY(declare_matrix(&b->query, m, "attention.query_up", layer, query_width, a->query_rank));
    else TRY(declare_matrix(&b->query, m, "attention.query", layer, query_width, D));
    TRY(declare_matrix(&b->key_down, m, "attention.key_down", layer, a->key_rank + a->rotary_dim, D));
    TRY(declare_norm(&b->key_norm, m, "attention.key_down_norm", layer, a->key_rank));
    TRY(declare_matrix(&b->key, m, "attention.key_value", layer, H * (a->plain_dim + a->value_dim), a->key_rank));
    b->key->always_real = true;
    return LAMP_OK;
}

static int declare_plain_attention(block *b, model *m, int layer) {
    const model_config *c = &m->config;
    ptrdiff_t D = c->hidden_size, query_width = c->num_attention_heads * c->head_dim, key_width = c->num_key_value_heads * c->head_dim;
    TRY(declare_matrix(&b->query, m, "attention.query", layer, query_width, D));
    TRY(declare_matrix(&b->key, m, "attention.key", layer, key_width, D));
    return declare_matrix(&b->value, m, "attention.value", layer, key_width, D);
}

static int declare_attention_extras(block *b, model *m, int layer) {
    const model_config *c = &m->config;
    ptrdiff_t query_width = c->num_attention_heads * c->head_dim, key_width = c->num_key_value_heads * c->head_dim;
    if (c->qk_norm == QK_NORM_HEAD || c->qk_norm == QK_NORM_FULL) {
        bool full = c->qk_norm == QK_NORM_FULL;
        TRY(declare_norm(&b->query_norm, m, "attention.query_norm", layer, full ? query_width : c->head_dim));
        TRY(declare_norm(&b->key_norm, m, "attention.key_norm", layer, full ? key_width : c->head_dim));
    }
    if (c->attention_bias != BIAS_NONE) {
        TRY(declare_bias(&b->query_bias, m, "attention.query_bias", layer, 1, query_width));
        TRY(declare_bias(&b->key_bias, m, "attention.key_bias", layer, 1, key_width));
        TRY(declare_bias(&b->value_bias, m, "attention.value_bias", layer, 1, key_width));
    }
    if (c->attention_bias == BIAS_ALL) TRY(declare_bias(&b->output_bias, m, "attention.output_bias", layer, 1, c->hidden_size));
    return c->attention_sinks ? declare_bias(&b->sinks, m, "attention.sinks", layer, 1, c->num_attention_heads) : LAMP_OK;
}

static int declare_block(block *b, model *m, int layer) {
    const model_config *c = &m->config;
    ptrdiff_t D = c->hidden_size;
    TRY(declare_norm(&b->attention_norm, m, "attention.norm", layer, D));
    TRY(c->latent.key_rank > 0 ? declare_latent_attention(b, m, layer) : declare_plain_attention(b, m, layer));
    TRY(declare_output(&b->output, m, "attention.output", layer, D, model_value_width(c)));
    TRY(declare_attention_extras(b, m, layer));
    TRY(declare_norm(&b->mlp_norm, m, "mlp.norm", layer, D));
    b->sparse = model_layer_is_sparse(c, layer);
    if (b->sparse) return declare_experts(&b->moe, m, layer);
    return declare_dense_mlp(&b->mlp, m, layer, true);
}

static int transformer_declare(model *m) {
    const model_config *c = &m->config;
    transformer *parts;
    TRY(memory_new(&m->parts, sizeof(transformer) + (size_t)c->num_hidden_layers * sizeof(block), 1, "the transformer's blocks"));
    parts = m->parts;
    TRY(declare_embedding(&parts->embedding, m, "embedding", c->vocab_size, c->hidden_size));
    for (int l = 0; l < c->num_hidden_layers; l++) TRY(declare_block(&parts->blocks[l], m, l));
    TRY(declare_norm(&parts->norm, m, "norm", -1, c->hidden_size));
    return declare_head(m, parts->embedding);
}

static double attention_parameters(const model_config *c) {
    const latent_attention *a = &c->latent;
    const double D = (double)c->hidden_size, H = (double)c->num_attention_heads, queries = H * (double)c->head_dim,
                 keys = (double)c->num_key_value_heads * (double)c->head_dim, query_rank = (double)a->query_rank, key_rank = (double)a->key_rank;
    if (key_rank > 0) {
        double of_queries = query_rank > 0 ? query_rank * (D + 1 + queries) : D * queries;
        return of_queries + D * (key_rank + (double)a->rotary_dim) + key_rank + key_rank * H * (double)(a->plain_dim + a->value_dim) +
               H * (double)a->value_dim * D;
    }
    double norms = c->qk_norm == QK_NORM_FULL ? queries + keys : c->qk_norm == QK_NORM_HEAD ? 2 * (double)c->head_dim : 0;
    double biases = (c->attention_bias != BIAS_NONE ? queries + 2 * keys : 0) + (c->attention_bias == BIAS_ALL ? D : 0);
    return 2 * D * (queries + keys) + norms + biases + (c->attention_sinks ? H : 0);
}

static double transformer_parameters(const model_config *c) {
    const double D = (double)c->hidden_size, sparse_layers = declared_sparse_layers(c), layers = (double)c->num_hidden_layers;
    double blocks = layers * (attention_parameters(c) + 2 * D), dense = 3 * D * (double)declared_dense_width(c);
    return blocks + sparse_layers * declared_experts(c) + (layers - sparse_layers) * dense + declared_tables(c) + D;
}

static void transformer_declare_state(state *s, const model *m) {
    const model_config *c = &m->config;
    const ptrdiff_t width = c->num_key_value_heads * c->head_dim;
    for (int l = 0; l < s->layers; l++) {
        if (c->latent.key_rank > 0) state_declare(s, l, STATE_KEY, c->latent.key_rank + c->latent.rotary_dim);
        else state_declare(s, l, STATE_KEY, width), state_declare(s, l, STATE_VALUE, width);
    }
}

/* What attention needs to know of a batch, made once for all layers. */
typedef struct {
    rotary_angles angles;
    rotary_angles growth; /* of queries in layers without RoPE: turned by nothing, they only become longer. half 0: they do not */
    attention_span span;
} positions;

static rotary_angles growth_make(tape *t, const model_config *c, const ptrdiff_t *position, ptrdiff_t N) {
    const unrotated_layers *u = &c->unrotated;
    const ptrdiff_t half = c->head_dim / 2;
    size_t bytes = sizeof(real) * (size_t)(N * half);
    if (u->step == 0 || u->scale == 0) return (rotary_angles){.half = 0};
    real *cosine = tape_keep(t, bytes), *sine = memset(tape_keep(t, bytes), 0, bytes);
    for (ptrdiff_t n = 0; n < N; n++) {
        double length = u->scale * log1p(floor((double)(position[n] + 1) / (double)u->floor)) + 1;
        for (ptrdiff_t i = 0; i < half; i++) cosine[n * half + i] = (real)length;
    }
    return (rotary_angles){cosine, sine, half, false};
}

static positions positions_make(tape *t, const model_config *c, const token_batch *batch, const state *s) {
    size_t bytes = sizeof(ptrdiff_t) * (size_t)batch->n_sequences;
    ptrdiff_t past = s ? s->length : 0, *position = tape_keep(t, sizeof *position * (size_t)batch->n_tokens);
    ptrdiff_t *key_start = tape_keep(t, bytes), *key_end = tape_keep(t, bytes);
    for (int i = 0; i < batch->n_sequences; i++) {
        ptrdiff_t first = batch->sequence_start[i], end = batch->sequence_start[i + 1];
        for (ptrdiff_t n = first; n < end; n++) position[n] = past + n - first;
        key_start[i] = s ? 0 : first, key_end[i] = s ? past + end : end;
    }
    const ptrdiff_t turned = c->latent.key_rank > 0 ? c->latent.rotary_dim : c->head_dim;
    double *frequency = tape_keep(t, sizeof *frequency * (size_t)(turned / 2));
    rope_frequencies(frequency, c, turned);
    rotary_angles angles = rotary_angles_make(t, position, batch->n_tokens, frequency, turned / 2, rope_length(&c->rope));
    angles.neighbours = c->interleaved;
    return (positions){angles, growth_make(t, c, position, batch->n_tokens), {batch->n_sequences, batch->sequence_start, key_start, key_end}};
}

static attention_shape shape_of(const model_config *c, int layer) {
    const bool latent = c->latent.key_rank > 0;
    return (attention_shape){.heads = c->num_attention_heads,
                             .kv_heads = c->num_key_value_heads,
                             .head_dim = c->head_dim,
                             .value_dim = latent ? c->latent.value_dim : c->head_dim,
                             .scale = (real)((latent ? rope_score_factor(&c->rope) : 1) / sqrt((double)c->head_dim)),
                             .window = model_layer_window(c, layer),
                             .chunked = c->window.chunked};
}

static tensor *latent_query(tape *t, tensor *x, const block *b) {
    return linear(t, b->query_down ? rmsnorm(t, linear(t, x, b->query_down), b->query_norm, LATENT_EPSILON) : x, b->query);
}

/* What a token leaves is narrow: with others already there, heads look at it as it is; else they make their keys and values of it. */
static tensor *attend_latent(tape *t, tensor *x, const block *b, const model_config *c, const positions *at, state *s, int layer) {
    const latent_attention *a = &c->latent;
    const latent_shape latent = {c->num_attention_heads, a->plain_dim, a->rotary_dim, a->value_dim, a->key_rank};
    const attention_shape shape = shape_of(c, layer);
    tensor *q = rotary(t, latent_query(t, x, b), c->head_dim, at->angles), *down = linear(t, x, b->key_down), *y;
    tensor *narrow = rmsnorm(t, columns(t, down, 0, a->key_rank), b->key_norm, LATENT_EPSILON);
    tensor *turned = rotary(t, columns(t, down, a->key_rank, a->rotary_dim), a->rotary_dim, at->angles);
    if (s) {
        state_append_columns(s, layer, STATE_KEY, 0, a->key_rank, narrow->x, narrow->rows);
        state_append_columns(s, layer, STATE_KEY, a->key_rank, a->rotary_dim, turned->x, turned->rows);
    }
    if (s && s->length > 0) {
        y = latent_attention_cached(t, q, state_of(s, layer, STATE_KEY), b->key, at->span, shape, latent);
    } else {
        tensor *kv = linear(t, narrow, b->key), *k = latent_keys(t, kv, turned, latent);
        y = attention(t, q, (tensor_heads){k, 0, c->head_dim}, (tensor_heads){kv, a->plain_dim, a->plain_dim + a->value_dim}, NULL, at->span, shape);
    }
    return linear(t, y, b->output);
}

static tensor *turn(tape *t, tensor *x, const model_config *c, const positions *at) {
    x = rotary(t, x, c->head_dim, at->angles);
    return c->qk_norm == QK_NORM_PLAIN ? unit_rms(t, x, c->head_dim, c->rms_norm_eps) : x;
}

static tensor *attend(tape *t, tensor *x, const block *b, const model_config *c, const positions *at, state *s, int layer) {
    const attention_shape shape = shape_of(c, layer);
    const ptrdiff_t D = c->head_dim, width = c->num_key_value_heads * D;
    tensor *q = add_bias(t, linear(t, x, b->query), b->query_bias), *k = add_bias(t, linear(t, x, b->key), b->key_bias),
           *v = add_bias(t, linear(t, x, b->value), b->value_bias), *y;
    if (b->query_norm) q = rmsnorm(t, q, b->query_norm, c->rms_norm_eps);
    if (b->key_norm) k = rmsnorm(t, k, b->key_norm, c->rms_norm_eps);
    q = clip(t, q, c->clip_qkv), k = clip(t, k, c->clip_qkv), v = clip(t, v, c->clip_qkv);
    if (model_layer_rotates(c, layer)) q = turn(t, q, c, at), k = turn(t, k, c, at);
    else if (at->growth.half > 0) q = rotary(t, q, D, at->growth);
    if (s) {
        state_append(s, layer, STATE_KEY, k->x, k->rows);
        state_append(s, layer, STATE_VALUE, v->x, v->rows);
        heads_of keys = {state_of(s, layer, STATE_KEY), width, D}, values = {state_of(s, layer, STATE_VALUE), width, D};
        y = attention_cached(t, q, keys, values, b->sinks, at->span, shape);
    } else {
        y = attention(t, q, (tensor_heads){k, 0, D}, (tensor_heads){v, 0, D}, b->sinks, at->span, shape);
    }
    return add_bias(t, linear(t, y, b->output), b->output_bias);
}

static tensor *transformer_forward(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace) {
    const model_config *c = &m->config;
    const transformer *parts = m->parts;
    positions at = positions_make(t, c, batch, s);
    tensor *x = embedding(t, parts->embedding, batch->token, batch->n_tokens), *h;
    x = dropout(t, x, c->dropout, 0);
    for (int l = 0; l < c->num_hidden_layers; l++) {
        const block *b = &parts->blocks[l];
        h = rmsnorm(t, x, b->attention_norm, c->rms_norm_eps);
        h = (c->latent.key_rank > 0 ? attend_latent : attend)(t, h, b, c, &at, s, l);
        x = add(t, x, dropout(t, h, c->dropout, 2 * l + 1));
        h = rmsnorm(t, x, b->mlp_norm, c->rms_norm_eps);
        h = b->sparse ? moe(t, h, &(moe_layer){&b->moe, &c->moe, batch, l}, trace) : dense_mlp(t, h, &b->mlp);
        x = add(t, x, dropout(t, h, c->dropout, 2 * l + 2));
    }
    if (s) s->length += batch->n_tokens;
    return rmsnorm(t, x, parts->norm, c->rms_norm_eps);
}

/* Of attention: its norm, q, k and v, their norms and rotations, what it says before and after its matrix; of latent attention the narrow rows, as
 * they come, cut, normed and turned, and the keys and values made of them. */
static double kept_of_attention(const model_config *c) {
    const latent_attention *a = &c->latent;
    const double D = (double)c->hidden_size, H = (double)c->num_attention_heads, queries = H * (double)c->head_dim,
                 keys = (double)(c->num_key_value_heads * c->head_dim), narrow = (double)(a->key_rank + a->rotary_dim);
    if (a->key_rank > 0)
        return 2 * D + H + 2 * (double)a->query_rank + 3 * queries + 3 * narrow + H * (double)a->plain_dim + 2 * (double)model_value_width(c);
    return 2 * D + H + 3 * queries + 3 * keys + (c->qk_norm == QK_NORM_NONE ? 0 : queries + keys);
}

/* Beside attention: the second norm, both sums and the MLP's output; and what is left of the two outputs by dropout. */
static double transformer_kept(const model_config *c, int64_t layer) {
    double dense = model_layer_is_sparse(c, layer) ? 0 : 2 * (double)declared_dense_width(c);
    return (c->dropout > 0 ? 6 : 4) * (double)c->hidden_size + kept_of_attention(c) + dense;
}

const struct backbone transformer_backbone = {transformer_declare, transformer_parameters, transformer_declare_state, transformer_kept,
                                              transformer_forward};
