#include "train/run_folder.h"

#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "health/telemetry.h"

enum { FORMAT_VERSION = 1 };

/* Whoever was killed while it wrote left a line without an end, to which the next would be added. */
static int cut_torn_line(const char *path) {
    mapped_file map;
    TRY(file_map(&map, path));
    size_t whole = map.length;
    while (whole > 0 && map.bytes[whole - 1] != '\n') whole--;
    bool torn = whole < map.length;
    file_unmap(&map);
    if (torn && truncate(path, (off_t)whole) < 0) FAIL(LAMP_IO, "%s: cannot cut off its last line, which has no end: %s", path, strerror(errno));
    return LAMP_OK;
}

static int open_log(FILE **file, const run_folder *run, const char *name) {
    char path[PATH_BYTES];
    TRY(file_join(path, run->path, name));
    if (file_exists(path)) TRY(cut_torn_line(path));
    if (!(*file = fopen(path, "ae"))) FAIL(LAMP_IO, "%s: cannot open to append: %s", path, strerror(errno));
    return LAMP_OK;
}

static int append(FILE *file, const char *bytes, size_t length) {
    if (fwrite(bytes, 1, length, file) != length || fflush(file)) FAIL(LAMP_IO, "cannot append to the run's logs: %s", strerror(errno));
    return LAMP_OK;
}

static int append_line(run_folder *run, FILE *file) {
    buffer_append_byte(&run->line, '\n');
    TRY(run->line.status);
    return append(file, run->line.bytes, run->line.length);
}

/* The run's own recipe wins; the caller's must agree with it. */
static int compare_recipe(const char *path, const recipe *wanted) {
    recipe had, compared = *wanted;
    buffer differences = {0};
    memset(&had, 0, sizeof had);
    options_set_defaults(&recipe_options, &had);
    TRY(options_read_file(&recipe_options, &had, path));
    compared.threads = had.threads, compared.tensorboard = had.tensorboard;
    strcpy(compared.data_path, had.data_path);
    int status = LAMP_OK;
    if (options_difference(&recipe_options, &had, &compared, &differences))
        status = error_set(LAMP_INVALID, "%s: this run was started with another recipe; give it a new --run, or the same settings:\n%s", path,
                           differences.bytes);
    buffer_release(&differences);
    return status;
}

/* A run killed while it wrote its recipe left only half of that. */
static int refuse_file(void *context, const char *file) {
    if (!strcmp(file_name(file), "recipe.ini.partial")) return LAMP_OK;
    FAIL(LAMP_INVALID, "%s holds other files (%s) and no run; give another --run", (const char *)context, file);
}

static int take_lock(run_folder *run) {
    char path[PATH_BYTES];
    TRY(file_join(path, run->path, ".lock"));
    int status = file_lock(&run->lock, path);
    if (status == LAMP_FAILURE) FAIL(LAMP_FAILURE, "%s: another lamp is training this run", run->path);
    return status;
}

bool run_folder_has_checkpoint(const char *path) {
    char file[PATH_BYTES];
    if (file_join(file, path, "checkpoints/latest") >= 0 && file_exists(file)) return true;
    return file_join(file, path, "checkpoints") >= 0 && file_is_folder(file) && checkpoint_resolve(file, path) >= 0;
}

int run_folder_open(run_folder *run, const char *path, const recipe *r, const char *command, bool *resume) {
    *run = (run_folder){.lock = -1};
    int status = LAMP_OK;
    char file[PATH_BYTES];
    FILE *commands = NULL;
    if (snprintf(run->path, sizeof run->path, "%s", path) >= (int)sizeof run->path)
        FAIL(LAMP_IO, "%.60s...: path is longer than %d bytes", path, PATH_BYTES - 1);
    TRY(file_join(file, path, "checkpoints"));
    bool known = file_is_folder(file);
    TRY(file_join(file, path, "recipe.ini"));
    if (!known && !file_exists(file) && file_is_folder(path)) TRY(file_walk(path, refuse_file, (void *)(uintptr_t)path));
    TRY_TO(done, file_make_folder(path));
    TRY_TO(done, take_lock(run));
    if (file_exists(file)) {
        TRY_TO(done, compare_recipe(file, r));
    } else {
        TRY_TO(done, options_write(&recipe_options, r, &run->line));
        TRY_TO(done, file_write_whole(file, run->line.bytes, run->line.length));
    }
    *resume = run_folder_has_checkpoint(path);
    TRY_TO(done, open_log(&run->metrics, run, "metrics.jsonl"));
    TRY_TO(done, open_log(&run->routing, run, "routing.jsonl"));
    TRY_TO(done, open_log(&run->events, run, "events.jsonl"));
    TRY_TO(done, open_log(&run->samples, run, "samples.txt"));
    TRY_TO(done, open_log(&run->log, run, "log.txt"));
    TRY_TO(done, open_log(&commands, run, "command.txt"));
    if (r->tensorboard) TRY_TO(done, tensorboard_open(&run->tensorboard, path));
    buffer_clear(&run->line);
    buffer_append_text(&run->line, command);
    TRY_TO(done, append_line(run, commands));
done:
    if (commands) fclose(commands);
    if (status < 0) run_folder_close(run);
    return status;
}

