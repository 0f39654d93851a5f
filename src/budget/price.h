/* What a model costs, from its declared weights: no value of them need be there. Parameters and FLOPs of each part, what a decoded token reads,
 * what training holds. Everything is counted from shapes; nothing is measured. */
#ifndef PRICE_H
#define PRICE_H

#include "models/model.h"
#include "train/memory_needs.h"
#include "train/recipe.h"

/* MLP: of dense layers, and shared experts. State of a router counts with it. */
typedef enum { PART_EMBEDDING, PART_ATTENTION, PART_LSTM, PART_MLP, PART_EXPERTS, PART_ROUTER, PART_NORMS, PART_HEAD, PRICE_PARTS } price_part;

typedef struct {
    int64_t parameters, active; /* active: those that one token meets, of the embedding one row */
    double flops;               /* forward, of one token */
} price_count;

/* The forms that weights are served in. */
typedef enum { SERVE_F32, SERVE_BF16, SERVE_Q8, SERVE_Q4, SERVE_FORMS } serve_form;

typedef struct {
    double held, touched; /* bytes: all weights; those that one decoded token reads, of an encoder and decoder the decoder's */
} serve_bytes;

typedef struct {
    int64_t context; /* tokens that attention sees */
    model_costs costs;
    price_count part[PRICE_PARTS];
    price_count body;               /* all but embedding and head, as the papers of 2017 and 2021 count */
    double multiply_adds;           /* of the body's matrices, forward: what 2017 calls ops/timestep */
    int64_t active_with_embedding;  /* active parameters where all of the embedding counts, as many model cards have it */
    double forward_flops;           /* of one token at the end of the context */
    double mlp_share, mlp_flop_share; /* MLP and experts, of all parameters, and of the forward FLOPs */
    memory_needs training;          /* activations 0: the model does not run yet */
    double training_touched;        /* bytes of weights, gradients and moments that a step reads or writes: lazy experts without a token rest */
    serve_bytes serve[SERVE_FORMS];
    double cache_bytes;             /* of the whole context, in f32; */
    double all_heads_cache_bytes;   /* and what keys and values of every head would be there, that share none and are not made of a narrow row */
    const char *missing;            /* what we do not compute yet; NULL: the model runs */
} model_price;

extern const char *const price_part_name[PRICE_PARTS], *const serve_form_name[SERVE_FORMS];

price_part price_part_of(const model *m, const weight *w);

/* m's weights are declared, and perhaps more; r is resolved, and says how it is trained. */
int price_model(model_price *p, model *m, const recipe *r, int64_t context);

#endif
