#include "formats/checkpoint_files.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "formats/checkpoint_weights.h"
#include "formats/manifest.h"
#include "formats/quantise.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "formats/tokenizer_json.h"
#include "models/families/family.h"
#include "text/tokenizer_parts.h"

enum { MOMENT_NAME_BYTES = 128 };

/* name, and shape of rank 3 */
static void moment_place(char name[MOMENT_NAME_BYTES], int64_t shape[3], const weight_moment *m) {
    if (m->of->layer < 0) snprintf(name, MOMENT_NAME_BYTES, "%s.%s", m->name, m->of->kind);
    else snprintf(name, MOMENT_NAME_BYTES, "%s.layers.%d.%s", m->name, m->of->layer, m->of->kind);
    shape[0] = m->of->groups, shape[1] = m->out, shape[2] = m->in;
}

static void memory_place(char name[MOMENT_NAME_BYTES], int64_t shape[2], const state *s, int i) {
    snprintf(name, MOMENT_NAME_BYTES, "%s.layers.%d", state_kind_name(i), i / STATE_KINDS);
    shape[0] = s->sequences, shape[1] = s->rows[i].width;
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

/* A checkpoint on its way: each file written is added to the manifest. */
typedef struct {
    const char *folder;
    manifest manifest;
} saving;

static int write_text(saving *s, const char *name, const buffer *text) {
    char path[PATH_BYTES];
    TRY(text->status);
    TRY(file_join(path, s->folder, name));
    TRY(file_write_whole(path, text->bytes, text->length));
    manifest_add(&s->manifest, name, (int64_t)text->length, hash_bytes(text->bytes, text->length), NULL);
    return LAMP_OK;
}

static int write_config(saving *s, const checkpoint *contents) {
    buffer text = {0};
    int status = family_write_config_as(contents->config, contents->type ? contents->type[0] : STORED_REAL, &text); /* the embedding's */
    if (status >= 0) status = write_text(s, "config.json", &text);
    buffer_release(&text);
    return status;
}

static int write_generation_config(saving *s, const checkpoint *contents) {
    buffer text = {0};
    json_writer w = {.out = &text, .indented = true};
    json_begin_object(&w, NULL);
    if (contents->config->end_of_text >= 0) json_put_integer(&w, "eos_token_id", contents->config->end_of_text);
    json_put_bool(&w, "do_sample", true);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    int status = write_text(s, "generation_config.json", &text);
    buffer_release(&text);
    return status;
}

static int write_moments(safetensors_writer *writer, const checkpoint *contents) {
    for (int m = 0; m < contents->n_moments; m++) {
        char name[MOMENT_NAME_BYTES];
        int64_t shape[3];
        moment_place(name, shape, &contents->moments[m]);
        TRY(safetensors_writer_declare_as(writer, contents->moments[m].type, name, 3, shape));
    }
    for (int i = 0; i < contents->n_moments; i++) {
        const weight_moment *m = &contents->moments[i];
        if (m->type == STORED_REAL) TRY(safetensors_writer_write(writer, m->values, moment_size(m)));
        else TRY(safetensors_writer_write_bytes(writer, m->values, m->of->groups * m->out * (ptrdiff_t)moment_row_bytes(m)));
    }
    return LAMP_OK;
}

static int write_memory(safetensors_writer *writer, const checkpoint *contents) {
    const state *s = contents->memory;
    for (int i = 0; i < s->layers * STATE_KINDS; i++) {
        char name[MOMENT_NAME_BYTES];
        int64_t shape[2];
        if (!state_is_replaced(s, i)) continue;
        memory_place(name, shape, s, i);
        TRY(safetensors_writer_declare(writer, name, 2, shape));
    }
    for (int i = 0; i < s->layers * STATE_KINDS; i++)
        if (state_is_replaced(s, i)) TRY(safetensors_writer_write(writer, s->rows[i].x, s->sequences * s->rows[i].width));
    return LAMP_OK;
}

static int write_tensors(saving *s, const char *name, int (*write)(safetensors_writer *, const checkpoint *), const checkpoint *contents) {
    int status = LAMP_OK;
    char path[PATH_BYTES];
    safetensors_writer *writer = NULL;
    hash128 hash;
    int64_t bytes;
    TRY(file_join(path, s->folder, name));
    TRY_TO(done, safetensors_writer_new(&writer, path));
    TRY_TO(done, write(writer, contents));
    TRY_TO(done, safetensors_writer_finish(writer, &hash, &bytes));
    manifest_add(&s->manifest, name, bytes, hash, writer);
done:
    safetensors_writer_free(writer);
    return status;
}

/* The text of the token that separates documents, as tokenizer.json spells it; NULL if it has none. Borrowed from the document. */
static const char *end_of_text_spelling(const json_t *tokenizer_json, int64_t id) {
    const json_t *added;
    size_t i;
    json_array_foreach(json_object_get(tokenizer_json, "added_tokens"), i, added)
        if (json_integer_value(json_object_get(added, "id")) == id) return json_string_value(json_object_get(added, "content"));
    return NULL;
}

static int write_tokenizer_config(saving *s, const checkpoint *contents, const json_t *tokenizer_json) {
    const buffer *read = &contents->tokenizer->config_source;
    if (read->length > 0) return write_text(s, "tokenizer_config.json", read);
    buffer text = {0};
    json_writer w = {.out = &text, .indented = true};
    const char *end = end_of_text_spelling(tokenizer_json, tokenizer_end_of_text(contents->tokenizer));
    json_begin_object(&w, NULL);
    json_put_text(&w, "tokenizer_class", "PreTrainedTokenizerFast");
    json_put_integer(&w, "model_max_length", contents->config->max_position_embeddings);
    json_put_bool(&w, "clean_up_tokenization_spaces", false);
    if (end) json_put_text(&w, "eos_token", end);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    int status = write_text(s, "tokenizer_config.json", &text);
    buffer_release(&text);
    return status;
}

static int write_tokenizer(saving *s, const checkpoint *contents) {
    char path[PATH_BYTES];
    mapped_file map;
    json_t *root;
    TRY(file_join(path, s->folder, "tokenizer.json"));
    TRY(tokenizer_json_write(contents->tokenizer, path));
    TRY(file_map(&map, path));
    manifest_add(&s->manifest, "tokenizer.json", (int64_t)map.length, hash_bytes(map.bytes, map.length), NULL);
    int status = json_read_bytes(&root, map.bytes, map.length, path);
    file_unmap(&map);
    TRY(status);
    status = write_tokenizer_config(s, contents, root);
    json_decref(root);
    return status;
}

/* What else a tokenizer says of itself (its chat template, tokens added later) is not ours to lose. */
static int copy_tokenizer(saving *s, const char *from) {
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "chat_template.jinja",
                                        "vocab.json",
                                        "merges.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_BYTES];
        mapped_file map;
        TRY(file_join(path, from, names[i]));
        if (!file_exists(path)) continue;
        TRY(file_map(&map, path));
        int status = write_text(s, names[i], &(buffer){.bytes = (char *)(uintptr_t)map.bytes, .length = map.length});
        file_unmap(&map);
        TRY(status);
    }
    return LAMP_OK;
}

