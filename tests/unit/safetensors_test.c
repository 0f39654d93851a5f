/* The safetensors reader and writer: what is written reads back, and every way a file can lie is refused. */
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

static const char *path_of(const char *name) {
    static char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), name));
    return path;
}

/* A file of a claimed header length, a header and some data. Not through file_write_whole: thousands of syncs take a while. */
static const char *write_raw(uint64_t claimed, const void *header, size_t header_bytes, size_t data_bytes) {
    const char *path = path_of("raw.safetensors");
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
    const char *path = path_of("round.safetensors");
    const real first[] = {0, -1.5f, (real)1e-40, INFINITY, -0.0f, 3}, second[] = {42};
    safetensors_writer *writer = NULL;
    hash128 hash = {0};
    int64_t bytes = 0;
    EXPECT_OK(safetensors_writer_new(&writer, path));
    EXPECT_OK(safetensors_writer_declare(writer, "b \"x\"\\", 2, (const int64_t[]){2, 3}));
    EXPECT_OK(safetensors_writer_declare(writer, "none", 2, (const int64_t[]){0, 5}));
    EXPECT_OK(safetensors_writer_declare(writer, "a", 0, NULL));
    EXPECT_OK(safetensors_writer_write(writer, first, 4));
    EXPECT_OK(safetensors_writer_write(writer, first + 4, 2));
    EXPECT_OK(safetensors_writer_write(writer, second, 1));
    EXPECT_OK(safetensors_writer_finish(writer, &hash, &bytes));
    safetensors_writer_free(writer);

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
        const real *borrowed = safetensors_borrow(b, 1);
        EXPECT(borrowed && *borrowed == -1.5f, "not borrowed");
        EXPECT_OK(safetensors_read(values, none, 0, 0));
    }
    safetensors_close(file);
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
    EXPECT_OK(file_write_whole(path_of("types.safetensors"), bytes.bytes, bytes.length));
    buffer_release(&bytes);
    safetensors *file = NULL;
    EXPECT_OK(safetensors_open(&file, path_of("types.safetensors")));
    if (!file) return;
    real h[4], b[2], d[1];
    EXPECT_OK(safetensors_read(h, safetensors_find(file, "h"), 0, 4));
    EXPECT(h[0] == -2.5f && h[1] == 0x1p-24f && isinf(h[2]) && h[3] == (real)0x1.554p-2, "found %g %g %g %g", h[0], h[1], h[2], h[3]);
    EXPECT_OK(safetensors_read(b, safetensors_find(file, "b"), 0, 2));
    EXPECT(b[0] == -2.5f && b[1] == 1, "found %g %g", b[0], b[1]);
    EXPECT_OK(safetensors_read(d, safetensors_find(file, "d"), 0, 1));
    EXPECT(d[0] == (real)0.1, "found %g", d[0]);
    EXPECT(!safetensors_borrow(safetensors_find(file, "h"), 0), "borrowed F16 as real");
    EXPECT_ERROR(safetensors_read(d, safetensors_find(file, "i"), 0, 1), LAMP_UNSUPPORTED,
                 "tensor i: expected values of F32, F16, BF16 or F64, found I64");
    safetensors_close(file);
}

