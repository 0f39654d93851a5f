/* A model: sizes, weights, and a backbone that turns tokens into hidden rows. The trainer and the generator know a model only by this
 * header; what is inside is the backbone's business.
 *
 * A backbone supplies (struct backbone): declare, which adds its weights to the table, how many that will be, what it remembers of the tokens it has
 * read, what a pass keeps, and forward, which runs N flat tokens and returns the (N, D) rows that the output head reads. forward is written once: it
 * trains, evaluates and generates. */
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
    double (*parameters)(const model_config *config); /* that declare would add, without a router's smaller parts; before there is anything */
    void (*declare_state)(state *s, const model *m);
    double (*kept)(const model_config *c, int64_t layer); /* values of a token that forward keeps of a layer for backward, but for those of experts */
    tensor *(*forward)(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace); /* NULL: it can be priced, not run */
};

extern const struct backbone transformer_backbone, encoder_decoder_backbone, lstm_moe_backbone;

static inline const struct backbone *model_backbone(const model_config *c) { return c->backbone ? c->backbone : &transformer_backbone; }

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

/* The loss of each token (N), on the tape's ledger scaled by t->loss_scale. With a state, which nothing may grow in, each sequence continues
 * what its row of the state has read: values are carried on, gradients are not. s and trace may be NULL. */
const double *model_loss(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace);

/* (N, V) logits, or of the last token of each sequence only. With a state, batch is one sequence that continues it. */
tensor *model_logits(tape *t, const model *m, const token_batch *batch, state *s, bool last_only, moe_trace *trace);

/* An empty memory for up to `capacity` tokens of so many sequences. */
int model_state_open(state *s, const model *m, ptrdiff_t capacity, int sequences);

/* A trace of its layers; a dense model has none, and leaves trace->load NULL. */
int model_trace_open(moe_trace *trace, const model *m);

/* Moves what is not learned by gradient towards even loads, from what a whole step chose. After the optimiser's step. */
void model_balance(model *m, const moe_trace *trace);

/* What a forward pass costs and holds. Of an encoder and a decoder a token is one of each side. */
typedef struct {
    int64_t parameters, active_parameters; /* active: those that one token meets */
    int64_t active_matrix_parameters;      /* without embedding rows and vectors */
    double flops_per_token;                /* training, forward and backward: 6 active matrix parameters + 3 model_score_flops */
} model_costs;
model_costs model_count(const model *m, int64_t context);

/* The values of w that one token meets: of experts those of its K, of the secondary gates of a hierarchical router those of its groups, of an
 * embedding one row. */
int64_t model_active_values(const model *m, const weight *w);

/* Forward, of one token: what attention does beside its matrices when w, the output of an attention, sees `context` tokens; of other weights 0. */
double model_score_flops(const model *m, const weight *w, int64_t context);

/* w is looked up, not multiplied with. */
static inline bool model_looks_up(const model *m, const weight *w) { return w->role == ROLE_EMBEDDING && w != m->head; }

#endif
