/* A whole training run: start or resume, steps, validation, samples, checkpoints, and a clean end on Ctrl-C. */
#ifndef TRAIN_H
#define TRAIN_H

#include "train/evaluate.h"
#include "train/trainer.h"

/* What the caller sees while it runs; every function may be NULL. */
typedef struct {
    void *context;
    void (*started)(void *context, const trainer *tr, bool resumed);
    void (*stepped)(void *context, const trainer *tr, const step_report *report);
    void (*evaluated)(void *context, const trainer *tr, const evaluation *e);
    /* Appends what the model makes of prompt: train knows nothing of generation. */
    int (*sample)(void *context, const trainer *tr, const char *prompt, buffer *text);
    void (*saved)(void *context, const trainer *tr);
} train_watcher;

typedef struct {
    step_report last;
    score validation;
    bool finished; /* the budget is used up */
} train_report;

/* LAMP_INTERRUPTED: a signal ended it after a checkpoint; starting again resumes. */
int train_run(train_report *report, const recipe *r, const char *run, const char *command, const train_watcher *watcher);

#endif
