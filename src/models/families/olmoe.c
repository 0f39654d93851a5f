/* OLMoE (Muennighoff et al. 2024, arXiv:2409.02060): queries and keys are normalised over the whole projection; the chosen probabilities
 * are used as they are. */
#include "models/families/family.h"

static const family_key keys[] = {
    {"clip_qkv", OPTION_NUMBER, offsetof(model_config, clip_qkv), 1e9, true, "null"},
};

const family family_olmoe = {
    .model_type = "olmoe",
    .architecture = "OlmoeForCausalLM",
    .qk_norm = QK_NORM_FULL,
    .inner_key = "intermediate_size",
    .experts_key = "num_experts",
    .head_dim_is_derived = true,
    .rms_norm_eps = 1e-5,
    .rope_theta = 1e4,
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
