#include "formats/model_folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "formats/placed_values.h"
#include "formats/safetensors.h"
#include "models/families/family.h"

enum { MAX_SHARDS = 1024, NAMES_LISTED = 8 };

typedef struct {
    const char *name; /* borrowed from the index, or a constant */
    safetensors *file;
    bool *wanted; /* (file->n): some weight lies in this tensor */
} shard;

struct model_folder {
    char path[PATH_BYTES];
    model_config config;
    json_t *index;            /* NULL: everything is in one file */
    const json_t *weight_map; /* borrowed from the index */
    shard *shards;
    size_t n_shards, capacity;
    placed_values *values; /* of every group that was looked for */
};

/* ---- opening ----------------------------------------------------------------------------------------------------------------- */

static int add_shard(model_folder *folder, const char *name) {
    TRY(memory_reserve(&folder->shards, &folder->capacity, folder->n_shards + 1, sizeof *folder->shards, "the files of a model"));
    folder->shards[folder->n_shards++] = (shard){.name = name};
    return LAMP_OK;
}

static int open_shard(shard *s, const model_folder *folder) {
    char path[PATH_BYTES];
    TRY(file_join(path, folder->path, s->name));
    TRY(safetensors_open(&s->file, path));
    return memory_new(&s->wanted, s->file->n, sizeof *s->wanted, "marks of tensors");
}

static shard *find_shard(const model_folder *folder, const char *name) {
    for (size_t i = 0; i < folder->n_shards; i++)
        if (!strcmp(folder->shards[i].name, name)) return &folder->shards[i];
    return NULL;
}

/* What the index says, before any file it names is opened. */
static int read_index(model_folder *folder, const char *index_path) {
    const char *tensor;
    json_t *value, *map;
    TRY(json_read_file(&folder->index, index_path));
    TRY(json_get_object(&map, folder->index, "weight_map", index_path));
    folder->weight_map = map;
    json_object_foreach(map, tensor, value) {
        const char *name;
        TRY(json_get_word(&name, map, tensor, index_path));
        if (!*name || *name == '.' || strchr(name, '/'))
            FAIL(LAMP_MALFORMED, "%s: \"weight_map\": expected plain file names inside the folder, found \"%.100s\"", index_path, name);
        if (find_shard(folder, name)) continue;
        if (folder->n_shards == MAX_SHARDS) FAIL(LAMP_UNSUPPORTED, "%s: expected at most %d files, found more", index_path, MAX_SHARDS);
        TRY(add_shard(folder, name));
    }
    return LAMP_OK;
}

/* A tensor in two files would leave the choice to the order of reading. */
static int check_comes_once(const model_folder *folder, const shard *s) {
    for (size_t i = 0; folder->weight_map && i < s->file->n; i++) {
        const char *name = s->file->entry[i].name, *other = json_string_value(json_object_get(folder->weight_map, name));
        const shard *home = other ? find_shard(folder, other) : s;
        if (home != s && safetensors_find(home->file, name))
            FAIL(LAMP_MALFORMED, "%s: tensor %.160s: expected in one file, found in %s and %s", folder->path, name, other, s->name);
    }
    return LAMP_OK;
}

static int check_holds_parameters(const model_folder *folder) {
    double stored = 0, needed = family_parameter_count(&folder->config);
    for (size_t s = 0; s < folder->n_shards; s++)
        for (size_t i = 0; i < folder->shards[s].file->n; i++) {
            const safetensors_entry *entry = &folder->shards[s].file->entry[i];
            stored += (double)entry->size * (strcmp(safetensors_type_name(entry), "U8") ? 1 : 2); /* a byte may hold two of four bits */
        }
    if (needed > stored)
        FAIL(LAMP_MALFORMED, "%s: config.json describes %.0f parameters, but the safetensors files hold %.0f", folder->path, needed, stored);
    return LAMP_OK;
}

int model_folder_open(model_folder **result, const char *path) {
    int status = LAMP_OK;
    model_folder *folder = NULL;
    char file[PATH_BYTES];
    TRY_TO(done, memory_new(&folder, 1, sizeof *folder, "an open model"));
    if (snprintf(folder->path, sizeof folder->path, "%s", path) >= (int)sizeof folder->path)
        FAIL_TO(done, LAMP_IO, "%.60s...: path is longer than %d bytes", path, PATH_BYTES - 1);
    TRY_TO(done, file_join(file, path, "config.json"));
    TRY_TO(done, family_read_config(&folder->config, file));
    TRY_TO(done, family_check_runs(&folder->config, path));
    TRY_TO(done, file_join(file, path, "model.safetensors"));
    bool is_one_file = file_exists(file);
    if (!is_one_file) TRY_TO(done, file_join(file, path, "model.safetensors.index.json"));
    if (!file_exists(file)) FAIL_TO(done, LAMP_IO, "%s: expected model.safetensors or model.safetensors.index.json, found neither", path);
    TRY_TO(done, is_one_file ? add_shard(folder, "model.safetensors") : read_index(folder, file));
    for (size_t i = 0; i < folder->n_shards; i++) TRY_TO(done, open_shard(&folder->shards[i], folder));
    for (size_t i = 0; i < folder->n_shards; i++) TRY_TO(done, check_comes_once(folder, &folder->shards[i]));
    TRY_TO(done, check_holds_parameters(folder));
    *result = folder;
done:
    if (status < 0) model_folder_close(folder);
    return status;
}

void model_folder_close(model_folder *folder) {
    if (!folder) return;
    for (size_t i = 0; i < folder->n_shards; i++) {
        safetensors_close(folder->shards[i].file);
        memory_free(folder->shards[i].wanted);
    }
    memory_free(folder->shards);
    memory_free(folder->values);
    json_decref(folder->index);
    memory_free(folder);
}

