/* Mixtral (Jiang et al. 2024, arXiv:2401.04088): softmax over the chosen experts only, which is softmax over all, scaled to sum to one. */
#include "models/families/family.h"

static const family_tensor tensors[] = {
    {.kind = "moe.router", .tensor = "model.layers.{l}.block_sparse_moe.gate.weight"},
    {.kind = "moe.router", .tensor = "model.layers.{l}.mlp.gate.weight"},
    {.kind = "moe.gate", .tensor = "model.layers.{l}.block_sparse_moe.experts.{e}.w1.weight"},
    {.kind = "moe.gate", .tensor = "model.layers.{l}.mlp.experts.gate_up_proj", .part = 0, .parts = 2},
    {.kind = "moe.up", .tensor = "model.layers.{l}.block_sparse_moe.experts.{e}.w3.weight"},
    {.kind = "moe.up", .tensor = "model.layers.{l}.mlp.experts.gate_up_proj", .part = 1, .parts = 2},
    {.kind = "moe.down", .tensor = "model.layers.{l}.block_sparse_moe.experts.{e}.w2.weight"},
    {.kind = "moe.down", .tensor = "model.layers.{l}.mlp.experts.down_proj", .part = 0, .parts = 1},
};

const family family_mixtral = {
    .model_type = "mixtral",
    .architecture = "MixtralForCausalLM",
    .inner_key = "intermediate_size",
    .experts_key = "num_local_experts",
    .always_normalizes = true,
    .windows = {.key = "sliding_window"},
    .rms_norm_eps = 1e-5,
    .rope_theta = 1e6,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
};
