/* Batches: an endless shuffled walk over the weighted mixture of a dataset's domains, resumable anywhere, and a plain walk over
 * validation text.
 *
 * A domain's training tokens are cut into windows of T + 1 tokens with stride T: T inputs and, one further on, T targets. Sequences are read
 * by streams, in turn: sequence i of a run is the next window of stream i mod streams. A stream reads a stretch of so many windows as they
 * follow one another in the text, then turns to another; streams do so at different times. A stretch of one window is the usual case: every
 * sequence for itself.
 *
 * The q-th stretch that any stream begins comes from a domain drawn by (seed, q); the domain's c-th stretch is permute(c mod stretches) of
 * epoch c / stretches, shuffled by (seed, domain, epoch), so that an epoch visits each once. The last one of a domain, if it is short, goes on
 * at the domain's beginning. The place in this walk is i and the c of each domain, hence a loader put back there goes on with exactly the
 * same batches. Nothing is allocated after loader_new. */
#ifndef LOADER_H
#define LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "data/dataset.h"

/* B sequences of T tokens, row by row. */
typedef struct {
    int B, T;
    int32_t *token, *target; /* (B, T) */
    int32_t *domain;         /* (B) */
    bool *begins;            /* (B) the sequence does not follow, in the text, the one before it in this stream */
} batch;

int batch_init(batch *b, int B, int T);
void batch_release(batch *b);

typedef struct {
    int64_t sequence;                /* read so far */
    int64_t cursor[DATASET_DOMAINS]; /* stretches begun, of each domain */
} loader_state;

enum { MOST_STRETCH = 1 << 16 };
typedef struct {
    int streams, stretch; /* windows in a stretch, from 1 to MOST_STRETCH */
} loader_order;

typedef struct loader loader;

/* d is borrowed. mixture: a recipe's weights (data/mixture.h), n = 0 for the default. */
int loader_new(loader **l, const dataset *d, const option_map *mixture, int T, loader_order order, uint64_t seed);
void loader_free(loader *l);

/* The next b->B sequences; b->T must be the loader's. */
int loader_next(loader *l, batch *b);

void loader_get_state(const loader *l, loader_state *state);

/* LAMP_CHECKPOINT if the state cannot come from a run over this dataset. */
int loader_set_state(loader *l, const loader_state *state);

double loader_probability(const loader *l, int domain); /* of the mixture */

/* Windows of T + 1 tokens in a shard. */
int64_t window_count(const shard *s, int T);

/* Fills b with windows of a domain's validation text, which must exist: first, first + apart, first + 2 apart, ... */
int validation_read(batch *b, const dataset *d, int domain, int64_t first, int64_t apart);

#endif
