/* The language model of Llama-4 (Meta 2025): one expert of the router's, weighed by a sigmoid before it reads, and a shared one; dense layers
 * between those with experts in Maverick; attention in chunks but in every fourth layer, which has no rotation. Our sigmoid router carries a
 * bias of E values that theirs lacks. */
#include "models/families/family.h"
#include "moe/route.h"

#define AT(field) offsetof(model_config, field)

static const family_key keys[] = {
    {"intermediate_size_mlp", OPTION_INTEGER, AT(dense_size), 1 << 22, false, NULL},
    {"interleave_moe_layer_step", OPTION_INTEGER, AT(sparse_step), 1 << 14, true, NULL},
};

const family family_llama4 = {
    .model_type = "llama4_text",
    .architecture = "Llama4ForCausalLM",
    .inner_key = "intermediate_size",
    .experts_key = "num_local_experts",
    .rms_norm_eps = 1e-5,
    .rope_theta = 5e5,
    .missing = "attention in chunks and layers without rotation",
    .router = &router_sigmoid,
    .shared_experts = 1,
    .weigh_input = true,
    .windows = {.key = "attention_chunk_size", .chunked = true, .full_step = 4},
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
