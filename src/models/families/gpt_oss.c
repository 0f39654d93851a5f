/* GPT-OSS (OpenAI 2025, arXiv:2508.10925): every product has a bias, a head may attend to nothing (sinks), and every other layer, the first
 * included, sees a window of tokens only. */
#include "models/families/family.h"

static const family_key keys[] = {
    {"sliding_window", OPTION_INTEGER, offsetof(model_config, window), 1 << 30, true, NULL},
};

const family family_gpt_oss = {
    .model_type = "gpt_oss",
    .architecture = "GptOssForCausalLM",
    .inner_key = "intermediate_size",
    .experts_key = "num_local_experts",
    .always_normalizes = true,
    .head_dim = 64,
    .rms_norm_eps = 1e-5,
    .rope_theta = 150000,
    .missing = "sinks, windows and biases of attention, nor clamped experts with biases",
    .biases = true,
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
    .biased = true,
    .attention_sinks = true,
    .full_step = 2,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
