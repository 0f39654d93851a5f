/* lamp train RECIPE|DATASET|RUN: starts a run or goes on with one, under a progress line. */
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "budget/auto_sizes.h"
#include "cli/cli.h"
#include "formats/checkpoint.h"
#include "infer/session.h"
#include "models/families/family.h"
#include "train/run_folder.h"
#include "train/train.h"

static void show_line(void *context, const char *line) {
    (void)context;
    if (!cli_quiet) fprintf(stderr, "%s%s\n", cli_is_terminal(stderr) ? "\r\033[K" : "", line);
}

/* Without a terminal: whole lines, one every few seconds, and always the first and the last. */
static void show_progress(void *context, const char *line, bool final) {
    double *shown_at = context, now = clock_seconds(), every = cli_is_terminal(stderr) ? 0.1 : 5;
    if (cli_quiet || (!final && *shown_at > 0 && now - *shown_at < every)) return;
    *shown_at = now;
    if (cli_is_terminal(stderr)) fprintf(stderr, "\r\033[K%s%s", line, final ? "\n" : "");
    else fprintf(stderr, "%s\n", line);
}

static int append_piece(void *context, const char *bytes, size_t length) { return buffer_append(context, bytes, length); }

static int write_sample(void *context, const trainer *tr, const char *prompt, buffer *text) {
    enum { SAMPLE_TOKENS = 64 };
    (void)context;
    session s = {0};
    encoder *e = NULL;
    token_list ids = {0};
    sampling how = sampling_defaults();
    int64_t room = tr->recipe.model.max_position_embeddings;
    int status;
    TRY_TO(done, encoder_new(&e, tr->data->tokenizer));
    TRY_TO(done, encoder_encode_as(e, &ids, prompt, strlen(prompt), ENCODE_BEGIN));
    TRY_TO(done, session_open(&s, &tr->model, room));
    if ((ptrdiff_t)ids.length < state_room(&s.state))
        TRY_TO(done, session_generate(&s, tr->data->tokenizer, &how, ids.id, (ptrdiff_t)ids.length, SAMPLE_TOKENS, append_piece, text));
done:
    session_close(&s);
    token_list_release(&ids);
    encoder_free(e);
    return status;
}

