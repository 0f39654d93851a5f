#include "train/checkup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "health/telemetry.h"
#include "models/model.h"

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

/* ---- logs -------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    char path[PATH_BYTES];
    mapped_file map;
    size_t at;
    int64_t number, step;
    json_t *line; /* NULL at the end */
} log_reader;

static void log_where(char where[PATH_BYTES + 32], const log_reader *log) {
    snprintf(where, PATH_BYTES + 32, "%s: line %lld", log->path, (long long)log->number);
}

/* The next whole line; a last one without an end is still being written. */
static int log_next(log_reader *log) {
    char where[PATH_BYTES + 32];
    const char *begin = log->at < log->map.length ? (const char *)log->map.bytes + log->at : NULL;
    const char *end = begin ? memchr(begin, '\n', log->map.length - log->at) : NULL;
    json_decref(log->line);
    log->line = NULL;
    if (!end) return LAMP_OK;
    log->number++, log->at += (size_t)(end - begin) + 1;
    log_where(where, log);
    TRY(json_read_bytes(&log->line, begin, (size_t)(end - begin), where));
    return json_get_integer(&log->step, log->line, "step", 0, INT64_MAX, where);
}

static int log_open(log_reader *log, const char *run, const char *name) {
    TRY(file_join(log->path, run, name));
    TRY(file_map(&log->map, log->path));
    return log_next(log);
}

static void log_close(log_reader *log) {
    json_decref(log->line);
    file_unmap(&log->map);
}

static bool log_is(const log_reader *log, const char *kind) {
    const char *found = json_string_value(json_object_get(log->line, "kind"));
    return found && !strcmp(found, kind);
}

/* ---- reading them to the doctor ---------------------------------------------------------------------------------------------- */

/* What was not finite stands there as null. */
static double number_of(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int read_vitals(step_vitals *v, const log_reader *log) {
    char where[PATH_BYTES + 32];
    log_where(where, log);
    *v = (step_vitals){.step = log->step};
    TRY(json_get_integer(&v->tokens, log->line, "tokens", 0, INT64_MAX, where));
    TRY(json_get_bool(&v->finite, log->line, "applied", where));
    v->finite |= json_is_true(json_object_get(log->line, "spike"));
    v->loss = number_of(log->line, "loss"), v->loss_z = number_of(log->line, "loss_z");
    v->gradient_norm = number_of(log->line, "gradient_norm"), v->learning_rate = number_of(log->line, "learning_rate");
    for (int i = 0; i < BALANCE_LOSSES; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_loss", balance_terms[i].name);
        v->balance_loss += number_of(log->line, key);
    }
    v->balance_floor = number_of(log->line, "balance_floor");
    return LAMP_OK;
}

typedef struct {
    moe_trace trace;
    probe_reading probe;
} routing_room; /* where lines are read into */

static int see_routing(doctor *d, const log_reader *log, routing_room *room) {
    char where[PATH_BYTES + 32];
    log_where(where, log);
    if (log_is(log, "probe")) {
        TRY(json_get_probe(&room->probe, log->line, where));
        doctor_see_probe(d, &room->probe);
        return LAMP_OK;
    }
    TRY(json_get_routing(&room->trace, log->line, where));
    doctor_see_routing(d, log->step, &room->trace);
    return LAMP_OK;
}

/* What routing says of this step; earlier lines are of steps that were done again. */
static int see_routing_of(doctor *d, log_reader *log, routing_room *room, int64_t step) {
    while (log->line && log->step <= step) {
        if (log->step == step) TRY(see_routing(d, log, room));
        TRY(log_next(log));
    }
    return LAMP_OK;
}

static int see_step(doctor *d, const log_reader *metrics, log_reader *routings, routing_room *room) {
    step_vitals v;
    TRY(read_vitals(&v, metrics));
    doctor_see_step(d, &v);
    return see_routing_of(d, routings, room, v.step);
}

static int read_logs(doctor *d, log_reader *metrics, log_reader *routings, routing_room *room, int64_t last,
                     void (*examined)(void *context, const doctor *d), void *context) {
    int64_t seen = 0;
    while (metrics->line && metrics->step <= last) {
        if (log_is(metrics, "step") && metrics->step > seen) {
            seen = metrics->step;
            TRY(see_step(d, metrics, routings, room));
            if (doctor_is_due(d)) {
                doctor_examine(d);
                if (examined) examined(context, d);
            }
        }
        TRY(log_next(metrics));
    }
    return LAMP_OK;
}

int checkup_read_logs(doctor *d, const patient *p, const char *run, int64_t last, void (*examined)(void *context, const doctor *d), void *context) {
    log_reader metrics = {0}, routings = {0};
    routing_room room = {0};
    int status = LAMP_OK;
    if (p->layers > 0) {
        TRY_TO(done, moe_trace_open(&room.trace, p->layers, p->experts));
        TRY_TO(done, probe_reading_open(&room.probe, p->layers, p->experts, p->domains));
        for (int i = 0; i < p->domains; i++) room.probe.domain_name[i] = p->domain_name[i];
    }
    TRY_TO(done, log_open(&metrics, run, "metrics.jsonl"));
    if (p->layers > 0) TRY_TO(done, log_open(&routings, run, "routing.jsonl"));
    status = read_logs(d, &metrics, &routings, &room, last, examined, context);
done:
    log_close(&metrics);
    log_close(&routings);
    if (room.trace.load) moe_trace_close(&room.trace), probe_reading_close(&room.probe);
    return status;
}

/* From the first line that has them. */
static int read_domains(patient *p, const char *run) {
    log_reader log = {0};
    char where[PATH_BYTES + 32];
    json_t *domains = NULL;
    int status;
    TRY_TO(done, log_open(&log, run, "routing.jsonl"));
    while (log.line && !log_is(&log, "probe")) TRY_TO(done, log_next(&log));
    log_where(where, &log);
    if (log.line) TRY_TO(done, json_get_object(&domains, log.line, "domains", where));
    const char *name;
    json_t *loads;
    json_object_foreach(domains, name, loads) {
        if (p->domains == DATASET_DOMAINS || strlen(name) >= DOMAIN_NAME_BYTES)
            FAIL_TO(done, LAMP_MALFORMED, "%s: \"domains\": expected at most %d names of at most %d bytes", where, DATASET_DOMAINS, DOMAIN_NAME_BYTES - 1);
        strcpy(p->domain_name[p->domains++], name);
    }
done:
    log_close(&log);
    return status;
}

int checkup_run(doctor **d, const char *run, int64_t last, void (*examined)(void *context, const doctor *d), void *context) {
    recipe r;
    char path[PATH_BYTES];
    *d = NULL;
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    TRY(file_join(path, run, "recipe.ini"));
    if (!file_exists(path)) FAIL(LAMP_IO, "%s: not a run: it has no recipe.ini", run);
    TRY(options_read_file(&recipe_options, &r, path));
    TRY(recipe_resolve(&r, path));
    patient p = checkup_patient(&r);
    if (p.layers > 0) TRY(read_domains(&p, run));
    TRY(doctor_new(d, &p));
    int status = checkup_read_logs(*d, &p, run, last, examined, context);
    if (status < 0) doctor_free(*d), *d = NULL;
    return status;
}
