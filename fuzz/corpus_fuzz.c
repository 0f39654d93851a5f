/* The bytes as .jsonl and as plain text. Each line is a document or refused, and a refused one can be quoted as JSON; plain text is given
 * out whole, unless it is binary or empty. */
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "data/corpus.h"
#include "fuzz.h"

typedef struct {
    size_t documents, bytes, refused;
} seen;

static int take(void *context, const char *bytes, size_t length) {
    seen *s = context;
    CHECK(bytes && length > 0, "an empty document");
    s->documents++, s->bytes += length;
    return LAMP_OK;
}

static int quote(void *context, const corpus_bad_line *bad) {
    buffer text = {0};
    json_writer w = {.out = &text};
    json_t *object;
    json_begin_object(&w, NULL);
    json_put_text(&w, "problem", lamp_error_message());
    json_put_bytes(&w, "content", bad->bytes, bad->length);
    json_end_object(&w);
    CHECK(text.status == LAMP_OK && json_read_bytes(&object, text.bytes, text.length, "quoted") == LAMP_OK, "%s", lamp_error_message());
    json_decref(object);
    buffer_release(&text);
    ((seen *)context)->refused++;
    return LAMP_OK;
}

static void try_lines(const char *path) {
    seen s = {0};
    corpus_counts passed_over = {0};
    corpus_reading reading = {.path = path, .field = "text", .visit = take, .refuse = quote, .context = &s};
    CHECK(corpus_visit(&reading, &passed_over) == LAMP_OK, "%s", lamp_error_message());
    CHECK(passed_over.bad_lines == (int64_t)s.refused, "%lld bad lines, %zu refused", (long long)passed_over.bad_lines, s.refused);
    reading.refuse = NULL;
    CHECK((corpus_visit(&reading, &passed_over) == LAMP_OK) == (s.refused == 0), "%zu refused", s.refused);
}

static void try_plain(const char *path, const uint8_t *bytes, size_t length) {
    seen s = {0};
    corpus_counts passed_over = {0};
    corpus_reading reading = {.path = path, .field = "text", .visit = take, .context = &s};
    size_t mark = length >= 3 && !memcmp(bytes, "\xEF\xBB\xBF", 3) ? 3 : 0;
    CHECK(corpus_visit(&reading, &passed_over) == LAMP_OK, "%s", lamp_error_message());
    CHECK((int64_t)s.documents + passed_over.binary_files + passed_over.empty_documents == 1, "%zu documents", s.documents);
    CHECK(!s.documents || s.bytes == length - mark, "%zu bytes of %zu", s.bytes, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    try_lines(fuzz_file("input.jsonl", bytes, length));
    try_plain(fuzz_file("input.txt", bytes, length), bytes, length);
    return 0;
}
