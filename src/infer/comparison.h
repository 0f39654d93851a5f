/* Two models on the same tokens: how far apart are their logits? */
#ifndef COMPARISON_H
#define COMPARISON_H

#include "models/model.h"

typedef struct {
    ptrdiff_t tokens;
    double difference, largest; /* of all logits: max |b - a|, max |a|; a NaN among them stays one */
    double loss_a, loss_b;      /* nats per token, of every token but the first of its sequence */
} comparison;

/* ids: n of a vocabulary that both have, cut into sequences no longer than a's context. LAMP_INTERRUPTED may end it. */
int compare_models(comparison *c, const model *a, const model *b, const int32_t *ids, ptrdiff_t n);

#endif
