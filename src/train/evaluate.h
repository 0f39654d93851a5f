/* How well a model predicts text it was not trained on: loss, perplexity and bits per byte, per domain and over all, and what its routers
 * did meanwhile. Bits per byte divide by the bytes of the original text, so they compare models with different tokenizers. */
#ifndef EVALUATE_H
#define EVALUATE_H

#include "data/loader.h"
#include "models/model.h"

typedef struct {
    double nats;           /* summed over tokens */
    int64_t tokens, bytes; /* predicted; an end-of-text token counts as a token of no bytes */
} score;

double score_loss(const score *s);          /* nats per token */
double score_perplexity(const score *s);    /* exp(loss) */
double score_bits_per_byte(const score *s);

typedef struct {
    score total;
    int n_domains;
    struct {
        const char *name; /* borrowed from the dataset */
        score score;
    } domain[DATASET_DOMAINS];
    moe_trace trace;
    batch batch; /* private */
    ptrdiff_t *sequence_start;
} evaluation;

/* B sequences of T tokens are run at once. */
int evaluation_open(evaluation *e, const model *m, int B, int T);
void evaluation_close(evaluation *e);

/* Up to `tokens` of each domain's validation text, from its beginning, in windows of T tokens. */
int evaluate_dataset(evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens);

/* A run of ids, as one domain called `name`. */
int evaluate_tokens(evaluation *e, tape *t, const model *m, const tokenizer *words, const char *name, const int32_t *ids, int64_t n);

#endif
