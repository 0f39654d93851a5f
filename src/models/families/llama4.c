/* The language model of Llama-4 (Meta 2025): one expert of the router's, weighed by a sigmoid before it reads, and a shared one; dense layers
 * between those with experts in Maverick; attention in chunks but in every fourth layer, which has no RoPE. Experts lie transposed, gates before ups.
 * Where the model also sees, its language model is a part of it. */
#include "models/families/family.h"
#include "moe/route.h"

#define AT(field) offsetof(model_config, field)
#define MLP "model.layers.{l}.feed_forward."

static const family_tensor tensors[] = {
    {.kind = "mlp.gate", .tensor = MLP "gate_proj.weight"},
    {.kind = "mlp.up", .tensor = MLP "up_proj.weight"},
    {.kind = "mlp.down", .tensor = MLP "down_proj.weight"},
    {.kind = "moe.router", .tensor = MLP "router.weight"},
    {.kind = "moe.gate", .tensor = MLP "experts.gate_up_proj", .part = 0, .parts = 2, .transposed = true},
    {.kind = "moe.up", .tensor = MLP "experts.gate_up_proj", .part = 1, .parts = 2, .transposed = true},
    {.kind = "moe.down", .tensor = MLP "experts.down_proj", .part = 0, .parts = 1, .transposed = true},
    {.kind = "shared.gate", .tensor = MLP "shared_expert.gate_proj.weight"},
    {.kind = "shared.up", .tensor = MLP "shared_expert.up_proj.weight"},
    {.kind = "shared.down", .tensor = MLP "shared_expert.down_proj.weight"},
};

static const family_key keys[] = {
    {"intermediate_size_mlp", OPTION_INTEGER, AT(dense_size), 1 << 22, false, NULL},
    {"interleave_moe_layer_step", OPTION_INTEGER, AT(sparse_step), 1 << 14, true, NULL},
};

const family family_llama4 = {
    .model_type = "llama4_text",
    .architecture = "Llama4ForCausalLM",
    .prefix = "language_model.",
    .qk_norm = QK_NORM_PLAIN,
    .norm_key = "use_qk_norm",
    .inner_key = "intermediate_size",
    .experts_key = "num_local_experts",
    .head_dim = 128,
    .rms_norm_eps = 1e-5,
    .rope_theta = 5e5,
    .rope_neighbours = true,
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
    .router = &router_sigmoid,
    .top_k = 1,
    .shared_experts = 1,
    .weigh_input = true,
    .unbiased = true,
    .windows = {.key = "attention_chunk_size", .chunked = true, .full_step = 4},
    .unrotated = {.step = 4, .scale = 0.1, .floor = 8192},
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
};