const model_config *model_folder_config(const model_folder *folder) { return &folder->config; }

/* ---- finding ----------------------------------------------------------------------------------------------------------------- */

static const safetensors_entry *find_tensor(model_folder *folder, const char *name) {
    const json_t *file = folder->weight_map ? json_object_get(folder->weight_map, name) : NULL;
    if (folder->weight_map && !file) return NULL;
    shard *s = file ? find_shard(folder, json_string_value(file)) : folder->shards;
    const safetensors_entry *entry = safetensors_find(s->file, name);
    if (entry) s->wanted[entry - s->file->entry] = true;
    return entry;
}

/* Problems are counted, and the first few described. */
typedef struct {
    buffer text;
    int n;
} problems;

static bool check_shape(problems *p, const family_place *place, const safetensors_entry *found) {
    char expected[SHAPE_TEXT_BYTES], other[SHAPE_TEXT_BYTES];
    if (found && found->rank == place->rank && !memcmp(found->shape, place->shape, sizeof *place->shape * (size_t)place->rank)) return true;
    if (p->n++ >= NAMES_LISTED) return false;
    safetensors_shape_to_text(expected, place->shape, place->rank);
    if (found) safetensors_shape_to_text(other, found->shape, found->rank);
    buffer_printf(&p->text, "\n  %s: expected %s, found %s", place->name, expected, found ? other : "nothing");
    return false;
}

static int read_entry(real *values, const stored_group *g, int64_t first, int64_t n) {
    return safetensors_read(values, g->from, g->first + first, n);
}

static bool lies_in_rows(const weight *w, const placed_values *v) {
    return !v->scales && v->column_step == 1 && (v->row_step == v->in || stored_group_rows(w) == 1);
}

/* *v is the folder's. */
static stored_group group_at(const weight *w, const placed_values *v) {
    if (!lies_in_rows(w, v)) return placed_group(v);
    stored_group g = {.tensor = v->entry->name, .first = v->first, .read = read_entry, .from = v->entry};
    g.bytes = safetensors_borrow(&g.type, v->entry, v->first);
    g.form = safetensors_type_name(v->entry), g.value_bytes = (double)(v->entry->end - v->entry->begin) / (double)v->entry->size;
    return g;
}

/* Under the first of its names that is there; or NULL, with the name we would write. */
static const safetensors_entry *find_place(family_place *place, model_folder *folder, const family *f, const weight *w, ptrdiff_t group) {
    family_place other;
    for (int nth = 0; family_place_group(&other, f, w, group, nth); nth++) {
        const safetensors_entry *entry = find_tensor(folder, other.name);
        if (entry || nth == 0) *place = other;
        if (entry) return entry;
    }
    return NULL;
}

/* false: what is there, or is not, was told */
static bool find_values(placed_values *v, problems *p, model_folder *folder, const family *f, const weight *w, ptrdiff_t group) {
    family_place place, scales;
    const safetensors_entry *entry = find_place(&place, folder, f, w, group);
    if (!check_shape(p, &place, entry)) return false;
    *v = (placed_values){entry, NULL, place.first, place.row_step, place.column_step, stored_group_width(w)};
    if (weight_is_vector(w)) v->row_step = place.column_step, v->column_step = 1; /* each value is a row */
    if (!placed_scales(&scales, &place, entry)) return true;
    v->scales = find_tensor(folder, scales.name);
    return check_shape(p, &scales, v->scales);
}

static int find_groups(stored_group *groups, model_folder *folder, const weights *table) {
    const family *f;
    problems p = {0};
    ptrdiff_t n = 0;
    TRY(family_find(&f, folder->config.family, folder->path));
    for (int i = 0; i < table->n; i++) n += table->row[i]->groups;
    TRY(memory_new(&folder->values, (size_t)n, sizeof *folder->values, "places of weights"));
    placed_values *v = folder->values;
    for (int i = 0; i < table->n; i++)
        for (ptrdiff_t g = 0; g < table->row[i]->groups; g++, groups++, v++)
            if (find_values(v, &p, folder, f, table->row[i], g)) *groups = group_at(table->row[i], v);
    if (p.n > NAMES_LISTED) buffer_printf(&p.text, "\n  and %d more", p.n - NAMES_LISTED);
    int status = p.text.status;
    if (p.n > 0 && status == LAMP_OK) status = error_set(LAMP_MALFORMED, "%s: the tensors do not fit config.json:%s", folder->path, p.text.bytes);
    buffer_release(&p.text);
    return status;
}

/* Files of older programs carry tables that are computed, and tied models sometimes their head. */
static bool is_harmless(const model_folder *folder, const char *name) {
    return strstr(name, "rotary_emb.inv_freq") || (folder->config.tie_word_embeddings && !strcmp(name, "lm_head.weight"));
}

static void warn_of_extra_tensors(const model_folder *folder) {
    int n = 0;
    char names[512] = "";
    for (size_t s = 0; s < folder->n_shards; s++)
        for (size_t i = 0; i < folder->shards[s].file->n; i++) {
            const char *name = folder->shards[s].file->entry[i].name;
            if (folder->shards[s].wanted[i] || is_harmless(folder, name)) continue;
            if (n++ < 4) snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.100s", n > 1 ? ", " : "", name);
        }
    if (n > 0) log_warning("%s: %d tensors that this model has no use for are ignored: %s%s", folder->path, n, names, n > 4 ? ", ..." : "");
}

int model_folder_find(stored_group *groups, model_folder *folder, const weights *table) {
    TRY(find_groups(groups, folder, table));
    warn_of_extra_tensors(folder);
    return LAMP_OK;
}
