/* What weights are called in the files of a family. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "models/families/family.h"

enum { MXFP4_VALUES = 32 /* in a block */ };

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

static void place_alone(family_place *place, const weight *w) {
    *place = (family_place){.rank = 2, .shape = {w->out, w->in}, .row_step = w->in, .column_step = 1};
    if (weight_is_vector(w)) place->rank = 1, place->shape[0] = w->in;
}

/* Among `parts` times as many rows, whose own are one after the other or take turns. A vector's columns stand for rows. */
static void place_among(family_place *place, const family_tensor *row, const weight *w, ptrdiff_t group) {
    const bool vector = weight_is_vector(w);
    const int64_t rows = vector ? w->in : w->out, all = row->parts * rows, step = row->turns ? row->parts : 1, in = vector ? 1 : w->in,
                  first = group * all + (row->turns ? row->part : row->part * rows);
    *place = (family_place){.rank = 3, .shape = {w->groups, all, in}, .first = first * in, .row_step = step * in, .column_step = 1, .fused = true};
    if (vector) place->rank = 2, place->column_step = step, place->row_step = 0;
    if (row->transposed) {
        place->shape[1] = in, place->shape[2] = all;
        place->first = group * all * in + first % all, place->row_step = step, place->column_step = all;
    }
    if (row->blocks) place->rank = 4, place->shape[2] = in / MXFP4_VALUES, place->shape[3] = MXFP4_VALUES / 2;
}

bool family_place_named(family_place *place, const family_names *names, const weight *w, ptrdiff_t group, int nth) {
    const family_tensor *row = find_tensor(names, w->kind, nth);
    if (!row) return false;
    if (row->parts > 0) place_among(place, row, w, group);
    else place_alone(place, w);
    expand(place->name, row->tensor, w->layer, group);
    if (!row->blocks) return true;
    strcpy(place->scales, place->name);
    strcat(place->scales, "_scales"), strcat(place->name, "_blocks");
    return true;
}

/* Each name with the prefix comes after all without one. */
static bool place_prefixed(family_place *place, const family_names *names, const char *prefix, const weight *w, ptrdiff_t group, int nth) {
    family_place plain;
    int n = 0;
    while (family_place_named(&plain, names, w, group, n)) n++;
    if (!family_place_named(&plain, names, w, group, nth - n)) return false;
    *place = plain;
    snprintf(place->name, sizeof place->name, "%s%.*s", prefix, (int)(sizeof place->name - strlen(prefix) - 1), plain.name);
    return true;
}

bool family_place_group(family_place *place, const family *f, const weight *w, ptrdiff_t group, int nth) {
    const family_names names = {f->tensors, usual_tensors, f->n_tensors, sizeof usual_tensors / sizeof *usual_tensors};
    bool found = family_place_named(place, &names, w, group, nth) || (f->prefix && place_prefixed(place, &names, f->prefix, w, group, nth));
    CHECK(found || nth > 0, "family %s has no name for weight %s", f->model_type, w->kind);
    return found;
}

int64_t family_place_size(const family_place *place) {
    int64_t size = 1;
    for (int i = 0; i < place->rank; i++) size *= place->shape[i];
    return size;
}
