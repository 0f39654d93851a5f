#include "formats/gguf_save.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "formats/gguf_architecture.h"
#include "formats/gguf_rope.h"
#include "formats/gguf_tokenizer.h"
#include "formats/gguf_writer.h"
#include "formats/quantise.h"

enum { VALUES_AT_ONCE = 1 << 20 };

/* As files number the types, and files that are mostly of one. */
static const struct {
    int number;
    uint32_t file_type;
} numbers[STORED_TYPES] = {
    [STORED_REAL] = {0, 0}, [STORED_F16] = {1, 1},  [STORED_BF16] = {30, 32},
    [STORED_Q8_0] = {8, 7}, [STORED_Q4_0] = {2, 2}, [STORED_MXFP4] = {39, 38},
};

saved_part saved_part_of(const weight *w) {
    if (w->role == ROLE_EXPERT) return SAVED_EXPERTS;
    if (w->role == ROLE_EMBEDDING) return SAVED_EMBEDDING;
    return strcmp(w->kind, "head") ? SAVED_SHARED : SAVED_HEAD;
}

stored_type gguf_type_saved(const gguf_contents *c, const weight *w, const stored_group *groups) {
    const bool quantised = c->type[saved_part_of(w)] < STORED_TYPES;
    if (weight_is_vector(w) || w->role == ROLE_ROUTER || w->out == 1) return STORED_REAL;
    stored_type type = quantised ? c->type[saved_part_of(w)] : groups->bytes || groups->copy ? groups->type : STORED_REAL;
    return stored_has_rows(type, w->in) ? type : STORED_F16;
}

/* ---- one tensor on its way ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const weight *w;
    const stored_group *groups;
    saved_loss *loss; /* of the groups; may be NULL */
    char name[TENSOR_NAME_BYTES];
    int rank;
    int64_t dimension[GGUF_MAX_RANK];
    stored_type type;
    ptrdiff_t pair_head; /* as rows stand in the file */
} saved_tensor;

typedef struct {
    const gguf_contents *contents;
    const gguf_architecture *architecture;
    gguf_writer *writer;
    saved_tensor *tensor; /* (n) */
    int n;
    ptrdiff_t widest;
    double size, written; /* values, of all tensors */
    real *values, *again; /* of a run of rows; of one, as it was written */
    char *bytes;          /* of the run, as they are written */
} saving;

/* Rows first .. first + n of the file, from a group whose rows may stand in another order. */
static int take_rows(saving *s, const saved_tensor *t, const stored_group *from, ptrdiff_t first, ptrdiff_t n, bool as_it_is) {
    const ptrdiff_t in = stored_group_width(t->w), bytes = stored_row_bytes(t->type, in);
    const bool moved = t->pair_head != from->pair_head;
    stored_group g = *from;
    if (!moved) g.pair_head = 0;
    for (ptrdiff_t r = 0; r < n; r += moved ? 1 : n) {
        const ptrdiff_t row = moved ? stored_group_row_back(t->pair_head, first + r) : first, rows = moved ? 1 : n;
        if (as_it_is) TRY(stored_group_copy(s->bytes + r * bytes, &g, row, rows, in));
        else TRY(stored_group_read(s->values + r * in, &g, row, rows, in));
    }
    return as_it_is ? LAMP_OK : quantise(s->bytes, t->type, s->values, n * in);
}

/* One row after another, so that the sum has one order. */
static void add_loss(saved_loss *loss, const saving *s, const saved_tensor *t, ptrdiff_t n) {
    const ptrdiff_t in = stored_group_width(t->w);
    stored_group saved = {.bytes = s->bytes, .type = t->type};
    for (ptrdiff_t r = 0; r < n; r++) {
        const real *before = s->values + r * in;
        stored_group_read(s->again, &saved, r, 1, in);
        for (ptrdiff_t i = 0; i < in; i++) {
            const double x = (double)before[i], d = (double)s->again[i] - x;
            loss->size += x * x, loss->difference += d * d;
        }
    }
}

static int write_rows(saving *s, const saved_tensor *t, ptrdiff_t group, ptrdiff_t first, ptrdiff_t n) {
    const ptrdiff_t in = stored_group_width(t->w);
    const stored_group *from = &t->groups[group];
    const bool as_it_is = (from->bytes || from->copy) && from->type == t->type;
    TRY(interrupt_check("writing"));
    log_progress("writing: %.0f %%", 100 * s->written / s->size);
    int status = take_rows(s, t, from, first, n, as_it_is);
    if (status < 0) return error_add_context(status, "tensor %s, from value %" PRId64, from->tensor, from->first + first * in);
    if (t->loss && !as_it_is) add_loss(&t->loss[group], s, t, n);
    s->written += (double)(n * in);
    return gguf_write(s->writer, s->bytes, (size_t)(n * stored_row_bytes(t->type, in)));
}

static int write_tensor(saving *s, const saved_tensor *t) {
    const ptrdiff_t rows = stored_group_rows(t->w), in = stored_group_width(t->w), at_once = in < VALUES_AT_ONCE ? VALUES_AT_ONCE / in : 1;
    for (ptrdiff_t g = 0; g < t->w->groups; g++)
        for (ptrdiff_t r = 0; r < rows; r += at_once) TRY(write_rows(s, t, g, r, rows - r < at_once ? rows - r : at_once));
    return LAMP_OK;
}

