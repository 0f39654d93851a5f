/* Two models on the same tokens: how far apart are their logits? */
#ifndef COMPARISON_H
#define COMPARISON_H

#include "models/model.h"

typedef struct {
    ptrdiff_t tokens;
    double difference, largest;                /* of all logits: max |b - a|, max |a|; a NaN among them stays one */
    double squared_difference, squared, error; /* sums of (b - a)^2 and of a^2, and the root of what the one is of the other */
    double divergence;                         /* of b's probabilities from a's, nats per token (Kullback and Leibler) */
    double agreement;                          /* share of tokens after which both find the same one most probable */
    double loss_a, loss_b;                     /* nats per token, of every token but the first of its sequence */
} comparison;

/* ids: n of a vocabulary that both have, cut into sequences no longer than a's context. trace receives a's routing; it
 * may be NULL. LAMP_INTERRUPTED may end it. */
int compare_models(comparison *c, const model *a, const model *b, const int32_t *ids, ptrdiff_t n, moe_trace *trace);

#endif
