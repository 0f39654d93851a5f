/* lamp doctor RUN: is this run healthy? A line for each finding, one for the loss; exit code 5 if something is wrong at its end. */
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "train/checkup.h"

typedef struct {
    bool passed; /* show those that have passed, or those that last */
    int shown;
} listing;

static void print_finding(void *context, const finding *f) {
    listing *l = context;
    if ((f->until >= 0) != l->passed) return;
    l->shown++;
    if (f->layer >= 0) printf("%s, layer %d", f->name, f->layer);
    else printf("%s", f->name);
    if (f->until >= 0) printf(", steps %lld to %lld: %s\n", (long long)f->since, (long long)f->until, f->evidence);
    else printf(", since step %lld: %s. %c%s. Try: %s.\n", (long long)f->since, f->evidence, f->why[0] - 'a' + 'A', f->why + 1, f->remedy);
}

static void print_diagnosis(const doctor *d) {
    listing lasting = {false, 0}, passed = {true, 0};
    doctor_each(d, false, print_finding, &lasting);
    printf("%sthe loss is %s; %s\n", lasting.shown ? "\n" : "", loss_verdict_names[doctor_verdict(d)],
           lasting.shown ? "this run is not healthy" : "nothing is wrong");
    if (!cli_quiet) doctor_each(d, false, print_finding, &passed);
}

static void put_finding(void *context, const finding *f) {
    json_writer *w = context;
    json_begin_object(w, NULL);
    json_put_text(w, "condition", f->code);
    if (f->layer >= 0) json_put_integer(w, "layer", f->layer);
    json_put_integer(w, "since", f->since);
    if (f->until >= 0) json_put_integer(w, "until", f->until);
    json_put_text(w, "evidence", f->evidence);
    json_put_text(w, "why", f->why);
    json_put_text(w, "try", f->remedy);
    json_end_object(w);
}

static int put_diagnosis(const doctor *d) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_bool(&w, "healthy", !doctor_finds_illness(d));
    json_put_text(&w, "loss", loss_verdict_names[doctor_verdict(d)]);
    json_begin_array(&w, "findings");
    doctor_each(d, false, put_finding, &w);
    json_end_array(&w);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

int verb_doctor(int argc, char **argv) {
    cli_list arguments;
    bool json;
    int64_t last = INT64_MAX;
    doctor *d;
    const cli_option rows[] = {{"step", "N", "as the run was after step N (default: its last)", CLI_INTEGER, &last, 1, 9e18}};
    const char *details = "Reads recipe.ini, metrics.jsonl and routing.jsonl of the run. Exit code 0: healthy, 5: not.\n";
    TRY(cli_parse(&arguments, &json, &(cli_command){"doctor", details, rows, 1, 1, 1}, argc, argv));
    TRY(checkup_run(&d, arguments.item[0], last));
    int status = LAMP_OK;
    if (json) status = put_diagnosis(d);
    else print_diagnosis(d);
    if (status >= 0 && doctor_finds_illness(d)) status = error_set(LAMP_DIVERGED, "%s: not healthy", arguments.item[0]);
    doctor_free(d);
    return status;
}
