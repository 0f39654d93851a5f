/* Whatever opens as GGUF can be read to its last byte, and every setting and tensor is found by its name. Whatever is a tokenizer besides makes
 * tokens of a text, and gives it back if it promises to; whatever is a model runs. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "formats/gguf_tokenizer.h"
#include "fuzz.h"
#include "infer/loaded_model.h"
#include "infer/session.h"
#include "text/tokenizer_parts.h"

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

static void try_tensor(const gguf *file, const gguf_tensor *t) {
    const unsigned char *begin = file->map.bytes, *end = begin + file->map.length;
    CHECK(gguf_find_tensor(file, t->name) == t, "%s is not found", t->name);
    CHECK(t->bytes >= begin && t->n_bytes <= end - t->bytes, "%s lies outside", t->name);
    CHECK(t->n_bytes == t->size / t->type->block * t->type->block_bytes, "%s has %lld bytes", t->name, (long long)t->n_bytes);
}

static void try_text(const tokenizer *words) {
    static const char text[] = "The lamp's 42 lights <|endoftext|>aaaab\n\n  caf\xC3\xA9 \xFF\xE2\x82";
    encoder *e = NULL;
    token_list ids = {0};
    buffer back = {0};
    CHECK(encoder_new(&e, words) == LAMP_OK, "%s", lamp_error_message());
    if (encoder_encode(e, &ids, text, sizeof text - 1) == LAMP_OK) {
        CHECK(tokenizer_decode(words, &back, ids.id, ids.length) == LAMP_OK, "%s", lamp_error_message());
        bool same = back.length == sizeof text - 1 && !memcmp(back.bytes, text, back.length);
        CHECK(same || words->kind != VOCABULARY_OF_BYTES || words->n_normalizations > 0, "%zu bytes became %zu", sizeof text - 1, back.length);
    }
    buffer_release(&back);
    token_list_release(&ids);
    encoder_free(e);
}

static void try_tokenizer(const gguf *file) {
    tokenizer *words;
    if (gguf_read_tokenizer(&words, file) < 0 || !words) return;
    try_text(words);
    tokenizer_free(words);
}

/* Its parameters are no more than the file holds, so a token costs no more than the file did. */
static void try_model(const char *path) {
    static const int32_t ids[] = {0, 0, 0};
    const real *logits;
    loaded_model m;
    session s;
    if (loaded_model_open(&m, path, VALUES_STORED) < 0) return;
    CHECK(session_open(&s, &m.model, 3) == LAMP_OK, "%s", lamp_error_message());
    CHECK(session_feed(&s, &logits, ids, 3) == LAMP_OK, "%s", lamp_error_message());
    session_close(&s);
    loaded_model_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    gguf *file = NULL;
    const char *path = fuzz_file("input.gguf", bytes, length);
    if (gguf_open(&file, path) < 0) return 0;
    for (size_t i = 0; i < file->n_settings; i++) try_setting(file, &file->setting[i], file->map.bytes + length);
    for (size_t i = 0; i < file->n_tensors; i++) try_tensor(file, &file->tensor[i]);
    try_tokenizer(file);
    gguf_close(file);
    try_model(path);
    return 0;
}
