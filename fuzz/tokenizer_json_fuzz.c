/* Whatever reads as tokenizer.json encodes text or refuses to, gives that text back, and reads again when it was written. */
#include <string.h>

#include "base/error.h"
#include "formats/tokenizer_json.h"
#include "fuzz.h"

static void try_text(const tokenizer *t, const char *text, size_t length) {
    encoder *e = NULL;
    token_list list = {0};
    buffer decoded = {0};
    CHECK(encoder_new(&e, t) == LAMP_OK, "%s", lamp_error_message());
    if (encoder_encode(e, &list, text, length) == LAMP_OK) {
        CHECK(tokenizer_decode(t, &decoded, list.id, list.length) == LAMP_OK, "%s", lamp_error_message());
        CHECK(decoded.length == length && !memcmp(decoded.bytes, text, length), "%zu bytes became %zu", length, decoded.length);
    }
    buffer_release(&decoded);
    token_list_release(&list);
    encoder_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char text[] = "The lamp's 42 lights <|endoftext|>aaaab\n\n  caf\xC3\xA9 \xFF\xE2\x82";
    tokenizer *t = NULL, *again = NULL;
    if (tokenizer_json_read(&t, fuzz_file("tokenizer.json", bytes, length)) < 0) return 0;
    try_text(t, text, sizeof text - 1);
    const char *path = fuzz_file("again.json", "", 0);
    if (tokenizer_json_write(t, path) == LAMP_OK) {
        CHECK(tokenizer_json_read(&again, path) == LAMP_OK, "%s", lamp_error_message());
        CHECK(tokenizer_vocabulary_size(again) == tokenizer_vocabulary_size(t), "another vocabulary");
    }
    tokenizer_free(again);
    tokenizer_free(t);
    return 0;
}
