/* What a model is: its sizes under their Hugging Face names (they are also the recipe's keys and config.json's, through the family). */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"

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
    int64_t experts, top_k;   /* experts 1: a dense model without a router */
    bool normalize;           /* the K chosen probabilities are scaled to sum to one */
    double switch_loss;       /* coefficient of the balance loss, kept in config.json as router_aux_loss_coef */
    qk_norm qk_norm;          /* set by the family */
    int64_t end_of_text;      /* token id, or -1 */
} model_config;

#endif
