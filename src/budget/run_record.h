/* What a run's folder says of how well it learned and what that took: also of one that was interrupted, or still goes on. */
#ifndef RUN_RECORD_H
#define RUN_RECORD_H

#include "base/file.h"
#include "budget/learning_curve.h"
#include "train/recipe.h"

typedef struct {
    char path[PATH_BYTES]; /* without slashes at the end */
    recipe recipe;         /* resolved */
    char dataset[64];      /* its hash */
    char machine[64];      /* kernels and threads: what seconds depend on */
    int64_t parameters, active_parameters;
    double flops_per_token;
    int64_t bytes;            /* the most that a step held */
    int64_t validation_bytes; /* of the text that validation scores */
    int left_out;             /* steps and validations whose loss is not finite */
    /* Seconds are those of steps, without validation and saving. Training: each milestone is the mean of a stretch of steps. */
    learning_curve validation, training;
} run_record;

/* LAMP_INVALID if no step is done. */
int run_record_read(run_record *r, const char *run);
void run_record_release(run_record *r);

/* Its recipe without the seed, threads, and what is logged and kept, when and where: alike in all runs of one model. */
recipe run_record_essence(const run_record *r);
bool run_record_is_alike(const run_record *a, const run_record *b);

#endif
