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
    const char *none; /* how 0 is written: null, or another number; NULL: as 0 */
} family_key;

/* How a family calls one kind of weight. {l} stands for the layer, {e} for the expert. A kind may have several names: transformers 5 holds all
 * experts of a layer in one tensor. */
typedef struct {
    const char *kind, *tensor;
    int64_t part, parts; /* of (E, parts * out, in), as gate is part 0 and up part 1 of 2; parts 0: each group is a tensor of its own */
    bool turns;          /* parts take turns, row by row, instead of following one another (GPT-OSS) */
    bool transposed;     /* (E, in, parts * out) */
    bool blocks;         /* in four bits (MXFP4): TENSOR_blocks (E, parts * out, in / 32, 16), and TENSOR_scales without the last dimension */
} family_tensor;

/* How config.json speaks of windows of attention. */
typedef struct {
    const char *key;    /* of their size; NULL: there are none */
    const char *flag;   /* which must be true for them to count; NULL: they always do */
    const char *layers; /* of how many layers see all before those with windows; NULL: all have them */
    bool layers_end;    /* instead: of how many have windows before those that see all */
    bool chunked;       /* as in model_config, and where config.json is silent */
    int64_t full_step;
} family_windows;

typedef struct {
    const char *model_type, *architecture;
    const char *prefix; /* of the tensors where the model is a part of another; NULL: it never is */
    qk_norm qk_norm;
    const char *norm_key;      /* which says whether there is one; NULL: there is, unless it is QK_NORM_NONE */
    const char *inner_key;     /* intermediate_size of the model_config, in config.json */
    const char *experts_key;   /* NULL: dense */
    const char *sparse_family; /* of a dense one: the family that is this one with experts */
    const char *dense_key;     /* inner width of layers without experts; NULL: all layers have experts */
    struct {
        const char *key, *grouped, *plain; /* which says that experts are chosen from groups, or from all; key NULL: neither is said */
    } choice;
    bool never_normalizes;    /* nor may norm_topk_prob say so */
    bool always_normalizes;   /* the chosen probabilities sum to one, whatever norm_topk_prob says */
    bool head_dim_is_derived; /* hidden_size / num_attention_heads and nothing else */
    int64_t head_dim;         /* where config.json is silent; 0: hidden_size / num_attention_heads */
    double rms_norm_eps, rope_theta;
    const rope_scaling *rope; /* where config.json is silent; NULL: as usual */
    bool rope_neighbours;
    const char *neighbours_key;                      /* which says whether they turn; NULL: always as above */
    const struct backbone *backbone;                 /* NULL: the transformer */
    const char *missing;                             /* what we do not compute yet; NULL: it runs */
    const struct router *router;                     /* NULL: softmax */
    int64_t top_k, shared_experts;                   /* where config.json is silent */
    int64_t context;                                 /* the same of max_position_embeddings; 0: it must be there */
    bool shared_gate, weigh_input, biases, unbiased; /* as in moe_config */
    struct {
        double limit, alpha; /* of experts with bounds, where config.json is silent; limit 0: they have none */
    } swiglu;
    attention_bias attention_bias;           /* where there is one */
    const char *bias_key;                    /* which says whether there is; NULL: there is, unless it is BIAS_NONE */
    bool biased;                             /* where config.json is silent */
    bool attention_sinks, latent, recurrent; /* latent: it has that attention; recurrent: none, and with a single expert it is dense */
    family_windows windows;
    unrotated_layers unrotated; /* where config.json is silent; step 0: all layers have RoPE */
    const family_key *keys;     /* that only this family has, or calls otherwise */
    int n_keys;
    const family_tensor *tensors; /* where the names differ from those in family.c */
    int n_tensors;
} family;

extern const family family_llama, family_mixtral, family_olmoe, family_qwen3, family_qwen3_moe, family_qwen2, family_qwen2_moe, family_deepseek_v2,
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
int family_write_config(const model_config *config, buffer *out); /* the text of a config.json that transformers 4 and 5 load, of a model in f32 */
int family_write_config_as(const model_config *config, stored_type type, buffer *out); /* in f16 or bf16 */

/* The keys that all families have, but those whose field a family's own keys name, and where there is no attention, its own. NULL: the family's
 * inner_key. */
enum { FAMILY_USUAL_KEYS = 12 };
extern const family_key family_usual_keys[FAMILY_USUAL_KEYS];
bool family_takes_usual(const family *f, const family_key *k);
bool family_has_field(const family *f, size_t offset); /* one of its own keys is for this field */

/* What a config.json says of a family that says nothing. */
model_config family_defaults(const family *f);

/* Where a group of a weight lies: the tensor's shape, and value (o, i) of the group at first + o row_step + i column_step. nth: of the names it may
 * have, 0 being the one we write; false: there are no more. */
enum { TENSOR_NAME_BYTES = 128, PLACE_RANK = 4 };
typedef struct {
    char name[TENSOR_NAME_BYTES];
    int rank;
    int64_t shape[PLACE_RANK];
    int64_t first, row_step, column_step;
    bool fused;                     /* other groups, and perhaps other weights, lie in it too */
    char scales[TENSOR_NAME_BYTES]; /* of MXFP4, where the steps count values; else empty */
} family_place;

bool family_place_group(family_place *place, const family *f, const weight *w, ptrdiff_t group, int nth);
int64_t family_place_size(const family_place *place); /* how many values the tensor holds */

/* The same in any table of names: own ones, which take the place of the usual ones of their kind. */
typedef struct {
    const family_tensor *own, *usual;
    int n_own, n_usual;
} family_names;
bool family_place_named(family_place *place, const family_names *names, const weight *w, ptrdiff_t group, int nth);

#endif
