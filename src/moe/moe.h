/* The sparsely-gated layer of experts (Shazeer et al. 2017, section 2), in five nouns that are also this folder's files:
 *
 *     route      scores every expert for every token and chooses: pairs (token, expert, weight), ordered by token
 *     plan       turns pairs into a permutation: which row of the expert batch holds which pair; a counting sort
 *     dispatch   moves token rows into expert order: on one machine a gather that happens when the rows are read
 *     experts    one grouped product per weight matrix over contiguous blocks of rows
 *     combine    the sum of each token's rows, back in token order
 *     (balance)  losses that keep the router honest; they read what route and plan decided
 *
 * N tokens of width D, E experts of inner width F, P pairs (N K when each token takes K experts). */
#ifndef MOE_H
#define MOE_H

#include "moe/trace.h"
#include "tensor/tape.h"
#include "tensor/weight_products.h"

typedef struct {
    int experts, top_k;
    bool normalize;     /* chosen weights are scaled to sum to one (Mixtral, Qwen3); otherwise they stay probabilities (OLMoE) */
    double switch_loss; /* coefficient of balance_switch */
    double z_loss;      /* coefficient of balance_z */
} moe_config;

typedef struct {
    weight *router;           /* (1, E, D) */
    weight *gate, *up, *down; /* (E, F, D), (E, F, D), (E, D, F) */
} moe_weights;

/* What route decided. */
typedef struct {
    tensor *logits, *probabilities; /* (N, E) */
    tensor *weights;                /* (P, 1) */
    const int32_t *expert;          /* (P) */
    const int32_t *token;           /* (P) */
    const ptrdiff_t *token_start;   /* (N + 1): token n owns pairs token_start[n] .. token_start[n + 1] */
    ptrdiff_t pairs;
} routing;

/* Row r of the expert batch holds pair pair[r] of token token[r]; expert e owns rows start[e] .. start[e + 1]. */
typedef struct {
    const int32_t *row;     /* (P) of each pair */
    const int32_t *pair;    /* (P) of each row */
    const int32_t *token;   /* (P) of each row */
    const ptrdiff_t *start; /* (E + 1) */
    ptrdiff_t rows;
    int experts;
} moe_plan;

/* y (N, D) = sum over a token's pairs of weight * expert(x). trace, if any, receives what was decided in `layer`. */
tensor *moe(tape *t, tensor *x, const moe_weights *w, const moe_config *c, moe_trace *trace, int layer);

routing route_softmax(tape *t, tensor *x, const weight *router, const moe_config *c);
moe_plan plan_build(tape *t, const routing *r, int experts);
void plan_check(const moe_plan *p, const routing *r); /* CHECKs that rows are a permutation, starts ascend and every row has its pair's expert */
tensor *dispatch(tape *t, tensor *x, const moe_plan *p, const routing *r);

/* y (P, D) = weight (silu(x gate^T) * x up^T) down^T, row by row in expert order. */
tensor *experts(tape *t, tensor *x, const moe_weights *w, const moe_plan *p, const routing *r);

/* The same for one dense expert that every token takes: y (N, D), in token order. */
tensor *dense_mlp(tape *t, tensor *x, const moe_weights *w);

tensor *combine(tape *t, tensor *rows, const moe_plan *p, const routing *r);

/* Each adds its loss to the ledger, under its own name, and its gradient in backward. */
void balance_switch(tape *t, const routing *r, const moe_plan *p, double coefficient);
void balance_z(tape *t, const routing *r, double coefficient);

#endif
