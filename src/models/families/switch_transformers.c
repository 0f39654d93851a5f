/* Switch Transformers (Fedus et al. 2021, arXiv:2101.03961): T5 with experts in place of every decoder_sparse_step-th MLP of both sides, of which
 * a token takes one. */
#include "models/families/family.h"
#include "models/model.h"
#include "moe/route.h"

#define AT(field) offsetof(model_config, field)

static const family_key keys[] = {
    {"d_model", OPTION_INTEGER, AT(hidden_size), 0, false, NULL},
    {"num_heads", OPTION_INTEGER, AT(num_attention_heads), 0, false, NULL},
    {"d_kv", OPTION_INTEGER, AT(head_dim), 0, false, NULL},
    {"num_layers", OPTION_INTEGER, AT(encoder_layers), 1 << 14, false, NULL},
    {"num_decoder_layers", OPTION_INTEGER, AT(num_hidden_layers), 0, false, NULL},
    {"n_positions", OPTION_INTEGER, AT(max_position_embeddings), 0, true, NULL},
    {"layer_norm_epsilon", OPTION_NUMBER, AT(rms_norm_eps), 0, true, NULL},
};

const family family_switch = {
    .model_type = "switch_transformers",
    .architecture = "SwitchTransformersForConditionalGeneration",
    .inner_key = "d_ff",
    .experts_key = "num_experts",
    .dense_key = "d_ff",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4, /* which nobody asks for */
    .backbone = &encoder_decoder_backbone,
    .missing = "an encoder with a decoder",
    .router = &router_switch,
    .top_k = 1,
    .context = 512,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
