#include "formats/model_folder.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "formats/safetensors.h"
#include "models/families/family.h"

enum { MAX_SHARDS = 1024, NAMES_LISTED = 8 };

typedef struct {
    const char *name; /* borrowed from the index, or a constant */
    safetensors *file;
    bool *wanted; /* (file->n): some weight lies in this tensor */
} shard;

/* Where one group of a weight was found. */
typedef struct {
    const safetensors_entry *entry;
    int64_t first;
} source;

struct model_folder {
    char path[PATH_BYTES];
    model_config config;
    json_t *index;            /* NULL: everything is in one file */
    const json_t *weight_map; /* borrowed from the index */
    shard *shards;
    size_t n_shards, capacity;
    source *sources; /* of all groups of the table that was loaded, in its order */
    real *converted; /* values that the files do not hold as reals */
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
        for (size_t i = 0; i < folder->shards[s].file->n; i++) stored += (double)folder->shards[s].file->entry[i].size;
    if (needed > stored)
        FAIL(LAMP_MALFORMED, "%s: config.json describes %.0f parameters, but the safetensors files hold %.0f", folder->path, needed,
             stored);
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
    memory_free(folder->sources);
    memory_free(folder->converted);
    json_decref(folder->index);
    memory_free(folder);
}

const model_config *model_folder_config(const model_folder *folder) { return &folder->config; }

/* ---- loading ----------------------------------------------------------------------------------------------------------------- */

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

static void check_shape(problems *p, const family_place *place, const safetensors_entry *found) {
    char expected[SHAPE_TEXT_BYTES], other[SHAPE_TEXT_BYTES];
    if (found && found->rank == place->rank && !memcmp(found->shape, place->shape, sizeof *place->shape * (size_t)place->rank)) return;
    if (p->n++ >= NAMES_LISTED) return;
    safetensors_shape_to_text(expected, place->shape, place->rank);
    if (found) safetensors_shape_to_text(other, found->shape, found->rank);
    buffer_printf(&p->text, "\n  %s: expected %s, found %s", place->name, expected, found ? other : "nothing");
}

/* Finds every group of every weight, (total groups) in the order of the table. */
static int find_sources(source *sources, model_folder *folder, const weights *table) {
    const family *f;
    family_place place;
    problems p = {0};
    TRY(family_find(&f, folder->config.family, folder->path));
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, sources++) {
            const safetensors_entry *entry = NULL;
            family_place other;
            for (int nth = 0; !entry && family_place_group(&other, f, w, g, nth); nth++) {
                entry = find_tensor(folder, other.name);
                if (entry || nth == 0) place = other;
            }
            check_shape(&p, &place, entry);
            *sources = (source){entry, place.first};
        }
    }
    if (p.n > NAMES_LISTED) buffer_printf(&p.text, "\n  and %d more", p.n - NAMES_LISTED);
    int status = p.text.status;
    if (p.n > 0 && status == LAMP_OK)
        status = error_set(LAMP_MALFORMED, "%s: the tensors do not fit config.json:%s", folder->path, p.text.bytes);
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

static int copy_values(const weights *table, const source *from) {
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, from++) TRY(safetensors_read(w->value[g], from->entry, from->first, w->out * w->in));
    }
    return LAMP_OK;
}

/* The values where they lie, if they are of the weight's type there. */
static const void *borrow(const weight *w, const source *from) {
    stored_type type;
    const void *bytes = safetensors_borrow(&type, from->entry, from->first);
    return bytes && type == w->type ? bytes : NULL;
}

/* As all of its groups are stored, if kernels can read that in place. */
static stored_type type_to_run(const weight *w, const source *from) {
    stored_type type, other;
    if (weight_is_vector(w) || w->role == ROLE_ROUTER) return STORED_REAL;
    for (ptrdiff_t g = 0; g < w->groups; g++)
        if (!safetensors_borrow(g ? &other : &type, from[g].entry, from[g].first) || (g && other != type)) return STORED_REAL;
    return stored_has_rows(type, w->in) ? type : STORED_REAL;
}

static int borrow_values(model_folder *folder, weights *table, bool to_run) {
    const source *from = folder->sources;
    int64_t n_converted = 0;
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        w->type = to_run ? type_to_run(w, from) : STORED_REAL;
        for (ptrdiff_t g = 0; g < w->groups; g++, from++) n_converted += borrow(w, from) ? 0 : w->out * w->in;
    }
    TRY(weights_allocate_groups(table));
    TRY(memory_new(&folder->converted, (size_t)n_converted, sizeof(real), "converted weights"));
    real *next = folder->converted;
    from = folder->sources;
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, from++) {
            const void *mapped = borrow(w, from);
            if (w->type != STORED_REAL) w->stored[g] = mapped;
            else w->value[g] = mapped ? (real *)(uintptr_t)mapped : next;
            if (mapped) continue;
            TRY(safetensors_read(next, from->entry, from->first, w->out * w->in));
            next += w->out * w->in;
        }
    }
    return LAMP_OK;
}

static int check_row(const model_folder *folder, const source *from, const real *row, ptrdiff_t first, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (!isfinite(row[i]))
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected finite numbers, found %g at place %" PRId64 "; an earlier checkpoint may be sound",
                 folder->path, from->entry->name, (double)row[i], from->first + first + i);
    return LAMP_OK;
}

int model_folder_check_finite(const model_folder *folder, const weights *table) {
    const source *from = folder->sources;
    real *reals = NULL;
    ptrdiff_t widest = 0;
    int status = LAMP_OK;
    for (int i = 0; i < table->n; i++)
        if (table->row[i]->type != STORED_REAL && table->row[i]->in > widest) widest = table->row[i]->in;
    TRY(memory_new(&reals, (size_t)widest, sizeof *reals, "a row of a weight"));
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, from++)
            for (int32_t o = 0; o < w->out; o++) {
                const real *row = w->type == STORED_REAL ? w->value[g] + o * w->in : reals;
                if (row == reals) kernels_scalar.stored_rows(reals, w->stored[g], w->type, &o, 1, w->in);
                TRY_TO(done, check_row(folder, from, row, o * w->in, w->in));
            }
    }
done:
    memory_free(reals);
    return status;
}

int model_folder_load(model_folder *folder, weights *table, values_wanted wanted) {
    CHECK(!folder->sources && (wanted != VALUES_COPIED || table->values), "a folder loads one table, and one that is copied needs its block");
    ptrdiff_t n_groups = 0;
    for (int i = 0; i < table->n; i++) n_groups += table->row[i]->groups;
    TRY(memory_new(&folder->sources, (size_t)n_groups, sizeof *folder->sources, "places of weights"));
    TRY(find_sources(folder->sources, folder, table));
    warn_of_extra_tensors(folder);
    int status = wanted == VALUES_COPIED ? copy_values(table, folder->sources) : borrow_values(folder, table, wanted == VALUES_STORED);
    if (status == LAMP_UNSUPPORTED) error_add_context(status, "%s", folder->path);
    return status < 0 || wanted != VALUES_COPIED ? status : model_folder_check_finite(folder, table);
}
