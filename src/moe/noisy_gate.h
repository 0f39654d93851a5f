/* The noisy gate of 2017, once for the flat router and at both levels of the hierarchical one: rows of M logits, of which K are chosen. */
#ifndef NOISY_GATE_H
#define NOISY_GATE_H

#include "base/random.h"
#include "tensor/tape.h"

/* h = clean + draw * softplus(noise), a normal draw per element */
tensor *noisy_logits(tape *t, tensor *clean, tensor *noise, random_use use, int layer);

/* How many rows would choose each column if their noise were drawn again: load[bin[r], i] += bin_weight[bin[r]] P(r, i), (bins, M). Rows of
 * bin -1 are left out. */
tensor *expected_load(tape *t, tensor *clean, tensor *noise, tensor *noisy, ptrdiff_t K, const int32_t *bin, ptrdiff_t bins, const real *bin_weight);

#endif
