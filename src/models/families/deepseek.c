/* DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437): latent attention, first layers without experts, shared experts beside narrow ones,
 * and groups of experts of which a token uses the best. V3 scores by sigmoids and keeps loads even by a bias. */
#include "models/families/family.h"
#include "moe/route.h"

#define AT(field) offsetof(model_config, field)
#define ATTENTION "model.layers.{l}.self_attn."
#define SHARED "model.layers.{l}.mlp.shared_experts."

static const family_tensor tensors[] = {
    {.kind = "attention.query_down", .tensor = ATTENTION "q_a_proj.weight"},
    {.kind = "attention.query_down_norm", .tensor = ATTENTION "q_a_layernorm.weight"},
    {.kind = "attention.query_up", .tensor = ATTENTION "q_b_proj.weight"},
    {.kind = "attention.key_down", .tensor = ATTENTION "kv_a_proj_with_mqa.weight"},
    {.kind = "attention.key_down_norm", .tensor = ATTENTION "kv_a_layernorm.weight"},
    {.kind = "attention.key_value", .tensor = ATTENTION "kv_b_proj.weight"},
    {.kind = "shared.gate", .tensor = SHARED "gate_proj.weight"},
    {.kind = "shared.up", .tensor = SHARED "up_proj.weight"},
    {.kind = "shared.down", .tensor = SHARED "down_proj.weight"},
};

static const family_key keys[] = {
    {"intermediate_size", OPTION_INTEGER, AT(dense_size), 1 << 22, false, NULL},
    {"first_k_dense_replace", OPTION_INTEGER, AT(dense_layers), 1 << 14, false, NULL},
    {"n_shared_experts", OPTION_INTEGER, AT(moe.shared_experts), 1 << 10, false, NULL},
    {"n_group", OPTION_INTEGER, AT(moe.groups), 1 << 20, true, "1"},
    {"topk_group", OPTION_INTEGER, AT(moe.top_groups), 1 << 20, true, "1"},
    {"routed_scaling_factor", OPTION_NUMBER, AT(moe.scale), 1e6, false, NULL},
    {"q_lora_rank", OPTION_INTEGER, AT(latent.query_rank), 1 << 20, true, "null"},
    {"kv_lora_rank", OPTION_INTEGER, AT(latent.key_rank), 1 << 20, false, NULL},
    {"qk_nope_head_dim", OPTION_INTEGER, AT(latent.plain_dim), 1 << 13, false, NULL},
    {"qk_rope_head_dim", OPTION_INTEGER, AT(latent.rotary_dim), 1 << 13, false, NULL},
    {"v_head_dim", OPTION_INTEGER, AT(latent.value_dim), 1 << 14, false, NULL},
};

const family family_deepseek_v2 = {
    .model_type = "deepseek_v2",
    .architecture = "DeepseekV2ForCausalLM",
    .inner_key = "moe_intermediate_size",
    .experts_key = "n_routed_experts",
    .never_normalizes = true,
    .choice = {.key = "topk_method", .grouped = "group_limited_greedy", .plain = "greedy"},
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .rope_neighbours = true,
    .latent = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
};

const family family_deepseek_v3 = {
    .model_type = "deepseek_v3",
    .architecture = "DeepseekV3ForCausalLM",
    .inner_key = "moe_intermediate_size",
    .experts_key = "n_routed_experts",
    .choice = {.key = "topk_method", .grouped = "noaux_tc", .plain = "noaux_tc"},
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .rope_neighbours = true,
    .neighbours_key = "rope_interleave",
    .router = &router_sigmoid,
    .latent = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
};
