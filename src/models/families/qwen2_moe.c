/* Qwen2-MoE (Qwen team 2024): queries, keys and values have biases, and beside the router's experts a gated one that every token takes. */
#include "models/families/family.h"

static const family_key keys[] = {
    {"shared_expert_intermediate_size", OPTION_INTEGER, offsetof(model_config, moe.shared_size), 1 << 22, false},
};

const family family_qwen2_moe = {
    .model_type = "qwen2_moe",
    .architecture = "Qwen2MoeForCausalLM",
    .qk_norm = QK_NORM_NONE,
    .inner_key = "moe_intermediate_size",
    .experts_key = "num_experts",
    .dense_key = "intermediate_size",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .missing = "biases of attention",
    .shared_experts = 1,
    .shared_gate = true,
    .attention_bias = BIAS_QUERY_KEY_VALUE,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
