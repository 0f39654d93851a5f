/* From logits to a token: temperature, then top-k, then top-p, then a draw keyed by (seed, position). */
#ifndef SAMPLING_H
#define SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

typedef struct {
    double temperature; /* 0: the most likely token, always */
    int64_t top_k;      /* only the k most likely; 0: all */
    double top_p;       /* only the smallest set of most likely tokens whose probabilities reach p; 1: all */
    uint64_t seed;
} sampling;

sampling sampling_defaults(void);

typedef struct {
    double score;
    int32_t id;
} sampling_candidate;

/* The token at this position of the text; room has space for V candidates. Ties go to the lower id. */
int32_t sample_token(const sampling *s, const real *logits, int32_t V, uint64_t position, sampling_candidate *room);

#endif
