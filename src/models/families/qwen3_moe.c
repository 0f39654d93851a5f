/* Qwen3-MoE: Qwen3 with a mixture in every layer. intermediate_size in its config.json is the width of dense layers, which we do not
 * run. */
#include "models/families/family.h"

const family family_qwen3_moe = {
    .model_type = "qwen3_moe",
    .architecture = "Qwen3MoeForCausalLM",
    .qk_norm = QK_NORM_HEAD,
    .inner_key = "moe_intermediate_size",
    .experts_key = "num_experts",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
};