void run_folder_close(run_folder *run) {
    FILE *files[] = {run->metrics, run->routing, run->events, run->samples, run->log};
    for (int i = 0; i < 5; i++)
        if (files[i]) fclose(files[i]);
    tensorboard_close(&run->tensorboard);
    buffer_release(&run->line);
    file_unlock(&run->lock);
    *run = (run_folder){.lock = -1};
}

/* As begin_line writes it; -1: of a line that begins otherwise. */
static int64_t step_of_line(const char *line, size_t length) {
    char prefix[32];
    int n = snprintf(prefix, sizeof prefix, "{\"version\": %d, \"step\": ", FORMAT_VERSION);
    return length > (size_t)n && !memcmp(line, prefix, (size_t)n) ? strtoll(line + n, NULL, 10) : -1;
}

static int forget_after(const run_folder *run, const char *name, int64_t step) {
    char path[PATH_BYTES];
    mapped_file map;
    size_t kept = 0;
    TRY(file_join(path, run->path, name));
    TRY(file_map(&map, path));
    while (kept < map.length) {
        const char *line = (const char *)map.bytes + kept, *end = memchr(line, '\n', map.length - kept);
        if (!end || step_of_line(line, (size_t)(end - line)) > step) break;
        kept += (size_t)(end - line) + 1;
    }
    bool all = kept == map.length;
    file_unmap(&map);
    if (!all && truncate(path, (off_t)kept) < 0) FAIL(LAMP_IO, "%s: cannot cut off what is to be done again: %s", path, strerror(errno));
    return LAMP_OK;
}

int run_folder_forget_after(run_folder *run, int64_t step) {
    TRY(forget_after(run, "metrics.jsonl", step));
    TRY(forget_after(run, "routing.jsonl", step));
    return tensorboard_go_on(&run->tensorboard, step);
}

static json_writer begin_line(run_folder *run, int64_t step) {
    buffer_clear(&run->line);
    json_writer w = {.out = &run->line};
    json_begin_object(&w, NULL);
    json_put_integer(&w, "version", FORMAT_VERSION);
    json_put_integer(&w, "step", step);
    return w;
}

int run_folder_write_environment(run_folder *run, const trainer *tr) {
    char path[PATH_BYTES];
    buffer_clear(&run->line);
    json_writer w = {&run->line, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "lamplighter", lamp_version());
    json_put_text(&w, "kernels", tr->k->name);
    json_put_integer(&w, "threads", omp_get_max_threads());
    json_put_number(&w, "peak_flops", tr->peak_flops);
    json_put_integer(&w, "memory_bytes", (int64_t)arena_machine_bytes());
    json_put_text(&w, "dataset", tr->data->hash);
    json_put_integer(&w, "parameters", tr->costs.parameters);
    json_put_integer(&w, "active_parameters", tr->costs.active_parameters);
    json_put_number(&w, "flops_per_token", tr->costs.flops_per_token);
    json_end_object(&w);
    buffer_append_byte(&run->line, '\n');
    TRY(run->line.status);
    TRY(file_join(path, run->path, "environment.json"));
    return file_write_whole(path, run->line.bytes, run->line.length);
}

