/* Our bytes of every stored type against those of the package gguf (tools/golden_quantise.py), and what both read from them; and what both read
 * from blocks that we do not write. */
#include "formats/quantise.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "formats/gguf_blocks.h"
#include "formats/safetensors.h"
#include "kernels/kernels.h"
#include "lamp.h"

enum { MOST_VALUES = 1 << 14 };

static const char *const names[] = {"f16", "bf16", "q8_0", "q4_0", "mxfp4"};

static real values[MOST_VALUES];
static unsigned char bytes[4 * MOST_VALUES];

/* The place of the first byte that differs, or n. */
static int64_t first_difference(const unsigned char *a, const unsigned char *b, int64_t n) {
    int64_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

static void compare_bytes(const safetensors *golden, int64_t n) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const stored_type type = quantise_type_named(names[i]);
        const safetensors_entry *expected = safetensors_find(golden, names[i]);
        const int64_t n_bytes = stored_row_bytes(type, n);
        test_row(names[i]);
        EXPECT(expected && expected->size == n_bytes, "the golden file has other sizes");
        EXPECT_OK(quantise(bytes, type, values, n));
        int64_t at = first_difference(bytes, expected->bytes, n_bytes);
        EXPECT(at == n_bytes, "byte %lld: %d, expected %d", (long long)at, bytes[at], expected->bytes[at]);
    }
}

static void compare_reading(const safetensors *golden, int64_t n, const struct kernels *k) {
    static real found[MOST_VALUES], expected[MOST_VALUES];
    const int32_t row = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.read", names[i]);
        EXPECT_OK(safetensors_read(expected, safetensors_find(golden, name), 0, n));
        k->stored_rows(found, safetensors_find(golden, names[i])->bytes, quantise_type_named(names[i]), &row, 1, n);
        int64_t at = 0;
        while (at < n && found[at] == expected[at]) at++;
        EXPECT(at == n, "%s with %s: value %lld: %g, expected %g", name, k->name, (long long)at, (double)found[at], (double)expected[at]);
    }
}

static void bytes_are_those_of_the_package(void) {
    safetensors *golden = NULL;
    EXPECT_OK(safetensors_open(&golden, "tests/golden/quantise.safetensors"));
    if (!golden) return;
    const safetensors_entry *entry = safetensors_find(golden, "values");
    EXPECT(entry && entry->size <= MOST_VALUES, "too many values");
    EXPECT_OK(safetensors_read(values, entry, 0, entry->size));
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        compare_bytes(golden, entry->size);
    }
    test_row(NULL);
    const struct kernels *tables[8];
    for (int i = kernels_available(tables); i-- > 0;) compare_reading(golden, entry->size, tables[i]);
    safetensors_close(golden);
}

static void what_does_not_fit_is_refused_with_its_place(void) {
    static const struct {
        const char *type;
        double value;
        int code;
        const char *text;
    } rows[] = {
        {"f16", 65536, LAMP_UNSUPPORTED, "place 10: expected at most 65504, which f16 can hold, found 65536"},
        {"q8_0", -1e7, LAMP_UNSUPPORTED, "which q8_0 can hold, found -1e+07"},
        {"q4_0", 6e5, LAMP_UNSUPPORTED, "at most 524032, which q4_0 can hold, found 600000"},
        {"q8_0", 8e6, LAMP_OK, ""},
        {"f32", NAN, LAMP_MALFORMED, "place 10: expected finite numbers, found"},
        {"bf16", INFINITY, LAMP_MALFORMED, "found inf"},
        {"mxfp4", -INFINITY, LAMP_MALFORMED, "found -inf"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].type);
        memset(values, 0, sizeof values);
        values[10] = (real)rows[i].value, values[50] = NAN;
        EXPECT_ERROR(quantise(bytes, quantise_type_named(rows[i].type), values, rows[i].code == LAMP_OK ? 32 : 64), rows[i].code, rows[i].text);
    }
    EXPECT(quantise_type_named("q5_k") == STORED_TYPES, "a type that we do not write");
}

static void values_of_other_blocks_are_those_of_the_package(void) {
    static const int numbers[] = {3, 6, 7, 10, 11, 12, 13, 14};
    static real found[MOST_VALUES], expected[MOST_VALUES];
    safetensors *golden = NULL;
    EXPECT_OK(safetensors_open(&golden, "tests/golden/blocks.safetensors"));
    for (size_t i = 0; golden && i < sizeof numbers / sizeof *numbers; i++) {
        const gguf_type *type = gguf_type_of(numbers[i]);
        char name[32];
        snprintf(name, sizeof name, "%s.read", type->name);
        test_row(type->name);
        const safetensors_entry *stored = safetensors_find(golden, type->name), *values_read = safetensors_find(golden, name);
        EXPECT(stored && values_read && values_read->size == stored->size / type->block_bytes * type->block, "the golden file has other sizes");
        EXPECT_OK(safetensors_read(expected, values_read, 0, values_read->size));
        EXPECT(gguf_blocks_known(type), "not known");
        const int64_t n = values_read->size, rest = n - type->block;
        gguf_blocks_read(found, type, stored->bytes, 0, type->block);
        gguf_blocks_read(found + type->block, type, stored->bytes, type->block, rest);
        double worst = 0, scale = 0;
        for (int64_t at = 0; at < n; at++)
            worst = fmax(worst, fabs((double)(found[at] - expected[at]))), scale = fmax(scale, fabs((double)expected[at]));
        EXPECT(scale > 0 && worst <= 1e-6 * scale, "off by %g of %g", worst, scale);
    }
    EXPECT(!gguf_blocks_known(gguf_type_of(20)) && !gguf_blocks_known(gguf_type_of(8)), "types that are none of these");
    safetensors_close(golden);
}

static const test_case cases[] = {
    {"bytes are those of the package", bytes_are_those_of_the_package},
    {"values of other blocks are those of the package", values_of_other_blocks_are_those_of_the_package},
    {"what does not fit is refused with its place", what_does_not_fit_is_refused_with_its_place},
};

int main(void) { return test_run("stored types against the package gguf", cases, sizeof cases / sizeof *cases); }
