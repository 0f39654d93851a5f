/* What can be said of a token in its place, and what an expert might care about: which token it is, of what class, of which domain, and how
 * far into its window. A feature gives each token of a text one of its values. */
#ifndef FEATURES_H
#define FEATURES_H

#include "inspect/routed_text.h"

enum { FEATURE_TOKEN, FEATURE_CLASS, FEATURE_DOMAIN, FEATURE_POSITION, FEATURES };

typedef struct {
    ptrdiff_t values;
    int32_t *value; /* (N) */
} feature;

typedef struct {
    feature of[FEATURES];
    const routed_text *r;   /* borrowed */
    const tokenizer *words; /* borrowed */
} features;

extern const char *const feature_names[FEATURES];

int features_open(features *f, const routed_text *r, const tokenizer *words);
void features_close(features *f);

/* The class of a token, by its bytes: a value of FEATURE_CLASS. */
int token_class(const tokenizer *words, int32_t id);
extern const char *const token_class_names[];

/* Positions 0, 1, 2 to 3, 4 to 7, ... are a value each of FEATURE_POSITION. */
int position_class(int position);

/* The value in words; for a token its bytes, as they are. */
void feature_describe(buffer *out, const features *f, int which, int32_t value);

#endif
