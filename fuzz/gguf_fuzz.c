/* Whatever opens as GGUF can be read to its last byte, and every setting and tensor is found by its name. */
#include <stdio.h>

#include "base/error.h"
#include "formats/gguf.h"
#include "fuzz.h"

static void try_setting(const gguf *file, const gguf_setting *s, const uint8_t *end) {
    int64_t integer;
    double number;
    bool truth;
    gguf_text text;
    char key[256], word[GGUF_WORD_BYTES];
    const gguf_setting *array;
    const unsigned char *next = s->bytes;
    for (uint64_t i = 0; i < s->n && s->item == GGUF_TEXT; i++) gguf_next_text(&next);
    CHECK(next <= end, "a text ends outside");
    if (s->key.length >= sizeof key) return;
    snprintf(key, sizeof key, "%.*s", (int)s->key.length, s->key.bytes);
    CHECK(gguf_find(file, key) == s, "%s is not found", key);
    gguf_get_integer(&integer, file, key, INT64_MIN, INT64_MAX);
    gguf_get_number(&number, file, key);
    gguf_get_bool(&truth, file, key);
    gguf_get_text(&text, file, key);
    gguf_get_word(word, file, key);
    gguf_get_array(&array, file, key, s->item);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    gguf *file = NULL;
    int sum = 0;
    if (gguf_open(&file, fuzz_file("input.gguf", bytes, length)) < 0) return 0;
    for (size_t i = 0; i < file->n_settings; i++) try_setting(file, &file->setting[i], file->map.bytes + length);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const gguf_tensor *t = &file->tensor[i];
        CHECK(gguf_find_tensor(file, t->name) == t, "%s is not found", t->name);
        CHECK(t->bytes >= file->map.bytes && t->n_bytes <= file->map.bytes + length - t->bytes, "%s lies outside", t->name);
        CHECK(t->n_bytes == t->size / t->type->block * t->type->block_bytes, "%s has %lld bytes", t->name, (long long)t->n_bytes);
        if (t->n_bytes > 0) sum += t->bytes[0] + t->bytes[t->n_bytes - 1];
    }
    gguf_close(file);
    return sum < 0;
}
