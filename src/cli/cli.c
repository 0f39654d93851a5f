#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/options.h"
#include "train/recipe.h"

bool cli_quiet;

bool cli_is_terminal(FILE *stream) {
    const char *kind = getenv("TERM");
    return isatty(fileno(stream)) && kind && strcmp(kind, "dumb");
}

static const cli_verb *verb_of(const cli_command *command) {
    for (const cli_verb *v = cli_verbs; v->name; v++)
        if (!strcmp(v->name, command->verb)) return v;
    return &cli_verbs[0];
}

enum { JSON, QUIET, HELP };
const cli_option cli_common_options[CLI_COMMON_OPTIONS] = {
    [JSON] = {"json", NULL, "the result as JSON on standard output", CLI_FLAG, NULL, 0, 0},
    [QUIET] = {"quiet", NULL, "say nothing but the result and warnings", CLI_FLAG, NULL, 0, 0},
    [HELP] = {"help", NULL, "this text", CLI_FLAG, NULL, 0, 0},
};

bool cli_repeats(const cli_option *o) { return o->kind == CLI_LIST || o->kind == CLI_PATHS || o->kind == CLI_SETTINGS; }

static void print_options(const cli_option *options, int n) {
    for (const cli_option *o = options; o < options + n; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", o->name, o->value ? o->value : "");
        printf("  %-26s %s%s\n", left, o->help, cli_repeats(o) ? " (as often as you like)" : "");
    }
}

static int print_help(const cli_command *command) {
    const cli_verb *verb = verb_of(command);
    buffer keys = {0};
    printf("lamp %s %s\n    %s\n\n", verb->name, verb->arguments, verb->purpose);
    print_options(command->options, command->n_options);
    print_options(cli_common_options, CLI_COMMON_OPTIONS);
    if (command->details) printf("\n%s", command->details);
    for (int i = 0; i < command->n_options; i++)
        if (command->options[i].kind == CLI_SETTINGS) options_help(&recipe_options, &keys);
    return cli_write_buffer(&keys);
}

static struct {
    cli_describe *describe; /* NULL: verbs run */
    void *context;
} description;

void cli_describe_verbs(cli_describe *describe, void *context) {
    description.describe = describe, description.context = context;
    for (const cli_verb *v = cli_verbs; v->name; v++) v->run(1, (char *[]){(char *)v->name, NULL});
    description.describe = NULL;
}

static int set_option(const cli_option *o, const char *value, const char *verb) {
    char *end;
    switch (o->kind) {
    case CLI_FLAG: *(bool *)o->target = true; return LAMP_OK;
    case CLI_TEXT:
    case CLI_PATH: *(const char **)o->target = value; return LAMP_OK;
    case CLI_LIST:
    case CLI_PATHS:
    case CLI_SETTINGS: {
        cli_list *list = o->target;
        if (list->n == CLI_LIST_ITEMS) FAIL(LAMP_INVALID, "lamp %s: --%s was given more than %d times", verb, o->name, CLI_LIST_ITEMS);
        list->item[list->n++] = value;
        return LAMP_OK;
    }
    case CLI_INTEGER: {
        errno = 0;
        long long number = strtoll(value, &end, 10);
        if (end == value || *end || errno || (double)number < o->min || (double)number > o->max)
            FAIL(LAMP_INVALID, "lamp %s: --%s: expected an integer from %.15g to %.15g, found \"%s\"", verb, o->name, o->min, o->max, value);
        *(int64_t *)o->target = number;
        return LAMP_OK;
    }
    case CLI_NUMBER: {
        double number = strtod(value, &end);
        if (end == value || *end || !(number >= o->min && number <= o->max))
            FAIL(LAMP_INVALID, "lamp %s: --%s: expected a number from %g to %g, found \"%s\"", verb, o->name, o->min, o->max, value);
        *(double *)o->target = number;
        return LAMP_OK;
    }
    }
    return LAMP_OK;
}

