/* A run's numbers as TensorBoard reads them: RUN/tensorboard/events.out.tfevents.TIME, one file per start.
 *
 *     record     length u64 | masked CRC32C of the length u32 | Event | masked CRC32C of the Event u32        little-endian (TFRecord)
 *     Event      1 wall_time double, 2 step int64, 3 file_version, 5 summary, 7 session_log                   (protocol buffers)
 *     Summary    1 value, repeated: 1 tag, 2 simple_value float
 *
 * Names are those of metrics.jsonl and routing.jsonl. There is no series per expert, and of more than EACH_LAYER layers only the least, the
 * median and the largest, so that their number stays below a few hundred whatever the model. A start after step N says so
 * (SessionLog START, step N + 1): TensorBoard then forgets what earlier files say of that step and later ones, so a run that was killed
 * shows each step once. */
#ifndef TENSORBOARD_H
#define TENSORBOARD_H

#include <stdio.h>

#include "health/probe.h"
#include "train/evaluate.h"
#include "train/trainer.h"

enum { EACH_LAYER = 16 };

typedef struct {
    FILE *file; /* NULL: the run does not want this, and whatever is added is passed over */
    buffer event, summary, value;
    double *sorted; /* (1 + LAYER_NUMBERS, layers) scratch: a row to sort, and the numbers of a step */
} tensorboard;

int tensorboard_open(tensorboard *t, const char *run);
void tensorboard_close(tensorboard *t);

int tensorboard_go_on(tensorboard *t, int64_t step); /* what was said of steps after this one is superseded */
int tensorboard_add_step(tensorboard *t, const step_report *report);
int tensorboard_add_routing(tensorboard *t, int64_t step, const moe_trace *trace);
int tensorboard_add_probe(tensorboard *t, const probe_reading *r);
int tensorboard_add_evaluation(tensorboard *t, int64_t step, const evaluation *e);

#endif
