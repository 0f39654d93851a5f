/* Any bytes survive encoding and decoding, all at once and id by id, with vocabularies of bytes and of characters; any ids decode or are refused. */
#include <string.h>

#include "base/error.h"
#include "formats/tokenizer_json.h"
#include "fuzz.h"

/* For all inputs, as are the encoders, whose caches must not matter. */
static tokenizer *of_bytes, *of_three_patterns, *of_characters;
static encoder *bytes_encoder, *three_patterns_encoder, *characters_encoder;

static tokenizer *train(void) {
    static const char text[] =
        "The old keeper climbs the tower at dusk, lights the lamp, and trims the wick: 12 ships, caf\xC3\xA9s,\n\n    aaaa aaaa";
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    CHECK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_BYTES) == LAMP_OK && tokenizer_trainer_feed(trainer, text, sizeof text - 1) == LAMP_OK &&
              tokenizer_trainer_finish(&t, trainer, 300) == LAMP_OK,
          "%s", lamp_error_message());
    tokenizer_trainer_free(trainer);
    return t;
}

static void begin(void) {
    if (of_bytes) return;
    of_bytes = train();
    CHECK(tokenizer_json_read(&of_three_patterns, "tests/golden/tokenizer/deepseek_v3.json") == LAMP_OK, "%s", lamp_error_message());
    CHECK(tokenizer_json_read(&of_characters, "tests/golden/tokenizer/mixtral.json") == LAMP_OK, "%s", lamp_error_message());
    bool ready = encoder_new(&bytes_encoder, of_bytes) == LAMP_OK && encoder_new(&three_patterns_encoder, of_three_patterns) == LAMP_OK &&
                 encoder_new(&characters_encoder, of_characters) == LAMP_OK;
    CHECK(ready, "%s", lamp_error_message());
}

static void decode(buffer *out, const tokenizer *t, const token_list *list) {
    decoder d;
    decoder_begin(&d, t, true, false);
    for (size_t i = 0; i < list->length; i++) CHECK(decoder_add(&d, out, list->id[i]) == LAMP_OK, "%s", lamp_error_message());
    CHECK(decoder_end(&d, out) == LAMP_OK, "%s", lamp_error_message());
}

static void round_trip(const tokenizer *t, encoder *e, const char *bytes, size_t length) {
    token_list list = {0};
    buffer all = {0}, one_by_one = {0};
    CHECK(encoder_encode(e, &list, bytes, length) == LAMP_OK, "%s", lamp_error_message());
    CHECK(tokenizer_decode(t, &all, list.id, list.length) == LAMP_OK, "%s", lamp_error_message());
    CHECK(all.length == length && (!length || !memcmp(all.bytes, bytes, length)), "%zu bytes became %zu", length, all.length);
    decode(&one_by_one, t, &list);
    CHECK(one_by_one.length == length && (!length || !memcmp(one_by_one.bytes, bytes, length)), "%zu bytes became %zu", length, one_by_one.length);
    buffer_release(&one_by_one);
    buffer_release(&all);
    token_list_release(&list);
}

/* Its mark is a space for good. */
static void round_trip_of_characters(const char *bytes, size_t length) {
    static const char mark[] = "\xE2\x96\x81";
    buffer text = {0};
    buffer_append_text(&text, "");
    for (size_t i = 0; i < length;) {
        bool is_mark = length - i >= 3 && !memcmp(bytes + i, mark, 3);
        buffer_append_byte(&text, is_mark ? ' ' : bytes[i]);
        i += is_mark ? 3 : 1;
    }
    round_trip(of_characters, characters_encoder, text.bytes, text.length);
    buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    begin();
    round_trip(of_bytes, bytes_encoder, (const char *)bytes, length);
    round_trip(of_three_patterns, three_patterns_encoder, (const char *)bytes, length);
    round_trip_of_characters((const char *)bytes, length);
    buffer decoded = {0};
    for (size_t i = 0; i + 4 <= length; i += 4) {
        int32_t id;
        memcpy(&id, bytes + i, sizeof id);
        int status = tokenizer_decode(of_bytes, &decoded, &id, 1);
        bool exists = id >= 0 && id < tokenizer_vocabulary_size(of_bytes);
        CHECK(status == (exists ? LAMP_OK : LAMP_MALFORMED), "id %d: status %d", id, status);
    }
    buffer_release(&decoded);
    return 0;
}
