/* The sparsely-gated layer of experts (Shazeer et al. 2017, section 2), in five nouns that are also this folder's files:
 *
 *     route      scores every expert for every token and chooses: pairs (token, expert, weight), ordered by token
 *     plan       turns pairs into a permutation: which row of the expert batch holds which pair; a counting sort
 *     dispatch   moves token rows into expert order: on one machine a gather that happens when the rows are read
 *     experts    one grouped product per weight matrix over contiguous blocks of rows
 *     combine    the sum of each token's rows, back in token order
 *     (balance)  losses that keep the router honest; they read what the router chose, before capacity drops any of it
 *     (capacity) between route and plan: pairs that find no room are dropped, and their token passes by through the residual
 *
 * N tokens of width D, E experts of inner width F, P pairs (N K when each token takes K experts). */
#ifndef MOE_H
#define MOE_H

#include "moe/route.h"
#include "moe/trace.h"

/* Row r of the expert batch holds pair pair[r] of token token[r]; expert e owns rows start[e] .. start[e + 1]. */
typedef struct {
    const int32_t *row;     /* (P) of each pair */
    const int32_t *pair;    /* (P) of each row */
    const int32_t *token;   /* (P) of each row */
    const ptrdiff_t *start; /* (E + 1) */
    ptrdiff_t rows;
    int experts;
} moe_plan;

/* y (N, D) = sum over a token's pairs of weight * expert(x), and the shared experts. trace, if any, receives what was decided. */
tensor *moe(tape *t, tensor *x, const moe_layer *l, moe_trace *trace);

/* The pairs that find room: at most `room` of each expert. By score, the largest weights; else all first choices before all second ones,
 * earlier tokens first (GShard). */
routing capacity_keep(tape *t, const routing *r, int experts, ptrdiff_t room, bool by_score);

moe_plan plan_build(tape *t, const routing *r, int experts);
void plan_check(const moe_plan *p, const routing *r); /* CHECKs that rows are a permutation, starts ascend and every row has its pair's expert */
tensor *dispatch(tape *t, tensor *x, const moe_plan *p, const routing *r);

/* y[r] = weight of its pair times rows[r]: for experts whose input is weighed. */
tensor *weigh_rows(tape *t, tensor *rows, const moe_plan *p, const routing *r);

/* y (P, D) = weight (silu(x gate^T) * x up^T) down^T, row by row in expert order. recompute: backward makes the inner values again, and nothing
 * is kept for it (2017, appendix D). */
tensor *experts(tape *t, tensor *x, const mlp_weights *w, const moe_plan *p, const routing *r, bool recompute);

/* Where gradients pass (tensor/weights.h), how much of w's there is at a time. */
ptrdiff_t experts_gradient_values(const weight *w);
/* Whether training keeps what lies between experts' products in bf16. */
bool experts_are_rounded(const struct products *products, bool biases, bool takes_factors);

/* The same for one dense expert that every token takes: y (N, D), in token order. */
tensor *dense_mlp(tape *t, tensor *x, const mlp_weights *w);

tensor *combine(tape *t, tensor *rows, const moe_plan *p, const routing *r);

/* A loss of the step: adds itself to the ledger under its name, and its gradient in backward. */
struct balance_term {
    const char *name;
    void (*add)(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient); /* NULL: its router adds it */
};
extern const struct balance_term balance_terms[BALANCE_LOSSES];

void balance_importance(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient);
void balance_load(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient);

/* What a mean over this batch's tokens is multiplied by to be its part of the step's. */
double balance_factor(const tape *t, const token_batch *batch, double coefficient);

/* Loss-free balancing (Wang et al. 2024, arXiv:2408.15664): b_e += rate sign(mean(chosen) - chosen_e). Only differences between biases
 * matter, so their common drift is harmless. */
void balance_move_bias(weight *bias, const int64_t *chosen, double rate);

#endif
