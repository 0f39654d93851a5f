/* GPT-OSS (OpenAI 2025, arXiv:2508.10925): every product has a bias, a head may attend to nothing (sinks), and every other layer, the first
 * included, sees a window of tokens only. Experts hold the two factors of SwiGLU within bounds; their matrices lie transposed, gate and up taking
 * turns, or as the hub has them, in four bits. */
#include "models/families/family.h"

#define EXPERTS "model.layers.{l}.mlp.experts."

static const family_tensor tensors[] = {
    {.kind = "attention.sinks", .tensor = "model.layers.{l}.self_attn.sinks"},
    {.kind = "moe.router", .tensor = "model.layers.{l}.mlp.router.weight"},
    {.kind = "moe.router_logit_bias", .tensor = "model.layers.{l}.mlp.router.bias"},
    {.kind = "moe.gate", .tensor = EXPERTS "gate_up_proj", .part = 0, .parts = 2, .turns = true, .transposed = true},
    {.kind = "moe.gate", .tensor = EXPERTS "gate_up_proj", .part = 0, .parts = 2, .turns = true, .blocks = true},
    {.kind = "moe.up", .tensor = EXPERTS "gate_up_proj", .part = 1, .parts = 2, .turns = true, .transposed = true},
    {.kind = "moe.up", .tensor = EXPERTS "gate_up_proj", .part = 1, .parts = 2, .turns = true, .blocks = true},
    {.kind = "moe.down", .tensor = EXPERTS "down_proj", .part = 0, .parts = 1, .transposed = true},
    {.kind = "moe.down", .tensor = EXPERTS "down_proj", .part = 0, .parts = 1, .blocks = true},
    {.kind = "moe.gate_bias", .tensor = EXPERTS "gate_up_proj_bias", .part = 0, .parts = 2, .turns = true},
    {.kind = "moe.up_bias", .tensor = EXPERTS "gate_up_proj_bias", .part = 1, .parts = 2, .turns = true},
    {.kind = "moe.down_bias", .tensor = EXPERTS "down_proj_bias", .part = 0, .parts = 1},
};

static const family_key keys[] = {
    {"swiglu_limit", OPTION_NUMBER, offsetof(model_config, moe.swiglu_limit), 1e6, true, NULL},
    {"swiglu_alpha", OPTION_NUMBER, offsetof(model_config, moe.swiglu_alpha), 1e6, true, NULL},
};

/* transformers takes this where config.json says nothing. */
static const rope_scaling rope = {
    .kind = "yarn", .factor = 32, .original = 4096, .low_frequency = 1, .high_frequency = 4, .beta_fast = 32, .beta_slow = 1};

const family family_gpt_oss = {
    .model_type = "gpt_oss",
    .architecture = "GptOssForCausalLM",
    .inner_key = "intermediate_size",
    .experts_key = "num_local_experts",
    .always_normalizes = true,
    .head_dim = 64,
    .rms_norm_eps = 1e-5,
    .rope_theta = 150000,
    .rope = &rope,
    .biases = true,
    .swiglu = {.limit = 7, .alpha = 1.702},
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
    .biased = true,
    .attention_sinks = true,
    .windows = {.key = "sliding_window", .full_step = 2},
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
};
