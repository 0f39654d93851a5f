/* The course of the training loss, in bounded memory: its last steps one by one, and the whole run as means of blocks, which double in length
 * when there would be too many. From it: is the loss converging, wobbling or diverging; does it stand still; did it jump? */
#ifndef LOSS_COURSE_H
#define LOSS_COURSE_H

#include <stdbool.h>
#include <stdint.h>

enum { RECENT_LOSSES = 256, LOSS_BLOCKS = 256 };

typedef struct {
    int64_t steps; /* with a finite loss */
    double recent[RECENT_LOSSES], rate[RECENT_LOSSES]; /* loss and learning rate, as rings */
    struct {
        double mean;
        int64_t steps;
    } block[LOSS_BLOCKS];
    int blocks;
    int64_t block_steps; /* of a whole one */
} loss_course;

/* So many deviations z above the last 128 losses, once that is known from so many: beyond it OLMo-core skips a step. */
static inline bool loss_is_spike(double z, int64_t losses) { return z > 6 && losses >= 64; }

typedef enum { LOSS_UNKNOWN, LOSS_CONVERGING, LOSS_WOBBLING, LOSS_DIVERGING } loss_verdict;
extern const char *const loss_verdict_names[];

/* learning_rate of the same step. Losses that are not finite are not added. */
void loss_course_add(loss_course *c, double loss, double learning_rate);

/* Mean and standard deviation of the n losses that end `back` steps ago; false: there are not so many. */
bool loss_course_recent(const loss_course *c, int back, int n, double *mean, double *deviation);
double loss_course_rate(const loss_course *c, int back); /* learning rate so many steps ago; 0: longer than is remembered */

/* A straight line through the second half of the run, at least 75 steps. A slope below -2 of its standard errors falls beyond doubt. */
typedef struct {
    double slope, error, level; /* nats per step, its standard error, and the mean */
    double steps;
} loss_trend;
bool loss_course_trend(loss_trend *trend, const loss_course *c); /* false: too short */

/* diverging: the last 50 steps lie above the best 50-step block by more than five of its standard errors, a tenth of what was learned and
 * a hundredth of the loss. wobbling: it does not fall, and blocks of 20 steps differ by more than their noise allows. Otherwise converging. */
loss_verdict loss_course_verdict(const loss_course *c);

#endif
