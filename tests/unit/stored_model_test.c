/* A model whose file holds halves runs from that file, and gives the bits that it gives when its weights are converted first. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/error.h"
#include "base/memory.h"
#include "formats/safetensors.h"
#include "infer/loaded_model.h"

/* Upper halves of floats; as IEEE halves they are other values, of ordinary size all the same. */
static void append_halves(buffer *data, const safetensors_entry *entry) {
    for (int64_t i = 0; i < entry->size; i++) {
        real value;
        uint32_t bits;
        safetensors_read(&value, entry, i, 1);
        memcpy(&bits, &value, sizeof bits);
        buffer_append(data, (const char *)&bits + 2, 2);
    }
}

/* Every tensor of the golden model, as this type. */
static void write_as(const char *type, const char *folder) {
    char path[PATH_BYTES], config[PATH_BYTES];
    safetensors *file = NULL;
    buffer header = {0}, data = {0}, copy = {0};
    EXPECT_OK(safetensors_open(&file, "tests/golden/models/olmoe/model.safetensors"));
    buffer_append_byte(&header, '{');
    for (size_t i = 0; file && i < file->n; i++) {
        char shape[SHAPE_TEXT_BYTES];
        const size_t begin = data.length;
        append_halves(&data, &file->entry[i]);
        safetensors_shape_to_text(shape, file->entry[i].shape, file->entry[i].rank);
        buffer_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", i ? "," : "", file->entry[i].name, type, shape,
                      begin, data.length);
    }
    buffer_append_byte(&header, '}');
    while (header.length % 8) buffer_append_byte(&header, ' ');
    uint64_t length = header.length;
    buffer_append(&copy, &length, sizeof length);
    buffer_append(&copy, header.bytes, header.length);
    buffer_append(&copy, data.bytes, data.length);
    EXPECT_OK(file_make_folder(folder));
    EXPECT_OK(file_join(path, folder, "model.safetensors"));
    EXPECT_OK(file_write_whole(path, copy.bytes, copy.length));
    buffer_clear(&copy);
    EXPECT_OK(file_read(&copy, "tests/golden/models/olmoe/config.json", 1 << 20));
    EXPECT_OK(file_join(config, folder, "config.json"));
    EXPECT_OK(file_write_whole(config, copy.bytes, copy.length));
    buffer_release(&header), buffer_release(&data), buffer_release(&copy);
    safetensors_close(file);
}

static void check_logits(const char *folder, stored_type type) {
    enum { T = 12 };
    static const int32_t ids[T] = {1, 5, 2, 9, 9, 30, 17, 4, 11, 3, 8, 6};
    const struct kernels *k;
    loaded_model stored = {0}, converted = {0};
    tape a = {0}, b = {0};
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&a, k));
    EXPECT_OK(tape_open(&b, k));
    EXPECT_OK(loaded_model_open(&stored, folder, VALUES_STORED));
    EXPECT_OK(loaded_model_open(&converted, folder, VALUES_REAL));
    int n = 0;
    for (int i = 0; i < stored.model.weights.n; i++) {
        const weight *w = stored.model.weights.row[i];
        n += w->type == type;
        EXPECT(w->type == (weight_is_vector(w) || w->role == ROLE_ROUTER ? STORED_REAL : type), "%s is %s", w->kind, stored_formats[w->type].name);
    }
    EXPECT(n > 0, "nothing is %s", stored_formats[type].name);
    for (ptrdiff_t tokens = 1; tokens <= T; tokens += T - 1) {
        const ptrdiff_t start[] = {0, tokens};
        const token_batch batch = {tokens, ids, NULL, 1, start};
        tape_reset(&a), tape_reset(&b);
        const tensor *x = model_logits(&a, &stored.model, &batch, NULL, false, NULL),
                     *y = model_logits(&b, &converted.model, &batch, NULL, false, NULL);
        EXPECT(!memcmp(x->x, y->x, sizeof(real) * (size_t)(x->rows * x->cols)), "%s: logits of %td tokens differ", stored_formats[type].name, tokens);
    }
    EXPECT_OK(model_source_check_finite(stored.source, &stored.model.weights));
    tape_close(&a), tape_close(&b);
    loaded_model_close(&stored), loaded_model_close(&converted);
}

static void halves_run_as_they_are_stored(void) {
    write_as("BF16", test_path("bf16"));
    check_logits(test_path("bf16"), STORED_BF16);
    write_as("F16", test_path("f16"));
    check_logits(test_path("f16"), STORED_F16);
}

/* Where experts lie turned and in turns, and among tensors of another type. */
static void halves_that_lie_otherwise_run_as_halves(void) {
    check_logits("tests/golden/models/gpt_oss_full", STORED_BF16);
    check_logits("tests/golden/models/llama4_full", STORED_BF16);
    check_logits("tests/golden/models/mixtral_full", STORED_BF16);
}

/* The last value of the last row of the last tensor. */
static void what_is_not_finite_is_found_as_it_is_stored(void) {
    char path[PATH_BYTES];
    buffer bytes = {0};
    loaded_model m = {0};
    write_as("BF16", test_path("damaged"));
    EXPECT_OK(file_join(path, test_path("damaged"), "model.safetensors"));
    EXPECT_OK(file_read(&bytes, path, 1 << 24));
    memcpy(bytes.bytes + bytes.length - 2, "\x80\x7F", 2);
    EXPECT_OK(file_write_whole(path, bytes.bytes, bytes.length));
    EXPECT_OK(loaded_model_open(&m, test_path("damaged"), VALUES_STORED));
    EXPECT_ERROR(model_source_check_finite(m.source, &m.model.weights), LAMP_MALFORMED, "expected finite numbers, found inf");
    loaded_model_close(&m);
    buffer_release(&bytes);
}

static const test_case cases[] = {
    {"halves run as they are stored", halves_run_as_they_are_stored},
    {"halves that lie otherwise run as halves", halves_that_lie_otherwise_run_as_halves},
    {"what is not finite is found as it is stored", what_is_not_finite_is_found_as_it_is_stored},
};

int main(void) { return test_run("stored models", cases, sizeof cases / sizeof *cases); }
