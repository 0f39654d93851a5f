#include "formats/gguf_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

struct gguf_writer {
    char *path;
    FILE *file;
    buffer settings, tensors;
    uint64_t n_settings, n_tensors;
    gguf_setting_type item;
    int64_t *end; /* (n_tensors) of each, in the data */
    size_t capacity;
    uint64_t current;
    int64_t declared, written; /* bytes of data */
    bool declaring;
};

int gguf_writer_new(gguf_writer **writer, const char *path) {
    int status = LAMP_OK;
    gguf_writer *w = NULL;
    TRY_TO(done, memory_new(&w, 1, sizeof *w, "a writer of GGUF"));
    TRY_TO(done, memory_copy_text(&w->path, path, "a path"));
    if (!(w->file = fopen(path, "wbe"))) FAIL_TO(done, LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    w->declaring = true;
    *writer = w;
done:
    if (status < 0) gguf_writer_free(w);
    return status;
}

void gguf_writer_free(gguf_writer *w) {
    if (!w) return;
    if (w->file) fclose(w->file);
    buffer_release(&w->settings);
    buffer_release(&w->tensors);
    memory_free(w->end);
    memory_free(w->path);
    memory_free(w);
}

/* ---- settings ---------------------------------------------------------------------------------------------------------------- */

static void put_text(buffer *out, const char *bytes, size_t length) {
    uint64_t n = length;
    buffer_append(out, &n, sizeof n);
    buffer_append(out, bytes, length);
}

static void put_key(gguf_writer *w, const char *key, uint32_t type) {
    CHECK(w->declaring, "%s after the first byte of data", key);
    put_text(&w->settings, key, strlen(key));
    buffer_append(&w->settings, &type, sizeof type);
    w->n_settings++;
}

void gguf_put_integer(gguf_writer *w, const char *key, uint32_t value) {
    put_key(w, key, GGUF_U32);
    buffer_append(&w->settings, &value, sizeof value);
}

void gguf_put_number(gguf_writer *w, const char *key, double value) {
    float narrow = (float)value;
    put_key(w, key, GGUF_F32);
    buffer_append(&w->settings, &narrow, sizeof narrow);
}

void gguf_put_bool(gguf_writer *w, const char *key, bool value) {
    put_key(w, key, GGUF_BOOL);
    buffer_append_byte(&w->settings, value);
}

void gguf_put_text(gguf_writer *w, const char *key, const char *bytes, size_t length) {
    put_key(w, key, GGUF_TEXT);
    put_text(&w->settings, bytes, length);
}

void gguf_begin_array(gguf_writer *w, const char *key, gguf_setting_type item, uint64_t n) {
    uint32_t type = item;
    put_key(w, key, GGUF_ARRAY);
    buffer_append(&w->settings, &type, sizeof type);
    buffer_append(&w->settings, &n, sizeof n);
    w->item = item;
}

void gguf_put_item_text(gguf_writer *w, const char *bytes, size_t length) { put_text(&w->settings, bytes, length); }

void gguf_put_item(gguf_writer *w, const void *value) { buffer_append(&w->settings, value, gguf_setting_bytes(w->item)); }

/* ---- tensors ----------------------------------------------------------------------------------------------------------------- */

static int64_t align(int64_t bytes) { return (bytes + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT; }

int gguf_declare(gguf_writer *w, const char *tensor, int number, int rank, const int64_t *dimension) {
    const gguf_type *type = gguf_type_of(number);
    uint32_t of_rank = (uint32_t)rank, of_type = (uint32_t)number;
    int64_t size = 1, start = align(w->declared);
    CHECK(w->declaring && type && strlen(tensor) < GGUF_NAME_BYTES && dimension[0] % type->block == 0, "%s of type %d", tensor, number);
    for (int i = 0; i < rank; i++) size *= dimension[i];
    TRY(memory_reserve(&w->end, &w->capacity, w->n_tensors + 1, sizeof *w->end, "the table of tensors"));
    w->end[w->n_tensors++] = w->declared = start + size / type->block * type->block_bytes;
    put_text(&w->tensors, tensor, strlen(tensor));
    buffer_append(&w->tensors, &of_rank, sizeof of_rank);
    buffer_append(&w->tensors, dimension, (size_t)rank * sizeof *dimension);
    buffer_append(&w->tensors, &of_type, sizeof of_type);
    buffer_append(&w->tensors, &start, sizeof start);
    return w->tensors.status;
}

static int write_bytes(gguf_writer *w, const void *bytes, size_t n) {
    if (n > 0 && fwrite(bytes, 1, n, w->file) != n) FAIL(LAMP_IO, "%s: cannot write %zu bytes: %s", w->path, n, strerror(errno));
    return LAMP_OK;
}

static int write_padding(gguf_writer *w, int64_t bytes) {
    static const char zeros[GGUF_ALIGNMENT];
    return write_bytes(w, zeros, (size_t)(align(bytes) - bytes));
}

static int write_tables(gguf_writer *w) {
    const uint32_t version = 3;
    if (!w->declaring) return LAMP_OK;
    w->declaring = false;
    TRY(w->settings.status);
    TRY(w->tensors.status);
    TRY(write_bytes(w, "GGUF", 4));
    TRY(write_bytes(w, &version, sizeof version));
    TRY(write_bytes(w, &w->n_tensors, sizeof w->n_tensors));
    TRY(write_bytes(w, &w->n_settings, sizeof w->n_settings));
    TRY(write_bytes(w, w->settings.bytes, w->settings.length));
    TRY(write_bytes(w, w->tensors.bytes, w->tensors.length));
    return write_padding(w, (int64_t)(4 + sizeof version + 2 * sizeof w->n_tensors + w->settings.length + w->tensors.length));
}

/* Each tensor is followed by zeros up to where the next may begin; the last too, as other writers have it. */
int gguf_write(gguf_writer *w, const void *bytes, size_t n) {
    TRY(write_tables(w));
    TRY(write_bytes(w, bytes, n));
    w->written += (int64_t)n;
    CHECK(w->current < w->n_tensors && w->written <= w->end[w->current], "%s: runs of bytes end with their tensors", w->path);
    for (; w->current < w->n_tensors && w->written == w->end[w->current]; w->current++) {
        TRY(write_padding(w, w->written));
        w->written = align(w->written);
    }
    return LAMP_OK;
}

int gguf_finish(gguf_writer *w) {
    TRY(write_tables(w));
    CHECK(w->current == w->n_tensors, "%s: %" PRIu64 " of %" PRIu64 " tensors were written", w->path, w->current, w->n_tensors);
    if (fflush(w->file) || fsync(fileno(w->file))) FAIL(LAMP_IO, "%s: cannot write: %s", w->path, strerror(errno));
    int failed = fclose(w->file), reason = errno;
    w->file = NULL;
    if (failed) FAIL(LAMP_IO, "%s: cannot close: %s", w->path, strerror(reason));
    return LAMP_OK;
}
