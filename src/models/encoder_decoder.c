/* The encoder and decoder of T5 (Raffel et al. 2020, arXiv:1910.10683) as Switch Transformers have them (Fedus et al. 2021, arXiv:2101.03961):
 * RMSNorm before each part of a block, attention without scale whose logits get a bias by distance (one table for each side, shared by its
 * layers), in the decoder also attention to what the encoder said, and an MLP or experts. Layers of the weights table are the encoder's,
 * then the decoder's. */
#include "base/error.h"
#include "base/memory.h"
#include "models/declare.h"

enum { DISTANCES = 32 /* buckets of relative positions, in all of T5 */ };

typedef struct {
    weight *norm, *query, *key, *value, *output;
} attention_weights;

typedef struct {
    attention_weights self, cross; /* cross: in the decoder */
    weight *mlp_norm;
    mlp_weights mlp; /* of a dense block */
    moe_weights moe; /* of a sparse one */
} t5_block;

typedef struct {
    weight *embedding, *encoder_norm, *norm;
    weight *encoder_distances, *distances; /* (DISTANCES, H) */
    t5_block blocks[];
} encoder_decoder;

static int declare_attention(attention_weights *w, model *m, const char *const kinds[5], int layer) {
    const model_config *c = &m->config;
    ptrdiff_t D = c->hidden_size, width = c->num_attention_heads * c->head_dim;
    TRY(declare_norm(&w->norm, m, kinds[0], layer, D));
    TRY(declare_matrix(&w->query, m, kinds[1], layer, width, D));
    TRY(declare_matrix(&w->key, m, kinds[2], layer, width, D));
    TRY(declare_matrix(&w->value, m, kinds[3], layer, width, D));
    return declare_output(&w->output, m, kinds[4], layer, D, width);
}

static int declare_block(t5_block *b, model *m, int layer) {
    static const char *const self[] = {"attention.norm", "attention.query", "attention.key", "attention.value", "attention.output"};
    static const char *const cross[] = {"cross.norm", "cross.query", "cross.key", "cross.value", "cross.output"};
    const model_config *c = &m->config;
    TRY(declare_attention(&b->self, m, self, layer));
    if (layer >= c->encoder_layers) TRY(declare_attention(&b->cross, m, cross, layer));
    TRY(declare_norm(&b->mlp_norm, m, "mlp.norm", layer, c->hidden_size));
    return model_layer_is_sparse(c, layer) ? declare_experts(&b->moe, m, layer) : declare_dense_mlp(&b->mlp, m, layer, !c->moe.relu);
}

static int encoder_decoder_declare(model *m) {
    const model_config *c = &m->config;
    int64_t blocks = c->encoder_layers + c->num_hidden_layers;
    TRY(memory_new(&m->parts, sizeof(encoder_decoder) + (size_t)blocks * sizeof(t5_block), 1, "the blocks of encoder and decoder"));
    encoder_decoder *parts = m->parts;
    TRY(declare_embedding(&parts->embedding, m, "embedding", c->vocab_size, c->hidden_size));
    TRY(declare_embedding(&parts->encoder_distances, m, "attention.encoder_distances", DISTANCES, c->num_attention_heads));
    TRY(declare_embedding(&parts->distances, m, "attention.distances", DISTANCES, c->num_attention_heads));
    for (int l = 0; l < blocks; l++) TRY(declare_block(&parts->blocks[l], m, l));
    TRY(declare_norm(&parts->encoder_norm, m, "encoder_norm", -1, c->hidden_size));
    TRY(declare_norm(&parts->norm, m, "norm", -1, c->hidden_size));
    return declare_head(m, parts->embedding);
}

static double encoder_decoder_parameters(const model_config *c) {
    const double D = (double)c->hidden_size, H = (double)c->num_attention_heads, attention = D * (4 * H * (double)c->head_dim + 1);
    double encoder = (double)c->encoder_layers, decoder = (double)c->num_hidden_layers, sparse_layers = declared_sparse_layers(c);
    double dense = (c->moe.relu ? 2 : 3) * D * (double)declared_dense_width(c);
    return (encoder + 2 * decoder) * attention + (encoder + decoder) * D + (encoder + decoder - sparse_layers) * dense +
           sparse_layers * declared_experts(c) + declared_tables(c) + 2 * D + 2 * DISTANCES * H;
}

const struct backbone encoder_decoder_backbone = {encoder_decoder_declare, encoder_decoder_parameters, NULL, NULL, NULL};
