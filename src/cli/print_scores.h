/* Tables for people: scores per domain, routing per layer. */
#ifndef PRINT_SCORES_H
#define PRINT_SCORES_H

#include "train/evaluate.h"

void print_scores(const evaluation *e);
void print_routing(const moe_trace *trace);

#endif
