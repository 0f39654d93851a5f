#include "cli/manual.h"

#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "train/recipe.h"

/* ---- the manual page --------------------------------------------------------------------------------------------------------------- */

/* One character of text, as roff writes it: hyphens that can be copied, and nothing that roff would read as its own. */
static void put_roff(buffer *out, char c) {
    switch (c) {
    case '\\': buffer_append_text(out, "\\e"); break;
    case '-': buffer_append_text(out, "\\-"); break;
    case '"': buffer_append_text(out, "\\(dq"); break;
    case '\'': buffer_append_text(out, "\\(aq"); break;
    case '`': buffer_append_text(out, "\\(ga"); break;
    case '^': buffer_append_text(out, "\\(ha"); break;
    case '~': buffer_append_text(out, "\\(ti"); break;
    case '|': buffer_append_text(out, "|\\:"); break; /* a list of choices may be longer than a line, which may end here */
    default: buffer_append_byte(out, c);
    }
}

static void put_word(buffer *out, const char *word, size_t length) {
    for (size_t i = 0; i < length; i++) put_roff(out, word[i]);
}

static void put_all(buffer *out, const char *text) { put_word(out, text, strlen(text)); }

/* Text to be filled, in lines as short as roff likes its input. A line that begins with a full stop would be a request. */
static void put_text(buffer *out, const char *text, size_t length) {
    enum { COLUMNS = 70 };
    size_t column = 0;
    for (const char *end = text + length; text < end;) {
        size_t word = strcspn(text, " \n"), rest = (size_t)(end - text);
        if (word > rest) word = rest;
        if (word) {
            if (column) buffer_append_byte(out, column + word > COLUMNS ? '\n' : ' ');
            if (column + word > COLUMNS) column = 0;
            if (column == 0 && *text == '.') buffer_append_text(out, "\\&");
            put_word(out, text, word);
            column += word + 1;
        }
        text += word + (word < rest);
    }
    buffer_append_byte(out, '\n');
}

static void put_tagged(buffer *out, const char *tag, const char *value, const char *help, const char *more) {
    buffer_append_text(out, ".TP\n\\fB");
    put_all(out, tag);
    buffer_append_text(out, "\\fR");
    if (value) {
        buffer_append_text(out, " \\fI");
        put_all(out, value);
        buffer_append_text(out, "\\fR");
    }
    buffer_append_byte(out, '\n');
    put_text(out, help, strlen(help));
    if (more) put_text(out, more, strlen(more));
}

static void put_options(buffer *out, const cli_option *options, int n) {
    for (const cli_option *o = options; o < options + n; o++) {
        char tag[64];
        snprintf(tag, sizeof tag, "--%s", o->name);
        put_tagged(out, tag, o->value, o->help, cli_repeats(o) ? "(as often as you like)" : NULL);
    }
}

/* Details are lines of prose, or rows of a word, two or more blanks and what it means. */
static void put_details(buffer *out, const char *details) {
    bool after_prose = false;
    for (const char *line = details; *line;) {
        size_t length = strcspn(line, "\n"), word = strcspn(line, " \n");
        bool is_row = word + 2 < length && !strncmp(line + word, "  ", 2);
        if (is_row) {
            buffer_append_text(out, ".TP\n\\fB");
            put_word(out, line, word);
            buffer_append_text(out, "\\fR\n");
            put_text(out, line + word, length - word);
        } else {
            if (!after_prose) buffer_append_text(out, ".PP\n");
            put_text(out, line, length);
        }
        after_prose = !is_row;
        line += length + (line[length] == '\n');
    }
}

static void put_verb(void *context, const cli_verb *verb, const cli_command *command) {
    buffer *out = context;
    buffer_append_text(out, ".SS \"lamp ");
    put_all(out, verb->name);
    buffer_append_byte(out, ' ');
    put_all(out, verb->arguments);
    buffer_append_text(out, "\"\n");
    put_text(out, verb->purpose, strlen(verb->purpose));
    put_options(out, command->options, command->n_options);
    if (command->details) put_details(out, command->details);
}

static void put_keys(buffer *out) {
    const char *section = "";
    for (const option *o = recipe_options.rows; o < recipe_options.rows + recipe_options.n; o++) {
        buffer values = {0};
        if (strcmp(section, o->section)) buffer_printf(out, ".SS [%s]\n", o->section);
        section = o->section;
        if (options_describe(o, &values) >= 0) put_tagged(out, o->name, values.bytes, o->help, NULL);
        else out->status = values.status;
        buffer_release(&values);
    }
}

static void put_example(buffer *out, const char *lines) {
    buffer_append_text(out, ".EX\n");
    put_all(out, lines);
    buffer_append_text(out, ".EE\n");
}

static const char version_date[] = "2026-11-22"; /* of lamp_version(); a page without a date is not sound man(7) */

