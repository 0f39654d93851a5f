#include "data/corpus.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/unpacked_file.h"

enum { BOOK_BYTES = 1 << 20, PART_BYTES = 64 << 10, BINARY_PROBE_BYTES = 8 << 10, FILL_BYTES = 256 << 10 };

/* The stretch of a file that is in memory and not used yet. */
typedef struct {
    unpacked_file *file;
    char *bytes; /* (capacity) */
    size_t capacity, start, end;
    bool has_ended; /* nothing comes after end */
} window;

typedef struct {
    const corpus_reading *reading;
    corpus_counts *passed_over;
    window text; /* its memory serves one file after another */
} corpus_walk;

static bool is_binary(const char *bytes, size_t length) {
    return memchr(bytes, 0, length < BINARY_PROBE_BYTES ? length : BINARY_PROBE_BYTES) != NULL;
}

static bool is_blank(const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r') return false;
    return true;
}

/* ---- the window ------------------------------------------------------------------------------------------------------------------ */

/* At least `wanted` bytes are there, or all that are left. */
static int window_fill(window *w, size_t wanted) {
    while (w->end - w->start < wanted && !w->has_ended) {
        size_t n;
        TRY(interrupt_check("reading the text"));
        if (w->start > 0) memmove(w->bytes, w->bytes + w->start, w->end - w->start);
        w->end -= w->start, w->start = 0;
        TRY(memory_reserve(&w->bytes, &w->capacity, wanted, 1, "text being read"));
        TRY(unpacked_read(w->file, &n, w->bytes + w->end, w->capacity - w->end));
        w->end += n, w->has_ended = n == 0;
    }
    return LAMP_OK;
}

static int window_skip_byte_order_mark(window *w) {
    static const char mark[] = {'\xEF', '\xBB', '\xBF'};
    TRY(window_fill(w, FILL_BYTES));
    if (w->end - w->start >= sizeof mark && !memcmp(w->bytes + w->start, mark, sizeof mark)) w->start += sizeof mark;
    return LAMP_OK;
}

/* *length is that of the line at the start, without its end; more than CORPUS_LINE_BYTES stands for any length above. */
static int window_find_line(window *w, size_t *length) {
    for (size_t searched = 0;;) {
        size_t there = w->end - w->start;
        const char *newline = there > searched ? memchr(w->bytes + w->start + searched, '\n', there - searched) : NULL;
        *length = newline ? (size_t)(newline - w->bytes) - w->start : there;
        if (newline || w->has_ended || there > CORPUS_LINE_BYTES) return LAMP_OK;
        searched = there;
        TRY(window_fill(w, there < FILL_BYTES ? FILL_BYTES : there < CORPUS_LINE_BYTES / 2 ? 2 * there : CORPUS_LINE_BYTES + 1));
    }
}

static int window_skip_line(window *w) {
    for (;;) {
        TRY(window_fill(w, 1));
        if (w->start == w->end) return LAMP_OK;
        const char *newline = memchr(w->bytes + w->start, '\n', w->end - w->start);
        w->start = newline ? (size_t)(newline - w->bytes) + 1 : w->end;
        if (newline) return LAMP_OK;
    }
}

/* ---- lines ----------------------------------------------------------------------------------------------------------------------- */

static int visit_document(corpus_walk *walk, const char *bytes, size_t length) {
    if (length > 0) return walk->reading->visit(walk->reading->context, bytes, length);
    walk->passed_over->empty_documents++;
    return LAMP_OK;
}