static void broken_frames_are_refused(void) {
    EXPECT_ERROR(open_raw(0, "", 0, 0), LAMP_MALFORMED, "begins with '{'");
    EXPECT_OK(file_write_whole(path_of("short.safetensors"), "1234567", 7));
    safetensors *file;
    EXPECT_ERROR(safetensors_open(&file, path_of("short.safetensors")), LAMP_MALFORMED, "expected at least 8 bytes, found 7");
    EXPECT_OK(file_write_whole(path_of("empty.safetensors"), "", 0));
    EXPECT_ERROR(safetensors_open(&file, path_of("empty.safetensors")), LAMP_MALFORMED, "expected at least 8 bytes, found 0");
    EXPECT_ERROR(safetensors_open(&file, path_of("absent.safetensors")), LAMP_IO, "absent.safetensors: cannot open");
    EXPECT_ERROR(open_raw(100000001, "{}", 2, 0), LAMP_MALFORMED, "at most 100000000 bytes, found 100000001");
    EXPECT_ERROR(open_raw(3, "{}", 2, 0), LAMP_MALFORMED, "cut short?");
    EXPECT_ERROR(open_raw(UINT64_MAX, "{}", 2, 0), LAMP_MALFORMED, "found 18446744073709551615");
    EXPECT_ERROR(open_raw(UINT64_MAX - 7, "{}", 2, 0), LAMP_MALFORMED, "at most 100000000 bytes");
    EXPECT_ERROR(open_text("[]", 0), LAMP_MALFORMED, "begins with '{'");
    EXPECT_ERROR(open_text(" {}", 0), LAMP_MALFORMED, "begins with '{'");
    EXPECT_ERROR(open_text("{}\n", 0), LAMP_MALFORMED, "begins with '{'");
    EXPECT_ERROR(open_raw(3, "{}\0", 3, 0), LAMP_MALFORMED, "begins with '{'");
    EXPECT_ERROR(open_text("{\"a\xFF\":{}}", 0), LAMP_MALFORMED, "not valid JSON");
    EXPECT_ERROR(open_text("{\"a\":}", 0), LAMP_MALFORMED, "not valid JSON");
    EXPECT_ERROR(open_text("{}{}", 0), LAMP_MALFORMED, "not valid JSON");
    EXPECT_ERROR(open_text("{}", 1), LAMP_MALFORMED, "found 1 bytes more");
    const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    EXPECT_OK(file_write_whole(path_of("lfs.safetensors"), pointer, sizeof pointer - 1));
    EXPECT_ERROR(safetensors_open(&file, path_of("lfs.safetensors")), LAMP_MALFORMED, "git lfs pull");
    EXPECT_OK(open_text("{}", 0));
    EXPECT_OK(open_text("{}      ", 0));

    buffer bomb = {0};
    buffer_append_text(&bomb, "{\"a\":");
    for (int i = 0; i < 100000; i++) buffer_append_byte(&bomb, '[');
    buffer_append_byte(&bomb, '}');
    EXPECT_ERROR(open_raw(bomb.length, bomb.bytes, bomb.length, 0), LAMP_MALFORMED, "depth");
    buffer_release(&bomb);
}

