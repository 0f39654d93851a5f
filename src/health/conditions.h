/* What can be wrong with a run. A condition is a test of the chart with its thresholds, and what a person should know of it. To add one: a test
 * and a row in conditions.c, and a patient that has it in tests/health/. */
#ifndef CONDITIONS_H
#define CONDITIONS_H

#include "health/chart.h"

struct condition {
    const char *code, *name;
    bool per_layer; /* asked of each layer with experts; otherwise once, with layer -1 */
    int confirm;    /* examinations in a row that must find it */
    /* Whether the chart shows it; then evidence (FINDING_BYTES) says what it shows. */
    bool (*present)(const chart *c, int layer, char *evidence);
    const char *why, *remedy;
};

extern const struct condition conditions[];
extern const int n_conditions;

#endif