static int write_files(saving *s, const checkpoint *contents) {
    TRY(write_config(s, contents));
    TRY(write_generation_config(s, contents));
    TRY(write_tensors(s, "model.safetensors", checkpoint_write_weights, contents));
    if (contents->tokenizer_from) TRY(copy_tokenizer(s, contents->tokenizer_from));
    else if (contents->tokenizer) TRY(write_tokenizer(s, contents));
    if (contents->n_moments > 0) TRY(write_tensors(s, "optimizer.safetensors", write_moments, contents));
    if (contents->memory && state_carries(contents->memory)) TRY(write_tensors(s, "memory.safetensors", write_memory, contents));
    if (contents->state) {
        buffer borrowed = {.bytes = (char *)(uintptr_t)contents->state, .length = strlen(contents->state)};
        TRY(write_text(s, "trainer.json", &borrowed));
    }
    TRY(manifest_write(&s->manifest, s->folder));
    return file_sync(s->folder);
}

int checkpoint_write_files(const char *folder, int64_t step, const checkpoint *contents) {
    saving s = {.folder = folder};
    manifest_begin(&s.manifest, step);
    int status = write_files(&s, contents);
    manifest_release(&s.manifest);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static int find_tensor(const safetensors_entry **entry, const safetensors *file, const char *name, const int64_t *shape, int rank) {
    char expected[SHAPE_TEXT_BYTES], found[SHAPE_TEXT_BYTES];
    const safetensors_entry *e = *entry = safetensors_find(file, name);
    if (e && e->rank == rank && !memcmp(e->shape, shape, sizeof *shape * (size_t)rank)) return LAMP_OK;
    safetensors_shape_to_text(expected, shape, rank);
    if (e) safetensors_shape_to_text(found, e->shape, e->rank);
    FAIL(LAMP_MALFORMED, "%s: tensor %s: expected %s, found %s", file->path, name, expected, e ? found : "nothing");
}

static int read_finite(real *values, const safetensors *file, const safetensors_entry *entry, int64_t first, int64_t n) {
    TRY(safetensors_read(values, entry, first, n));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected finite numbers, found %g at place %" PRId64, file->path, entry->name, (double)values[i],
                 first + i);
    return LAMP_OK;
}

