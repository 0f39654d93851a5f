/* Cuts text into the pieces inside which merging happens: the matches of a regular expression (PCRE2, Unicode properties), one after
 * another. What no match covers is a piece as well, and so is each stretch of bytes that are not UTF-8, so the pieces of any bytes,
 * joined, are those bytes. One difference from other engines is known: PCRE2 takes U+180E for space.
 * A pretokenizer serves one thread at a time. */
#ifndef PRETOKENIZER_H
#define PRETOKENIZER_H

#include <stddef.h>

typedef struct {
    const char *bytes; /* borrowed from the text */
    size_t length;     /* never 0 */
} piece;

typedef struct pretokenizer pretokenizer;

/* LAMP_UNSUPPORTED if PCRE2 does not accept the pattern. */
int pretokenizer_new(pretokenizer **p, const char *pattern);
void pretokenizer_free(pretokenizer *p);

void pretokenizer_begin(pretokenizer *p, const char *bytes, size_t length); /* borrowed until its last piece */
int pretokenizer_next(pretokenizer *p, piece *next);                        /* 1, or 0 after the last piece */

/* Words with one leading space or sign, single digits, runs of signs, line ends, other space: the pattern of Qwen 2 and 3. */
extern const char PRETOKENIZER_QWEN2[];
extern const char PRETOKENIZER_GPT2[];

#endif
