/* A run's metrics.jsonl and routing.jsonl, read again as they were written: in the order of steps; of one step first its metrics, then what
 * routing says of it. What was done again after a crash is seen once. */
#ifndef RUN_LOGS_H
#define RUN_LOGS_H

#include "base/file.h"
#include "base/json.h"
#include "health/doctor.h"

enum { LOG_WHERE_BYTES = PATH_BYTES + 32 };

typedef struct {
    char path[PATH_BYTES];
    mapped_file map;
    size_t at;
    int64_t number, step;
    json_t *line; /* NULL at the end */
} log_reader;

/* Opens run/name at its first line. A last line without an end is still being written, and is not there yet. */
int log_open(log_reader *log, const char *run, const char *name);
int log_next(log_reader *log);
void log_close(log_reader *log);

bool log_is(const log_reader *log, const char *kind);
void log_where(char where[LOG_WHERE_BYTES], const log_reader *log);

/* NAN: absent, or not finite when it was written. */
double log_number(const log_reader *log, const char *key);

/* Every function may be NULL; all are told of a step before any of the next. */
typedef struct {
    void *context;
    int (*step)(void *context, const log_reader *metrics, const step_vitals *v);
    int (*validation)(void *context, const log_reader *metrics);
    int (*routing)(void *context, int64_t step, const moe_trace *trace);
    int (*probe)(void *context, const probe_reading *r);
    int (*seen)(void *context, int64_t step); /* all of a step was told, but what validation found after it */
} log_listener;

/* Up to the step `last`. LAMP_MALFORMED names file and line. */
int run_logs_read(const patient *p, const char *run, int64_t last, const log_listener *l);

/* The names of p's domains, from the first line that has them. */
int run_logs_read_domains(patient *p, const char *run);

#endif
