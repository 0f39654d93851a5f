/* A doctor for a run: who the patient is, by its recipe, and the run's own logs read to it as if it had been there. */
#ifndef CHECKUP_H
#define CHECKUP_H

#include "health/doctor.h"
#include "train/recipe.h"
#include "train/trainer.h"

/* r is resolved; names of domains are the caller's to add. */
patient checkup_patient(const recipe *r);

step_vitals checkup_vitals(const step_report *report);

/* The recipe of a run, resolved. */
int checkup_read_recipe(recipe *r, const char *run);

/* The recipe of a run that left logs, and who it is; the names of domains come from the logs. */
int checkup_open_run(patient *p, recipe *r, const char *run);

typedef void checkup_watcher(void *context, const doctor *d);

/* Reads metrics.jsonl and routing.jsonl of a run to a doctor, lines after `last` left out, and calls examined after each of its examinations;
 * NULL: nobody is told. LAMP_MALFORMED names file and line. */
int checkup_run(doctor **d, const char *run, int64_t last, checkup_watcher *examined, void *context);

/* The same for a doctor who knows the patient already. */
int checkup_read_logs(doctor *d, const patient *p, const char *run, int64_t last, checkup_watcher *examined, void *context);

#endif
