/* Every way a safetensors file can lie, by name: what it is told, and that no claimed size becomes memory. */
#include "formats/safetensors.h"

#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/buffer.h"
#include "base/file.h"
#include "lamp.h"

#define ENTRY(type, shape, offsets) "{\"t\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define NAMED(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}"
#define PAIR(a, b) "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a "},\"u\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b "}}"

/* ---- files that take more than a line to make: their bytes after the length of the header --------------------------------------- */

static void nested_deep(buffer *header) {
    buffer_append_text(header, "{\"a\":");
    for (int i = 0; i < 100000; i++) buffer_append_byte(header, '[');
    buffer_append_byte(header, '}');
}

static void name_of_a_megabyte(buffer *header) {
    buffer_append_text(header, "{\"");
    for (int i = 0; i < 1 << 20; i++) buffer_append_byte(header, 'n');
    buffer_append_text(header, "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}");
}

static void metadata_of_a_megabyte(buffer *header) {
    buffer_append_text(header, "{\"__metadata__\":{\"k\":\"");
    for (int i = 0; i < 1 << 20; i++) buffer_append_byte(header, 'n');
    buffer_append_text(header, "\"}}");
}

static void many_keys_that_are_no_tensors(buffer *header) {
    for (int i = 0; i < 100000; i++) buffer_printf(header, "%c\"%d\":0", i ? ',' : '{', i);
    buffer_append_byte(header, '}');
}

