#include "formats/gguf_model.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/problems.h"
#include "formats/gguf.h"
#include "formats/gguf_architecture.h"
#include "formats/gguf_blocks.h"
#include "formats/gguf_latent.h"
#include "formats/gguf_rope.h"
#include "formats/gguf_tokenizer.h"
#include "models/families/family.h"

struct gguf_model {
    gguf *file;
    const gguf_architecture *architecture;
    model_config config;
    bool *wanted;      /* (n_tensors): some weight lies in it */
    gguf_heads *heads; /* (num_hidden_layers) of latent attention; else NULL */
};

static int check_holds_parameters(const gguf_model *m) {
    double stored = 0, needed = family_parameter_count(&m->config);
    for (size_t i = 0; i < m->file->n_tensors; i++) stored += (double)m->file->tensor[i].size;
    if (needed > stored) FAIL(LAMP_MALFORMED, "%s: its settings describe %.0f parameters, but its tensors hold %.0f", m->file->path, needed, stored);
    return LAMP_OK;
}

int gguf_model_open(gguf_model **result, const char *path) {
    int status = LAMP_OK;
    gguf_model *m = NULL;
    TRY_TO(done, memory_new(&m, 1, sizeof *m, "an open model"));
    TRY_TO(done, gguf_open(&m->file, path));
    TRY_TO(done, gguf_architecture_of_file(&m->architecture, m->file));
    TRY_TO(done, gguf_read_config(&m->config, m->file, m->architecture));
    TRY_TO(done, family_check_runs(&m->config, path));
    TRY_TO(done, check_holds_parameters(m));
    TRY_TO(done, memory_new(&m->wanted, m->file->n_tensors, sizeof *m->wanted, "marks of tensors"));
    if (m->architecture->latent)
        TRY_TO(done, memory_new(&m->heads, (size_t)m->config.num_hidden_layers, sizeof *m->heads, "heads of latent attention"));
    *result = m;
done:
    if (status < 0) gguf_model_close(m);
    return status;
}

void gguf_model_close(gguf_model *m) {
    if (!m) return;
    gguf_close(m->file);
    memory_free(m->heads), memory_free(m->wanted);
    memory_free(m);
}

const model_config *gguf_model_config(const gguf_model *m) { return &m->config; }

int gguf_model_tokenizer(tokenizer **t, const gguf_model *m) { return gguf_read_tokenizer(t, m->file); }

/* ---- finding ----------------------------------------------------------------------------------------------------------------- */

/* STORED_TYPES: kernels know none like it. */
static stored_type type_of(const gguf_tensor *t) {
    stored_type type = STORED_REAL;
    while (type < STORED_TYPES && strcasecmp(stored_formats[type].name, t->type->name)) type++;
    return type;
}

static int check_tensor(const char *name, const int64_t dimension[GGUF_MAX_RANK], int rank, const gguf_tensor *found) {
    char expected[GGUF_SHAPE_BYTES], other[GGUF_SHAPE_BYTES];
    gguf_shape_to_text(expected, dimension, rank);
    if (!found) FAIL(LAMP_MALFORMED, "tensor %s: expected %s, found nothing", name, expected);
    gguf_shape_to_text(other, found->dimension, found->rank);
    if (memcmp(found->dimension, dimension, GGUF_MAX_RANK * sizeof *dimension))
        FAIL(LAMP_MALFORMED, "tensor %s: expected %s, found %s", name, expected, other);
    if (type_of(found) == STORED_TYPES && !gguf_blocks_known(found->type))
        FAIL(LAMP_UNSUPPORTED, "tensor %s: expected F32, F16, BF16, MXFP4, Q4_0 to Q8_0 or Q2_K to Q6_K, found %s", name, found->type->name);
    return LAMP_OK;
}

/* Of types that kernels do not read. */
static int read_blocks(real *values, const stored_group *g, int64_t first, int64_t n) {
    const gguf_tensor *t = g->from;
    gguf_blocks_read(values, t->type, t->bytes, g->first + first, n);
    return LAMP_OK;
}

