/* Qwen3-MoE: Qwen3 with a mixture in every layer, or in every decoder_sparse_step-th one outside mlp_only_layers; the others are dense, of
 * width intermediate_size. */
#include "models/families/family.h"

const family family_qwen3_moe = {
    .model_type = "qwen3_moe",
    .architecture = "Qwen3MoeForCausalLM",
    .qk_norm = QK_NORM_HEAD,
    .inner_key = "moe_intermediate_size",
    .experts_key = "num_experts",
    .dense_key = "intermediate_size",
    .windows = {.key = "sliding_window", .flag = "use_sliding_window"},
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
};
