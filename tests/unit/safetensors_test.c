/* The safetensors reader and writer: what is written reads back, and damage does no harm. What is refused, and how: tests/malformed. */
#include "formats/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/safetensors_writer.h"
#include "lamp.h"

/* A file of a claimed header length, a header and some data. Not through file_write_whole: thousands of syncs take a while. */
static const char *write_raw(uint64_t claimed, const void *header, size_t header_bytes, size_t data_bytes) {
    const char *path = test_path("raw.safetensors");
    FILE *file = fopen(path, "wb");
    EXPECT(file, "cannot create %s", path);
    if (!file) return path;
    fwrite(&claimed, 8, 1, file);
    fwrite(header, 1, header_bytes, file);
    for (size_t i = 0; i < data_bytes; i++) fputc((int)i, file);
    fclose(file);
    return path;
}

static int open_raw(uint64_t claimed, const void *header, size_t header_bytes, size_t data_bytes) {
    safetensors *file = NULL;
    int status = safetensors_open(&file, write_raw(claimed, header, header_bytes, data_bytes));
    safetensors_close(file);
    return status;
}

static int open_text(const char *header, size_t data_bytes) { return open_raw(strlen(header), header, strlen(header), data_bytes); }

static void values_survive_writing_and_reading(void) {
    const char *path = test_path("round.safetensors");
    const real first[] = {0, -1.5f, (real)1e-40, INFINITY, -0.0f, 3}, rest[] = {-0.0f, 3, 42};
    safetensors_writer *writer = NULL;
    hash128 hash = {0};
    int64_t bytes = 0;
    EXPECT_OK(safetensors_writer_new(&writer, path));
    EXPECT_OK(safetensors_writer_declare(writer, "b \"x\"\\", 2, (const int64_t[]){2, 3}));
    EXPECT_OK(safetensors_writer_declare(writer, "none", 2, (const int64_t[]){0, 5}));
    EXPECT_OK(safetensors_writer_declare(writer, "a", 0, NULL));
    EXPECT_OK(safetensors_writer_write(writer, first, 4));
    EXPECT_OK(safetensors_writer_write(writer, rest, 3)); /* of all three tensors */
    EXPECT_OK(safetensors_writer_finish(writer, &hash, &bytes));

    mapped_file map;
    EXPECT_OK(file_map(&map, path));
    hash128 found = hash_bytes(map.bytes, map.length);
    EXPECT(found.low == hash.low && found.high == hash.high && bytes == (int64_t)map.length, "hash or size (%d) of the file", (int)bytes);
    file_unmap(&map);

    safetensors *file = NULL;
    EXPECT_OK(safetensors_open(&file, path));
    if (!file) return;
    const safetensors_entry *b = safetensors_find(file, "b \"x\"\\"), *none = safetensors_find(file, "none"),
                            *a = safetensors_find(file, "a");
    EXPECT(file->n == 3 && a && b && none && !safetensors_find(file, "c") && !safetensors_find(file, ""), "found %zu", file->n);
    if (a && b && none) {
        real values[6];
        char shape[SHAPE_TEXT_BYTES];
        safetensors_shape_to_text(shape, b->shape, b->rank);
        EXPECT(!strcmp(shape, "[2, 3]") && none->size == 0 && a->rank == 0 && a->size == 1, "shape %s", shape);
        EXPECT(((uintptr_t)b->bytes & 63) == 0, "the data begins at %p", (const void *)b->bytes);
        EXPECT_OK(safetensors_read(values, b, 0, 6));
        EXPECT(!memcmp(values, first, sizeof first), "values");
        EXPECT_OK(safetensors_read(values, b, 3, 1));
        EXPECT(isinf(values[0]), "found %g", values[0]);
        stored_type type;
        const real *borrowed = safetensors_borrow(&type, b, 1);
        EXPECT(borrowed && type == STORED_REAL && *borrowed == -1.5f, "not borrowed");
        EXPECT_OK(safetensors_read(values, none, 0, 0));
    }
    size_t n;
    const safetensors_written *tensor = safetensors_writer_tensors(&n, writer);
    EXPECT(n == 3, "found %zu", n);
    for (size_t i = 0; i < n; i++) {
        const safetensors_entry *entry = safetensors_find(file, tensor[i].name);
        if (entry) found = hash_bytes(entry->bytes, (size_t)(entry->end - entry->begin));
        EXPECT(entry && entry->end == tensor[i].end && found.low == tensor[i].hash.low && found.high == tensor[i].hash.high, "%s", tensor[i].name);
    }
    safetensors_close(file);
    safetensors_writer_free(writer);
}