static void many_empty_tensors(buffer *header) {
    for (int i = 0; i < 100000; i++) buffer_printf(header, "%c\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{', i);
    buffer_append_byte(header, '}');
}

/* ---- the table ----------------------------------------------------------------------------------------------------------------- */

enum { TRUE_LENGTH = 0 };

static const struct {
    const char *class, *header;
    size_t data_bytes;
    int code;
    const char *text;
    uint64_t claimed; /* the length of the header, where it is not the true one */
    void (*make)(buffer *header);
} rows[] = {
    {.class = "header of no bytes", "", 0, LAMP_MALFORMED, "begins with '{'"},
    {.class = "header above the cap", "{}", 0, LAMP_MALFORMED, "at most 100000000 bytes, found 100000001", .claimed = 100000001},
    {.class = "header longer than the file", "{}", 0, LAMP_MALFORMED, "expected a header of 3 bytes, found a file of 10: cut short?", .claimed = 3},
    {.class = "header at the cap, file of ten bytes", "{}", 0, LAMP_MALFORMED, "cut short?", .claimed = 100000000},
    {.class = "header length 2^64 - 1", "{}", 0, LAMP_MALFORMED, "found 18446744073709551615", .claimed = UINT64_MAX},
    {.class = "header length + 8 wraps to 0", "{}", 0, LAMP_MALFORMED, "at most 100000000 bytes", .claimed = UINT64_MAX - 7},
    {.class = "first byte is no brace", "[]", 0, LAMP_MALFORMED, "begins with '{'"},
    {.class = "leading space", " {}", 0, LAMP_MALFORMED, "begins with '{'"},
    {.class = "padding of line ends", "{}\n", 0, LAMP_MALFORMED, "begins with '{'"},
    {.class = "padding of spaces", "{}      ", 0, LAMP_OK, ""},
    {.class = "no tensors", "{}", 0, LAMP_OK, ""},
    {.class = "invalid UTF-8", "{\"a\xFF\":{}}", 0, LAMP_MALFORMED, "not valid JSON"},
    {.class = "overlong UTF-8", "{\"a\xC0\xAF\":{}}", 0, LAMP_MALFORMED, "not valid JSON"},
    {.class = "lone surrogate", "{\"a\\ud800\":{}}", 0, LAMP_MALFORMED, "not valid JSON"},
    {.class = "truncated JSON", "{\"a\":}", 0, LAMP_MALFORMED, "not valid JSON"},
    {.class = "two documents", "{}{}", 0, LAMP_MALFORMED, "not valid JSON"},
    {.class = "depth bomb", NULL, 0, LAMP_MALFORMED, "depth", .make = nested_deep},
    {.class = "duplicate tensor", "{\"t\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"t\":{}}", 1, LAMP_MALFORMED, "duplicate"},
    {.class = "duplicate key in an entry",
     "{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}",
     1,
     LAMP_MALFORMED,
     "duplicate"},
    {.class = "metadata that is a number", "{\"__metadata__\":{\"a\":1}}", 0, LAMP_MALFORMED, "\"__metadata__\": \"a\": expected text"},
    {.class = "nested metadata", "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, LAMP_MALFORMED, "expected text"},
    {.class = "metadata that is an array", "{\"__metadata__\":[]}", 0, LAMP_MALFORMED, "expected an object of texts"},
    {.class = "huge metadata", NULL, 0, LAMP_OK, "", .make = metadata_of_a_megabyte},
    {.class = "entry that is no object", "{\"t\":7}", 0, LAMP_MALFORMED, "tensor t: expected an object"},
    {.class = "no dtype", "{\"t\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, LAMP_MALFORMED, "tensor t: \"dtype\": expected text, found nothing"},
    {.class = "no shape", "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, LAMP_MALFORMED, "\"shape\": expected an array, found nothing"},
    {.class = "no offsets", "{\"t\":{\"dtype\":\"U8\",\"shape\":[]}}", 1, LAMP_MALFORMED, "\"data_offsets\": expected an array, found nothing"},
    {.class = "unknown dtype",
     ENTRY("F31", "[1]", "[0,4]"),
     4,
     LAMP_MALFORMED,
     "\"dtype\": expected a type of the format, such as F32, found \"F31\""},
    {.class = "dtype in lower case", ENTRY("f32", "[1]", "[0,4]"), 4, LAMP_MALFORMED, "found \"f32\""},
    {.class = "dtype with a NUL inside", ENTRY("F32\\u0000x", "[1]", "[0,4]"), 4, LAMP_MALFORMED, "\"dtype\": expected text without NUL"},
    {.class = "shape that is no array", ENTRY("U8", "4", "[0,4]"), 4, LAMP_MALFORMED, "\"shape\": expected an array, found an integer"},
    {.class = "negative dimension", ENTRY("U8", "[-4]", "[0,4]"), 4, LAMP_MALFORMED, "expected integers of at least 0"},
    {.class = "dimension that is a float", ENTRY("U8", "[4.0]", "[0,4]"), 4, LAMP_MALFORMED, "expected integers of at least 0"},
    {.class = "dimension 1e400", ENTRY("U8", "[1e400]", "[0,4]"), 4, LAMP_MALFORMED, "not valid JSON"},
    {.class = "dimension with leading zeros", ENTRY("U8", "[04]", "[0,4]"), 4, LAMP_MALFORMED, "not valid JSON"},
    {.class = "dimension 2^63", ENTRY("U8", "[9223372036854775808]", "[0,4]"), 4, LAMP_MALFORMED, "not valid JSON"},
    {.class = "product of dimensions wraps to 4",
     ENTRY("U8", "[4194305,4194305,211106198978564]", "[0,4]"),
     4,
     LAMP_MALFORMED,
     "a number of values below 2^63"},
    {.class = "product of dimensions overflows before a zero",
     ENTRY("U8", "[4611686018427387904,4,0]", "[0,0]"),
     0,
     LAMP_MALFORMED,
     "a number of values below 2^63"},
    {.class = "bits overflow", ENTRY("F32", "[4611686018427387905]", "[0,4]"), 4, LAMP_MALFORMED, "fewer than 2^63 bits"},
    {.class = "half a byte", ENTRY("F4", "[3]", "[0,2]"), 2, LAMP_MALFORMED, "expected whole bytes, found 3 values of 4 bits"},
    {.class = "whole bytes of halves", ENTRY("F4", "[2]", "[0,1]"), 1, LAMP_OK, ""},
    {.class = "nine dimensions", ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, LAMP_UNSUPPORTED, "expected at most 8 dimensions, found 9"},
    {.class = "begin after end", ENTRY("U8", "[1]", "[1,0]"), 1, LAMP_MALFORMED, "expected 0 <= begin <= end <= 1, found [1, 0]"},
    {.class = "negative begin", ENTRY("U8", "[1]", "[-1,0]"), 1, LAMP_MALFORMED, "found [-1, 0]"},
    {.class = "end after the file", ENTRY("U8", "[2]", "[0,2]"), 1, LAMP_MALFORMED, "found [0, 2]"},
    {.class = "end 2^63 - 1", ENTRY("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 1, LAMP_MALFORMED, "fewer than 2^63 bits"},
    {.class = "terabytes in a file of one byte",
     ENTRY("U8", "[1099511627776]", "[0,1099511627776]"),
     1,
     LAMP_MALFORMED,
     "<= end <= 1, found [0, 1099511627776]"},
    {.class = "one offset", ENTRY("U8", "[1]", "[0]"), 1, LAMP_MALFORMED, "expected two integers"},
    {.class = "three offsets", ENTRY("U8", "[1]", "[0,1,1]"), 1, LAMP_MALFORMED, "expected two integers"},
    {.class = "offset that is a float", ENTRY("U8", "[1]", "[0,1.0]"), 1, LAMP_MALFORMED, "expected two integers"},
    {.class = "size is not shape x dtype", ENTRY("F32", "[1]", "[0,3]"), 3, LAMP_MALFORMED, "expected 4 bytes for this shape of F32, found 3"},
    {.class = "hole", PAIR("[0,4]", "[5,9]"), 9, LAMP_MALFORMED, "expected its data at byte 4, found it at 5: a hole"},
    {.class = "overlap", PAIR("[0,4]", "[3,7]"), 7, LAMP_MALFORMED, "expected its data at byte 4, found it at 3: an overlap"},
    {.class = "the same bytes twice", PAIR("[0,4]", "[0,4]"), 4, LAMP_MALFORMED, "an overlap"},
    {.class = "first offset is not 0", ENTRY("U8", "[1]", "[1,2]"), 2, LAMP_MALFORMED, "expected its data at byte 0, found it at 1: a hole"},
    {.class = "file ends too late", PAIR("[4,8]", "[0,4]"), 9, LAMP_MALFORMED, "expected the file to end with its last tensor, found 1 bytes more"},
    {.class = "another file after no tensors", "{}", 1, LAMP_MALFORMED, "found 1 bytes more"},
    {.class = "file ends too early", PAIR("[4,8]", "[0,4]"), 7, LAMP_MALFORMED, "expected 0 <= begin <= end <= 7"},
    {.class = "tensors in another order than their data", PAIR("[4,8]", "[0,4]"), 8, LAMP_OK, ""},
    {.class = "a hundred thousand keys that are no tensors",
     NULL,
     0,
     LAMP_MALFORMED,
     "tensor 0: expected an object",
     .make = many_keys_that_are_no_tensors},
    {.class = "a hundred thousand tensors of nothing", NULL, 0, LAMP_OK, "", .make = many_empty_tensors},
    {.class = "empty name", NAMED(""), 1, LAMP_OK, ""},
    {.class = "name that climbs", NAMED("../x"), 1, LAMP_OK, ""}, /* never made a path */
    {.class = "NUL in a name", NAMED("a\\u0000b"), 1, LAMP_MALFORMED, "not valid JSON"},
    {.class = "escape sequence in a name",
     NAMED("a\\u001b[31m"),
     1,
     LAMP_MALFORMED,
     "expected tensor names of printable characters, found byte 0x1b"},
    {.class = "name of a megabyte", NULL, 1, LAMP_MALFORMED, "expected 2 bytes for this shape of U8, found 1", .make = name_of_a_megabyte},
    {.class = "names equal after normalisation",
     "{\"caf\xC3\xA9\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
     "\"cafe\xCC\x81\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
     1,
     LAMP_OK,
     ""}, /* names are bytes */
    {.class = "zero times a huge dimension", ENTRY("F32", "[0,9223372036854775807]", "[0,0]"), 0, LAMP_OK, ""},
    {.class = "zero times a huge dimension, with data",
     ENTRY("F32", "[9223372036854775807,0]", "[0,4]"),
     4,
     LAMP_MALFORMED,
     "expected 0 bytes for this shape of F32, found 4"},
};

/* Not through file_write_whole: syncs take a while. */
static const char *write_file(const void *bytes, size_t length) {
    static char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), "malformed.safetensors"));
    FILE *file = fopen(path, "wb");
    EXPECT(file && fwrite(bytes, 1, length, file) == length, "cannot write %s", path);
    if (file) fclose(file);
    return path;
}

/* What a file of so many bytes may cost: names and entries are tables of what was read, nothing follows a claim. */
static void expect_refused_or_read(const void *bytes, size_t length, int code, const char *text) {
    safetensors *file = NULL;
    const char *path = write_file(bytes, length);
    test_largest_allocation();
    EXPECT_ERROR(safetensors_open(&file, path), code, text);
    size_t largest = test_largest_allocation();
    EXPECT(largest < 4096 + 8 * length, "%zu bytes at once for a file of %zu", largest, length);
    EXPECT(code == LAMP_OK || strstr(lamp_error_message(), "malformed.safetensors: "), "no path in %s", lamp_error_message());
    EXPECT(strlen(lamp_error_message()) < 1000, "a message of %zu bytes", strlen(lamp_error_message()));
    safetensors_close(file);
}

static void malformed_headers_are_refused_by_name(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buffer header = {0}, bytes = {0};
        test_row(rows[i].class);
        if (rows[i].make) rows[i].make(&header);
        else buffer_append_text(&header, rows[i].header);
        uint64_t length = rows[i].claimed == TRUE_LENGTH ? header.length : rows[i].claimed;
        buffer_append(&bytes, &length, sizeof length);
        buffer_append(&bytes, header.bytes, header.length);
        for (size_t j = 0; j < rows[i].data_bytes; j++) buffer_append_byte(&bytes, (char)j);
        expect_refused_or_read(bytes.bytes, bytes.length, rows[i].code, rows[i].text);
        buffer_release(&bytes), buffer_release(&header);
    }
}

