/* The command line. One file per verb (verb_NAME.c); only this folder prints or exits. A verb supplies a row of verbs[] in main.c:
 * its name, what it is for, and a function that returns a lamp_status. Results go to standard output, everything else to standard error.
 *
 * A verb describes its options in a table that parses them, makes --help and refuses the rest:
 *
 *     const cli_option options[] = {{"tokens", "N", "how many tokens to write", CLI_INTEGER, &tokens}, ...}; */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/json.h"

typedef struct {
    const char *name, *arguments, *purpose;
    int (*run)(int argc, char **argv);
    bool ends_well; /* on Ctrl-C it finishes what it must; the others just end */
} cli_verb;

extern const cli_verb cli_verbs[];

/* What help, the manual and a first look at the program share. */
extern const char cli_purpose[], cli_examples[];

typedef struct {
    int status; /* the exit code is -status */
    const char *says, *means, *try;
} cli_exit_code;

extern const cli_exit_code cli_exit_codes[]; /* ends where says is NULL */

/* CLI_SETTINGS is a list of section.key=value of the recipe. */
typedef enum { CLI_FLAG, CLI_TEXT, CLI_PATH, CLI_INTEGER, CLI_NUMBER, CLI_LIST, CLI_PATHS, CLI_SETTINGS } cli_kind;

enum { CLI_LIST_ITEMS = 256 };

typedef struct {
    int n;
    const char *item[CLI_LIST_ITEMS];
} cli_list;

typedef struct {
    const char *name, *value, *help; /* value: how help calls it; NULL for a flag */
    cli_kind kind;
    void *target; /* bool, const char * (text and path), int64_t, double, cli_list */
    double min, max; /* of numbers, both ends included */
} cli_option;

typedef struct {
    const char *verb, *details; /* details: what --help says after the options; may be NULL */
    const cli_option *options;
    int n_options;
    int min_arguments, max_arguments;
} cli_command;

/* Returns LAMP_OK with the positional arguments in arguments, or LAMP_INVALID. --help prints and ends the process with 0. Every verb
 * has --json (through *json) and --quiet. */
int cli_parse(cli_list *arguments, bool *json, const cli_command *command, int argc, char **argv);

/* What cli_parse takes from every verb. */
enum { CLI_COMMON_OPTIONS = 3 };
extern const cli_option cli_common_options[CLI_COMMON_OPTIONS];

/* The place of an option's value in a list of those it can have, which ends in NULL; LAMP_INVALID if it is none of them. */
int cli_choose(int *place, const char *const *choices, const char *word, const char *verb, const char *name);

/* As often as one likes. */
bool cli_repeats(const cli_option *o);

/* Hands every verb's command to describe, in the order of cli_verbs, instead of running it. */
typedef void cli_describe(void *context, const cli_verb *verb, const cli_command *command);
void cli_describe_verbs(cli_describe *describe, void *context);

extern bool cli_quiet;
bool cli_is_terminal(FILE *stream);

/* Writes a result to standard output, or fails with LAMP_IO. */
int cli_write(const char *bytes, size_t length);
int cli_write_buffer(buffer *b); /* and releases it */

/* The whole of a file, or of standard input for "-" or NULL. */
int cli_read_all(buffer *content, const char *path);
int cli_read_at_most(buffer *content, const char *path, size_t most); /* LAMP_UNSUPPORTED if it has more bytes */

int verb_data(int argc, char **argv);
int verb_convert(int argc, char **argv);
int verb_quantize(int argc, char **argv);
int verb_train(int argc, char **argv);
int verb_eval(int argc, char **argv);
int verb_generate(int argc, char **argv);
int verb_logits(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_report(int argc, char **argv);
int verb_compare(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_tokenize(int argc, char **argv);
int verb_detokenize(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_explain(int argc, char **argv);

#endif
