/* AdamW over the weights table (Loshchilov & Hutter 2019), with the gradient clipped to a global norm. Matrices, the router and experts
 * decay; embeddings, norms and thresholds do not, and state is left alone. Moments are one block each, laid out like the weights. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include "kernels/kernels.h"
#include "tensor/weights.h"

typedef struct {
    double beta1, beta2, epsilon, weight_decay;
    double clip; /* largest global gradient norm; 0: none */
} optimizer_config;

typedef struct {
    optimizer_config config;
    real *first, *second; /* moments */
    int64_t steps;        /* applied so far */
} optimizer;

int optimizer_open(optimizer *o, const optimizer_config *config, const weights *table);
void optimizer_close(optimizer *o);

/* The global norm of the gradient block. */
double optimizer_gradient_norm(const struct kernels *k, const weights *table);

/* One update from the gradient block, whose norm is given. */
void optimizer_step(optimizer *o, const struct kernels *k, weights *table, double learning_rate, double norm);

#endif
