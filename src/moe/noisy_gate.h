/* The noisy gate of 2017, once for the flat router and at both levels of the hierarchical one: rows of M logits, of which K are chosen. */
#ifndef NOISY_GATE_H
#define NOISY_GATE_H

#include "base/random.h"
#include "tensor/tape.h"
#include "tensor/token_batch.h"

/* h = clean + draw * softplus(noise); draw[r, i] is the normal number of index first[r] + i. */
tensor *noisy_logits(tape *t, tensor *clean, tensor *noise, random_key key, const uint64_t *first);

/* How many rows would choose each column if their noise were drawn again: load[bin[r], i] += row_weight[r] P(r, i), (bins, M). */
tensor *expected_load(tape *t, tensor *clean, tensor *noise, tensor *noisy, ptrdiff_t K, const int32_t *bin, ptrdiff_t bins, const real *row_weight);

/* Logits, clean and with noise, and the softmax of the latter. noise NULL, where nobody trains: noisy is clean. */
typedef struct {
    tensor *clean, *noise, *noisy, *p; /* (R, M) */
} noisy_gate;
noisy_gate noisy_gate_open(tape *t, tensor *clean, tensor *noise, random_key key, const uint64_t *first);

/* The gate with a row for each token, and its load: (1, M), without padding. */
noisy_gate noisy_gate_of_tokens(tape *t, tensor *x, const weight *router, const weight *noise, random_use use, int layer);
tensor *noisy_gate_load_of_tokens(tape *t, const noisy_gate *g, ptrdiff_t K, const token_batch *batch);

#endif
