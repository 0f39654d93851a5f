/* What a model is: its sizes under their Hugging Face names (they are also the recipe's keys and config.json's, through the family). */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"
#include "moe/moe_config.h"

/* RMSNorm of queries and keys: none; before RoPE, with one weight per head channel (Qwen3) or one over the whole projection (OLMoE); after it, of
 * each head and without a weight, in the layers that have RoPE (Llama-4). */
typedef enum { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_FULL, QK_NORM_PLAIN } qk_norm;

/* Which projections of attention have a bias. */
typedef enum { BIAS_NONE, BIAS_QUERY_KEY_VALUE, BIAS_ALL } attention_bias;

/* Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): queries, and keys with values, are made from narrow rows of their own. */
typedef struct {
    int64_t query_rank;                       /* 0: queries are made from the full width */
    int64_t key_rank;                         /* of the row that keys and values share, which is what a cache holds; 0: plain attention */
    int64_t plain_dim, rotary_dim, value_dim; /* channels of a head: of queries and keys without and with a rotation, and of values */
} latent_attention;

/* Layers from .. until (0: the last) see a window of so many tokens; but layer l sees all if l + 1 is a multiple of full_step. */
typedef struct {
    int64_t size;        /* 0: all layers see all tokens */
    int64_t from, until; /* layers */
    int64_t full_step;   /* 0 in a recipe: as usual in the family; otherwise 0 means none */
    bool chunked;        /* set by the family: not the last tokens, but those of a chunk, which all begin at a multiple of `size` (Llama-4) */
} attention_window;

/* Layers without RoPE, in which queries may grow with their position instead (Nakanishi 2025, arXiv:2501.19399): by
 * scale log(1 + floor((position + 1) / floor)) + 1. */
typedef struct {
    int64_t step;  /* layer l has no RoPE if l + 1 is a multiple of this; 0 in a recipe: as usual in the family, otherwise: all have it */
    double scale;  /* 0: they do not grow; negative: as usual in the family */
    int64_t floor; /* tokens */
} unrotated_layers;

/* How RoPE reads longer texts than it was first trained on (models/rope.h). */
typedef struct {
    char kind[OPTION_TEXT_BYTES];         /* one of ROPE_KINDS; empty: default */
    double factor;                        /* so many times longer */
    int64_t original;                     /* llama3 and yarn: the first context; 0 in a recipe: max_position_embeddings */
    double low_frequency, high_frequency; /* llama3 */
    double beta_fast, beta_slow;          /* yarn */
    double attention_factor;              /* yarn: what queries and keys are multiplied with; 0: as it follows from the others */
    double mscale, mscale_all_dim;        /* yarn */
    bool truncate;                        /* yarn */
} rope_scaling;

enum { MOST_MLP_DEPTH = 4 };

typedef struct {
    const struct backbone *backbone; /* set by the family; NULL: the transformer */
    char family[OPTION_TEXT_BYTES];  /* model_type of config.json: a row of the family table */
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers;
    int64_t num_attention_heads, num_key_value_heads, head_dim; /* head_dim 0 in a recipe: hidden_size / heads */
    int64_t max_position_embeddings;
    double rope_theta, rms_norm_eps;
    rope_scaling rope;
    bool tie_word_embeddings;
    double initializer_range; /* 0 in a recipe: 1 / sqrt(fan-in) */
    double dropout;           /* while training, of the embedding and of what each layer adds */
    int64_t softmax_samples;  /* words that the softmax is over while training, beside the one that follows; 0: all */
    moe_config moe;           /* the layer of experts; balance.switch is kept in config.json as router_aux_loss_coef */
    int64_t dense_layers;     /* the first ones, without experts (first_k_dense_replace) */
    int64_t sparse_step;      /* of the others, layer l has experts if l + 1 is a multiple of this (decoder_sparse_step) */
    int64_t dense_size;       /* inner width of dense layers in a model with experts; 0 in a recipe: as wide as the experts of a token */
    int64_t mlp_depth;        /* ReLU layers of the one expert that an LSTM may have in the place of many; 0 is 1 */
    int64_t encoder_layers;   /* before the num_hidden_layers of the decoder; 0: there is no encoder */
    latent_attention latent;
    attention_window window;
    unrotated_layers unrotated;
    int64_t biased;      /* attention has biases: 1, 0, or -1: as usual in the family, which knows where they are */
    int64_t normed;      /* queries and keys have norms: the same */
    int64_t interleaved; /* RoPE turns neighbouring channels, not one of each half: the same */
    double clip_qkv;     /* queries, keys and values are held within -clip_qkv .. clip_qkv; 0: they are not */
    qk_norm qk_norm;     /* this and what follows is set by the family: */
    attention_bias attention_bias;
    bool attention_sinks; /* a logit per head that takes probability and gives nothing (GPT-OSS) */
    int64_t end_of_text;  /* token id, or -1 */
} model_config;

static inline bool model_layer_is_sparse(const model_config *c, int64_t layer) {
    return c->moe.experts > 1 && layer >= c->dense_layers && (c->sparse_step <= 1 || (layer + 1) % c->sparse_step == 0);
}

static inline bool model_layer_rotates(const model_config *c, int64_t layer) {
    return c->unrotated.step == 0 || (layer + 1) % c->unrotated.step != 0;
}

/* Tokens that attention of this layer sees; 0: all. */
static inline int64_t model_layer_window(const model_config *c, int64_t layer) {
    const attention_window *w = &c->window;
    bool has = layer >= w->from && (w->until == 0 || layer < w->until) && (w->full_step == 0 || (layer + 1) % w->full_step);
    return has ? w->size : 0;
}

/* Tokens that it sees at the end of a context. */
static inline int64_t model_layer_sees(const model_config *c, int64_t layer, int64_t context) {
    int64_t window = model_layer_window(c, layer);
    return window > 0 && window < context ? window : context;
}

/* Channels of all heads of the values. */
static inline int64_t model_value_width(const model_config *c) {
    return c->num_attention_heads * (c->latent.key_rank > 0 ? c->latent.value_dim : c->head_dim);
}

#endif
