#include "train/run_logs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "health/telemetry.h"
#include "moe/moe.h"

void log_where(char where[LOG_WHERE_BYTES], const log_reader *log) {
    snprintf(where, LOG_WHERE_BYTES, "%s: line %lld", log->path, (long long)log->number);
}

int log_next(log_reader *log) {
    char where[LOG_WHERE_BYTES];
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

int log_open(log_reader *log, const char *run, const char *name) {
    TRY(file_join(log->path, run, name));
    TRY(file_map(&log->map, log->path));
    return log_next(log);
}

void log_close(log_reader *log) {
    json_decref(log->line);
    file_unmap(&log->map);
}

bool log_is(const log_reader *log, const char *kind) {
    const char *found = json_string_value(json_object_get(log->line, "kind"));
    return found && !strcmp(found, kind);
}

double log_number(const log_reader *log, const char *key) {
    const json_t *value = json_object_get(log->line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int read_vitals(step_vitals *v, const log_reader *log) {
    char where[LOG_WHERE_BYTES];
    log_where(where, log);
    *v = (step_vitals){.step = log->step};
    TRY(json_get_integer(&v->tokens, log->line, "tokens", 0, INT64_MAX, where));
    TRY(json_get_bool(&v->finite, log->line, "applied", where));
    v->finite |= json_is_true(json_object_get(log->line, "spike"));
    v->loss = log_number(log, "loss"), v->loss_z = log_number(log, "loss_z");
    v->gradient_norm = log_number(log, "gradient_norm"), v->learning_rate = log_number(log, "learning_rate");
    for (int i = 0; i < BALANCE_LOSSES; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_loss", balance_terms[i].name);
        v->balance_loss += log_number(log, key);
    }
    v->balance_floor = log_number(log, "balance_floor");
    return LAMP_OK;
}

/* ---- both logs together ------------------------------------------------------------------------------------------------------ */

typedef struct {
    moe_trace trace;
    probe_reading probe;
} routing_room; /* where lines are read into */

static int tell_routing(const log_listener *l, const log_reader *log, routing_room *room) {
    char where[LOG_WHERE_BYTES];
    log_where(where, log);
    if (log_is(log, "probe")) {
        TRY(json_get_probe(&room->probe, log->line, where));
        return l->probe ? l->probe(l->context, &room->probe) : LAMP_OK;
    }
    TRY(json_get_routing(&room->trace, log->line, where));
    return l->routing ? l->routing(l->context, log->step, &room->trace) : LAMP_OK;
}

/* What routing says of this step; earlier lines are of steps that were done again. */
static int tell_routing_of(const log_listener *l, log_reader *log, routing_room *room, int64_t step) {
    while (log->line && log->step <= step) {
        if (log->step == step) TRY(tell_routing(l, log, room));
        TRY(log_next(log));
    }
    return LAMP_OK;
}

static int tell_step(const log_listener *l, const log_reader *metrics, log_reader *routings, routing_room *room) {
    step_vitals v;
    TRY(read_vitals(&v, metrics));
    if (l->step) TRY(l->step(l->context, metrics, &v));
    TRY(tell_routing_of(l, routings, room, v.step));
    return l->seen ? l->seen(l->context, v.step) : LAMP_OK;
}

static int tell_all(const log_listener *l, log_reader *metrics, log_reader *routings, routing_room *room, int64_t last) {
    int64_t seen = 0;
    while (metrics->line && metrics->step <= last) {
        if (log_is(metrics, "validation") && l->validation) TRY(l->validation(l->context, metrics));
        if (log_is(metrics, "step") && metrics->step > seen) {
            seen = metrics->step;
            TRY(tell_step(l, metrics, routings, room));
        }
        TRY(log_next(metrics));
    }
    return LAMP_OK;
}

int run_logs_read(const patient *p, const char *run, int64_t last, const log_listener *l) {
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
    status = tell_all(l, &metrics, &routings, &room, last);
done:
    log_close(&metrics);
    log_close(&routings);
    if (room.trace.load) moe_trace_close(&room.trace), probe_reading_close(&room.probe);
    return status;
}

int run_logs_read_domains(patient *p, const char *run) {
    log_reader log = {0};
    char where[LOG_WHERE_BYTES];
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
