/* lamp explain [CODE]: what an exit code means and what to do about it. The table is the only list of them: help and the manual read it. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "lamp.h"

const cli_exit_code cli_exit_codes[] = {
    {LAMP_OK, "ok", "The verb did what was asked.", "Nothing."},
    {LAMP_FAILURE, "failure", "Something failed that has no code of its own.", "Read the last line of standard error: it names the cause."},
    {LAMP_INVALID, "usage", "The command line, a recipe or a setting asks for something impossible or contradictory.",
     "The message names the option or key, what it found and what it expected. lamp VERB --help lists them all; lamp train --dry-run checks a recipe "
     "without training."},
    {LAMP_MALFORMED, "malformed input", "A file breaks the rules of its own format: cut short, damaged, or not what its name says.",
     "The message names the file and the place. Fetch or make the file again; if another program wrote it, it is at fault."},
    {LAMP_UNSUPPORTED, "unsupported feature", "The file is sound, but asks for something this version or this machine lacks.",
     "The message names the feature. Convert the file without it, or use a newer version."},
    {LAMP_DIVERGED, "diverged or unhealthy",
     "The loss or the gradient was not finite for three steps in a row: none of these steps was applied, and the latest "
     "checkpoint is from before. Or lamp doctor, or train.guard = stop, found something wrong with a run; it says what, and what to try.",
     "Begin a new run from it, since a run keeps its recipe: lamp train RECIPE --run NEW --set train.initial=RUN with a lower optim.learning_rate, a "
     "longer optim.warmup or a smaller optim.clip. events.jsonl of the run says when it began."},
    {LAMP_NO_MEMORY, "out of memory", "The machine cannot hold what was asked for. A training run is refused before it begins if it cannot fit.",
     "A smaller train.micro_batch_tokens (the same step in more parts), fewer router.experts, optim.experts=adamw_in_backward or factored, "
     "optim.moments=bf16 or train.pack_weights=false. lamp train "
     "--dry-run says what a recipe needs."},
    {LAMP_RANK_LOST, "rank lost", "A process of a run over several machines is gone.",
     "Start the same command again: it goes on from the last checkpoint."},
    {LAMP_IO, "I/O", "The system refused to read or write: no such file, no permission, a full disk, a file cut short while it was read.",
     "The message names the file and the system's reason. An earlier checkpoint is never damaged by a write that fails."},
    {LAMP_CHECKPOINT, "checkpoint", "There is no checkpoint that can be used, or it does not belong to this recipe or dataset.",
     "The message says which file or tensor is wrong. RUN/checkpoints may hold an older one: pass its folder as the model."},
    {LAMP_INTERRUPTED, "interrupted", "A signal (Ctrl-C, SIGTERM) ended it. A training run is saved first.",
     "The same command with the same --run goes on, bit for bit as if nothing had happened."},
    {0, NULL, NULL, NULL},
};

static const cli_exit_code *find_code(const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    for (const cli_exit_code *c = cli_exit_codes; c->says; c++)
        if (*text && !*end && -c->status == number) return c;
    return NULL;
}

static int put_code(json_writer *w, const cli_exit_code *c) {
    json_begin_object(w, NULL);
    json_put_integer(w, "code", -c->status);
    json_put_text(w, "says", c->says);
    json_put_text(w, "means", c->means);
    json_put_text(w, "try", c->try);
    json_end_object(w);
    return w->out->status;
}

static void print_code(buffer *text, const cli_exit_code *c) {
    buffer_printf(text, "%d, %s\n  means: %s\n  try:   %s\n", -c->status, c->says, c->means, c->try);
}

int verb_explain(int argc, char **argv) {
    cli_list arguments;
    bool json;
    buffer text = {0};
    json_writer w = {.out = &text};
    TRY(cli_parse(&arguments, &json, &(cli_command){"explain", "Without CODE, all of them.\n", NULL, 0, 0, 1}, argc, argv));
    const cli_exit_code *one = arguments.n ? find_code(arguments.item[0]) : NULL;
    if (arguments.n && !one) FAIL(LAMP_INVALID, "no exit code %s; expected one of those that lamp --help lists", arguments.item[0]);
    if (json && !one) json_begin_array(&w, NULL);
    for (const cli_exit_code *c = one ? one : cli_exit_codes; c->says; c++) {
        if (json) put_code(&w, c);
        else print_code(&text, c);
        if (one) break;
    }
    if (json && !one) json_end_array(&w);
    if (json) buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}
