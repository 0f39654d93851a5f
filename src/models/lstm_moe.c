/* The language model of 2017 (Shazeer et al., arXiv:1701.06538, appendix C): embedding, LSTM, experts, LSTM, softmax. A layer is an LSTM,
 * or experts in its place where the config makes it sparse; each is added to what it read, as
 *
 *     x += dropout(lstm(x))        x += dropout(sigmoid(experts(x)))
 *
 * The experts see all tokens of all time steps at once. With a single expert the same places hold an MLP without a router, wide or of several
 * ReLU layers (mlp_depth), as in the models that the paper compares with. */
#include "base/error.h"
#include "base/memory.h"
#include "models/declare.h"
#include "ops/ops.h"

typedef struct {
    lstm_weights lstm; /* or, in its place: */
    mlp_weights mlp;
    weight *middle[MOST_MLP_DEPTH - 1]; /* (F, F), of an MLP between its two others */
    moe_weights moe;
} lstm_layer;

typedef struct {
    weight *embedding;
    lstm_layer layers[];
} lstm_moe;

/* Which of the three a layer is. */
typedef enum { LAYER_LSTM, LAYER_MLP, LAYER_EXPERTS } layer_kind;

static layer_kind kind_of(const model_config *c, int64_t layer) {
    if (model_layer_is_sparse(c, layer)) return LAYER_EXPERTS;
    bool place_of_experts = c->sparse_step > 1 && layer >= c->dense_layers && (layer + 1) % c->sparse_step == 0;
    return place_of_experts ? LAYER_MLP : LAYER_LSTM;
}

static int64_t layers_of(const model_config *c, layer_kind kind) {
    int64_t n = 0;
    for (int64_t l = 0; l < c->num_hidden_layers; l++) n += kind_of(c, l) == kind;
    return n;
}

static int declare_lstm(lstm_weights *w, model *m, int layer) {
    const ptrdiff_t D = m->config.hidden_size, U = m->config.dense_size;
    TRY(declare_matrix(&w->input, m, "lstm.input", layer, LSTM_GATES * U, D));
    TRY(declare_matrix(&w->recurrent, m, "lstm.recurrent", layer, LSTM_GATES * U, D));
    TRY(declare_bias(&w->bias, m, "lstm.bias", layer, 1, LSTM_GATES * U));
    return U == D ? LAMP_OK : declare_matrix(&w->projection, m, "lstm.projection", layer, D, U);
}

static int declare_mlp(lstm_layer *l, model *m, int layer) {
    static const char *const kinds[MOST_MLP_DEPTH - 1] = {"mlp.middle.1", "mlp.middle.2", "mlp.middle.3"};
    const ptrdiff_t F = m->config.intermediate_size;
    TRY(declare_dense_mlp(&l->mlp, m, layer, !m->config.moe.relu));
    for (int i = 0; i + 1 < m->config.mlp_depth; i++) TRY(declare_matrix(&l->middle[i], m, kinds[i], layer, F, F));
    return LAMP_OK;
}

static int declare_layer(lstm_layer *l, model *m, int layer) {
    switch (kind_of(&m->config, layer)) {
    case LAYER_LSTM: return declare_lstm(&l->lstm, m, layer);
    case LAYER_MLP: return declare_mlp(l, m, layer);
    default: return declare_experts(&l->moe, m, layer);
    }
}

static int lstm_moe_declare(model *m) {
    const model_config *c = &m->config;
    TRY(memory_new(&m->parts, sizeof(lstm_moe) + (size_t)c->num_hidden_layers * sizeof(lstm_layer), 1, "the layers of an LSTM"));
    lstm_moe *parts = m->parts;
    TRY(declare_embedding(&parts->embedding, m, "embedding", c->vocab_size, c->hidden_size));
    for (int l = 0; l < c->num_hidden_layers; l++) TRY(declare_layer(&parts->layers[l], m, l));
    return declare_head(m, parts->embedding);
}

static double lstm_moe_parameters(const model_config *c) {
    const double D = (double)c->hidden_size, U = (double)c->dense_size, F = (double)c->intermediate_size;
    const double lstm = LSTM_GATES * U * (2 * D + 1) + (U == D ? 0 : U * D);
    const double mlp = (c->moe.relu ? 2 : 3) * D * F + (c->mlp_depth > 1 ? (double)(c->mlp_depth - 1) * F * F : 0);
    return (double)layers_of(c, LAYER_LSTM) * lstm + (double)layers_of(c, LAYER_MLP) * mlp +
           (double)layers_of(c, LAYER_EXPERTS) * declared_experts(c) + declared_tables(c);
}

static void lstm_moe_declare_state(state *s, const model *m) {
    const model_config *c = &m->config;
    for (int l = 0; l < s->layers; l++) {
        if (kind_of(c, l) != LAYER_LSTM) continue;
        state_declare(s, l, STATE_HIDDEN, c->hidden_size), state_declare(s, l, STATE_CELL, c->dense_size);
    }
}

static tensor *run_lstm(tape *t, tensor *x, const lstm_weights *w, const token_batch *batch, state *s, int layer) {
    return lstm(t, x, w, batch, s ? state_of(s, layer, STATE_HIDDEN) : NULL, s ? state_of(s, layer, STATE_CELL) : NULL);
}

static tensor *run_mlp(tape *t, tensor *x, const lstm_layer *l, const model_config *c) {
    if (c->mlp_depth <= 1) return dense_mlp(t, x, &l->mlp);
    tensor *h = relu(t, linear(t, x, l->mlp.up));
    for (int i = 0; i + 1 < c->mlp_depth; i++) h = relu(t, linear(t, h, l->middle[i]));
    return linear(t, h, l->mlp.down);
}

static tensor *lstm_moe_forward(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace) {
    const model_config *c = &m->config;
    const lstm_moe *parts = m->parts;
    tensor *x = embedding(t, parts->embedding, batch->token, batch->n_tokens), *h;
    x = dropout(t, x, c->dropout, 0);
    for (int l = 0; l < c->num_hidden_layers; l++) {
        const lstm_layer *layer = &parts->layers[l];
        switch (kind_of(c, l)) {
        case LAYER_LSTM: h = run_lstm(t, x, &layer->lstm, batch, s, l); break;
        case LAYER_MLP: h = sigmoid(t, run_mlp(t, x, layer, c)); break;
        default: h = sigmoid(t, moe(t, x, &(moe_layer){&layer->moe, &c->moe, batch, l}, trace));
        }
        x = add(t, x, dropout(t, h, c->dropout, l + 1));
    }
    if (s) s->length += batch->n_tokens;
    return x;
}

/* Of an LSTM what it keeps of a token is its gates, c, h and what it says (and that before its projection); of all three the sum that follows. */
static double lstm_moe_kept(const model_config *c, int64_t layer) {
    const double D = (double)c->hidden_size, U = (double)c->dense_size, sum = c->dropout > 0 ? 2 * D : D;
    switch (kind_of(c, layer)) {
    case LAYER_LSTM: return (LSTM_GATES + 1) * U + 2 * D + (U == D ? 0 : U) + sum;
    case LAYER_MLP: return 2 * D + (double)((c->mlp_depth > 1 ? 2 * c->mlp_depth : c->moe.relu ? 1 : 2) * c->intermediate_size) + sum;
    default: return 2 * D + sum;
    }
}

const struct backbone lstm_moe_backbone = {lstm_moe_declare, lstm_moe_parameters, lstm_moe_declare_state, lstm_moe_kept, lstm_moe_forward};