/* The text of a line, borrowed from *object. */
static int read_line(json_t **object, const char **text, size_t *text_length, const corpus_reading *reading, const char *line, size_t length,
                     const char *where) {
    if (length > CORPUS_LINE_BYTES)
        FAIL(LAMP_UNSUPPORTED, "%s: expected at most %d MiB in a line, found more; .jsonl is one object a line", where, CORPUS_LINE_BYTES >> 20);
    TRY(json_read_line(object, line, length, where));
    if (!json_is_object(*object)) FAIL(LAMP_MALFORMED, "%s: expected an object {...}, found an array", where);
    if (!json_object_get(*object, reading->field)) {
        void *first = json_object_iter(*object);
        FAIL(LAMP_MALFORMED, "%s: expected text in the field \"%s\", found %s%.80s%s; --field NAME reads another field", where, reading->field,
             first ? "no such field but \"" : "an empty object", first ? json_object_iter_key(first) : "", first ? "\"" : "");
    }
    TRY(json_get_text(text, *object, reading->field, where));
    *text_length = json_string_length(json_object_get(*object, reading->field));
    return LAMP_OK;
}

static int visit_line(corpus_walk *walk, const char *file, int64_t number, const char *line, size_t length) {
    const corpus_reading *reading = walk->reading;
    json_t *object = NULL;
    const char *text = NULL;
    size_t text_length = 0;
    char where[PATH_BYTES + 32];
    snprintf(where, sizeof where, "%s: line %lld", file, (long long)number);
    int status = read_line(&object, &text, &text_length, reading, line, length, where);
    if (status == LAMP_OK) {
        status = visit_document(walk, text, text_length);
    } else if ((status == LAMP_MALFORMED || status == LAMP_UNSUPPORTED) && reading->refuse) {
        walk->passed_over->bad_lines++;
        status = reading->refuse(reading->context, &(corpus_bad_line){file, number, line, length, status});
    }
    json_decref(object);
    return status;
}

static int visit_lines(corpus_walk *walk, const char *file) {
    window *w = &walk->text;
    for (int64_t number = 1;; number++) {
        size_t length;
        TRY(window_find_line(w, &length));
        if (w->start == w->end) return LAMP_OK;
        const char *line = w->bytes + w->start;
        if (!is_blank(line, length)) TRY(visit_line(walk, file, number, line, length));
        w->start += length;
        TRY(window_skip_line(w));
    }
}

/* ---- plain text ------------------------------------------------------------------------------------------------------------------ */

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

static int visit_book(corpus_walk *walk) {
    window *w = &walk->text;
    for (;;) {
        TRY(window_fill(w, 2 * PART_BYTES + 1));
        if (w->start == w->end) return LAMP_OK;
        size_t part = part_length(w->bytes + w->start, w->end - w->start);
        TRY(visit_document(walk, w->bytes + w->start, part));
        w->start += part;
    }
}

static int visit_plain(corpus_walk *walk) {
    window *w = &walk->text;
    TRY(window_fill(w, BOOK_BYTES + 1));
    const char *bytes = w->bytes + w->start;
    size_t length = w->end - w->start;
    if (is_binary(bytes, length)) {
        walk->passed_over->binary_files++;
        return LAMP_OK;
    }
    return length > BOOK_BYTES ? visit_book(walk) : visit_document(walk, bytes, length);
}

/* ---- files ----------------------------------------------------------------------------------------------------------------------- */

static bool holds_lines(const char *path) {
    static const char suffix[] = ".jsonl";
    size_t length = unpacked_path_length(path), suffix_length = sizeof suffix - 1;
    return length >= suffix_length && !memcmp(path + length - suffix_length, suffix, suffix_length);
}

static int visit_file(void *context, const char *path) {
    corpus_walk *walk = context;
    window *w = &walk->text;
    const char *called = walk->reading->called ? walk->reading->called : path;
    int status = LAMP_OK;
    w->start = w->end = 0, w->has_ended = false;
    TRY(unpacked_open(&w->file, path, called));
    TRY_TO(done, window_skip_byte_order_mark(w));
    status = holds_lines(path) ? visit_lines(walk, called) : visit_plain(walk);
done:
    unpacked_close(w->file);
    return status;
}

int corpus_visit(const corpus_reading *reading, corpus_counts *passed_over) {
    corpus_walk walk = {.reading = reading, .passed_over = passed_over};
    int status = file_walk(reading->path, visit_file, &walk);
    memory_free(walk.text.bytes);
    return status;
}