static int refuse_unknown(const cli_command *command, const char *word) {
    const char *nearest = NULL;
    int least = 4;
    for (int i = 0; i < command->n_options && !strncmp(word, "--", 2); i++) {
        int distance = options_edit_distance(word + 2, command->options[i].name);
        if (distance < least) least = distance, nearest = command->options[i].name;
    }
    FAIL(LAMP_INVALID, "lamp %s: unknown option %s%s%s%s; see lamp %s --help", command->verb, word, nearest ? ", did you mean --" : "", nearest ? nearest : "",
         nearest ? "?" : "", command->verb);
}

int cli_parse(cli_list *arguments, bool *json, const cli_command *command, int argc, char **argv) {
    enum { MAX_OPTIONS = 32 };
    struct option known[MAX_OPTIONS] = {0};
    int n = command->n_options, found;
    if (description.describe) {
        description.describe(description.context, verb_of(command), command);
        return error_set(LAMP_INVALID, "lamp %s is only described", command->verb);
    }
    CHECK(n + CLI_COMMON_OPTIONS + 1 <= MAX_OPTIONS, "%d options", n);
    for (int i = 0; i < n; i++)
        known[i] = (struct option){command->options[i].name, command->options[i].kind == CLI_FLAG ? no_argument : required_argument, NULL, i};
    for (int i = 0; i < CLI_COMMON_OPTIONS; i++) known[n + i] = (struct option){cli_common_options[i].name, no_argument, NULL, n + i};
    *arguments = (cli_list){0};
    *json = false;
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (found == ':') FAIL(LAMP_INVALID, "lamp %s: %s needs a value; see lamp %s --help", command->verb, word, command->verb);
        if (found == '?') return refuse_unknown(command, word);
        if (found == n + HELP) {
            TRY(print_help(command));
            exit(0);
        }
        if (found == n + JSON) *json = true;
        else if (found == n + QUIET) cli_quiet = true;
        else TRY(set_option(&command->options[found], optarg, command->verb));
    }
    for (int i = optind; i < argc; i++) {
        if (arguments->n == CLI_LIST_ITEMS) FAIL(LAMP_INVALID, "lamp %s: more than %d arguments", command->verb, CLI_LIST_ITEMS);
        arguments->item[arguments->n++] = argv[i];
    }
    if (arguments->n < command->min_arguments || arguments->n > command->max_arguments)
        FAIL(LAMP_INVALID, "lamp %s: expected %s, found %d argument%s; see lamp %s --help", command->verb, verb_of(command)->arguments, arguments->n,
             arguments->n == 1 ? "" : "s", command->verb);
    return LAMP_OK;
}

int cli_write(const char *bytes, size_t length) {
    if (length > 0 && fwrite(bytes, 1, length, stdout) != length) FAIL(LAMP_IO, "cannot write to standard output: %s", strerror(errno));
    return LAMP_OK;
}

int cli_write_buffer(buffer *b) {
    int status = b->status < 0 ? b->status : cli_write(b->bytes, b->length);
    buffer_release(b);
    return status;
}

int cli_read_all(buffer *content, const char *path) { return cli_read_at_most(content, path, SIZE_MAX); }

int cli_read_at_most(buffer *content, const char *path, size_t most) {
    return path && strcmp(path, "-") ? file_read(content, path, most) : file_read_stream(content, STDIN_FILENO, most, "standard input");
}

int cli_choose(int *place, const char *const *choices, const char *word, const char *verb, const char *name) {
    char all[128] = "";
    for (*place = 0; choices[*place]; ++*place) {
        if (!strcmp(choices[*place], word)) return LAMP_OK;
        size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", length > 0 ? ", " : "", choices[*place]);
    }
    FAIL(LAMP_INVALID, "lamp %s: --%s: expected one of %s, found \"%s\"", verb, name, all, word);
}
