/* The line that shows how a run is doing: step and percent, loss (standard deviations from the last 128), gradient norm, learning rate,
 * time per step, tokens per second, share of the machine's peak, the worst layer's max/mean load, dropped pairs, dead experts, memory, and
 * time left. */
#ifndef PROGRESS_LINE_H
#define PROGRESS_LINE_H

#include "train/trainer.h"

void progress_line(buffer *line, const trainer *tr, const step_report *r);

#endif
