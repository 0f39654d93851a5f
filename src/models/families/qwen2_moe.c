/* Qwen2-MoE (Qwen team 2024): Qwen2 with experts, and beside the router's a gated one that every token takes; dense layers as in Qwen3-MoE. */
#include "models/families/family.h"

static const family_key keys[] = {
    {"shared_expert_intermediate_size", OPTION_INTEGER, offsetof(model_config, moe.shared_size), 1 << 22, false, NULL},
};

const family family_qwen2_moe = {
    .model_type = "qwen2_moe",
    .architecture = "Qwen2MoeForCausalLM",
    .inner_key = "moe_intermediate_size",
    .experts_key = "num_experts",
    .dense_key = "intermediate_size",
    .windows = {.key = "sliding_window", .flag = "use_sliding_window", .layers = "max_window_layers", .layers_end = true, .full_step = 2},
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .shared_experts = 1,
    .shared_gate = true,
    .attention_bias = BIAS_QUERY_KEY_VALUE,
    .bias_key = "qkv_bias",
    .biased = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
