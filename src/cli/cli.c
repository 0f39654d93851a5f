#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/options.h"

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

static void print_help(const cli_command *command) {
    const cli_verb *verb = verb_of(command);
    printf("lamp %s %s\n    %s\n\n", verb->name, verb->arguments, verb->purpose);
    for (int i = 0; i < command->n_options; i++) {
        const cli_option *o = &command->options[i];
        char left[64];
        snprintf(left, sizeof left, "--%s %s", o->name, o->value ? o->value : "");
        printf("  %-26s %s%s\n", left, o->help, o->kind == CLI_LIST ? " (as often as you like)" : "");
    }
    printf("  %-26s %s\n  %-26s %s\n  %-26s %s\n", "--json", "the result as JSON on standard output", "--quiet",
           "say nothing but the result and warnings", "--help", "this text");
    if (command->details) printf("\n%s", command->details);
}

static int set_option(const cli_option *o, const char *value, const char *verb) {
    char *end;
    switch (o->kind) {
    case CLI_FLAG: *(bool *)o->target = true; return LAMP_OK;
    case CLI_TEXT: *(const char **)o->target = value; return LAMP_OK;
    case CLI_LIST: {
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
    enum { MAX_OPTIONS = 32, HELP = 1000, JSON, QUIET };
    struct option known[MAX_OPTIONS] = {0};
    int n = command->n_options, found;
    CHECK(n + 4 <= MAX_OPTIONS, "%d options", n);
    for (int i = 0; i < n; i++)
        known[i] = (struct option){command->options[i].name, command->options[i].kind == CLI_FLAG ? no_argument : required_argument, NULL, i};
    known[n] = (struct option){"help", no_argument, NULL, HELP};
    known[n + 1] = (struct option){"json", no_argument, NULL, JSON};
    known[n + 2] = (struct option){"quiet", no_argument, NULL, QUIET};
    *arguments = (cli_list){0};
    *json = false;
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (found == ':') FAIL(LAMP_INVALID, "lamp %s: %s needs a value; see lamp %s --help", command->verb, word, command->verb);
        if (found == '?') return refuse_unknown(command, word);
        if (found == HELP) print_help(command), exit(0);
        if (found == JSON) *json = true;
        else if (found == QUIET) cli_quiet = true;
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

int cli_read_all(buffer *content, const char *path) {
    if (path && strcmp(path, "-")) {
        mapped_file map;
        TRY(file_map(&map, path));
        int status = buffer_append(content, map.bytes, map.length);
        file_unmap(&map);
        return status;
    }
    char block[1 << 16];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;) TRY(buffer_append(content, block, n));
    if (ferror(stdin)) FAIL(LAMP_IO, "cannot read standard input: %s", strerror(errno));
    return buffer_append(content, "", 0);
}
