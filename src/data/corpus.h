/* Documents of one domain, wherever they lie.
 *
 * A path is a folder (walked in name order) or one file; either may hold files packed as .gz or .zst (data/unpacked_file.h). A .jsonl file
 * holds one object a line, and its document is the text in one field; any other file is one document, unless it is larger than 1 MiB: a
 * book is cut at blank lines into documents of about 64 KiB, so that holding some documents out for validation does not hold out the
 * book. The bytes of a document are those of the file, whatever they are; only a byte order mark at its beginning is dropped.
 *
 * Passed over, and counted: empty documents; binary files (a NUL in the first 8 KiB of what is not .jsonl); and, if the caller wishes,
 * bad lines. A line without an object, or without text in the field, is LAMP_MALFORMED; one of more than CORPUS_LINE_BYTES, nested too
 * deep or with a number too large, LAMP_UNSUPPORTED. Files are read as streams: memory is bounded by the longest line allowed. */
#ifndef CORPUS_H
#define CORPUS_H

#include <stddef.h>
#include <stdint.h>

enum { CORPUS_LINE_BYTES = 16 << 20 };

/* bytes are borrowed until the call returns; a negative result ends the visit and is returned. */
typedef int corpus_visitor(void *context, const char *bytes, size_t length);

/* What is known of a bad line; lamp_error_message() says what is wrong with it, status how bad it is. */
typedef struct {
    const char *file;
    int64_t line;
    const char *bytes; /* of a line that is too long, its beginning */
    size_t length;
    int status;
} corpus_bad_line;

typedef struct {
    const char *path;
    const char *called; /* how messages call a path that is one file; NULL: by its path */
    const char *field;  /* of .jsonl */
    corpus_visitor *visit;
    int (*refuse)(void *context, const corpus_bad_line *bad); /* LAMP_OK passes over the line; NULL: the first bad line ends the visit */
    void *context;
} corpus_reading;

typedef struct {
    int64_t binary_files, empty_documents, bad_lines;
} corpus_counts;

/* Adds to *passed_over. */
int corpus_visit(const corpus_reading *reading, corpus_counts *passed_over);

#endif
