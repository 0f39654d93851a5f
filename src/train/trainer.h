/* One training run in memory: model, optimiser, data position. trainer_step does one step; nothing is allocated after the first one. */
#ifndef TRAINER_H
#define TRAINER_H

#include "data/loader.h"
#include "models/model.h"
#include "train/memory_needs.h"
#include "train/recipe.h"

enum {
    LOSS_WINDOW = 128,
    EXPECTED_PERCENT_OF_PEAK = 40, /* what a step reaches of the measured peak, products and everything else together; a plan, not a promise */
};

typedef struct {
    recipe recipe;       /* resolved */
    const dataset *data; /* borrowed */
    const struct kernels *k;
    const struct products *products, *router_products;
    model model;
    model_costs costs;
    memory_needs needs;
    optimizer optimizer;
    tape tape;
    loader *loader;
    batch batch;
    ptrdiff_t *sequence_start;
    state memory;               /* what each stream of the loader has read, where the model carries it on; nothing of other models */
    moe_trace trace;            /* of the last step */
    int64_t step, tokens;       /* done */
    double seconds;             /* spent in steps, over all sessions of the run */
    double peak_flops;          /* measured when the trainer was opened */
    int bad_steps;              /* in a row, not applied because loss or gradient was not finite */
    double window[LOSS_WINDOW]; /* the last losses, for z-scores */
    int64_t n_losses;
    int spikes;                 /* in a row that were passed over (train.guard = treat) */
    int64_t *treated;           /* (layers + 1) the step in which the guard last treated the run, and each layer; 0: never */
} trainer;

/* What a person wants to know of the step just done. */
typedef struct {
    int64_t step, tokens;
    double used;         /* share of the budget */
    double loss, loss_z; /* nats per token; standard deviations from the mean of the last 128 */
    double balance_loss[BALANCE_LOSSES];
    double balance_floor; /* their sum where loads are equal */
    double gradient_norm; /* without the experts, if they are consumed (optim/optimizer.h) */
    double learning_rate;
    double step_seconds, tokens_per_second, share_of_peak, seconds_left;
    double balance; /* the worst layer's max/mean load */
    double dropped; /* share of pairs, worst layer */
    int dead;       /* experts without a token in this step, all layers */
    int64_t bytes;  /* weights, gradients, moments and activations */
    int skipped;    /* of consumed experts: matrices that are as before, their gradient not being finite */
    bool spike;     /* the loss jumped, and train.guard = treat passed over the step */
    bool applied;   /* false: a spike, or the loss was not finite, and all weights are as before; or the gradient norm was not, and only
                     * experts that are consumed have moved */
} step_report;

/* Resolves the recipe against the data; what it costs and needs is known then, and nothing large allocated. LAMP_NO_MEMORY if this machine
 * cannot hold it. */
int trainer_prepare(trainer *tr, const recipe *r, const dataset *data);

/* Which gradients of a table pass: where one backward makes the whole gradient, what consumes it does so at once, and it needs no room of its own. */
void trainer_choose_passing(const recipe *r, weights *table);

/* The products that train.precision asks for; NULL: this machine has no such. */
const struct products *trainer_choose_products(const recipe *r, const struct kernels *k);

/* Prepares and allocates. */
int trainer_open(trainer *tr, const recipe *r, const dataset *data);
void trainer_close(trainer *tr);

/* LAMP_DIVERGED after three steps in a row whose loss or gradient was not finite. */
int trainer_step(trainer *tr, step_report *report);

/* Share of the budget used before the next step, in [0, 1]; 1: done. */
double trainer_budget_used(const trainer *tr);

/* Until the budget is used. Of a budget in steps or tokens: at the expected share of the measured peak. */
double trainer_expected_seconds(const trainer *tr);

/* Writes RUN/checkpoints/step-..., with everything a bitwise continuation needs; and goes on from such a folder. */
int trainer_save(const trainer *tr, const char *run);
int trainer_resume(trainer *tr, const char *checkpoint_folder);

/* Weights and moments of that folder, of step *from; steps, data and budget go on from where they are. */
int trainer_rewind(trainer *tr, const char *checkpoint_folder, int64_t *from);

/* Takes the weights of recipe.initial for those of a run that is new: LAMP_INVALID lists where it is another model, or if it reads other tokens. */
int trainer_take_initial(trainer *tr);

#endif