static void broken_entries_are_refused(void) {
#define ENTRY(type, shape, offsets) "{\"t\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define PAIR(a, b)                                                                                                                         \
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a "},\"u\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b "}}"
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *message;
    } cases[] = {
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"t\":{}}", 1, "duplicate"},
        {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, "duplicate"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "\"__metadata__\": \"a\": expected text"},
        {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "expected text"},
        {"{\"__metadata__\":[]}", 0, "expected an object of texts"},
        {"{\"t\":7}", 0, "tensor t: expected an object"},
        {"{\"t\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, "tensor t: \"dtype\": expected text, found nothing"},
        {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "\"shape\": expected an array, found nothing"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[]}}", 1, "\"data_offsets\": expected an array, found nothing"},
        {ENTRY("F31", "[1]", "[0,4]"), 4, "\"dtype\": expected a type of the format, such as F32, found \"F31\""},
        {ENTRY("f32", "[1]", "[0,4]"), 4, "found \"f32\""},
        {ENTRY("U8", "4", "[0,4]"), 4, "\"shape\": expected an array, found an integer"},
        {ENTRY("U8", "[-4]", "[0,4]"), 4, "expected integers of at least 0"},
        {ENTRY("U8", "[4.0]", "[0,4]"), 4, "expected integers of at least 0"},
        {ENTRY("U8", "[1e400]", "[0,4]"), 4, "not valid JSON"},
        {ENTRY("U8", "[04]", "[0,4]"), 4, "not valid JSON"},
        {ENTRY("U8", "[9223372036854775808]", "[0,4]"), 4, "not valid JSON"},
        {ENTRY("U8", "[4194305,4194305,211106198978564]", "[0,4]"), 4, "a number of values below 2^63"}, /* 4 modulo 2^64 */
        {ENTRY("F32", "[4611686018427387905]", "[0,4]"), 4, "fewer than 2^63 bits"},
        {ENTRY("F32", "[9223372036854775807,0]", "[0,4]"), 4, "expected 0 bytes for this shape of F32, found 4"},
        {ENTRY("F4", "[3]", "[0,2]"), 2, "expected whole bytes, found 3 values of 4 bits"},
        {ENTRY("U8", "[1]", "[1,0]"), 1, "expected 0 <= begin <= end <= 1, found [1, 0]"},
        {ENTRY("U8", "[1]", "[-1,0]"), 1, "found [-1, 0]"},
        {ENTRY("U8", "[2]", "[0,2]"), 1, "found [0, 2]"},
        {ENTRY("U8", "[1]", "[0,9223372036854775807]"), 1, "found [0, 9223372036854775807]"},
        {ENTRY("U8", "[1]", "[0]"), 1, "expected two integers"},
        {ENTRY("U8", "[1]", "[0,1,1]"), 1, "expected two integers"},
        {ENTRY("U8", "[1]", "[0,1.0]"), 1, "expected two integers"},
        {ENTRY("F32", "[1]", "[0,3]"), 3, "expected 4 bytes for this shape of F32, found 3"},
        {ENTRY("U8", "[1]", "[1,2]"), 2, "expected its data at byte 0, found it at 1: a hole"},
        {PAIR("[0,4]", "[5,9]"), 9, "expected its data at byte 4, found it at 5: a hole"},
        {PAIR("[0,4]", "[3,7]"), 7, "expected its data at byte 4, found it at 3: an overlap"},
        {PAIR("[0,4]", "[0,4]"), 4, "an overlap"},
        {PAIR("[4,8]", "[0,4]"), 9, "expected the file to end with its last tensor, found 1 bytes more"},
        {PAIR("[4,8]", "[0,4]"), 7, "expected 0 <= begin <= end <= 7"},
        {"{\"a\\u001b[31m\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
         "expected tensor names of printable characters, found byte 0x1b"},
        {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EXPECT_ERROR(open_text(cases[i].header, cases[i].data_bytes), LAMP_MALFORMED, cases[i].message);
    EXPECT_ERROR(open_text(ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1), LAMP_UNSUPPORTED, "expected at most 8 dimensions, found 9");
    EXPECT_OK(open_text(PAIR("[4,8]", "[0,4]"), 8));
    EXPECT_OK(open_text(ENTRY("F4", "[2]", "[0,1]"), 1));
    EXPECT_OK(open_text("{\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1));
    EXPECT_OK(open_text("{\"../x\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1));
    EXPECT_OK(open_text("{\"caf\xC3\xA9\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
                        "\"cafe\xCC\x81\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1));
}

static void a_name_of_a_megabyte_does_not_flood_the_message(void) {
    buffer header = {0};
    buffer_append_text(&header, "{\"");
    for (int i = 0; i < 1 << 20; i++) buffer_append_byte(&header, 'n');
    buffer_append_text(&header, "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}");
    EXPECT_ERROR(open_raw(header.length, header.bytes, header.length, 1), LAMP_MALFORMED, "expected 2 bytes for this shape of U8, found 1");
    EXPECT(strlen(lamp_error_message()) < 1000, "%zu bytes", strlen(lamp_error_message()));
    buffer_release(&header);
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
    {"broken frames are refused", broken_frames_are_refused},
    {"broken entries are refused", broken_entries_are_refused},
    {"a name of a megabyte does not flood the message", a_name_of_a_megabyte_does_not_flood_the_message},
    {"a hundred thousand tensors open quickly", a_hundred_thousand_tensors_open_quickly},
    {"damaged headers do no harm", damaged_headers_do_no_harm},
};

int main(void) { return test_run("safetensors", cases, sizeof cases / sizeof *cases); }
