/* Any bytes survive encoding and decoding; any ids decode or are refused. */
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "text/tokenizer.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static tokenizer *t; /* for all inputs, as is the encoder, whose cache must not matter */
    static encoder *e;
    if (!t) t = train();
    if (!e) CHECK(encoder_new(&e, t) == LAMP_OK, "%s", lamp_error_message());
    token_list list = {0};
    buffer decoded = {0};
    CHECK(encoder_encode(e, &list, (const char *)bytes, length) == LAMP_OK, "%s", lamp_error_message());
    CHECK(tokenizer_decode(t, &decoded, list.id, list.length) == LAMP_OK, "%s", lamp_error_message());
    CHECK(decoded.length == length && (!length || !memcmp(decoded.bytes, bytes, length)), "%zu bytes became %zu", length, decoded.length);
    for (size_t i = 0; i + 4 <= length; i += 4) {
        int32_t id;
        memcpy(&id, bytes + i, sizeof id);
        int status = tokenizer_decode(t, &decoded, &id, 1);
        bool exists = id >= 0 && id < tokenizer_vocabulary_size(t);
        CHECK(status == (exists ? LAMP_OK : LAMP_MALFORMED), "id %d: status %d", id, status);
    }
    buffer_release(&decoded);
    token_list_release(&list);
    return 0;
}