static int put_json(const train_report *report, const char *run) {
    buffer text = {0};
    json_writer w = {.out = &text};
    json_begin_object(&w, NULL);
    json_put_text(&w, "run", run);
    json_put_integer(&w, "step", report->last.step);
    json_put_integer(&w, "tokens", report->last.tokens);
    json_put_number(&w, "train_loss", report->last.loss);
    json_put_number(&w, "loss", score_loss(&report->validation));
    json_put_number(&w, "perplexity", score_perplexity(&report->validation));
    json_put_number(&w, "bits_per_byte", score_bits_per_byte(&report->validation));
    json_put_number(&w, "tokens_per_second", report->last.tokens_per_second);
    json_put_bool(&w, "finished", report->finished);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

/* runs/20261122-1530-small: when, and of what. */
static void name_run(char path[PATH_BYTES], const char *source) {
    char when[32], name[64];
    time_t now = time(NULL);
    struct tm local;
    strftime(when, sizeof when, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
    snprintf(name, sizeof name, "%s", file_name(source));
    name[strcspn(name, "./")] = 0;
    snprintf(path, PATH_BYTES, "runs/%s-%s", when, name);
}

static int apply_settings(recipe *r, const cli_list *settings) {
    for (int i = 0; i < settings->n; i++) TRY(options_assign(&recipe_options, r, settings->item[i], "--set"));
    return LAMP_OK;
}

static int choose_sizes(recipe *r, const cli_list *settings) {
    buffer reasons = {0};
    int status = auto_sizes_choose(r, settings->item, settings->n, &reasons);
    if (status >= 0 && !cli_quiet) fputs(reasons.bytes, stderr);
    buffer_release(&reasons);
    return status;
}

/* Those of the model to begin with; its sequences may be shorter. */
static int take_sizes(recipe *r, const cli_list *settings) {
    char folder[PATH_BYTES], path[PATH_BYTES];
    model_config config;
    TRY(checkpoint_resolve(folder, r->initial));
    TRY(file_join(path, folder, "config.json"));
    TRY(family_read_config(&config, path));
    if (r->model.max_position_embeddings > config.max_position_embeddings) r->model.max_position_embeddings = config.max_position_embeddings;
    recipe_take_model(r, &config);
    TRY(apply_settings(r, settings));
    if (!cli_quiet)
        fprintf(stderr, "sizes and router as in %s; sequences of %lld tokens (model.max_position_embeddings)\n", r->initial,
                (long long)r->model.max_position_embeddings);
    return LAMP_OK;
}

static bool is_run(const char *folder) {
    char path[PATH_BYTES];
    return file_join(path, folder, "recipe.ini") >= 0 && file_exists(path);
}

/* source: a recipe; a dataset, for which sizes are chosen unless the run, or the model to begin with, has them already; or the run itself. */
static int read_recipe(recipe *r, const char *source, const char *run_path, const cli_list *settings) {
    char path[PATH_BYTES];
    options_set_defaults(&recipe_options, r);
    if (!file_is_folder(source)) {
        TRY(options_read_file(&recipe_options, r, source));
        return apply_settings(r, settings);
    }
    if (is_run(run_path)) {
        TRY(file_join(path, run_path, "recipe.ini"));
        TRY(options_read_file(&recipe_options, r, path));
        if (strcmp(source, run_path) && strcmp(source, r->data_path))
            FAIL(LAMP_INVALID, "%s: this run was trained on %s, not on %s; give it a new --run", run_path, r->data_path, source);
        return apply_settings(r, settings);
    }
    if (strlen(source) >= sizeof r->data_path) FAIL(LAMP_INVALID, "%.60s...: path is longer than %zu bytes", source, sizeof r->data_path - 1);
    strcpy(r->data_path, source);
    TRY(apply_settings(r, settings));
    return *r->initial ? take_sizes(r, settings) : choose_sizes(r, settings);
}

/* As a shell would need it to run again. */
static int join_command(buffer *command, int argc, char **argv) {
    buffer_append_text(command, "lamp");
    for (int i = 0; i < argc; i++) {
        const char *quote = strpbrk(argv[i], " \t\n'\"\\$`;&|<>()*?[]#~!") || !*argv[i] ? "'" : "";
        buffer_printf(command, " %s", quote);
        for (const char *p = argv[i]; *p; p++) buffer_append_text(command, *p == '\'' ? "'\\''" : (char[]){*p, 0});
        buffer_append_text(command, quote);
    }
    return command->status;
}

static int put_plan(const train_report *report) {
    buffer text = {0};
    json_writer w = {.out = &text};
    json_begin_object(&w, NULL);
    json_put_integer(&w, "bytes_needed", report->last.bytes);
    json_put_integer(&w, "machine_bytes", (int64_t)arena_machine_bytes());
    json_put_number(&w, "seconds", report->last.seconds_left);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static int run(const char *source, const char *path, const cli_list *settings, const char *command, bool plan_only, bool json) {
    recipe r;
    memset(&r, 0, sizeof r);
    TRY(read_recipe(&r, source, path, settings));
    double shown_at = 0;
    train_report report;
    train_watcher watcher = {.context = &shown_at, .said = show_line, .progressed = show_progress, .sample = write_sample};
    if (plan_only) {
        TRY(train_plan(&report, &r, &watcher));
        return json ? put_plan(&report) : LAMP_OK;
    }
    TRY(train_run(&report, &r, path, command, &watcher));
    return json ? put_json(&report, path) : LAMP_OK;
}

int verb_train(int argc, char **argv) {
    cli_list arguments, settings = {0};
    const char *path = NULL;
    bool json, plan_only = false;
    buffer command_line = {0};
    char named[PATH_BYTES];
    const cli_option rows[] = {
        {"run", "DIR", "the run's folder; if it holds a run, that run goes on (default: runs/TIME-NAME)", CLI_PATH, &path, 0, 0},
        {"set", "KEY=VALUE", "a recipe's key, as section.key=value", CLI_SETTINGS, &settings, 0, 0},
        {"dry-run", NULL, "check recipe, data and memory, say what the run would need, and stop", CLI_FLAG, &plan_only, 0, 0},
    };
    const char *details = "RECIPE is an INI file of the keys below. With a DATASET instead, sizes are chosen for this machine, with reasons,\n"
                                 "or are those of train.initial=MODEL, whose weights it then begins with;\n"
                                 "with a RUN, that run goes on.\n"
                                 "Ctrl-C saves and exits with 75; the same command with the same --run goes on.\n";
    int status = join_command(&command_line, argc, argv);
    if (status >= 0) status = cli_parse(&arguments, &json, &(cli_command){"train", details, rows, 3, 1, 1}, argc, argv);
    if (status >= 0 && !path && is_run(arguments.item[0])) path = arguments.item[0];
    if (status >= 0 && !path) name_run(named, arguments.item[0]), path = named;
    if (status >= 0) status = run(arguments.item[0], path, &settings, command_line.bytes, plan_only, json);
    buffer_release(&command_line);
    return status;
}
