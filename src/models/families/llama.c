/* Llama: the dense decoder that the other families are described against. */
#include "models/families/family.h"

const family family_llama = {
    .model_type = "llama",
    .architecture = "LlamaForCausalLM",
    .qk_norm = QK_NORM_NONE,
    .inner_key = "intermediate_size",
    .sparse_family = "mixtral",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
};
