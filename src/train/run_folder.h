/* What a run leaves behind, never overwritten:
 *
 *     recipe.ini         resolved: every option with its value      command.txt        how it was started, a line per start
 *     environment.json   version, kernels, threads, dataset         log.txt            what was printed
 *     metrics.jsonl      a line per step, and per validation        routing.jsonl      what routers did (health/telemetry.h)
 *     events.jsonl       starts, resumes, checkpoints, bad steps    samples.txt        what the model wrote along the way
 *     checkpoints/       step-00001200/ ..., latest                 tensorboard/       if train.tensorboard asks for it
 *
 * Lines are appended whole and flushed. A failure to write is the run's failure: a log that silently stops is worse than none. */
#ifndef RUN_FOLDER_H
#define RUN_FOLDER_H

#include <stdio.h>

#include "base/file.h"
#include "base/json.h"
#include "health/doctor.h"
#include "health/probe.h"
#include "train/evaluate.h"
#include "train/tensorboard.h"
#include "train/trainer.h"

typedef struct {
    char path[PATH_BYTES];
    int lock; /* one process at a time trains a run */
    FILE *metrics, *routing, *events, *samples, *log;
    tensorboard tensorboard;
    buffer line; /* reused */
} run_folder;

/* Makes the folder, or opens the one that is there: then *resume says whether it holds a checkpoint, and a recipe that differs from the
 * folder's in more than train.threads, train.tensorboard and data.path (the data is known by its hash) is LAMP_INVALID with the differences. */
int run_folder_open(run_folder *run, const char *path, const recipe *r, const char *command, bool *resume);
void run_folder_close(run_folder *run);
bool run_folder_has_checkpoint(const char *path);

/* Cuts from metrics.jsonl and routing.jsonl what they say of steps after this one: the run is about to do them again. */
int run_folder_forget_after(run_folder *run, int64_t step);

int run_folder_write_environment(run_folder *run, const trainer *tr);
int run_folder_add_step(run_folder *run, const step_report *report);
int run_folder_add_routing(run_folder *run, const trainer *tr);
int run_folder_add_probe(run_folder *run, const probe_reading *r);
int run_folder_add_evaluation(run_folder *run, const trainer *tr, const evaluation *e);
int run_folder_add_event(run_folder *run, int64_t step, const char *event, const char *detail);
int run_folder_add_finding(run_folder *run, int64_t step, const finding *f);
int run_folder_add_sample(run_folder *run, int64_t step, const char *prompt, const char *text, size_t length);
int run_folder_add_log(run_folder *run, const char *text);

/* The members that eval and the logs share: "loss", "perplexity", "bits_per_byte", "tokens", "domains". */
void json_put_scores(json_writer *w, const evaluation *e);

#endif
