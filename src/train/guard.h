/* What is done about what the doctor finds, as train.guard says: nothing more (warn), a treatment (treat), or the run ends (stop).
 *
 *     lopsided importance or load     a balance coefficient is raised, at first to START, then by 2
 *     dead experts                    re-seeded from the busiest, which shares its tokens with the copy; and the same
 *     uniform routing                 balance coefficients are halved
 *     drifted balance                 biases are reset; or coefficients halved if they weigh too much, raised if too little
 *     exploding router logits         the router is scaled down, and the z-loss set
 *     diverging loss                  weights and moments of the last checkpoint come back, and the data goes on from here
 *     loss spike                      the step is not applied (trainer.h), three times in a row at most
 *
 * A place is left alone for REST steps after a treatment, for it needs time to show. Each treatment is an event with before and after. What is
 * treated is kept in the checkpoint (trainer.json), so a resumed run is treated as it would have been. */
#ifndef GUARD_H
#define GUARD_H

#include "health/doctor.h"
#include "train/trainer.h"

/* detail: "layer 1: balance.switch 0.01 -> 0.02" */
typedef int guard_report(void *context, const finding *why, const char *detail);

/* After an examination. run: where its checkpoints are. A negative result of report ends it, and is returned. */
int guard_treat(trainer *tr, const doctor *d, const step_report *last, const char *run, guard_report *report, void *context);

/* train.guard = stop: LAMP_DIVERGED with what the last examination newly found, unless it is no more than advice. */
int guard_stop(const doctor *d);

#endif
