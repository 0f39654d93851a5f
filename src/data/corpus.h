/* Documents of one domain, wherever they lie.
 *
 * A path is a folder (walked in name order) or one file. A .jsonl file holds one document a line, the text under "text"; any other file
 * is one document, unless it is larger than 1 MiB: a book is cut at blank lines into documents of about 64 KiB, so that holding some
 * documents out for validation does not hold out the book. Empty documents are passed over, and so are binary files (a NUL in the
 * first 8 KiB), which are counted. */
#ifndef CORPUS_H
#define CORPUS_H

#include <stddef.h>
#include <stdint.h>

/* bytes are borrowed until the call returns; a negative result ends the visit and is returned. */
typedef int corpus_visitor(void *context, const char *bytes, size_t length);

/* *n_binary is raised by one for every binary file passed over. A line of JSON without text is LAMP_MALFORMED, with file and line. */
int corpus_visit(const char *path, corpus_visitor *visit, void *context, int64_t *n_binary);

#endif
