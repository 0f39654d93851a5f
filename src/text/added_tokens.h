/* Finds added tokens in text: from the left, the longest of those that begin at a place. One set is looked for in text as it is, one in
 * normalised text; each of the latter is looked for as the normalizer leaves it. */
#ifndef ADDED_TOKENS_H
#define ADDED_TOKENS_H

#include "text/normalizer.h"
#include "text/tokenizer.h"

enum { ADDED_TOKEN_BYTES = 512 }; /* at most: text is then scanned in time */

typedef struct {
    const char *bytes;
    size_t length;
    int32_t id;
    unsigned traits;
} added_token;

typedef struct {
    added_token *tokens; /* (n), sorted by their bytes */
    size_t n;
    size_t first[257]; /* those whose first byte is b: tokens[first[b]] .. tokens[first[b + 1] - 1] */
    buffer normal;     /* bytes of those that normalising changed */
} added_tokens;

/* LAMP_UNSUPPORTED if one is too long, or nothing is left of one. n may be NULL. */
int added_tokens_init(added_tokens *a, const tokenizer *t, bool normalized, normalizer *n);
void added_tokens_release(added_tokens *a);

/* A token, or text between tokens (id -1). */
typedef struct {
    size_t start, end;
    int32_t id;
} added_span;

typedef struct {
    const added_tokens *a;
    const char *text; /* borrowed */
    size_t length;
    bool specials;        /* look for special tokens as well */
    size_t searched, end; /* matches were looked for, and spans handed out, up to here */
    added_span token;     /* comes next, if id >= 0 */
} added_scan;

void added_scan_begin(added_scan *s, const added_tokens *a, const char *text, size_t length, bool specials);
bool added_scan_next(added_scan *s, added_span *next); /* false after the last */

#endif