int manual_write(void) {
    buffer out = {0};
    buffer_printf(&out, ".\\\" Written by lamp \\-\\-man from the program's own tables.\n.TH LAMP 1 %s \"Lamplighter %s\" \"User Commands\"\n",
                  version_date, lamp_version());
    buffer_append_text(&out, ".SH NAME\nlamp \\- ");
    put_text(&out, cli_purpose, strlen(cli_purpose));
    buffer_append_text(&out,
                       ".SH SYNOPSIS\n\\fBlamp\\fR \\fIVERB\\fR [\\fIargument\\fR ...] [\\fIoption\\fR ...]\n.PP\n\\fBlamp\\fR \\fB\\-\\-help\\fR | "
                       "\\fB\\-\\-version\\fR | \\fB\\-\\-man\\fR\n.PP\n\\fBlamp\\fR \\fB\\-\\-completion\\fR bash|zsh|fish\n.SH VERBS\n");
    cli_describe_verbs(put_verb, &out);
    buffer_append_text(&out, ".SH OPTIONS OF EVERY VERB\n");
    put_options(&out, cli_common_options, CLI_COMMON_OPTIONS);
    buffer_append_text(&out, ".SH RECIPE\nAn INI file of these sections and keys; \\fB\\-\\-set\\fR calls a key section.key.\n");
    put_keys(&out);
    buffer_append_text(&out, ".SH EXIT STATUS\n");
    for (const cli_exit_code *c = cli_exit_codes; c->says; c++) {
        char tag[64];
        snprintf(tag, sizeof tag, "%d", -c->status);
        put_tagged(&out, tag, c->says, c->means, c->try);
    }
    buffer_append_text(&out, ".SH EXAMPLES\n");
    put_example(&out, cli_examples);
    return cli_write_buffer(&out);
}

/* ---- completion -------------------------------------------------------------------------------------------------------------------- */

static bool takes_path(const cli_option *o) { return o->kind == CLI_PATH || o->kind == CLI_PATHS; }

/* "build" of "build OUT --domain ...", "peak products" of "peak|products": what the first argument is, where it is a word and no file. */
static void put_first_words(buffer *out, const cli_verb *verb) {
    size_t length = islower((unsigned char)*verb->arguments) ? strcspn(verb->arguments, " ") : 0;
    for (size_t i = 0; i < length; i++) buffer_append_byte(out, verb->arguments[i] == '|' ? ' ' : verb->arguments[i]);
}

static void put_key_words(buffer *out) {
    for (const option *o = recipe_options.rows; o < recipe_options.rows + recipe_options.n; o++)
        buffer_printf(out, "%s%s.%s%c", o > recipe_options.rows ? " " : "", o->section, o->name, o->type == OPTION_MAP ? '.' : '=');
}

/* Text within single quotes of a shell; special: what a backslash must precede besides. */
static void put_quoted(buffer *out, const char *text, const char *special, const char *quote) {
    for (const char *p = text; *p; p++) {
        if (*p == '\'') buffer_append_text(out, quote);
        else buffer_printf(out, "%s%c", strchr(special, *p) ? "\\" : "", *p);
    }
}

static void put_verb_bash(void *context, const cli_verb *verb, const cli_command *command) {
    buffer *out = context;
    bool has_plain = false;
    for (const cli_option *o = command->options; o < command->options + command->n_options; o++) {
        if (takes_path(o)) buffer_printf(out, "    %s:--%s) paths=yes ;;\n", verb->name, o->name);
        if (o->kind == CLI_SETTINGS) {
            buffer_printf(out, "    %s:--%s)\n        compopt -o nospace 2>/dev/null\n        words='", verb->name, o->name);
            put_key_words(out);
            buffer_append_text(out, "'\n        ;;\n");
        }
    }
    for (const cli_option *o = command->options; o < command->options + command->n_options; o++) {
        if (o->kind == CLI_FLAG || takes_path(o) || o->kind == CLI_SETTINGS) continue;
        buffer_printf(out, "%s%s:--%s", has_plain ? " | " : "    ", verb->name, o->name);
        has_plain = true;
    }
    if (has_plain) buffer_append_text(out, ") ;;\n");
    buffer_printf(out, "    %s:*)\n        paths=yes options='", verb->name);
    for (int i = 0; i < command->n_options; i++) buffer_printf(out, "--%s ", command->options[i].name);
    for (int i = 0; i < CLI_COMMON_OPTIONS; i++) buffer_printf(out, "%s--%s", i ? " " : "", cli_common_options[i].name);
    buffer_append_text(out, "' first='");
    put_first_words(out, verb);
    buffer_append_text(out, "'\n        ;;\n");
}

static void put_bash(buffer *out) {
    buffer_append_text(out,
                       "# Completion of lamp for bash, written by lamp --completion bash.\n_lamp() {\n"
                       "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words='' options='' first='' paths=''\n"
                       "    COMPREPLY=()\n    case ${COMP_WORDS[1]}:$previous in\n    *:lamp | *:*/lamp) words='");
    for (const cli_verb *v = cli_verbs; v->name; v++) buffer_printf(out, "%s ", v->name);
    buffer_append_text(out, "--help --version --man --completion' ;;\n    --completion:*) words='bash zsh fish' ;;\n");
    cli_describe_verbs(put_verb_bash, out);
    buffer_append_text(out, "    esac\n"
                            "    if [[ $current == -* ]]; then words+=$options paths=''; fi\n"
                            "    if ((COMP_CWORD == 2)); then words+=\" $first\"; fi\n"
                            "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                            "    if [[ $paths ]]; then\n"
                            "        compopt -o filenames 2>/dev/null\n"
                            "        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$current\")\n"
                            "    fi\n}\ncomplete -F _lamp lamp\n");
}

