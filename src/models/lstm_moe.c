/* The language model of 2017 (Shazeer et al., arXiv:1701.06538, appendix C): embedding, LSTM, experts, LSTM, softmax. A layer is an LSTM,
 * or experts in its place where the config makes it sparse; each is followed by dropout and added to what it read, as
 *
 *     x += dropout(lstm(x))        x += dropout(sigmoid(experts(x)))
 *
 * An LSTM of U units (dense_size) reads x and the h it said before, both of width D. Its gates are fused, in the order i f g o:
 *
 *     a = x W_x^T + h W_h^T + b,   c = sigmoid(f) c + sigmoid(i) tanh(g),   h = sigmoid(o) tanh(c)   (projected to D, if U is another width) */
#include "base/error.h"
#include "base/memory.h"
#include "models/declare.h"

typedef struct {
    weight *input, *recurrent; /* (4U, D) */
    weight *bias;              /* (4U) */
    weight *projection;        /* (D, U), or NULL where U = D */
    moe_weights moe;           /* of a sparse layer, which has nothing else */
} lstm_layer;

typedef struct {
    weight *embedding;
    lstm_layer layers[];
} lstm_moe;

static int declare_lstm(lstm_layer *l, model *m, int layer) {
    ptrdiff_t D = m->config.hidden_size, U = declared_dense_width(&m->config);
    TRY(declare_matrix(&l->input, m, "lstm.input", layer, 4 * U, D));
    TRY(declare_matrix(&l->recurrent, m, "lstm.recurrent", layer, 4 * U, D));
    TRY(declare_bias(&l->bias, m, "lstm.bias", layer, 1, 4 * U));
    return U == D ? LAMP_OK : declare_matrix(&l->projection, m, "lstm.projection", layer, D, U);
}

static int lstm_moe_declare(model *m) {
    const model_config *c = &m->config;
    TRY(memory_new(&m->parts, sizeof(lstm_moe) + (size_t)c->num_hidden_layers * sizeof(lstm_layer), 1, "the layers of an LSTM"));
    lstm_moe *parts = m->parts;
    TRY(declare_embedding(&parts->embedding, m, "embedding", c->vocab_size, c->hidden_size));
    for (int l = 0; l < c->num_hidden_layers; l++)
        TRY(model_layer_is_sparse(c, l) ? declare_experts(&parts->layers[l].moe, m, l) : declare_lstm(&parts->layers[l], m, l));
    return declare_head(m, parts->embedding);
}

static double lstm_moe_parameters(const model_config *c) {
    const double D = (double)c->hidden_size, U = (double)declared_dense_width(c), sparse_layers = declared_sparse_layers(c);
    double lstm = 4 * U * (2 * D + 1) + (U == D ? 0 : U * D);
    return ((double)c->num_hidden_layers - sparse_layers) * lstm + sparse_layers * declared_experts(c) + declared_tables(c);
}

const struct backbone lstm_moe_backbone = {lstm_moe_declare, lstm_moe_parameters, NULL, NULL};
