/* DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437): latent attention, first layers without experts, shared experts beside narrow ones,
 * and groups of experts of which a token uses the best. V3 scores by sigmoids and keeps loads even by a bias. */
#include "models/families/family.h"
#include "moe/route.h"

#define AT(field) offsetof(model_config, field)

static const family_key keys[] = {
    {"intermediate_size", OPTION_INTEGER, AT(dense_size), 1 << 22, false, NULL},
    {"first_k_dense_replace", OPTION_INTEGER, AT(dense_layers), 1 << 14, false, NULL},
    {"moe_layer_freq", OPTION_INTEGER, AT(sparse_step), 1, true, NULL},
    {"n_shared_experts", OPTION_INTEGER, AT(moe.shared_experts), 1 << 10, true, NULL},
    {"n_group", OPTION_INTEGER, AT(moe.groups), 1 << 20, true, NULL},
    {"topk_group", OPTION_INTEGER, AT(moe.top_groups), 1 << 20, true, NULL},
    {"routed_scaling_factor", OPTION_NUMBER, AT(moe.scale), 1e6, true, NULL},
    {"q_lora_rank", OPTION_INTEGER, AT(latent.query_rank), 1 << 20, true, NULL},
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
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .missing = "latent attention",
    .latent = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};

const family family_deepseek_v3 = {
    .model_type = "deepseek_v3",
    .architecture = "DeepseekV3ForCausalLM",
    .inner_key = "moe_intermediate_size",
    .experts_key = "n_routed_experts",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .missing = "latent attention",
    .router = &router_sigmoid,
    .latent = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
