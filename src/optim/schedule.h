/* The learning rate as a function of the share of the budget used, so that a budget in steps, tokens or minutes needs no other setting. */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "base/options.h"

typedef struct {
    char shape[OPTION_TEXT_BYTES]; /* "cosine", "wsd" (warmup, stable, decay), or as in 2017 "rsqrt": as 1 / sqrt(used), from the warm-up on */
    double learning_rate;          /* the highest */
    double final_share;            /* of it, at the end */
    double warmup, decay;          /* shares of the budget: linear up at the start; wsd: down at the end, 1 - sqrt (Haegele et al. 2024) */
} schedule;

/* used in [0, 1] */
double schedule_learning_rate(const schedule *s, double used);

#endif
