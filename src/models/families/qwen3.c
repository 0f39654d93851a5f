/* Qwen3: Llama with queries and keys normalised per head, and a head width of its own. */
#include "models/families/family.h"

const family family_qwen3 = {
    .model_type = "qwen3",
    .architecture = "Qwen3ForCausalLM",
    .qk_norm = QK_NORM_HEAD,
    .inner_key = "intermediate_size",
    .sparse_family = "qwen3_moe",
    .head_dim = 128,
    .windows = {.key = "sliding_window", .flag = "use_sliding_window", .layers = "max_window_layers"},
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
};
