/* AdamW over the weights table (Loshchilov & Hutter 2019), with the gradient clipped to a global norm. Matrices, the router and experts
 * decay; embeddings, norms and thresholds do not, and state is left alone. Moments are one block each, laid out like the weights. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include "kernels/kernels.h"
#include "tensor/weights.h"

typedef struct {
    double beta1, beta2, epsilon, weight_decay;
    double clip;       /* largest global gradient norm; 0: none */
    bool lazy_experts; /* an expert that no token reached keeps weights and moments, and its own count of steps */
} optimizer_config;

typedef struct {
    optimizer_config config;
    real *first, *second;  /* moments */
    int64_t steps;         /* applied so far */
    int64_t *expert_steps; /* of each expert, in the order of the table; NULL unless lazy_experts */
    ptrdiff_t n_experts;
} optimizer;

int optimizer_open(optimizer *o, const optimizer_config *config, const weights *table);
void optimizer_close(optimizer *o);

/* The global norm of the gradients, from the squares that their products left where there are any. */
double optimizer_gradient_norm(const struct kernels *k, const weights *table);

/* One update from the gradients, which are complete and whose norm is given. Packed copies are remade by `products`. */
void optimizer_step(optimizer *o, const struct kernels *k, const struct products *products, weights *table, double learning_rate, double norm);

#endif
