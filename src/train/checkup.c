#include "train/checkup.h"

#include <string.h>

#include "base/error.h"
#include "models/model.h"
#include "train/run_logs.h"

patient checkup_patient(const recipe *r) {
    const moe_config *m = &r->model.moe;
    patient p = {.top_k = (int)m->top_k, .batch_tokens = r->batch_tokens, .highest_rate = r->schedule.learning_rate};
    p.budget_tokens = (double)(r->steps > 0 ? r->steps * r->batch_tokens : r->tokens);
    if (m->experts == 1) return p;
    p.layers = (int)r->model.num_hidden_layers, p.experts = (int)m->experts;
    p.expert_parameters = (m->relu ? 2 : 3) * (double)r->model.hidden_size * (double)r->model.intermediate_size;
    p.learns = m->router->declare != NULL;
    return p;
}

step_vitals checkup_vitals(const step_report *report) {
    step_vitals v = {report->step, report->tokens, report->loss, report->loss_z, report->gradient_norm, report->learning_rate, 0,
                     report->balance_floor, report->applied || report->spike};
    for (int i = 0; i < BALANCE_LOSSES; i++) v.balance_loss += report->balance_loss[i];
    return v;
}

typedef struct {
    doctor *doctor;
    checkup_watcher *examined;
    void *context;
} reading_aloud;

static int see_step(void *context, const log_reader *metrics, const step_vitals *v) {
    (void)metrics;
    doctor_see_step(((reading_aloud *)context)->doctor, v);
    return LAMP_OK;
}

static int see_routing(void *context, int64_t step, const moe_trace *trace) {
    doctor_see_routing(((reading_aloud *)context)->doctor, step, trace);
    return LAMP_OK;
}

static int see_probe(void *context, const probe_reading *r) {
    doctor_see_probe(((reading_aloud *)context)->doctor, r);
    return LAMP_OK;
}

static int examine_if_due(void *context, int64_t step) {
    reading_aloud *r = context;
    (void)step;
    if (!doctor_is_due(r->doctor)) return LAMP_OK;
    doctor_examine(r->doctor);
    if (r->examined) r->examined(r->context, r->doctor);
    return LAMP_OK;
}

int checkup_read_logs(doctor *d, const patient *p, const char *run, int64_t last, checkup_watcher *examined, void *context) {
    reading_aloud r = {d, examined, context};
    return run_logs_read(p, run, last, &(log_listener){&r, see_step, NULL, see_routing, see_probe, examine_if_due});
}

int checkup_read_recipe(recipe *r, const char *run) {
    char path[PATH_BYTES];
    memset(r, 0, sizeof *r);
    options_set_defaults(&recipe_options, r);
    TRY(file_join(path, run, "recipe.ini"));
    if (!file_exists(path)) FAIL(LAMP_IO, "%s: not a run: it has no recipe.ini", run);
    TRY(options_read_file(&recipe_options, r, path));
    return recipe_resolve(r, path);
}

int checkup_open_run(patient *p, recipe *r, const char *run) {
    TRY(checkup_read_recipe(r, run));
    *p = checkup_patient(r);
    return p->layers > 0 ? run_logs_read_domains(p, run) : LAMP_OK;
}

int checkup_run(doctor **d, const char *run, int64_t last, checkup_watcher *examined, void *context) {
    recipe r;
    patient p;
    *d = NULL;
    TRY(checkup_open_run(&p, &r, run));
    TRY(doctor_new(d, &p));
    int status = checkup_read_logs(*d, &p, run, last, examined, context);
    if (status < 0) doctor_free(*d), *d = NULL;
    return status;
}
