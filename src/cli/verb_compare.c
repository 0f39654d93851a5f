/* lamp compare RUN RUN...: who learned more with the same seconds, FLOPs, tokens and memory, and how sure that is. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/contest_picture.h"
#include "cli/contest_table.h"

/* ---- what a reader of the numbers must know ----------------------------------------------------------------------------------------- */

static void warn_of_run(const run_record *r) {
    if (*r->recipe.initial)
        log_warning("%s began with the weights of %s: what those had cost is not in its seconds, FLOPs and tokens", r->path, r->recipe.initial);
    if (r->left_out > 0) log_warning("%s: %d of its losses are not finite, and are left out", r->path, r->left_out);
}

static void warn_of_machines(const contest *c) {
    const run_record *first = c->run;
    for (const run_record *r = first; r < first + c->n_runs; r++)
        if (strcmp(r->machine, first->machine)) {
            log_warning("%s was trained with %s, %s with %s: seconds say little where kernels or threads differ", first->path, first->machine,
                        r->path, r->machine);
            return;
        }
}

static void warn_of_text(const contest *c) {
    const run_record *first = c->run;
    for (const run_record *r = first; r < first + c->n_runs && c->validated; r++)
        if (r->validation_bytes != first->validation_bytes) {
            log_warning("%s was scored on %lld bytes of validation text, %s on %lld: train.eval_tokens or contexts differ", first->path,
                        (long long)first->validation_bytes, r->path, (long long)r->validation_bytes);
            return;
        }
}

static void warn(const contest *c) {
    if (c->unvalidated) log_warning("%s has no validation yet: all are compared by training loss", c->unvalidated->path);
    for (const run_record *r = c->run; r < c->run + c->n_runs; r++) warn_of_run(r);
    warn_of_machines(c);
    warn_of_text(c);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------------------------- */

static const char *const spending_names[SPENDINGS] = {"seconds", "flops", "tokens"};

static void put_interval(json_writer *w, const char *key, interval x) {
    char low[64], high[64];
    snprintf(low, sizeof low, "%s_low", key), snprintf(high, sizeof high, "%s_high", key);
    json_put_number(w, key, x.mean);
    json_put_number(w, low, x.mean - x.margin);
    json_put_number(w, high, x.mean + x.margin);
}

static void put_standing(json_writer *w, const standing *s) {
    json_put_number(w, "loss", s->score[SCORE_LOSS].mean);
    json_put_number(w, "low", s->score[SCORE_LOSS].mean - s->score[SCORE_LOSS].margin);
    json_put_number(w, "high", s->score[SCORE_LOSS].mean + s->score[SCORE_LOSS].margin);
    put_interval(w, "bits_per_byte", s->score[SCORE_BITS]);
    put_interval(w, "difference", s->difference);
    json_put_number(w, "ratio_to_first", s->ratio);
}

static void put_model(json_writer *w, const contestant *m) {
    json_begin_object(w, NULL);
    json_put_text(w, "name", m->name);
    json_begin_array(w, "runs");
    for (int i = 0; i < m->n; i++) json_put_text(w, NULL, m->run[i]->path);
    json_end_array(w);
    json_begin_array(w, "seeds");
    for (int i = 0; i < m->n; i++) json_put_integer(w, NULL, m->run[i]->recipe.seed);
    json_end_array(w);
    json_put_integer(w, "parameters", m->run[0]->parameters);
    json_put_integer(w, "active_parameters", m->run[0]->active_parameters);
    json_put_number(w, "flops_per_token", m->run[0]->flops_per_token);
    json_put_integer(w, "bytes", m->bytes);
    json_put_bool(w, "on_memory_front", m->on_front);
    json_put_bool(w, "paired", m->paired);
    json_begin_object(w, "matched");
    for (int by = 0; by < SPENDINGS; by++) {
        json_begin_object(w, spending_names[by]);
        put_standing(w, &m->at[by]);
        json_end_object(w);
    }
    json_end_object(w);
    json_end_object(w);
}

static int put_contest(const contest *c) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "measure", c->validated ? "validation" : "training");
    json_begin_object(&w, "budgets");
    for (int by = 0; by < SPENDINGS; by++) json_put_number(&w, spending_names[by], c->budget[by]);
    json_end_object(&w);
    json_begin_array(&w, "groups");
    for (const contestant *m = c->model; m < c->model + c->n; m++) put_model(&w, m);
    json_end_array(&w);
    if (c->has_effective) {
        json_begin_object(&w, "effective_parameters");
        json_put_number(&w, "share_of_total", c->effective.share_of_total);
        json_put_number(&w, "a", c->effective.a);
        json_put_number(&w, "b", c->effective.b);
        json_put_number(&w, "error", c->effective.error);
        json_end_object(&w);
    }
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

/* ---- the verb ----------------------------------------------------------------------------------------------------------------------- */

static int write_picture(const char *path, const contest *c) {
    buffer svg = {0};
    contest_picture(&svg, c);
    int status = svg.status;
    if (status >= 0) status = file_write_whole(path, svg.bytes, svg.length);
    buffer_release(&svg);
    return status;
}

static int write_table(const contest *c) {
    buffer text = {0};
    contest_table(&text, c);
    return cli_write_buffer(&text);
}

int verb_compare(int argc, char **argv) {
    cli_list arguments;
    bool json;
    const char *svg = NULL;
    contest c;
    const cli_option rows[] = {{"svg", "FILE", "also draw loss against seconds, FLOPs and tokens", CLI_PATH, &svg, 0, 0}};
    const char *details =
        "Runs whose recipes differ in the seed alone are one model; the others are compared with the first. docs/compare.md says how.\n";
    TRY(cli_parse(&arguments, &json, &(cli_command){"compare", details, rows, 1, 2, CLI_LIST_ITEMS}, argc, argv));
    TRY(contest_open(&c, arguments.item, arguments.n));
    warn(&c);
    int status = svg ? write_picture(svg, &c) : LAMP_OK;
    if (status >= 0) status = json ? put_contest(&c) : write_table(&c);
    contest_close(&c);
    return status;
}
