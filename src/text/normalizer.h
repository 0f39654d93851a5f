/* What is done to text before it is cut: steps in a row, each on what the one before left. Bytes that are no UTF-8 stay as they are.
 * A normalizer serves one thread at a time. */
#ifndef NORMALIZER_H
#define NORMALIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "text/unicode.h"

typedef enum { NORMALIZE_FORM, NORMALIZE_LOWER, NORMALIZE_REPLACE, NORMALIZE_PREPEND, NORMALIZE_STRIP } normalizer_kind;

typedef struct {
    normalizer_kind kind;
    unicode_form form; /* FORM */
    const char *text;  /* REPLACE: what to look for; PREPEND: what to put before text */
    bool is_regex;
    const char *with;      /* REPLACE: what stands there then */
    bool at_start, at_end; /* STRIP: where white space goes */
} normalizer_step;

typedef struct normalizer normalizer;

int normalizer_new(normalizer **n, const normalizer_step *steps, size_t n_steps); /* borrowed */
void normalizer_free(normalizer *n);

/* *bytes and *length become those of the normalised text: borrowed as they came if it is the same, else valid until the next call. Text of no
 * bytes stays so. */
int normalizer_run(normalizer *n, const char **bytes, size_t *length);

#endif
