/* Runs compared where they have spent the same. Runs whose recipes differ in the seed alone are one model; the first model is the control.
 *
 * Each budget (seconds of training, FLOPs, tokens) is the largest that all runs reached. A model's score there is the mean over its seeds with
 * its interval; its difference from the control is taken seed by seed where both have the same seeds, which cancels what a seed does to all. */
#ifndef CONTEST_H
#define CONTEST_H

#include "base/student.h"
#include "budget/effective_parameters.h"
#include "budget/run_record.h"

typedef struct {
    interval score[SCORES]; /* NAN: a run has no milestone before the budget */
    interval difference;    /* of the loss, less the control's */
    double ratio;           /* curve_ratio to the control: geometric mean of the pairs of runs that are compared */
} standing;

typedef struct {
    char name[PATH_BYTES];
    int n;
    run_record **run; /* (n) in the order of seeds */
    bool paired;      /* it has the control's seeds */
    int64_t bytes;    /* the most that one of its runs held */
    bool on_front;    /* no model of as few bytes has a lower loss after the same tokens */
    standing at[SPENDINGS];
} contestant;

typedef struct {
    int n_runs, n;
    run_record *run;    /* (n_runs) */
    run_record **order; /* (n_runs) by model, then seed */
    contestant *model;  /* (n) */
    bool validated;     /* by validation; otherwise by training loss, because unvalidated has no validation yet */
    const run_record *unvalidated;
    double budget[SPENDINGS];
    const run_record *shortest[SPENDINGS]; /* the run that ends there */
    bool has_effective;
    effective_fit effective; /* of the losses after the same tokens */
} contest;

/* LAMP_INVALID: runs of different datasets; the same recipe and seed twice; a run without a step. */
int contest_open(contest *c, const char *const *paths, int n);
void contest_close(contest *c);

/* The curve that a run is compared by. */
const learning_curve *contest_curve(const contest *c, const run_record *r);

#endif
