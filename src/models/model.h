/* A model: sizes, weights, and a backbone that turns tokens into hidden rows. The trainer and the generator know a model only by this
 * header; what is inside is the backbone's business.
 *
 * A backbone supplies (struct backbone): declare, which adds its weights to the table, and forward, which runs N flat tokens and returns
 * the (N, D) rows that the output head reads. forward is written once: it trains, evaluates and generates. */
#ifndef MODEL_H
#define MODEL_H

#include "models/model_config.h"
#include "moe/moe.h"
#include "tensor/state.h"
#include "tensor/tape.h"
#include "tensor/token_batch.h"
#include "tensor/weights.h"

typedef struct model model;

struct backbone {
    int (*declare)(model *m);
    tensor *(*forward)(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace);
};

extern const struct backbone transformer_backbone;

struct model {
    model_config config;
    const struct backbone *backbone;
    weights weights;
    weight *head; /* of the output; the embedding itself when tied */
    void *parts;  /* owned: the backbone's own view of the table */
};

/* Declares the weights of a config that family_check has passed; no values yet. */
int model_open(model *m, const model_config *config);
void model_close(model *m);

/* The loss of each token (N), on the tape's ledger scaled by t->loss_scale. trace may be NULL. */
const double *model_loss(tape *t, const model *m, const token_batch *batch, moe_trace *trace);

/* (N, V) logits, or of the last token of each sequence only. With a state, batch is one sequence that continues it. */
tensor *model_logits(tape *t, const model *m, const token_batch *batch, state *s, bool last_only, moe_trace *trace);

/* An empty memory for up to `capacity` tokens. */
int model_state_open(state *s, const model *m, ptrdiff_t capacity);

/* A trace of its layers; a dense model has none, and leaves trace->load NULL. */
int model_trace_open(moe_trace *trace, const model *m);

/* Moves what is not learned by gradient towards even loads, from what a whole step chose. After the optimiser's step. */
void model_balance(model *m, const moe_trace *trace);

/* What a forward pass costs and holds. */
typedef struct {
    int64_t parameters, active_parameters; /* active: those that one token meets */
    int64_t active_matrix_parameters;      /* without embedding rows and norms */
    double flops_per_token;                /* training, forward and backward: 6 active matrix parameters + 12 layers * context * width */
} model_costs;
model_costs model_count(const model *m, int64_t context);

#endif
