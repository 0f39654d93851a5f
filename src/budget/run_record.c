#include "budget/run_record.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "train/checkup.h"
#include "train/run_logs.h"

enum { TRAINING_MILESTONES = 100 };

typedef struct {
    run_record *run;
    double spent[SPENDINGS]; /* up to the last step */
    int64_t scored_at;       /* the last validation's step, or -1: what was done again after a crash is seen once */
} reading;

static int add_milestone(reading *r, learning_curve *c, double loss, double bits_per_byte) {
    milestone m = {.score = {loss, bits_per_byte}};
    memcpy(m.spent, r->spent, sizeof m.spent);
    if (isfinite(loss)) return curve_add(c, &m);
    r->run->left_out++;
    return LAMP_OK;
}

static int see_step(void *context, const log_reader *metrics, const step_vitals *v) {
    reading *r = context;
    double seconds = log_number(metrics, "seconds"), bytes = log_number(metrics, "bytes");
    if (isfinite(seconds)) r->spent[SPENT_SECONDS] += seconds;
    r->spent[SPENT_TOKENS] = (double)v->tokens;
    r->spent[SPENT_FLOPS] = (double)v->tokens * r->run->flops_per_token;
    if (bytes > (double)r->run->bytes) r->run->bytes = (int64_t)bytes;
    return add_milestone(r, &r->run->training, v->loss, NAN);
}

static int see_validation(void *context, const log_reader *metrics) {
    reading *r = context;
    double bytes = log_number(metrics, "bytes");
    if (metrics->step <= r->scored_at) return LAMP_OK;
    r->scored_at = metrics->step;
    if (isfinite(bytes)) r->run->validation_bytes = (int64_t)bytes;
    return add_milestone(r, &r->run->validation, log_number(metrics, "loss"), log_number(metrics, "bits_per_byte"));
}

static int read_environment(run_record *r) {
    char path[PATH_BYTES];
    const char *hash, *kernels;
    int64_t threads;
    json_t *e;
    TRY(file_join(path, r->path, "environment.json"));
    TRY(json_read_file(&e, path));
    int status;
    TRY_TO(done, json_get_word(&hash, e, "dataset", path));
    TRY_TO(done, json_get_word(&kernels, e, "kernels", path));
    TRY_TO(done, json_get_integer(&threads, e, "threads", 1, INT32_MAX, path));
    TRY_TO(done, json_get_integer(&r->parameters, e, "parameters", 1, INT64_MAX, path));
    TRY_TO(done, json_get_integer(&r->active_parameters, e, "active_parameters", 1, r->parameters, path));
    TRY_TO(done, json_get_number(&r->flops_per_token, e, "flops_per_token", path));
    snprintf(r->dataset, sizeof r->dataset, "%s", hash);
    snprintf(r->machine, sizeof r->machine, "%.20s, %lld thread%s", kernels, (long long)threads, threads == 1 ? "" : "s");
done:
    json_decref(e);
    return status;
}

static int read_path(run_record *r, const char *run) {
    size_t length = strlen(run);
    while (length > 1 && run[length - 1] == '/') length--;
    if (length >= sizeof r->path) FAIL(LAMP_INVALID, "%.60s...: path is longer than %d bytes", run, PATH_BYTES - 1);
    memcpy(r->path, run, length);
    r->path[length] = 0;
    return LAMP_OK;
}

int run_record_read(run_record *r, const char *run) {
    const patient dense = {0}; /* routing.jsonl is not asked for */
    reading so_far = {r, {0}, -1};
    int status;
    *r = (run_record){0};
    TRY(read_path(r, run));
    TRY(checkup_read_recipe(&r->recipe, r->path));
    TRY(read_environment(r));
    TRY_TO(done, run_logs_read(&dense, r->path, INT64_MAX, &(log_listener){&so_far, see_step, see_validation, NULL, NULL, NULL}));
    if (r->training.n == 0) status = error_set(LAMP_INVALID, "%s: no step of this run is done, or none has a finite loss", r->path);
    curve_thin(&r->training, TRAINING_MILESTONES);
done:
    if (status < 0) run_record_release(r);
    return status;
}

void run_record_release(run_record *r) {
    curve_release(&r->validation);
    curve_release(&r->training);
}

recipe run_record_essence(const run_record *r) {
    recipe e = r->recipe;
    e.seed = e.threads = 0, e.tensorboard = false, *e.data_path = 0;
    e.checkpoint_every = e.keep_checkpoints = e.eval_every = e.eval_tokens = e.telemetry_every = e.probe_every = 0;
    return e;
}

bool run_record_is_alike(const run_record *a, const run_record *b) {
    recipe ours = run_record_essence(a), theirs = run_record_essence(b);
    buffer differences = {0};
    bool alike = options_difference(&recipe_options, &ours, &theirs, &differences) == 0;
    buffer_release(&differences);
    return alike;
}
