/* Llama: the dense decoder that the other families are described against. */
#include "models/families/family.h"

const family family_llama = {
    .model_type = "llama",
    .architecture = "LlamaForCausalLM",
    .inner_key = "intermediate_size",
    .sparse_family = "mixtral",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .attention_bias = BIAS_ALL,
    .bias_key = "attention_bias",
};
