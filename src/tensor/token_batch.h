/* N flat tokens, as a model reads them: sequence s is tokens sequence_start[s] .. sequence_start[s + 1]. */
#ifndef TOKEN_BATCH_H
#define TOKEN_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    ptrdiff_t n_tokens;
    const int32_t *token, *target; /* (N); target -1 is not predicted: padding; target may be NULL when there is no loss */
    int n_sequences;
    const ptrdiff_t *sequence_start; /* (n_sequences + 1) */
} token_batch;

/* Padding is routed like any token, but no statistic and no loss counts it. */
static inline bool token_counts(const token_batch *b, ptrdiff_t n) { return !b->target || b->target[n] >= 0; }

#endif
