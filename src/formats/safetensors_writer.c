#include "formats/safetensors_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "formats/safetensors.h"

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 64 };

struct safetensors_writer {
    FILE *file;
    char *path;
    buffer header;
    json_writer json;
    XXH3_state_t *hash, *tensor_hash; /* of the file, and of the tensor that is being written */
    safetensors_written *tensor;      /* (n) */
    size_t n, capacity, current;
    bool declaring;
    int64_t declared, written; /* bytes of data */
    int64_t bytes;             /* of the file so far */
};

int safetensors_writer_new(safetensors_writer **writer, const char *path) {
    int status = LAMP_OK;
    safetensors_writer *w = NULL;
    TRY_TO(done, memory_new(&w, 1, sizeof *w, "a writer of safetensors"));
    TRY_TO(done, memory_copy_text(&w->path, path, "a path"));
    if (!(w->hash = XXH3_createState()) || !(w->tensor_hash = XXH3_createState())) FAIL_TO(done, LAMP_NO_MEMORY, "no memory for a hash");
    XXH3_128bits_reset(w->hash), XXH3_128bits_reset(w->tensor_hash);
    if (!(w->file = fopen(path, "wbe"))) FAIL_TO(done, LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    w->declaring = true;
    w->json = (json_writer){.out = &w->header};
    json_begin_object(&w->json, NULL);
    json_begin_object(&w->json, "__metadata__");
    json_put_text(&w->json, "format", "pt"); /* transformers 4 refuses a file that does not say so */
    json_end_object(&w->json);
    *writer = w;
done:
    if (status < 0) safetensors_writer_free(w);
    return status;
}

void safetensors_writer_free(safetensors_writer *w) {
    if (!w) return;
    if (w->file) fclose(w->file);
    XXH3_freeState(w->hash), XXH3_freeState(w->tensor_hash);
    for (size_t i = 0; i < w->n; i++) memory_free(w->tensor[i].name);
    memory_free(w->tensor);
    buffer_release(&w->header);
    memory_free(w->path);
    memory_free(w);
}

int safetensors_writer_declare_as(safetensors_writer *w, stored_type type, const char *name, int rank, const int64_t *shape) {
    static const char *const names[] = {[STORED_REAL] = "F32", [STORED_F16] = "F16", [STORED_BF16] = "BF16"};
    CHECK(w->declaring && rank <= SAFETENSORS_MAX_RANK, "%s: declared after the first value was written, or rank %d", name, rank);
    CHECK(type <= STORED_BF16, "%s: type %s", name, stored_formats[type].name);
    int64_t bytes = type == STORED_REAL ? (int64_t)sizeof(float) : stored_formats[type].bytes;
    TRY(memory_reserve(&w->tensor, &w->capacity, w->n + 1, sizeof *w->tensor, "the table of tensors"));
    safetensors_written *tensor = &w->tensor[w->n];
    TRY(memory_copy_text(&tensor->name, name, "a tensor's name"));
    w->n++;
    json_begin_object(&w->json, name);
    json_put_text(&w->json, "dtype", names[type]);
    json_begin_array(&w->json, "shape");
    for (int i = 0; i < rank; i++) {
        json_put_integer(&w->json, NULL, shape[i]);
        bytes *= shape[i];
    }
    json_end_array(&w->json);
    json_begin_array(&w->json, "data_offsets");
    json_put_integer(&w->json, NULL, w->declared);
    json_put_integer(&w->json, NULL, tensor->end = w->declared += bytes);
    json_end_array(&w->json);
    json_end_object(&w->json);
    return w->header.status;
}

int safetensors_writer_declare(safetensors_writer *w, const char *name, int rank, const int64_t *shape) {
    return safetensors_writer_declare_as(w, STORED_REAL, name, rank, shape);
}

static int write_bytes(safetensors_writer *w, const void *bytes, size_t n) {
    if (fwrite(bytes, 1, n, w->file) != n) FAIL(LAMP_IO, "%s: cannot write %zu bytes: %s", w->path, n, strerror(errno));
    XXH3_128bits_update(w->hash, bytes, n);
    w->bytes += (int64_t)n;
    return LAMP_OK;
}

static int write_header(safetensors_writer *w) {
    if (!w->declaring) return LAMP_OK;
    w->declaring = false;
    json_end_object(&w->json);
    while ((LENGTH_BYTES + w->header.length) % DATA_ALIGNMENT && w->header.status >= 0) buffer_append_byte(&w->header, ' ');
    TRY(w->header.status);
    uint64_t length = w->header.length;
    if (length > SAFETENSORS_MAX_HEADER_BYTES)
        FAIL(LAMP_UNSUPPORTED, "%s: expected a header of at most %d bytes, found %" PRIu64 ": too many tensors for one file", w->path,
             SAFETENSORS_MAX_HEADER_BYTES, length);
    TRY(write_bytes(w, &length, LENGTH_BYTES));
    return write_bytes(w, w->header.bytes, w->header.length);
}

static hash128 digest_of(const XXH3_state_t *state) {
    XXH128_hash_t digest = XXH3_128bits_digest(state);
    return (hash128){digest.low64, digest.high64};
}

/* Gives the tensors that are all written their hashes; of no bytes also those that are empty. */
static void end_tensors(safetensors_writer *w) {
    for (; w->current < w->n && w->tensor[w->current].end == w->written; w->current++) {
        w->tensor[w->current].hash = digest_of(w->tensor_hash);
        XXH3_128bits_reset(w->tensor_hash);
    }
}

static int write_data(safetensors_writer *w, const void *data, int64_t bytes) {
    const char *next = data;
    TRY(write_bytes(w, data, (size_t)bytes));
    for (end_tensors(w); bytes > 0; end_tensors(w)) {
        CHECK(w->current < w->n, "%s: more was written than declared", w->path);
        int64_t count = w->tensor[w->current].end - w->written;
        if (count > bytes) count = bytes;
        XXH3_128bits_update(w->tensor_hash, next, (size_t)count);
        w->written += count, next += count, bytes -= count;
    }
    return LAMP_OK;
}

int safetensors_writer_write(safetensors_writer *w, const real *values, int64_t n) {
    TRY(write_header(w));
    if (sizeof(real) == sizeof(float)) return write_data(w, values, n * (int64_t)sizeof(float));
    while (n > 0) {
        float block[1024];
        int64_t count = n < 1024 ? n : 1024;
        for (int64_t i = 0; i < count; i++) block[i] = (float)values[i];
        TRY(write_data(w, block, count * (int64_t)sizeof(float)));
        values += count, n -= count;
    }
    return LAMP_OK;
}

int safetensors_writer_write_bytes(safetensors_writer *w, const void *bytes, int64_t n) {
    TRY(write_header(w));
    return write_data(w, bytes, n);
}

int safetensors_writer_finish(safetensors_writer *w, hash128 *hash, int64_t *bytes) {
    TRY(write_header(w));
    CHECK(w->written == w->declared, "%s: %" PRId64 " bytes written, %" PRId64 " declared", w->path, w->written, w->declared);
    if (fflush(w->file) || fsync(fileno(w->file))) FAIL(LAMP_IO, "%s: cannot write: %s", w->path, strerror(errno));
    end_tensors(w);
    *hash = digest_of(w->hash);
    *bytes = w->bytes;
    return LAMP_OK;
}

const safetensors_written *safetensors_writer_tensors(size_t *n, const safetensors_writer *w) {
    *n = w->n;
    return w->tensor;
}
