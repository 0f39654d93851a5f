#include "formats/conversion.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/memory.h"
#include "formats/checkpoint_files.h"
#include "formats/checkpoint_weights.h"
#include "formats/gguf.h"
#include "formats/manifest.h"
#include "formats/quantise.h"

const char *const conversion_part_name[CONVERSION_PARTS] = {[SAVED_EXPERTS] = "experts",
                                                            [SAVED_SHARED] = "shared",
                                                            [SAVED_HEAD] = "head",
                                                            [SAVED_EMBEDDING] = "embedding",
                                                            [SAVED_PARTS] = "router and norms"};

static bool is_small(const weight *w) { return weight_is_vector(w) || w->role == ROLE_ROUTER; }
static int part_of(const weight *w) { return is_small(w) ? SAVED_PARTS : (int)saved_part_of(w); }

void conversion_close(conversion *c) {
    memory_free(c->loss);
    tokenizer_free(c->tokenizer);
    model_close(&c->model);
    model_source_close(c->source);
    *c = (conversion){0};
}

double saved_loss_relative(const saved_loss *loss) { return loss->size > 0 ? sqrt(loss->difference / loss->size) : 0; }

saved_loss conversion_loss_of_part(const conversion *c, int part) {
    saved_loss sum = {0};
    const saved_loss *loss = c->loss;
    for (int i = 0; i < c->model.weights.n; i++) {
        const weight *w = c->model.weights.row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, loss++)
            if (part_of(w) == part) sum.size += loss->size, sum.difference += loss->difference;
    }
    return sum;
}

/* ---- a folder ------------------------------------------------------------------------------------------------------------------ */

/* STORED_TYPES: none of a folder's. */
static stored_type folder_type(const stored_group *g) {
    stored_type type = STORED_REAL;
    while (type <= STORED_BF16 && strcasecmp(stored_formats[type].name, g->form)) type++;
    return type <= STORED_BF16 ? type : STORED_TYPES;
}

/* The type of all matrices, if it is one of a folder's. */
static stored_type main_type(const weights *table, const stored_group *groups) {
    stored_type type = STORED_TYPES;
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, groups++) {
            if (is_small(w)) continue;
            const stored_type here = folder_type(groups);
            if (here == STORED_TYPES || (type != STORED_TYPES && here != type)) return STORED_REAL;
            type = here;
        }
    }
    return type;
}

/* Whether every value of a weight survives as this type. */
static int survives(bool *exact, stored_type type, const weight *w, const stored_group *groups) {
    const ptrdiff_t rows = stored_group_rows(w), width = stored_group_width(w);
    real *values = NULL, *again = NULL;
    char *bytes = NULL;
    int status = LAMP_OK;
    *exact = true;
    TRY_TO(done, memory_new(&values, (size_t)(rows * width), sizeof *values, "values to look at"));
    TRY_TO(done, memory_new(&again, (size_t)(rows * width), sizeof *again, "values to look at"));
    TRY_TO(done, memory_new(&bytes, (size_t)(rows * width), sizeof *values, "values to look at"));
    for (ptrdiff_t g = 0; g < w->groups && *exact; g++) {
        const stored_group saved = {.bytes = bytes, .type = type};
        TRY_TO(done, stored_group_read(values, &groups[g], 0, rows, width));
        *exact = quantise(bytes, type, values, rows * width) >= 0;
        if (*exact) TRY_TO(done, stored_group_read(again, &saved, 0, rows, width));
        *exact = *exact && !memcmp(values, again, sizeof *values * (size_t)(rows * width));
    }
done:
    memory_free(bytes), memory_free(again), memory_free(values);
    return status;
}

/* One for all as it was asked; or as they are, and small ones, which a GGUF file has as f32, like the others if that loses nothing. */
static int choose_types(stored_type *type, const conversion *c, stored_type wanted) {
    const weights *table = &c->model.weights;
    const stored_group *groups = model_source_groups(c->source);
    const stored_type all = wanted < STORED_TYPES ? wanted : main_type(table, groups);
    for (int i = 0; i < table->n; i++) {
        bool exact = true;
        if (wanted == STORED_TYPES && is_small(table->row[i]) && all != STORED_REAL) TRY(survives(&exact, all, table->row[i], groups));
        type[i] = exact ? all : STORED_REAL;
        groups += table->row[i]->groups;
    }
    return checkpoint_join_types(type, table, &c->model.config);
}