int run_folder_add_step(run_folder *run, const step_report *report) {
    json_writer w = begin_line(run, report->step);
    json_put_text(&w, "kind", "step");
    json_put_integer(&w, "tokens", report->tokens);
    json_put_number(&w, "loss", report->loss);
    json_put_number(&w, "loss_z", report->loss_z);
    for (int i = 0; i < BALANCE_LOSSES; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_loss", balance_terms[i].name);
        json_put_number(&w, key, report->balance_loss[i]);
    }
    json_put_number(&w, "balance_floor", report->balance_floor);
    json_put_number(&w, "gradient_norm", report->gradient_norm);
    if (report->skipped > 0) json_put_integer(&w, "skipped_matrices", report->skipped);
    json_put_number(&w, "learning_rate", report->learning_rate);
    json_put_number(&w, "seconds", report->step_seconds);
    json_put_number(&w, "tokens_per_second", report->tokens_per_second);
    json_put_number(&w, "share_of_peak", report->share_of_peak);
    json_put_number(&w, "load_max_over_mean", report->balance);
    json_put_number(&w, "dropped", report->dropped);
    json_put_integer(&w, "dead", report->dead);
    json_put_integer(&w, "bytes", report->bytes);
    json_put_bool(&w, "applied", report->applied);
    if (report->spike) json_put_bool(&w, "spike", true);
    json_end_object(&w);
    TRY(append_line(run, run->metrics));
    return tensorboard_add_step(&run->tensorboard, report);
}

int run_folder_add_routing(run_folder *run, const trainer *tr) {
    if (!tr->trace.load) return LAMP_OK;
    json_writer w = begin_line(run, tr->step);
    json_put_text(&w, "kind", "step");
    json_put_routing(&w, &tr->trace, true);
    json_end_object(&w);
    TRY(append_line(run, run->routing));
    return tensorboard_add_routing(&run->tensorboard, tr->step, &tr->trace);
}

int run_folder_add_probe(run_folder *run, const probe_reading *r) {
    json_writer w = begin_line(run, r->step);
    json_put_text(&w, "kind", "probe");
    json_put_probe(&w, r);
    json_end_object(&w);
    TRY(append_line(run, run->routing));
    return tensorboard_add_probe(&run->tensorboard, r);
}

int run_folder_add_evaluation(run_folder *run, const trainer *tr, const evaluation *e) {
    json_writer w = begin_line(run, tr->step);
    json_put_text(&w, "kind", "validation");
    json_put_scores(&w, e);
    json_end_object(&w);
    TRY(append_line(run, run->metrics));
    return tensorboard_add_evaluation(&run->tensorboard, tr->step, e);
}

int run_folder_add_event(run_folder *run, int64_t step, const char *event, const char *detail) {
    json_writer w = begin_line(run, step);
    json_put_integer(&w, "time", (int64_t)time(NULL));
    json_put_text(&w, "event", event);
    json_put_text(&w, "detail", detail);
    json_end_object(&w);
    return append_line(run, run->events);
}

int run_folder_add_finding(run_folder *run, int64_t step, const finding *f) {
    json_writer w = begin_line(run, step);
    json_put_integer(&w, "time", (int64_t)time(NULL));
    json_put_text(&w, "event", f->until < 0 ? "finding" : "finding over");
    json_put_text(&w, "condition", f->code);
    if (f->layer >= 0) json_put_integer(&w, "layer", f->layer);
    json_put_integer(&w, "since", f->since);
    json_put_text(&w, "detail", f->evidence);
    json_end_object(&w);
    return append_line(run, run->events);
}

int run_folder_add_sample(run_folder *run, int64_t step, const char *prompt, const char *text, size_t length) {
    buffer_clear(&run->line);
    buffer_printf(&run->line, "--- step %lld ---\n%s", (long long)step, prompt);
    buffer_append(&run->line, text, length);
    buffer_append_byte(&run->line, '\n');
    return append_line(run, run->samples);
}

int run_folder_add_log(run_folder *run, const char *text) {
    buffer_clear(&run->line);
    buffer_append_text(&run->line, text);
    return append_line(run, run->log);
}

static void put_score(json_writer *w, const score *s) {
    json_put_number(w, "loss", score_loss(s));
    json_put_number(w, "perplexity", score_perplexity(s));
    json_put_number(w, "bits_per_byte", score_bits_per_byte(s));
    json_put_integer(w, "tokens", s->tokens);
    json_put_integer(w, "bytes", s->bytes);
    json_put_integer(w, "unknown", s->unknown);
}

void json_put_scores(json_writer *w, const evaluation *e) {
    put_score(w, &e->total);
    json_begin_object(w, "domains");
    for (int i = 0; i < e->n_domains; i++) {
        json_begin_object(w, e->domain[i].name);
        put_score(w, &e->domain[i].score);
        json_end_object(w);
    }
    json_end_object(w);
}