static int load_tensor(real *values, const safetensors *file, const char *name, const int64_t *shape, int rank) {
    const safetensors_entry *entry;
    TRY(find_tensor(&entry, file, name, shape, rank));
    return read_finite(values, file, entry, 0, entry->size);
}

/* To the nearest of its type; those of a run that kept them in it are exact. */
static int load_rounded(const weight_moment *m, const safetensors *file, const char *name, const int64_t *shape) {
    enum { AT_ONCE = 1 << 16 };
    const safetensors_entry *entry;
    real *values;
    int status = LAMP_OK;
    TRY(find_tensor(&entry, file, name, shape, 3));
    TRY(memory_new(&values, AT_ONCE, sizeof *values, "moments on their way from a file"));
    for (int64_t first = 0, n; first < entry->size && status >= 0; first += n) {
        n = entry->size - first < AT_ONCE ? entry->size - first : AT_ONCE;
        TRY_TO(done, read_finite(values, file, entry, first, n));
        status = quantise((char *)m->values + stored_row_bytes(m->type, first), m->type, values, n);
        if (status < 0) error_add_context(status, "%s: tensor %s, from place %" PRId64 " on", file->path, name, first);
    }
done:
    memory_free(values);
    return status;
}

static int load_moment(const weight_moment *moment, const safetensors *file) {
    char name[MOMENT_NAME_BYTES];
    int64_t shape[3];
    moment_place(name, shape, moment);
    if (moment->type != STORED_REAL) return load_rounded(moment, file, name, shape);
    return load_tensor(moment->values, file, name, shape, 3);
}

int checkpoint_load_moments(const char *folder, int n, const weight_moment *moments) {
    char path[PATH_BYTES];
    safetensors *file;
    int status = LAMP_OK;
    TRY(file_join(path, folder, "optimizer.safetensors"));
    if (!file_exists(path)) FAIL(LAMP_CHECKPOINT, "%s: expected the optimiser's state, found nothing: it can be run but not resumed", path);
    TRY(safetensors_open(&file, path));
    for (int m = 0; m < n && status >= 0; m++) status = load_moment(&moments[m], file);
    safetensors_close(file);
    return status;
}

int checkpoint_load_memory(const char *folder, state *memory) {
    char path[PATH_BYTES], name[MOMENT_NAME_BYTES];
    int64_t shape[2];
    safetensors *file;
    int status = LAMP_OK;
    if (!state_carries(memory)) return LAMP_OK;
    TRY(file_join(path, folder, "memory.safetensors"));
    if (!file_exists(path)) FAIL(LAMP_CHECKPOINT, "%s: expected what the model carries on, found nothing: it can be run but not resumed", path);
    TRY(safetensors_open(&file, path));
    for (int i = 0; i < memory->layers * STATE_KINDS && status >= 0; i++) {
        if (!state_is_replaced(memory, i)) continue;
        memory_place(name, shape, memory, i);
        status = load_tensor(memory->rows[i].x, file, name, shape, 2);
    }
    safetensors_close(file);
    return status;
}

int checkpoint_load_state(buffer *text, const char *folder) {
    char path[PATH_BYTES];
    mapped_file map;
    TRY(file_join(path, folder, "trainer.json"));
    if (!file_exists(path)) FAIL(LAMP_CHECKPOINT, "%s: expected the trainer's state, found nothing: it can be run but not resumed", path);
    TRY(file_map(&map, path));
    int status = buffer_append(text, map.bytes, map.length);
    file_unmap(&map);
    return status;
}
