/* A recipe: everything that decides a training run, and its option table. Sections of the INI file are the table's groups. */
#ifndef RECIPE_H
#define RECIPE_H

#include <string.h>

#include "base/options.h"
#include "models/model_config.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

typedef struct {
    model_config model;
    char data_path[OPTION_TEXT_BYTES];
    option_map mixture;
    int64_t stretch;
    schedule schedule;
    optimizer_config optimizer;
    int64_t steps, tokens; /* the budget is the first of steps, tokens, minutes that is not 0 */
    double minutes;
    int64_t batch_tokens, micro_batch_tokens;
    int64_t checkpoint_every, keep_checkpoints, eval_every, eval_tokens;
    int64_t telemetry_every, probe_every;
    char guard[OPTION_TEXT_BYTES];
    bool tensorboard;
    int64_t seed, threads;
    char initial[OPTION_TEXT_BYTES];
    char precision[OPTION_TEXT_BYTES], router_precision[OPTION_TEXT_BYTES];
    char pack_weights[OPTION_TEXT_BYTES];
} recipe;

extern const option_table recipe_options;

/* Fills in what depends on other settings (head_dim, family, micro batch, intervals) and checks that they fit together. */
int recipe_resolve(recipe *r, const char *where);

/* What train.pack_weights stands for; r is resolved. */
packing recipe_packing(const recipe *r);

static inline bool recipe_treats(const recipe *r) { return !strcmp(r->guard, "treat"); }

/* The sizes and the router of a model that training is to begin from. What only training decides stays: the length of its sequences, losses,
 * capacity, and which of the routers that are one function outside training. */
void recipe_take_model(recipe *r, const model_config *c);

#endif