static stored_group group_in(const gguf_tensor *t, int64_t first) {
    stored_group g = {.tensor = t->name,
                      .first = first,
                      .type = type_of(t),
                      .read = read_blocks,
                      .from = t,
                      .form = t->type->name,
                      .value_bytes = (double)t->type->block_bytes / t->type->block};
    if (g.type != STORED_TYPES) g.bytes = t->bytes + first / t->type->block * t->type->block_bytes;
    return g;
}

static int find_part_of_heads(stored_group *group, gguf_model *m, const char *pattern, int layer, int64_t in, int64_t out) {
    char name[GGUF_NAME_BYTES];
    snprintf(name, sizeof name, pattern, layer);
    const gguf_tensor *found = gguf_find_tensor(m->file, name);
    TRY(check_tensor(name, (int64_t[GGUF_MAX_RANK]){in, out, m->config.num_attention_heads, 1}, 3, found));
    m->wanted[found - m->file->tensor] = true;
    *group = group_in(found, 0);
    return LAMP_OK;
}

/* Keys and values of latent attention, which may lie apart. */
static int find_heads(stored_group *group, gguf_model *m, int layer) {
    const latent_attention *a = &m->config.latent;
    gguf_heads *heads = &m->heads[layer];
    *heads = (gguf_heads){.plain = a->plain_dim, .value_dim = a->value_dim, .rank = a->key_rank};
    TRY(find_part_of_heads(&heads->key, m, "blk.%d.attn_k_b.weight", layer, a->plain_dim, a->key_rank));
    TRY(find_part_of_heads(&heads->value, m, "blk.%d.attn_v_b.weight", layer, a->key_rank, a->value_dim));
    *group = gguf_heads_group(heads);
    return LAMP_OK;
}

static bool has_heads_apart(const gguf_model *m, const weight *w) {
    char name[GGUF_NAME_BYTES];
    snprintf(name, sizeof name, "blk.%d.attn_k_b.weight", w->layer);
    return m->heads && !strcmp(w->kind, "attention.key_value") && gguf_find_tensor(m->file, name);
}

static int find_group(stored_group *group, gguf_model *m, const weight *w, ptrdiff_t g) {
    family_place place, other;
    const gguf_tensor *found = NULL;
    int64_t dimension[GGUF_MAX_RANK];
    if (has_heads_apart(m, w)) return find_heads(group, m, w->layer);
    for (int nth = 0; !found && gguf_place_group(&other, m->architecture, w, g, nth); nth++) {
        found = gguf_find_tensor(m->file, other.name);
        if (found || nth == 0) place = other;
    }
    gguf_dimensions(dimension, &place);
    TRY(check_tensor(place.name, dimension, place.rank, found));
    if (weight_is_vector(w) && found->type->block > 1)
        FAIL(LAMP_UNSUPPORTED, "tensor %s: expected a vector of F32, F16 or BF16, found %s", place.name, found->type->name);
    m->wanted[found - m->file->tensor] = true;
    *group = group_in(found, place.first);
    group->pair_head = gguf_pair_head(m->architecture, &m->config, w);
    return LAMP_OK;
}

/* A bias that nobody reads, say: what is there changes what the model computes. */
static int check_all_wanted(const gguf_model *m) {
    problem_list p = {0};
    for (size_t i = 0; i < m->file->n_tensors; i++)
        if (!m->wanted[i] && !(m->architecture->stretches && !strcmp(m->file->tensor[i].name, GGUF_ROPE_TENSOR)))
            problems_add(&p, error_set(LAMP_UNSUPPORTED, "tensor %s: expected nothing of this name", m->file->tensor[i].name));
    return problems_end(&p);
}

int gguf_model_find(stored_group *groups, gguf_model *m, const weights *table) {
    problem_list p = {0};
    for (int i = 0; i < table->n; i++)
        for (ptrdiff_t g = 0; g < table->row[i]->groups; g++) problems_add(&p, find_group(groups++, m, table->row[i], g));
    int status = problems_end(&p);
    if (status >= 0) status = check_all_wanted(m);
    return status < 0 ? error_add_context(status, "%s", m->file->path) : status;
}
