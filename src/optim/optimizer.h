/* AdamW over the weights table (Loshchilov & Hutter 2019), with the gradient clipped to a global norm. Matrices, the router and experts
 * decay; embeddings, norms and thresholds do not, and state is left alone.
 *
 * Gradients of experts may be consumed as backward produces them, so that they are never all held (Lv et al. 2023, "Full parameter fine-tuning
 * for large language models with limited resources", section 3.1). No norm over all of them is known then, so each matrix is clipped by itself. The
 * update is AdamW's, or what Shazeer et al. 2017 (appendix D) use for thousands of experts: no first moment, of the second only the means of each
 * matrix's rows and columns. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include "base/options.h"
#include "kernels/kernels.h"
#include "tensor/weights.h"

typedef struct {
    double beta1, beta2, epsilon, weight_decay;
    double clip;                     /* largest global gradient norm; 0: none */
    bool lazy_experts;               /* an expert that no token reached keeps weights and moments, and its own count of steps */
    char experts[OPTION_TEXT_BYTES]; /* "adamw", "adamw_in_backward" or "factored" */
    double clip_matrix;              /* of experts that are consumed: largest gradient norm of one matrix; 0: none */
    char moments[OPTION_TEXT_BYTES]; /* "f32", or of AdamW's for matrices, embeddings and experts "bf16" (DeepSeek-V3, 2024, section 3.3.3) */
} optimizer_config;

typedef struct {
    optimizer_config config;
    weight_moment *moment; /* two of each weight, in table order */
    int n_moments;
    char *moments; /* their block */
    size_t bytes;
    uint64_t seed;         /* of random rounding; the run's */
    int64_t steps;         /* applied so far */
    int64_t *expert_steps; /* of each expert's matrices, in table order; NULL unless they are consumed or lazy */
    ptrdiff_t n_experts;
    int64_t **counts;         /* of each weight: where its groups are in expert_steps; NULL: steps counts */
    update_step *matrix_step; /* of each group of one weight */
} optimizer;

int optimizer_open(optimizer *o, const optimizer_config *config, uint64_t seed, const weights *table);
void optimizer_close(optimizer *o);

/* Of all moments of a table. */
size_t optimizer_moment_bytes(const optimizer_config *config, const weights *table);

/* w is updated by optimizer_consume instead of optimizer_step. */
bool optimizer_consumes(const optimizer_config *config, const weight *w);

/* A consumed gradient of few rows is best left as its factors. */
bool optimizer_takes_factors(const optimizer_config *config);

/* Updates the part of w whose gradient this is, which nobody needs afterwards; parts may come from several threads. Returns how many of its
 * matrices stay as they are, their gradient not being finite. */
int optimizer_consume(optimizer *o, const struct kernels *k, const struct products *products, const weight *w, const gradient_part *part,
                      double learning_rate);

/* The global norm of the gradients that are not consumed, from the squares that their products left where there are any. */
double optimizer_gradient_norm(const optimizer *o, const struct kernels *k, const weights *table);

/* One update from these gradients, which are complete and whose norm is given. Packed copies are remade by `products`. */
void optimizer_step(optimizer *o, const struct kernels *k, const struct products *products, weights *table, double learning_rate, double norm);

#endif