static void other_types_are_converted_or_refused_when_used(void) {
    const char header[] =
        "{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]},"
        "\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[12,20]},\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[20,28]},"
        "\"__metadata__\":{\"format\":\"pt\"}}  ";
    const uint16_t half[] = {0xC100, 0x0001, 0x7C00, 0x3555}, brain[] = {0xC020, 0x3F80};
    const double precise = 0.1;
    uint64_t length = strlen(header);
    buffer bytes = {0};
    buffer_append(&bytes, &length, 8);
    buffer_append(&bytes, header, length);
    buffer_append(&bytes, half, sizeof half);
    buffer_append(&bytes, brain, sizeof brain);
    buffer_append(&bytes, &precise, sizeof precise);
    buffer_append(&bytes, "12345678", 8);
    EXPECT_OK(file_write_whole(test_path("types.safetensors"), bytes.bytes, bytes.length));
    buffer_release(&bytes);
    safetensors *file = NULL;
    EXPECT_OK(safetensors_open(&file, test_path("types.safetensors")));
    if (!file) return;
    real h[4], b[2], d[1];
    EXPECT_OK(safetensors_read(h, safetensors_find(file, "h"), 0, 4));
    EXPECT(h[0] == -2.5f && h[1] == 0x1p-24f && isinf(h[2]) && h[3] == (real)0x1.554p-2, "found %g %g %g %g", h[0], h[1], h[2], h[3]);
    EXPECT_OK(safetensors_read(b, safetensors_find(file, "b"), 0, 2));
    EXPECT(b[0] == -2.5f && b[1] == 1, "found %g %g", b[0], b[1]);
    EXPECT_OK(safetensors_read(d, safetensors_find(file, "d"), 0, 1));
    EXPECT(d[0] == (real)0.1, "found %g", d[0]);
    stored_type type;
    const safetensors_entry *halves = safetensors_find(file, "h");
    EXPECT(safetensors_borrow(&type, halves, 1) == halves->bytes + 2 && type == STORED_F16, "F16 was not borrowed as it is stored");
    EXPECT(safetensors_borrow(&type, safetensors_find(file, "b"), 0) && type == STORED_BF16, "BF16 was not borrowed as it is stored");
    EXPECT(!safetensors_borrow(&type, safetensors_find(file, "d"), 0), "borrowed F64");
    EXPECT(!safetensors_borrow(&type, safetensors_find(file, "i"), 0), "borrowed I64");
    EXPECT_ERROR(safetensors_read(d, safetensors_find(file, "i"), 0, 1), LAMP_UNSUPPORTED,
                 "tensor i: expected values of F32, F16, BF16 or F64, found I64");
    safetensors_close(file);
}

static void a_hundred_thousand_tensors_open_quickly(void) {
    enum { N = 100000 };
    buffer header = {0};
    for (int i = 0; i < N; i++)
        buffer_printf(&header, "%c\"tensor.%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{', (i * 7919) % N);
    buffer_append_byte(&header, '}');
    const char *path = write_raw(header.length, header.bytes, header.length, 0);
    double start = clock_seconds();
    safetensors *file = NULL;
    EXPECT_OK(safetensors_open(&file, path));
    int found = 0;
    for (int i = 0; file && i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "tensor.%d", i);
        found += safetensors_find(file, name) != NULL;
    }
    EXPECT(found == N && clock_seconds() - start < 10, "found %d of %d in %.1f s", found, N, clock_seconds() - start);
    safetensors_close(file);
    buffer_release(&header);
}

/* Every prefix of a sound file, and every byte of its header changed: refused or read, never worse. */
static void damaged_headers_do_no_harm(void) {
    const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
    size_t length = strlen(header);
    for (size_t i = 0; i < length; i++) {
        EXPECT(open_raw(length, header, i, 0) < 0, "a prefix of %zu bytes was accepted", i);
        char changed[sizeof header];
        memcpy(changed, header, sizeof header);
        for (int bit = 0; bit < 8; bit++) {
            changed[i] = (char)(header[i] ^ 1 << bit);
            open_raw(length, changed, length, 11);
        }
    }
    for (size_t data = 0; data < 11; data++) EXPECT(open_text(header, data) < 0, "%zu of 11 bytes of data were accepted", data);
}

static const test_case cases[] = {
    {"values survive writing and reading", values_survive_writing_and_reading},
    {"other types are converted, or refused when used", other_types_are_converted_or_refused_when_used},
    {"a hundred thousand tensors open quickly", a_hundred_thousand_tensors_open_quickly},
    {"damaged headers do no harm", damaged_headers_do_no_harm},
};

int main(void) { return test_run("safetensors", cases, sizeof cases / sizeof *cases); }
