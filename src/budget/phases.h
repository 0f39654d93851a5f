/* Where the time of a step goes, without a line in the code that takes it: a tape is given kernel tables whose entries are the machine's own
 * and add up how long they took. One tape is watched at a time. */
#ifndef PHASES_H
#define PHASES_H

#include "tensor/tape.h"

typedef enum { PHASE_FORWARD, PHASE_D_INPUT, PHASE_D_WEIGHT, PHASE_ATTENTION, PHASE_ACTIVATION, PHASE_UPDATE, PHASES } phase;

extern const char *const phase_name[PHASES];

/* The router's products are not among the products: they are part of the rest. The table is also for who calls kernels beside the tape. */
const struct kernels *phases_watch(tape *t);
void phases_clear(void);
double phase_seconds(phase p); /* since phases_clear */

#endif
