/* Every way a GGUF file can lie, by name: what it is told, and that no claimed size becomes memory. How the files are written: gguf_words.h. */
#include "formats/gguf.h"

#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "gguf_words.h"
#include "lamp.h"

/* ---- the table ----------------------------------------------------------------------------------------------------------------- */

#define HEAD(tensors, settings) "GGUF 4:3 8:" tensors " 8:" settings " "
#define ONE_SETTING HEAD("0", "1")
#define ONE_TENSOR HEAD("1", "0")
#define ALIGNED(type, value) HEAD("1", "1") "\"general.alignment\" " type " " value " \"t\" 4:1 8:8 4:0 8:0 "
#define NAME_64 "tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt"

static const struct {
    const char *class, *words;
    int code;
    const char *text;
} rows[] = {
    {"a setting and a tensor", HEAD("1", "1") "\"a\" 4:0 1:7 \"t\" 4:2 8:4 8:2 4:0 8:0 | *32", LAMP_OK, ""},
    {"version 2", "GGUF 4:2 8:0 8:0", LAMP_OK, ""},
    {"no settings, no tensors", HEAD("0", "0"), LAMP_OK, ""},
    {"data without the padding at its end", ONE_TENSOR "\"t\" 4:1 8:1 4:0 8:0 | *4", LAMP_OK, ""},
    {"data with the padding at its end", ONE_TENSOR "\"t\" 4:1 8:1 4:0 8:0 | *4 |", LAMP_OK, ""},

    {"empty file", "", LAMP_MALFORMED, "found an empty one"},
    {"three bytes", "<GGU", LAMP_MALFORMED, "expected 4 bytes of the word GGUF, found 3"},
    {"bad magic", "<GGML 4:3 8:0 8:0", LAMP_MALFORMED, "begins with GGUF"},
    {"byte-swapped magic", "<FUGG 4:3 8:0 8:0", LAMP_MALFORMED, "begins with GGUF"},
    {"version 0", "GGUF 4:0 8:0 8:0", LAMP_MALFORMED, "expected GGUF version 3, found 0"},
    {"version 1", "GGUF 4:1 4:0 4:0", LAMP_UNSUPPORTED, "expected GGUF version 3, found 1"},
    {"version of the future", "GGUF 4:4 8:0 8:0", LAMP_UNSUPPORTED, "expected GGUF version 3, found 4"},
    {"byte-swapped version", "GGUF 4:0x03000000 8:0 8:0", LAMP_UNSUPPORTED, "a big-endian one"},
    {"header without counts", "GGUF 4:3", LAMP_MALFORMED, "expected 8 bytes of the number of tensors, found 0"},
    {"n_tensors -1", HEAD("-1", "0"), LAMP_MALFORMED, "expected 18446744073709551615 tensors, found room for 0"},
    {"n_tensors times their size wraps", HEAD("0x0200000000000000", "0") "*64", LAMP_MALFORMED, "found room for 2"},
    {"one tensor more than there are", HEAD("2", "0") "\"t\" 4:0 4:0 8:0 | *4 | *32", LAMP_MALFORMED, "tensor"},
    {"n_settings -1", HEAD("0", "-1"), LAMP_MALFORMED, "expected 18446744073709551615 settings, found room for 0"},
    {"a billion settings in a file of a few bytes", HEAD("0", "1000000000") "\"a\" 4:0 1:7", LAMP_MALFORMED, "found room for 1"},

    {"key of length -1", ONE_SETTING "8:-1 <a 4:0 1:7", LAMP_MALFORMED, "expected 18446744073709551615 bytes of a setting's key"},
    {"key of length 2^63", ONE_SETTING "8:0x8000000000000000 <a 4:0 1:7", LAMP_MALFORMED, "bytes of a setting's key"},
    {"key one byte longer than the file", ONE_SETTING "8:7 <a 4:0 1:7", LAMP_MALFORMED, "expected 7 bytes of a setting's key, found 6"},
    {"empty key", ONE_SETTING "8:0 4:0 1:7 1:0", LAMP_MALFORMED, "expected 1 to 65535 bytes of a setting's key, found 0"},
    {"escape sequence in a key", ONE_SETTING "\"a\x1b[31m\" 4:0 1:7", LAMP_MALFORMED, "found byte 0x1b"},
    {"duplicate key", HEAD("0", "2") "\"a\" 4:0 1:7 \"a\" 4:0 1:7", LAMP_MALFORMED, "a: expected once, found twice"},
    {"setting of type 13", ONE_SETTING "\"a\" 4:13 1:7", LAMP_MALFORMED, "a: expected a type from 0 to 12, found 13"},
    {"setting of type -1", ONE_SETTING "\"a\" 4:-1 1:7", LAMP_MALFORMED, "found 4294967295"},
    {"value cut short", ONE_SETTING "\"a\" 4:12 4:0", LAMP_MALFORMED, "a: expected 1 values of f64, found 4 bytes"},
    {"bool of 2", ONE_SETTING "\"a\" 4:7 1:2", LAMP_MALFORMED, "a: expected a bool of 0 or 1, found 2"},
    {"array with a bool of 255", ONE_SETTING "\"a\" 4:9 4:7 8:3 1:0 1:1 1:255", LAMP_MALFORMED, "found 255"},
    {"text of length 2^63", ONE_SETTING "\"a\" 4:8 8:0x8000000000000000 <x", LAMP_MALFORMED, "expected 9223372036854775808 bytes of text"},
    {"text longer than what remains", ONE_SETTING "\"a\" 4:8 8:2 <x", LAMP_MALFORMED, "expected 2 bytes of text, found 1"},
    {"array of 2^60 bytes", ONE_SETTING "\"a\" 4:9 4:0 8:0x1000000000000000 1:1", LAMP_MALFORMED, "expected 1152921504606846976 values of u8"},
    {"array whose bytes wrap", ONE_SETTING "\"a\" 4:9 4:12 8:0x2000000000000001 8:1", LAMP_MALFORMED, "values of f64"},
    {"array of 2^60 texts", ONE_SETTING "\"a\" 4:9 4:8 8:0x1000000000000000 8:0", LAMP_MALFORMED, "values of text"},
    {"array whose last text is cut short", ONE_SETTING "\"a\" 4:9 4:8 8:2 \"x\" 8:9 <y", LAMP_MALFORMED, "expected 9 bytes of text, found 1"},
    {"array of a type that is none", ONE_SETTING "\"a\" 4:9 4:77 8:0", LAMP_MALFORMED, "found 77"},
    {"array of arrays", ONE_SETTING "\"a\" 4:9 4:9 8:1 4:0 8:1 1:1", LAMP_UNSUPPORTED, "found one of arrays"},
    {"empty array", ONE_SETTING "\"a\" 4:9 4:8 8:0", LAMP_OK, ""},

    {"alignment 64", ALIGNED("4:4", "4:64") "| *64", LAMP_OK, ""},
    {"alignment 0", ALIGNED("4:4", "4:0") "| *32", LAMP_MALFORMED, "expected a power of two from 8 to 65536, found 0"},
    {"alignment 4", ALIGNED("4:4", "4:4") "| *32", LAMP_MALFORMED, "found 4"},
    {"alignment 13", ALIGNED("4:4", "4:13") "| *32", LAMP_MALFORMED, "found 13"},
    {"alignment 0x80000000", ALIGNED("4:4", "4:0x80000000") "| *32", LAMP_MALFORMED, "found 2147483648"},
    {"alignment 0xffffffff", ALIGNED("4:4", "4:0xffffffff") "| *32", LAMP_MALFORMED, "found 4294967295"},
    {"alignment of another type", ALIGNED("4:10", "8:32") "| *32", LAMP_MALFORMED, "general.alignment: expected u32, found u64"},
    {"alignment that the offsets do not have", HEAD("2", "1") "\"general.alignment\" 4:4 4:64 \"t\" 4:1 8:8 4:0 8:0 \"u\" 4:1 8:8 4:0 8:32 | *32 *32",
     LAMP_MALFORMED, "tensor u: expected its data at byte 64"},

    {"name of 64 bytes", ONE_TENSOR "\"" NAME_64 "\" 4:1 8:8 4:0 8:0 | *32", LAMP_OK, ""},
    {"name of 65 bytes", ONE_TENSOR "\"t" NAME_64 "\" 4:1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "expected 1 to 64 bytes of a tensor's name, found 65"},
    {"name of length -1", ONE_TENSOR "8:-1 <t 4:1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "bytes of a tensor's name"},
    {"empty name", ONE_TENSOR "8:0 4:1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "found 0"},
    {"escape sequence in a name", ONE_TENSOR "\"t\x1b[31m\" 4:1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "found byte 0x1b"},
    {"duplicate name", HEAD("2", "0") "\"t\" 4:1 8:8 4:0 8:0 \"t\" 4:1 8:8 4:0 8:32 | *32 *32", LAMP_MALFORMED,
     "tensor t: expected once, found twice"},
    {"five dimensions", ONE_TENSOR "\"t\" 4:5 8:1 8:1 8:1 8:1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "expected at most 4 dimensions, found 5"},
    {"4294967295 dimensions", ONE_TENSOR "\"t\" 4:-1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "found 4294967295"},
    {"no dimensions", ONE_TENSOR "\"t\" 4:0 4:0 8:0 | *4", LAMP_OK, ""},
    {"negative dimension", ONE_TENSOR "\"t\" 4:1 8:-8 4:0 8:0 | *32", LAMP_MALFORMED, "dimensions below 2^63, found 18446744073709551608"},
    {"product of dimensions overflows", ONE_TENSOR "\"t\" 4:2 8:0x100000000 8:0x80000000 4:0 8:0 | *32", LAMP_MALFORMED,
     "a number of values below 2^63"},
    {"product of dimensions wraps to 4", ONE_TENSOR "\"t\" 4:3 8:4194305 8:4194305 8:211106198978564 4:0 8:0 | *32", LAMP_MALFORMED,
     "a number of values below 2^63"},
    {"product overflows before a zero", ONE_TENSOR "\"t\" 4:3 8:0x4000000000000000 8:4 8:0 4:0 8:0", LAMP_MALFORMED, "a number of values below 2^63"},
    {"bytes overflow", ONE_TENSOR "\"t\" 4:1 8:0x4000000000000000 4:0 8:0 | *32", LAMP_MALFORMED, "fewer than 2^63 bytes"},
    {"bytes of a quantised type overflow", ONE_TENSOR "\"t\" 4:1 8:0x7fffffffffffffe0 4:8 8:0 | *32", LAMP_MALFORMED, "fewer than 2^63 bytes"},
    {"padding of the last byte wraps",
     HEAD("2", "0") "\"t\" 4:1 8:0x7fffffffffffffff 4:24 8:0 \"u\" 4:1 8:0x7fffffffffffffff 4:24 8:0x8000000000000000 | *32", LAMP_MALFORMED,
     "tensor t: expected 9223372036854775807 bytes of data"},
    {"zero values", ONE_TENSOR "\"t\" 4:2 8:0 8:7 4:0 8:0 |", LAMP_OK, ""},
    {"tensor of type 4, which was taken back", ONE_TENSOR "\"t\" 4:1 8:32 4:4 8:0 | *32", LAMP_UNSUPPORTED, "tensor t: type 4 is unknown"},
    {"tensor of type 99", ONE_TENSOR "\"t\" 4:1 8:32 4:99 8:0 | *32", LAMP_UNSUPPORTED, "type 99 is unknown"},
    {"tensor of type -1", ONE_TENSOR "\"t\" 4:1 8:32 4:-1 8:0 | *32", LAMP_UNSUPPORTED, "type 4294967295 is unknown"},
    {"row that is no multiple of its block", ONE_TENSOR "\"t\" 4:2 8:48 8:2 4:8 8:0 | *102", LAMP_MALFORMED,
     "rows of a multiple of 32 values for Q8_0, found 48"},
    {"whole blocks", ONE_TENSOR "\"t\" 4:2 8:64 8:1 4:8 8:0 | *68", LAMP_OK, ""},

    {"no data", ONE_TENSOR "\"t\" 4:1 8:8 4:0 8:0", LAMP_MALFORMED, "expected data at byte 64, found a file of 5"},
    {"too little data", ONE_TENSOR "\"t\" 4:1 8:8 4:0 8:0 | *31", LAMP_MALFORMED, "tensor t: expected 32 bytes of data at byte 64"},
    {"extent beyond the file", ONE_TENSOR "\"t\" 4:1 8:0x100000000000000 4:0 8:0 | *32", LAMP_MALFORMED, "cut short?"},
    {"extent of a quantised type beyond the file", ONE_TENSOR "\"t\" 4:1 8:64 4:8 8:0 | *67", LAMP_MALFORMED, "expected 68 bytes of data"},
    {"unaligned offset", ONE_TENSOR "\"t\" 4:1 8:8 4:0 8:4 | *36", LAMP_MALFORMED, "expected its data at byte 0, found it at 4: a hole"},
    {"offset -32", ONE_TENSOR "\"t\" 4:1 8:8 4:0 8:-32 | *64", LAMP_MALFORMED, "found it at 18446744073709551584"},
    {"first offset is not 0", ONE_TENSOR "\"t\" 4:1 8:8 4:0 8:32 | *64", LAMP_MALFORMED, "a hole"},
    {"hole", HEAD("2", "0") "\"t\" 4:1 8:8 4:0 8:0 \"u\" 4:1 8:8 4:0 8:64 | *96", LAMP_MALFORMED,
     "tensor u: expected its data at byte 32, found it at 64: a hole"},
    {"overlap", HEAD("2", "0") "\"t\" 4:1 8:16 4:0 8:0 \"u\" 4:1 8:8 4:0 8:32 | *96", LAMP_MALFORMED, "found it at 32: an overlap"},
    {"the same bytes twice", HEAD("2", "0") "\"t\" 4:1 8:8 4:0 8:0 \"u\" 4:1 8:8 4:0 8:0 | *32", LAMP_MALFORMED, "an overlap"},
    {"another file after the last tensor", ONE_TENSOR "\"t\" 4:1 8:8 4:0 8:0 | *32 *1", LAMP_MALFORMED, "found 1 bytes more"},
    {"another file after no tensors", HEAD("0", "0") "| *32", LAMP_MALFORMED, "expected the file to end with its last tensor"},
};

/* What a file of so many bytes may cost: the tables hold what was read, nothing follows a claim. */
static void expect_refused_or_read(const char *bytes, size_t length, int code, const char *text) {
    gguf *file = NULL;
    test_write("malformed.gguf", bytes ? bytes : "", length);
    test_largest_allocation();
    EXPECT_ERROR(gguf_open(&file, test_path("malformed.gguf")), code, text);
    size_t largest = test_largest_allocation();
    EXPECT(largest < 4096 + 8 * length, "%zu bytes at once for a file of %zu", largest, length);
    EXPECT(code == LAMP_OK || strstr(lamp_error_message(), "malformed.gguf: "), "no path in %s", lamp_error_message());
    EXPECT(strlen(lamp_error_message()) < 1000, "a message of %zu bytes", strlen(lamp_error_message()));
    gguf_close(file);
}

static void malformed_files_are_refused_by_name(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buffer bytes = {0};
        test_row(rows[i].class);
        assemble(&bytes, rows[i].words);
        expect_refused_or_read(bytes.bytes, bytes.length, rows[i].code, rows[i].text);
        buffer_release(&bytes);
    }
}

static void what_is_no_gguf_file_is_told_so(void) {
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    gguf *file = NULL;
    test_row("pointer of Git LFS");
    expect_refused_or_read(pointer, strlen(pointer), LAMP_MALFORMED, "git lfs pull");
    test_row("folder");
    EXPECT_ERROR(gguf_open(&file, test_folder()), LAMP_IO, "expected a file, found a folder");
    test_row("absent");
    EXPECT_ERROR(gguf_open(&file, "absent.gguf"), LAMP_IO, "absent.gguf: cannot open");
}

/* Everything in it, once. */
static const char sound[] =
    HEAD("2", "14") "\"general.architecture\" 4:8 \"llama\" \"u8\" 4:0 1:200 \"i8\" 4:1 1:-3 \"u16\" 4:2 2:60000 \"i16\" 4:3 2:-4 "
                    "\"u32\" 4:4 4:4000000000 \"i32\" 4:5 4:-5 \"f32\" 4:6 4:0x3fc00000 \"bool\" 4:7 1:1 \"u64\" 4:10 8:-1 "
                    "\"i64\" 4:11 8:-6 \"f64\" 4:12 8:0x3fe0000000000000 \"words\" 4:9 4:8 8:2 \"one\" \"\" "
                    "\"ids\" 4:9 4:5 8:2 4:1 4:2 \"t\" 4:2 8:4 8:2 4:0 8:0 \"q\" 4:1 8:32 4:2 8:32 | *32 *18";

static void every_prefix_of_a_file_is_refused(void) {
    buffer bytes = {0};
    assemble(&bytes, sound);
    for (size_t length = 0; length < bytes.length; length++) {
        char row[32];
        snprintf(row, sizeof row, "%zu of %zu bytes", length, bytes.length);
        test_row(row);
        expect_refused_or_read(bytes.bytes, length, LAMP_MALFORMED, "found");
    }
    test_row(NULL);
    expect_refused_or_read(bytes.bytes, bytes.length, LAMP_OK, "");
    buffer_release(&bytes);
}

/* ---- settings as what a reader wants ---------------------------------------------------------------------------------------------- */

static gguf *open_sound(void) {
    gguf *file = NULL;
    buffer bytes = {0};
    assemble(&bytes, sound);
    test_write("sound.gguf", bytes.bytes, bytes.length);
    EXPECT_OK(gguf_open(&file, test_path("sound.gguf")));
    buffer_release(&bytes);
    return file;
}

static void settings_are_what_was_written(void) {
    static const struct {
        const char *key;
        int64_t value;
    } integers[] = {{"u8", 200}, {"i8", -3}, {"u16", 60000}, {"i16", -4}, {"u32", 4000000000}, {"i32", -5}, {"i64", -6}, {"u64", INT64_MAX}};
    gguf *file = open_sound();
    if (!file) return;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        int64_t value = 0;
        test_row(integers[i].key);
        EXPECT_OK(gguf_get_integer(&value, file, integers[i].key, INT64_MIN, INT64_MAX));
        EXPECT(value == integers[i].value, "%lld", (long long)value);
    }
    test_row(NULL);
    double narrow = 0, wide = 0;
    bool truth = false;
    char word[GGUF_WORD_BYTES];
    const gguf_setting *words;
    EXPECT_OK(gguf_get_number(&narrow, file, "f32"));
    EXPECT_OK(gguf_get_number(&wide, file, "f64"));
    EXPECT_OK(gguf_get_bool(&truth, file, "bool"));
    EXPECT_OK(gguf_get_word(word, file, "general.architecture"));
    EXPECT(narrow == 1.5 && wide == 0.5 && truth && !strcmp(word, "llama"), "%g %g %d %s", narrow, wide, truth, word);
    EXPECT_OK(gguf_get_array(&words, file, "words", GGUF_TEXT));
    const unsigned char *next = words->bytes;
    gguf_text first = gguf_next_text(&next), second = gguf_next_text(&next);
    EXPECT(words->n == 2 && first.length == 3 && !memcmp(first.bytes, "one", 3) && second.length == 0, "%zu and %zu letters", first.length,
           second.length);
    const gguf_tensor *t = gguf_find_tensor(file, "t"), *q = gguf_find_tensor(file, "q");
    EXPECT(t && q && !gguf_find_tensor(file, "s"), "t and q are there, s is not");
    EXPECT(t && t->rank == 2 && t->dimension[0] == 4 && t->dimension[1] == 2 && t->size == 8 && t->bytes[0] == 32, "t");
    EXPECT(q && !strcmp(q->type->name, "Q4_0") && q->n_bytes == 18 && q->bytes[0] == 18, "q");
    gguf_close(file);
}

static void settings_of_another_type_are_refused_by_name(void) {
    int64_t integer;
    double number;
    bool truth;
    gguf_text text;
    char word[GGUF_WORD_BYTES];
    const gguf_setting *array;
    gguf *file = open_sound();
    if (!file) return;
    EXPECT_ERROR(gguf_get_integer(&integer, file, "absent", 0, 9), LAMP_MALFORMED, "absent: expected an integer, found nothing");
    EXPECT_ERROR(gguf_get_integer(&integer, file, "u8", 0, 9), LAMP_MALFORMED, "u8: expected 0 to 9, found 200");
    EXPECT_ERROR(gguf_get_integer(&integer, file, "u64", 0, 1 << 30), LAMP_MALFORMED, "u64: expected 0 to 1073741824, found 9223372036854775807");
    EXPECT_ERROR(gguf_get_integer(&integer, file, "f32", 0, 9), LAMP_MALFORMED, "f32: expected an integer, found f32");
    EXPECT_ERROR(gguf_get_integer(&integer, file, "bool", 0, 9), LAMP_MALFORMED, "bool: expected an integer, found a bool");
    EXPECT_ERROR(gguf_get_integer(&integer, file, "ids", 0, 9), LAMP_UNSUPPORTED, "ids: expected an integer, found an array: layers that differ");
    EXPECT_ERROR(gguf_get_number(&number, file, "u8"), LAMP_MALFORMED, "u8: expected f32 or f64, found u8");
    EXPECT_ERROR(gguf_get_bool(&truth, file, "u8"), LAMP_MALFORMED, "u8: expected a bool, found u8");
    EXPECT_ERROR(gguf_get_text(&text, file, "ids"), LAMP_UNSUPPORTED, "ids: expected text, found an array");
    EXPECT_ERROR(gguf_get_word(word, file, "u8"), LAMP_MALFORMED, "u8: expected text, found u8");
    EXPECT_ERROR(gguf_get_array(&array, file, "ids", GGUF_TEXT), LAMP_MALFORMED, "ids: expected an array of text, found one of i32");
    EXPECT_ERROR(gguf_get_array(&array, file, "u8", GGUF_TEXT), LAMP_MALFORMED, "u8: expected an array of text, found u8");
    gguf_close(file);
}

static const test_case cases[] = {
    {"malformed files are refused by name", malformed_files_are_refused_by_name},
    {"what is no GGUF file is told so", what_is_no_gguf_file_is_told_so},
    {"every prefix of a file is refused", every_prefix_of_a_file_is_refused},
    {"settings are what was written", settings_are_what_was_written},
    {"settings of another type are refused by name", settings_of_another_type_are_refused_by_name},
};

int main(void) { return test_run("malformed GGUF", cases, sizeof cases / sizeof *cases); }
