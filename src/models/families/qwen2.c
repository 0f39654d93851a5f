/* Qwen2 (Yang et al. 2024, arXiv:2407.10671): Llama with biases of queries, keys and values. */
#include "models/families/family.h"

const family family_qwen2 = {
    .model_type = "qwen2",
    .architecture = "Qwen2ForCausalLM",
    .inner_key = "intermediate_size",
    .sparse_family = "qwen2_moe",
    .windows = {.key = "sliding_window", .flag = "use_sliding_window", .layers = "max_window_layers"},
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .attention_bias = BIAS_QUERY_KEY_VALUE,
};