static void what_is_no_safetensors_file_is_told_so(void) {
    static const struct {
        const char *class, *bytes, *text;
    } files[] = {
        {"empty file", "", "expected at least 8 bytes, found 0"},
        {"file of seven bytes", "1234567", "expected at least 8 bytes, found 7"},
        {"pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"},
        {"an index instead", "{\"weight_map\": {}}", "expected a header of at most 100000000 bytes"},
        {"a pickle instead", "PK\3\4archive/data.pkl", "expected a header of at most 100000000 bytes"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_row(files[i].class);
        expect_refused_or_read(files[i].bytes, strlen(files[i].bytes), LAMP_MALFORMED, files[i].text);
    }
    safetensors *file = NULL;
    test_row("folder");
    EXPECT_ERROR(safetensors_open(&file, test_folder()), LAMP_IO, "expected a file, found a folder");
    test_row("device");
    EXPECT_ERROR(safetensors_open(&file, "/dev/zero"), LAMP_IO, "expected a file, found a device");
    test_row("absent");
    EXPECT_ERROR(safetensors_open(&file, "absent.safetensors"), LAMP_IO, "absent.safetensors: cannot open");
}

/* Values that are not finite are sound data: what they do to a model is the model's to say. */
static void values_that_are_not_finite_are_read(void) {
    const char header[] = ENTRY("F32", "[2]", "[0,8]");
    const uint64_t length = strlen(header);
    const float values[] = {__builtin_nanf(""), __builtin_inff()};
    real found[2] = {0};
    buffer bytes = {0};
    safetensors *file = NULL;
    buffer_append(&bytes, &length, sizeof length), buffer_append(&bytes, header, length), buffer_append(&bytes, values, sizeof values);
    EXPECT_OK(safetensors_open(&file, write_file(bytes.bytes, bytes.length)));
    if (file) EXPECT_OK(safetensors_read(found, safetensors_find(file, "t"), 0, 2));
    EXPECT(found[0] != found[0] && found[1] == __builtin_inff(), "found %g and %g", (double)found[0], (double)found[1]);
    safetensors_close(file);
    buffer_release(&bytes);
}

static const test_case cases[] = {
    {"malformed headers are refused by name", malformed_headers_are_refused_by_name},
    {"what is no safetensors file is told so", what_is_no_safetensors_file_is_told_so},
    {"values that are not finite are read", values_that_are_not_finite_are_read},
};

int main(void) { return test_run("malformed safetensors", cases, sizeof cases / sizeof *cases); }
