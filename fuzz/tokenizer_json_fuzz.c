/* Whatever reads as tokenizer.json encodes text or refuses to, gives that text back if it promises to, is written as it was, and written from its
 * parts it reads again as a tokenizer of the same ids. */
#include <string.h>

#include "base/error.h"
#include "formats/tokenizer_json.h"
#include "fuzz.h"
#include "text/tokenizer_parts.h"

static bool keeps_all_text(const tokenizer *t) {
    if (t->kind != VOCABULARY_OF_BYTES || t->n_normalizations > 0) return false;
    for (size_t i = 0; i < t->n_steps; i++)
        if (t->steps[i].kind != STEP_SPLIT || t->steps[i].behavior == SPLIT_REMOVED) return false;
    for (int32_t id = 0; id < t->size; id++)
        if (t->tokens[id].traits & (TRAIT_LEFT | TRAIT_RIGHT)) return false;
    return true;
}

/* False if a pattern asked for too much work. */
static bool encode(token_list *list, const tokenizer *t, const char *text, size_t length, unsigned how) {
    encoder *e = NULL;
    CHECK(encoder_new(&e, t) == LAMP_OK, "%s", lamp_error_message());
    bool done = encoder_encode_as(e, list, text, length, how) == LAMP_OK;
    encoder_free(e);
    return done;
}

static void try_text(const tokenizer *t, const char *text, size_t length) {
    token_list list = {0};
    buffer decoded = {0};
    if (encode(&list, t, text, length, 0)) {
        CHECK(tokenizer_decode(t, &decoded, list.id, list.length) == LAMP_OK, "%s", lamp_error_message());
        bool same = decoded.length == length && !memcmp(decoded.bytes, text, length);
        CHECK(same || !keeps_all_text(t), "%zu bytes became %zu", length, decoded.length);
    }
    buffer_release(&decoded);
    token_list_release(&list);
}

static void expect_same_ids(const tokenizer *t, const tokenizer *other, const char *text, size_t length) {
    token_list one = {0}, two = {0};
    if (encode(&one, t, text, length, ENCODE_PROMPT | ENCODE_END) && encode(&two, other, text, length, ENCODE_PROMPT | ENCODE_END))
        CHECK(one.length == two.length && (!one.length || !memcmp(one.id, two.id, one.length * sizeof *one.id)), "%zu ids became %zu", one.length,
              two.length);
    token_list_release(&one);
    token_list_release(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char text[] =
        "The lamp's 42 lights <|endoftext|>aaaab\n\n  caf\xC3\xA9 e\xCC\x81 \xFF\xE2\x82 \xE2\x96\x81the <mask> [NORM] \xE4\xB8\x80";
    tokenizer *t = NULL, *again = NULL;
    if (tokenizer_json_read(&t, fuzz_file("tokenizer.json", bytes, length)) < 0) return 0;
    try_text(t, text, sizeof text - 1);
    const char *path = fuzz_file("again.json", "", 0);
    CHECK(t->source.length == length && !memcmp(t->source.bytes, bytes, length), "%zu bytes became %zu", length, t->source.length);
    buffer_release(&t->source);
    if (tokenizer_json_write(t, path) == LAMP_OK) {
        CHECK(tokenizer_json_read(&again, path) == LAMP_OK, "%s", lamp_error_message());
        CHECK(tokenizer_vocabulary_size(again) == tokenizer_vocabulary_size(t), "another vocabulary");
        expect_same_ids(t, again, text, sizeof text - 1);
    }
    tokenizer_free(again);
    tokenizer_free(t);
    return 0;
}
