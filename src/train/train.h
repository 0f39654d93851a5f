/* A whole training run: start or resume, steps, validation, samples, checkpoints, and a clean end on Ctrl-C. */
#ifndef TRAIN_H
#define TRAIN_H

#include "train/evaluate.h"
#include "train/trainer.h"

/* What the caller sees and adds while it runs; every function may be NULL. */
typedef struct {
    void *context;
    void (*said)(void *context, const char *line);                   /* also in the run's log.txt */
    void (*progressed)(void *context, const char *line, bool final); /* replaces the one before; final: the last of the run */
    /* Appends what the model makes of prompt: train knows nothing of generation. */
    int (*sample)(void *context, const trainer *tr, const char *prompt, buffer *text);
    /* Before each step: whoever wants to see what the doctor says of an illness causes it here. */
    void (*stepping)(void *context, trainer *tr);
} train_watcher;

typedef struct {
    step_report last;
    score validation;
    bool finished; /* the budget is used up */
} train_report;

/* Checks all that a run would, says what it would need, and leaves nothing behind: report has last.bytes and last.seconds_left. */
int train_plan(train_report *report, const recipe *r, const train_watcher *watcher);

/* LAMP_INTERRUPTED: a signal ended it after a checkpoint; starting again resumes. */
int train_run(train_report *report, const recipe *r, const char *run, const char *command, const train_watcher *watcher);

#endif