/* ---- the file ------------------------------------------------------------------------------------------------------------------ */

/* Every weight, and of tied models the embedding once more, if the architecture must have a head. */
static int list_tensors(saving *s) {
    const gguf_contents *c = s->contents;
    const stored_group *groups = c->groups;
    TRY(memory_new(&s->tensor, (size_t)c->table->n + 1, sizeof *s->tensor, "the tensors to write"));
    for (int i = 0; i < c->table->n; i++) {
        const weight *w = c->table->row[i];
        family_place place;
        gguf_place_group(&place, s->architecture, w, 0, 0);
        saved_tensor *t = &s->tensor[s->n++];
        *t = (saved_tensor){
            .w = w, .groups = groups, .type = gguf_type_saved(c, w, groups), .pair_head = gguf_pair_head(s->architecture, c->config, w)};
        strcpy(t->name, place.name);
        t->rank = gguf_dimensions(t->dimension, &place);
        t->loss = c->loss ? c->loss + (groups - c->groups) : NULL;
        if (w->in > s->widest) s->widest = w->in;
        groups += w->groups;
    }
    if (s->architecture->needs_head && c->config->tie_word_embeddings) {
        s->tensor[s->n] = s->tensor[0];
        s->tensor[s->n].loss = NULL;
        strcpy(s->tensor[s->n++].name, "output.weight");
    }
    return LAMP_OK;
}

static void warn_of_halves(const saving *s) {
    const gguf_contents *c = s->contents;
    const char *first = NULL;
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        const saved_tensor *t = &s->tensor[i];
        const stored_type wanted = c->type[saved_part_of(t->w)];
        if (wanted < STORED_TYPES && t->type == STORED_F16 && wanted != STORED_F16 && n++ == 0) first = t->name;
    }
    if (n > 0) log_warning("%d tensors have rows that are no multiple of 32 values, and become f16 instead: %s%s", n, first, n > 1 ? ", ..." : "");
}

static int declare_tensors(saving *s) {
    const model_config *c = s->contents->config;
    const int64_t half = c->head_dim / 2;
    warn_of_halves(s);
    if (gguf_rope_has_divisors(c)) TRY(gguf_declare(s->writer, GGUF_ROPE_TENSOR, numbers[STORED_REAL].number, 1, &half));
    for (int i = 0; i < s->n; i++) {
        const saved_tensor *t = &s->tensor[i];
        s->size += (double)weight_size(t->w);
        TRY(gguf_declare(s->writer, t->name, numbers[t->type].number, t->rank, t->dimension));
    }
    return LAMP_OK;
}

static int write_divisors(saving *s) {
    const model_config *c = s->contents->config;
    float *divisor;
    if (!gguf_rope_has_divisors(c)) return LAMP_OK;
    TRY(memory_new(&divisor, (size_t)c->head_dim / 2, sizeof *divisor, "divisors of frequencies"));
    int status = gguf_rope_divisors(divisor, c);
    if (status >= 0) status = gguf_write(s->writer, divisor, (size_t)c->head_dim / 2 * sizeof *divisor);
    memory_free(divisor);
    return status;
}

/* The type that most values have. */
static stored_type main_type(const saving *s) {
    double values[STORED_TYPES] = {0};
    stored_type most = STORED_REAL;
    for (int i = 0; i < s->n; i++) values[s->tensor[i].type] += (double)weight_size(s->tensor[i].w);
    for (stored_type type = STORED_REAL; type < STORED_TYPES; type++)
        if (values[type] > values[most]) most = type;
    return most;
}

static int put_settings(saving *s) {
    const stored_type type = main_type(s);
    gguf_write_config(s->writer, s->contents->config, s->architecture);
    gguf_put_integer(s->writer, "general.file_type", numbers[type].file_type);
    if (stored_formats[type].values > 1) gguf_put_integer(s->writer, "general.quantization_version", 2);
    return gguf_write_tokenizer(s->writer, s->contents->tokenizer, s->contents->config->vocab_size, s->contents->config->end_of_text);
}

int gguf_save(const char *path, const gguf_contents *contents) {
    saving s = {.contents = contents};
    int status = LAMP_OK;
    TRY_TO(done, gguf_architecture_of_model(&s.architecture, contents->config, "the model to write"));
    TRY_TO(done, list_tensors(&s));
    const size_t room = (size_t)(s.widest > VALUES_AT_ONCE ? s.widest : VALUES_AT_ONCE);
    TRY_TO(done, memory_new(&s.values, room, sizeof(real), "rows to write"));
    TRY_TO(done, memory_new(&s.again, (size_t)s.widest, sizeof(real), "a row that was written"));
    TRY_TO(done, memory_new(&s.bytes, room, sizeof(real), "rows to write"));
    TRY_TO(done, gguf_writer_new(&s.writer, path));
    TRY_TO(done, put_settings(&s));
    TRY_TO(done, declare_tensors(&s));
    TRY_TO(done, write_divisors(&s));
    for (int i = 0; i < s.n; i++) TRY_TO(done, write_tensor(&s, &s.tensor[i]));
    status = gguf_finish(s.writer);
done:
    gguf_writer_free(s.writer);
    memory_free(s.bytes), memory_free(s.again), memory_free(s.values), memory_free(s.tensor);
    return status;
}
