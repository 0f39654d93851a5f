#include "formats/model_source.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/gguf_model.h"
#include "formats/model_folder.h"
#include "formats/tokenizer_folder.h"

struct model_source {
    char path[PATH_BYTES];
    model_folder *folder; /* one of the two */
    gguf_model *file;
    stored_group *groups; /* of the table that was found, in its order */
    char *owned;          /* what the files do not hold as it is wanted */
};

int model_source_open(model_source **result, const char *path) {
    int status = LAMP_OK;
    model_source *s = NULL;
    TRY_TO(done, memory_new(&s, 1, sizeof *s, "an open model"));
    if (snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path)
        FAIL_TO(done, LAMP_IO, "%.60s...: path is longer than %d bytes", path, PATH_BYTES - 1);
    TRY_TO(done, !file_exists(path) || file_is_folder(path) ? model_folder_open(&s->folder, path) : gguf_model_open(&s->file, path));
    *result = s;
done:
    if (status < 0) model_source_close(s);
    return status;
}

void model_source_close(model_source *s) {
    if (!s) return;
    model_folder_close(s->folder);
    gguf_model_close(s->file);
    memory_free(s->groups);
    memory_free(s->owned);
    memory_free(s);
}

const model_config *model_source_config(const model_source *s) { return s->folder ? model_folder_config(s->folder) : gguf_model_config(s->file); }

int model_source_tokenizer(tokenizer **t, const model_source *s) {
    *t = NULL;
    if (s->file) return gguf_model_tokenizer(t, s->file);
    return tokenizer_folder_has_one(s->path) ? tokenizer_folder_read(t, s->path) : LAMP_OK;
}

/* ---- loading ----------------------------------------------------------------------------------------------------------------- */

int model_source_find(model_source *s, const weights *table) {
    CHECK(!s->groups, "a source is of one table");
    ptrdiff_t n_groups = 0;
    for (int i = 0; i < table->n; i++) n_groups += table->row[i]->groups;
    TRY(memory_new(&s->groups, (size_t)n_groups, sizeof *s->groups, "places of weights"));
    return s->folder ? model_folder_find(s->groups, s->folder, table) : gguf_model_find(s->groups, s->file, table);
}

const stored_group *model_source_groups(const model_source *s) { return s->groups; }

/* As all of its groups are stored, if kernels can read that in place. */
static stored_type type_to_run(const weight *w, const stored_group *groups) {
    if (weight_is_vector(w) || w->role == ROLE_ROUTER || w->always_real) return STORED_REAL;
    for (ptrdiff_t g = 0; g < w->groups; g++)
        if ((!groups[g].bytes && !groups[g].copy) || groups[g].type != groups->type) return STORED_REAL;
    return stored_has_rows(groups->type, w->in) ? groups->type : STORED_REAL;
}

static bool is_borrowed(const weight *w, const stored_group *g) { return g->bytes && g->type == w->type && g->pair_head == 0; }

/* Each begins where a number may. */
static ptrdiff_t owned_bytes(const weight *w) {
    enum { ALIGNMENT = 64 };
    return (w->out * stored_row_bytes(w->type, w->in) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int own(void *bytes, const weight *w, const stored_group *g) {
    if (w->type == STORED_REAL) return stored_group_read(bytes, g, 0, stored_group_rows(w), stored_group_width(w));
    return stored_group_copy(bytes, g, 0, w->out, w->in);
}

static int borrow_values(model_source *s, weights *table, bool to_run) {
    const stored_group *from = s->groups;
    ptrdiff_t n_owned = 0;
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        w->type = to_run ? type_to_run(w, from) : STORED_REAL;
        for (ptrdiff_t g = 0; g < w->groups; g++, from++) n_owned += is_borrowed(w, from) ? 0 : owned_bytes(w);
    }
    TRY(weights_allocate_groups(table));
    TRY(memory_new_block(&s->owned, (size_t)n_owned, 1, "converted weights"));
    char *next = s->owned;
    from = s->groups;
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, from++) {
            bool borrowed = is_borrowed(w, from);
            const void *bytes = borrowed ? from->bytes : next;
            if (w->type == STORED_REAL) w->value[g] = (real *)(uintptr_t)bytes;
            else w->stored[g] = bytes;
            if (borrowed) continue;
            TRY(own(next, w, from));
            next += owned_bytes(w);
        }
    }
    return LAMP_OK;
}

static int copy_values(const weights *table, const stored_group *from) {
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, from++) TRY(stored_group_read(w->value[g], from, 0, stored_group_rows(w), stored_group_width(w)));
    }
    return LAMP_OK;
}

int model_source_load(model_source *s, weights *table, values_wanted wanted) {
    CHECK(wanted != VALUES_COPIED || table->values, "a table that is copied into needs its block");
    TRY(model_source_find(s, table));
    int status = wanted == VALUES_COPIED ? copy_values(table, s->groups) : borrow_values(s, table, wanted == VALUES_STORED);
    if (status == LAMP_UNSUPPORTED) error_add_context(status, "%s", s->path);
    return status < 0 || wanted != VALUES_COPIED ? status : model_source_check_finite(s, table);
}

/* ---- checking ---------------------------------------------------------------------------------------------------------------- */

static int check_row(const model_source *s, const stored_group *g, const real *row, ptrdiff_t first, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (!isfinite(row[i]))
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected finite numbers, found %g at place %" PRId64 "%s", s->path, g->tensor, (double)row[i],
                 g->first + first + i, s->folder ? "; an earlier checkpoint may be sound" : "");
    return LAMP_OK;
}

int model_source_check_finite(const model_source *s, const weights *table) {
    const stored_group *from = s->groups;
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
                TRY_TO(done, check_row(s, from, row, o * w->in, w->in));
            }
    }
done:
    memory_free(reals);
    return status;
}
