/* What weights are called in the files of a family. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "models/families/family.h"

/* Unless a family calls them otherwise. Of several names of one kind the first is what we write. */
static const family_tensor usual_tensors[] = {
    {.kind = "embedding", .tensor = "model.embed_tokens.weight"},
    {.kind = "norm", .tensor = "model.norm.weight"},
    {.kind = "head", .tensor = "lm_head.weight"},
    {.kind = "attention.norm", .tensor = "model.layers.{l}.input_layernorm.weight"},
    {.kind = "attention.query", .tensor = "model.layers.{l}.self_attn.q_proj.weight"},
    {.kind = "attention.key", .tensor = "model.layers.{l}.self_attn.k_proj.weight"},
    {.kind = "attention.value", .tensor = "model.layers.{l}.self_attn.v_proj.weight"},
    {.kind = "attention.output", .tensor = "model.layers.{l}.self_attn.o_proj.weight"},
    {.kind = "attention.query_bias", .tensor = "model.layers.{l}.self_attn.q_proj.bias"},
    {.kind = "attention.key_bias", .tensor = "model.layers.{l}.self_attn.k_proj.bias"},
    {.kind = "attention.value_bias", .tensor = "model.layers.{l}.self_attn.v_proj.bias"},
    {.kind = "attention.output_bias", .tensor = "model.layers.{l}.self_attn.o_proj.bias"},
    {.kind = "attention.query_norm", .tensor = "model.layers.{l}.self_attn.q_norm.weight"},
    {.kind = "attention.key_norm", .tensor = "model.layers.{l}.self_attn.k_norm.weight"},
    {.kind = "mlp.norm", .tensor = "model.layers.{l}.post_attention_layernorm.weight"},
    {.kind = "mlp.gate", .tensor = "model.layers.{l}.mlp.gate_proj.weight"},
    {.kind = "mlp.up", .tensor = "model.layers.{l}.mlp.up_proj.weight"},
    {.kind = "mlp.down", .tensor = "model.layers.{l}.mlp.down_proj.weight"},
    {.kind = "moe.router", .tensor = "model.layers.{l}.mlp.gate.weight"},
    {.kind = "moe.router_noise", .tensor = "model.layers.{l}.mlp.gate.noise.weight"},
    {.kind = "moe.router_bias", .tensor = "model.layers.{l}.mlp.gate.e_score_correction_bias"},
    {.kind = "moe.router_threshold", .tensor = "model.layers.{l}.mlp.gate.threshold"},
    {.kind = "moe.group_router", .tensor = "model.layers.{l}.mlp.group_gate.weight"},
    {.kind = "moe.group_router_noise", .tensor = "model.layers.{l}.mlp.group_gate.noise.weight"},
    {.kind = "shared.gate", .tensor = "model.layers.{l}.mlp.shared_expert.gate_proj.weight"},
    {.kind = "shared.up", .tensor = "model.layers.{l}.mlp.shared_expert.up_proj.weight"},
    {.kind = "shared.down", .tensor = "model.layers.{l}.mlp.shared_expert.down_proj.weight"},
    {.kind = "shared.expert_gate", .tensor = "model.layers.{l}.mlp.shared_expert_gate.weight"},
    {.kind = "moe.gate", .tensor = "model.layers.{l}.mlp.experts.{e}.gate_proj.weight"},
    {.kind = "moe.gate", .tensor = "model.layers.{l}.mlp.experts.gate_up_proj", .part = 0, .parts = 2},
    {.kind = "moe.up", .tensor = "model.layers.{l}.mlp.experts.{e}.up_proj.weight"},
    {.kind = "moe.up", .tensor = "model.layers.{l}.mlp.experts.gate_up_proj", .part = 1, .parts = 2},
    {.kind = "moe.down", .tensor = "model.layers.{l}.mlp.experts.{e}.down_proj.weight"},
    {.kind = "moe.down", .tensor = "model.layers.{l}.mlp.experts.down_proj", .part = 0, .parts = 1},
};

static const family_tensor *find_kind(const family_tensor *rows, int n, const char *kind, int *nth) {
    for (int i = 0; i < n; i++)
        if (!strcmp(rows[i].kind, kind) && (*nth)-- == 0) return &rows[i];
    return NULL;
}

/* NULL: there are no more. */
static const family_tensor *find_tensor(const family_names *names, const char *kind, int nth) {
    int first = 0;
    if (find_kind(names->own, names->n_own, kind, &first)) return find_kind(names->own, names->n_own, kind, &nth);
    return find_kind(names->usual, names->n_usual, kind, &nth);
}

static void expand(char name[TENSOR_NAME_BYTES], const char *pattern, int layer, ptrdiff_t group) {
    size_t length = 0;
    while (*pattern && length < TENSOR_NAME_BYTES - 24) {
        if (*pattern != '{') {
            name[length++] = *pattern++;
            continue;
        }
        length += (size_t)sprintf(name + length, "%td", pattern[1] == 'l' ? (ptrdiff_t)layer : group);
        pattern += strlen("{l}");
    }
    name[length] = 0;
}

bool family_place_named(family_place *place, const family_names *names, const weight *w, ptrdiff_t group, int nth) {
    const family_tensor *row = find_tensor(names, w->kind, nth);
    if (!row) return false;
    if (row->parts > 0)
        *place =
            (family_place){.rank = 3, .shape = {w->groups, row->parts * w->out, w->in}, .first = (group * row->parts + row->part) * w->out * w->in};
    else if (weight_is_vector(w)) *place = (family_place){.rank = 1, .shape = {w->in}};
    else *place = (family_place){.rank = 2, .shape = {w->out, w->in}};
    expand(place->name, row->tensor, w->layer, group);
    return true;
}

bool family_place_group(family_place *place, const family *f, const weight *w, ptrdiff_t group, int nth) {
    const family_names names = {f->tensors, usual_tensors, f->n_tensors, sizeof usual_tensors / sizeof *usual_tensors};
    bool found = family_place_named(place, &names, w, group, nth);
    CHECK(found || nth > 0, "family %s has no name for weight %s", f->model_type, w->kind);
    return found;
}
