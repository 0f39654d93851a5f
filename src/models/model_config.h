/* What a model is: its sizes under their Hugging Face names (they are also the recipe's keys and config.json's, through the family). */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"
#include "moe/moe_config.h"

/* RMSNorm of queries and keys before RoPE: none; one weight per head channel (Qwen3); one over the whole projection (OLMoE). */
typedef enum { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_FULL } qk_norm;

typedef struct {
    char family[OPTION_TEXT_BYTES]; /* model_type of config.json: a row of the family table */
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers;
    int64_t num_attention_heads, num_key_value_heads, head_dim; /* head_dim 0 in a recipe: hidden_size / heads */
    int64_t max_position_embeddings;
    double rope_theta, rms_norm_eps;
    bool tie_word_embeddings;
    double initializer_range; /* 0 in a recipe: 1 / sqrt(fan-in) */
    moe_config moe;           /* the layer of experts; balance.switch is kept in config.json as router_aux_loss_coef */
    int64_t dense_layers;     /* the first ones, without experts (first_k_dense_replace) */
    int64_t sparse_step;      /* of the others, layer l has experts if l + 1 is a multiple of this (decoder_sparse_step) */
    int64_t dense_size;       /* inner width of dense layers in a model with experts; 0 in a recipe: as wide as the experts of a token */
    qk_norm qk_norm;          /* set by the family */
    int64_t end_of_text;      /* token id, or -1 */
} model_config;

static inline bool model_layer_is_sparse(const model_config *c, int64_t layer) {
    return c->moe.experts > 1 && layer >= c->dense_layers && (c->sparse_step <= 1 || (layer + 1) % c->sparse_step == 0);
}

#endif