static void put_option_zsh(buffer *out, const cli_option *o) {
    buffer_printf(out, " \\\n            '%s--%s%s[", cli_repeats(o) ? "*" : "", o->name, o->value ? "=" : "");
    put_quoted(out, o->help, "[]:\\", "'\\''");
    buffer_append_byte(out, ']');
    if (o->value) buffer_printf(out, ":%s:", o->value);
    if (takes_path(o)) buffer_append_text(out, "_files");
    if (o->kind == CLI_SETTINGS) buffer_append_text(out, "_lamp_keys");
    buffer_append_byte(out, '\'');
}

static void put_verb_zsh(void *context, const cli_verb *verb, const cli_command *command) {
    buffer *out = context;
    buffer_printf(out, "    %s)\n        _arguments", verb->name);
    for (int i = 0; i < command->n_options; i++) put_option_zsh(out, &command->options[i]);
    for (int i = 0; i < CLI_COMMON_OPTIONS; i++) put_option_zsh(out, &cli_common_options[i]);
    if (islower((unsigned char)*verb->arguments)) {
        buffer_append_text(out, " \\\n            '1:what:(");
        put_first_words(out, verb);
        buffer_append_text(out, ")'");
    }
    buffer_append_text(out, " \\\n            '*:path:_files'\n        ;;\n");
}

static void put_zsh(buffer *out) {
    buffer_append_text(out, "#compdef lamp\n# Completion of lamp for zsh, written by lamp --completion zsh.\n"
                            "_lamp_keys() { compadd -S '' -- ");
    put_key_words(out);
    buffer_append_text(out, " }\n_lamp() {\n    if ((CURRENT == 2)); then\n        local -a verbs=(");
    for (const cli_verb *v = cli_verbs; v->name; v++) {
        buffer_printf(out, "\n            '%s:", v->name);
        put_quoted(out, v->purpose, ":\\", "'\\''");
        buffer_append_byte(out, '\'');
    }
    buffer_append_text(
        out, ")\n        _describe verb verbs\n        compadd -- --help --version --man --completion\n        return\n    fi\n"
             "    local verb=$words[2]\n    shift words\n    ((CURRENT--))\n    case $verb in\n    --completion) compadd bash zsh fish ;;\n");
    cli_describe_verbs(put_verb_zsh, out);
    buffer_append_text(out, "    esac\n}\n_lamp \"$@\"\n");
}

static void put_option_fish(buffer *out, const char *verb, const cli_option *o) {
    buffer_printf(out, "complete -c lamp -n '__fish_seen_subcommand_from %s' -l %s%s -d '", verb, o->name,
                  takes_path(o) ? " -r -F"
                  : o->value    ? " -x"
                                : "");
    put_quoted(out, o->help, "\\", "\\'");
    buffer_append_byte(out, '\'');
    if (o->kind == CLI_SETTINGS) buffer_append_text(out, " -a '"), put_key_words(out), buffer_append_byte(out, '\'');
    buffer_append_byte(out, '\n');
}

static void put_verb_fish(void *context, const cli_verb *verb, const cli_command *command) {
    buffer *out = context;
    buffer_printf(out, "complete -c lamp -n __fish_use_subcommand -f -a %s -d '", verb->name);
    put_quoted(out, verb->purpose, "\\", "\\'");
    buffer_append_text(out, "'\n");
    if (islower((unsigned char)*verb->arguments)) {
        buffer_printf(out, "complete -c lamp -n '__fish_seen_subcommand_from %s' -a '", verb->name);
        put_first_words(out, verb);
        buffer_append_text(out, "'\n");
    }
    for (int i = 0; i < command->n_options; i++) put_option_fish(out, verb->name, &command->options[i]);
    for (int i = 0; i < CLI_COMMON_OPTIONS; i++) put_option_fish(out, verb->name, &cli_common_options[i]);
}

static void put_fish(buffer *out) {
    buffer_append_text(out, "# Completion of lamp for fish, written by lamp --completion fish.\n");
    for (const char *const *word = (const char *const[]){"help", "version", "man", NULL}; *word; word++)
        buffer_printf(out, "complete -c lamp -n __fish_use_subcommand -f -l %s\n", *word);
    buffer_append_text(out, "complete -c lamp -n __fish_use_subcommand -l completion -x -a 'bash zsh fish'\n");
    cli_describe_verbs(put_verb_fish, out);
}

int completion_write(const char *shell) {
    static const struct {
        const char *name;
        void (*put)(buffer *out);
    } shells[] = {{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        buffer out = {0};
        if (!shell || strcmp(shell, shells[i].name)) continue;
        shells[i].put(&out);
        return cli_write_buffer(&out);
    }
    FAIL(LAMP_INVALID, "lamp --completion: expected bash, zsh or fish, found %s", shell ? shell : "nothing");
}
