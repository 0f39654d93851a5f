#include "data/corpus.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

enum { BOOK_BYTES = 1 << 20, PART_BYTES = 64 << 10, BINARY_PROBE_BYTES = 8 << 10 };

typedef struct {
    corpus_visitor *visit;
    void *context;
    int64_t *n_binary;
} corpus_walk;

static bool has_suffix(const char *text, const char *suffix) {
    size_t length = strlen(text), suffix_length = strlen(suffix);
    return length >= suffix_length && !strcmp(text + length - suffix_length, suffix);
}

static bool is_binary(const char *bytes, size_t length) {
    return memchr(bytes, 0, length < BINARY_PROBE_BYTES ? length : BINARY_PROBE_BYTES) != NULL;
}

static bool is_blank(const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r') return false;
    return true;
}

static int visit_json_line(corpus_walk *walk, const char *line, size_t length, const char *where) {
    int status = LAMP_OK;
    json_t *object;
    const char *text;
    TRY(json_read_bytes(&object, line, length, where));
    TRY_TO(done, json_get_text(&text, object, "text", where));
    size_t bytes = json_string_length(json_object_get(object, "text"));
    if (bytes > 0) status = walk->visit(walk->context, text, bytes);
done:
    json_decref(object);
    return status;
}

static int visit_json_lines(corpus_walk *walk, const char *path, const char *bytes, size_t length) {
    const char *end = bytes + length;
    char where[PATH_BYTES + 32];
    for (int64_t line = 1; bytes < end; line++) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        size_t line_length = (size_t)((newline ? newline : end) - bytes);
        snprintf(where, sizeof where, "%s: line %lld", path, (long long)line);
        if (!is_blank(bytes, line_length)) TRY(visit_json_line(walk, bytes, line_length, where));
        bytes += line_length + (newline != NULL);
    }
    return LAMP_OK;
}

/* Length of the next part of a book: up to the first blank line after PART_BYTES, else up to the last line end before twice that. */
static size_t part_length(const char *bytes, size_t length) {
    if (length <= 2 * PART_BYTES) return length;
    size_t line_end = 0;
    for (size_t i = PART_BYTES; i < 2 * PART_BYTES; i++) {
        if (bytes[i] != '\n') continue;
        line_end = i + 1;
        if (bytes[i - 1] == '\n' || (bytes[i - 1] == '\r' && bytes[i - 2] == '\n')) break;
    }
    if (line_end > 0) return line_end;
    size_t cut = 2 * PART_BYTES;
    while (cut > PART_BYTES && ((unsigned char)bytes[cut] & 0xC0) == 0x80) cut--; /* not inside a UTF-8 character */
    return cut;
}

static int visit_book(corpus_walk *walk, const char *bytes, size_t length) {
    while (length > 0) {
        size_t part = part_length(bytes, length);
        TRY(walk->visit(walk->context, bytes, part));
        bytes += part, length -= part;
    }
    return LAMP_OK;
}

static int visit_file(void *context, const char *path) {
    corpus_walk *walk = context;
    mapped_file map;
    TRY(file_map(&map, path));
    const char *bytes = (const char *)map.bytes;
    int status = LAMP_OK;
    if (map.length == 0) return LAMP_OK;
    if (is_binary(bytes, map.length)) ++*walk->n_binary;
    else if (has_suffix(path, ".jsonl")) status = visit_json_lines(walk, path, bytes, map.length);
    else if (map.length > BOOK_BYTES) status = visit_book(walk, bytes, map.length);
    else status = walk->visit(walk->context, bytes, map.length);
    file_unmap(&map);
    return status;
}

int corpus_visit(const char *path, corpus_visitor *visit, void *context, int64_t *n_binary) {
    corpus_walk walk = {visit, context, n_binary};
    return file_walk(path, visit_file, &walk);
}
