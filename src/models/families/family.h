/* The family table. A Hugging Face family is data: its name, how it differs from Llama, how config.json calls its sizes, and patterns of
 * tensor names. What the table cannot say we do not run, and family_read_config says so; what it can say and we do not compute yet is
 * declared, counted and priced, and refused by family_check_runs.
 *
 * To add a family: a file with one constant like olmoe.c, its line below, its address in families[] of family.c, and a golden model. */
#ifndef FAMILY_H
#define FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/options.h"
#include "models/model_config.h"
#include "tensor/weights.h"

/* How a family calls a field of the model_config in config.json. */
typedef struct {
    const char *key;
    option_type type;
    size_t offset; /* of an int64_t, a double or a bool */
    double max;    /* numbers: from 0 to this */
    bool optional;
} family_key;

/* How a family calls one kind of weight. {l} stands for the layer, {e} for the expert. */
typedef struct {
    const char *kind, *tensor;
    const char *fused;     /* transformers 5 in memory: all experts in one tensor, (E, parts * out, in); NULL if there is no such form */
    int64_t part, parts;   /* gate is part 0 and up part 1 of 2; parts 0: another name for the tensor as it is */
} family_tensor;

typedef struct {
    const char *model_type, *architecture;
    qk_norm qk_norm;
    const char *inner_key;    /* intermediate_size of the model_config, in config.json */
    const char *experts_key;  /* NULL: dense */
    const char *sparse_family; /* of a dense one: the family that is this one with experts */
    const char *dense_key;    /* inner width of layers without experts; NULL: all layers have experts */
    bool always_normalizes;   /* the chosen probabilities sum to one, whatever norm_topk_prob says */
    bool head_dim_is_derived; /* hidden_size / num_attention_heads and nothing else */
    int64_t head_dim;         /* where config.json is silent; 0: hidden_size / num_attention_heads */
    double rms_norm_eps, rope_theta;
    const struct backbone *backbone; /* NULL: the transformer */
    const char *missing;             /* what we do not compute yet; NULL: it runs */
    const struct router *router;     /* NULL: softmax */
    int64_t top_k, shared_experts;   /* where config.json is silent */
    int64_t context;                 /* the same of max_position_embeddings; 0: it must be there */
    bool shared_gate, weigh_input, biases; /* as in moe_config */
    attention_bias attention_bias;
    bool attention_sinks, latent, recurrent; /* latent: it has that attention; recurrent: it has none */
    int64_t full_step;                       /* as in model_config, as are those before */
    const family_key *keys; /* that only this family has, or calls otherwise */
    int n_keys;
    const family_tensor *tensors; /* where the names differ from those in family.c */
    int n_tensors;
} family;

extern const family family_llama, family_mixtral, family_olmoe, family_qwen3, family_qwen3_moe, family_qwen2_moe, family_deepseek_v2,
    family_deepseek_v3, family_gpt_oss, family_llama4, family_switch, family_lstm_moe;

/* LAMP_UNSUPPORTED with the nearest name and all others. where names the source of the word. */
int family_find(const family **f, const char *model_type, const char *where);

/* Fills what may be left open (head_dim 0, qk_norm, the router), then checks every size and that they go together. */
int family_complete(model_config *config, const char *where);

/* LAMP_UNSUPPORTED, with what is missing, for a family that can only be priced. */
int family_check_runs(const model_config *config, const char *where);

/* Of a completed config, without a router's smaller parts; a double, so that absurd sizes do not overflow. */
double family_parameter_count(const model_config *config);

int family_read_config(model_config *config, const char *path);
int family_write_config(const model_config *config, buffer *out); /* the text of a config.json that transformers 4 and 5 load */

/* Where a group of a weight lies: shape of the tensor, and its first value in it. */
enum { TENSOR_NAME_BYTES = 128 };
typedef struct {
    char name[TENSOR_NAME_BYTES];
    int rank;
    int64_t shape[3];
    int64_t first;
} family_place;

void family_place_group(family_place *place, const family *f, const weight *w, ptrdiff_t group);
bool family_place_fused(family_place *place, const family *f, const weight *w, ptrdiff_t group); /* false: there is no such form */

#endif
