/* A pattern to be found in text: some characters, or a regular expression as the files of tokenizers have it. Those are written for
 * Oniguruma and run by PCRE2, so what the two read differently is rewritten (pattern_dialect.c) or refused, and a character younger than
 * PCRE2's tables is matched as an older one of its kind (young_characters.h). A pattern serves one thread at a time. */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

typedef struct pattern pattern;

int pattern_new(pattern **p, const char *regex); /* LAMP_UNSUPPORTED says why it cannot be matched as meant */
int pattern_new_plain(pattern **p, const char *characters, size_t length);
void pattern_free(pattern *p);

bool pattern_is_regex(const pattern *p); /* then text must be valid UTF-8; plain characters are found in any bytes */

/* One match after another, leftmost first. One of no length counts, except right behind another. The text is borrowed until the next begin.
 * LAMP_UNSUPPORTED if a match takes more work than any sensible pattern needs. */
int pattern_begin(pattern *p, const char *text, size_t length);
int pattern_next(pattern *p, size_t *start, size_t *end); /* 1, or 0 after the last */

/* Appends text with `with` in place of every match. */
int pattern_replace(buffer *out, bool *any, pattern *p, const char *text, size_t length, const char *with);

/* Appends regex as PCRE2 reads it. */
int pattern_translate(buffer *out, const char *regex);

#endif
