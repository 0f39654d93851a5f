/* How well a model predicts text it was not trained on: loss, perplexity and bits per byte, per domain and over all, and what its routers
 * did meanwhile. Bits per byte divide by the bytes of the original text, so they compare models with different tokenizers. */
#ifndef EVALUATE_H
#define EVALUATE_H

#include "data/loader.h"
#include "models/model.h"

typedef struct {
    double nats;           /* summed over tokens */
    int64_t tokens, bytes; /* predicted; an end-of-text token counts as a token of no bytes */
    int64_t unknown;       /* of the tokens: words outside the vocabulary, whose bytes nothing predicts */
} score;

double score_loss(const score *s);          /* nats per token */
double score_perplexity(const score *s);    /* exp(loss) */
double score_bits_per_byte(const score *s); /* NAN if some words are unknown: their spelling would come for nothing */

typedef struct evaluation evaluation;

/* Called for every batch that was run, the last of the domain n_domains - 1: loss (B, T), of which those with a target count. */
typedef void loss_watcher(void *context, const evaluation *e, const double *loss);

struct evaluation {
    score total;
    int n_domains;
    struct {
        const char *name; /* borrowed from the dataset */
        score score;
    } domain[DATASET_DOMAINS];
    moe_trace trace;
    loss_watcher *watch; /* may be NULL */
    void *watch_context;
    batch batch; /* private, but to be read by watchers */
    ptrdiff_t *sequence_start;
    state memory;          /* of the rows of the batch, where the model carries something from window to window */
    int64_t tokens_before; /* run before this batch */
};

/* B sequences of T tokens are run at once. */
int evaluation_open(evaluation *e, const model *m, int B, int T);
void evaluation_close(evaluation *e);

/* Up to `tokens` of each domain's validation text, from its beginning, in windows of T tokens. Models that carry what they have read from one
 * to the next read the text in EVALUATED_PARTS, or B if these are fewer, side by side. */
enum { EVALUATED_PARTS = 8 /* so few that it hardly matters where they begin; always as many, so that the loss does not depend on B */ };
int evaluate_dataset(evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens);

/* A run of ids, as one domain called `name`. */
int evaluate_tokens(evaluation *e, tape *t, const model *m, const tokenizer *words, const char *name, const int32_t *ids, int64_t n);

#endif