static int write_folder(conversion *c, const char *folder, const conversion_request *q) {
    stored_type *type = NULL;
    int status = LAMP_OK;
    const weights *table = &c->model.weights;
    TRY_TO(done, memory_new(&type, (size_t)table->n, sizeof *type, "types of weights"));
    TRY_TO(done, choose_types(type, c, q->type[SAVED_SHARED]));
    const checkpoint contents = {.config = &c->model.config,
                                 .weights = table,
                                 .groups = model_source_groups(c->source),
                                 .type = type,
                                 .tokenizer = c->tokenizer,
                                 .tokenizer_from = file_is_folder(c->path) ? c->path : NULL,
                                 .interruptible = "writing"};
    for (int i = 0; i < table->n; i++) c->bytes[part_of(table->row[i])][type[i]] += weight_size(table->row[i]) * stored_formats[type[i]].bytes;
    TRY_TO(done, file_remove_folder(folder));
    TRY_TO(done, file_make_folder(folder));
    TRY_TO(done, checkpoint_write_files(folder, 0, &contents));
    status = manifest_check(folder, true);
done:
    memory_free(type);
    return status;
}

/* ---- a file -------------------------------------------------------------------------------------------------------------------- */

static int read_back(const char *path, const conversion *c) {
    model_source *source = NULL;
    int status = LAMP_OK;
    TRY_TO(done, model_source_open(&source, path));
    model again = {0};
    TRY_TO(done, model_open(&again, model_source_config(source)));
    status = model_source_find(source, &again.weights);
    if (status >= 0 && again.weights.total != c->model.weights.total && !c->model.config.tie_word_embeddings)
        status = error_set(LAMP_FAILURE, "%s: expected %td values, found %td", path, c->model.weights.total, again.weights.total);
    model_close(&again);
done:
    model_source_close(source);
    return status;
}

static int write_file(conversion *c, const char *path, const conversion_request *q) {
    const weights *table = &c->model.weights;
    const stored_group *groups = model_source_groups(c->source);
    gguf_contents contents = {.config = &c->model.config, .table = table, .groups = groups, .tokenizer = c->tokenizer, .loss = c->loss};
    memcpy(contents.type, q->type, sizeof contents.type);
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const stored_type type = gguf_type_saved(&contents, w, groups);
        c->bytes[part_of(w)][type] += weight_size(w) / stored_formats[type].values * stored_formats[type].bytes;
        groups += w->groups;
    }
    TRY(file_remove_folder(path));
    TRY(gguf_save(path, &contents));
    return read_back(path, c);
}

/* ---- either -------------------------------------------------------------------------------------------------------------------- */

static void add_bytes(conversion *c) {
    const stored_group *group = model_source_groups(c->source);
    double before = 0;
    for (int i = 0; i < c->model.weights.n; i++) {
        const weight *w = c->model.weights.row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, group++) before += (double)(w->out * w->in) * group->value_bytes;
    }
    c->bytes_before = (int64_t)before;
    for (int p = 0; p < CONVERSION_PARTS; p++)
        for (int t = 0; t < STORED_TYPES; t++) c->bytes_after += c->bytes[p][t];
}

static ptrdiff_t count_groups(const weights *table) {
    ptrdiff_t n = 0;
    for (int i = 0; i < table->n; i++) n += table->row[i]->groups;
    return n;
}

static int check_request(const conversion_request *q) {
    bool folder = !gguf_is_named(q->to);
    for (int p = 0; p < SAVED_PARTS && folder; p++)
        if (q->type[p] != q->type[0] || (q->type[p] > STORED_BF16 && q->type[p] != STORED_TYPES))
            FAIL(LAMP_INVALID, "%s: expected a name that ends in .gguf for types of parts, or blocks; a folder has f32, f16 or bf16", q->to);
    return LAMP_OK;
}

int conversion_run(conversion *c, const conversion_request *q) {
    char out[PATH_BYTES], partial[PATH_BYTES];
    int status = LAMP_OK;
    *c = (conversion){0};
    TRY(file_name_partial(out, partial, q->to));
    TRY(check_request(q));
    if (file_exists(out)) FAIL(LAMP_INVALID, "%s is already there; give another name", out);
    TRY_TO(done, checkpoint_resolve(c->path, q->from));
    TRY_TO(done, checkpoint_verify(c->path));
    TRY_TO(done, model_source_open(&c->source, c->path));
    TRY_TO(done, model_open(&c->model, model_source_config(c->source)));
    TRY_TO(done, model_source_find(c->source, &c->model.weights));
    if (!file_is_folder(c->path) || gguf_is_named(out)) TRY_TO(done, model_source_tokenizer(&c->tokenizer, c->source));
    TRY_TO(done, memory_new(&c->loss, (size_t)count_groups(&c->model.weights), sizeof *c->loss, "what experts lose"));
    status = gguf_is_named(out) ? write_file(c, partial, q) : write_folder(c, partial, q);
    if (status >= 0) status = file_rename(partial, out);
    if (status < 0) file_remove_folder(partial);
    else add_bytes(c);
done:
    if (status < 0) conversion_close(c);
    return status;
}
