/* lamp VERB ...: finds the verb, runs it, and turns its status into the exit code and one last line that names the cause. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/options.h"
#include "cli/cli.h"
#include "cli/cut_short.h"
#include "cli/manual.h"

const cli_verb cli_verbs[] = {
    {"data", "build OUT --domain NAME=PATH...", "turn text into a tokenised dataset", verb_data, true},
    {"train", "RECIPE|DATASET|RUN", "train a model, or go on with a run", verb_train, true},
    {"eval", "MODEL", "loss, perplexity, bits per byte per domain, and routing", verb_eval, true},
    {"generate", "MODEL", "write text", verb_generate, true},
    {"inspect", "MODEL|CONFIG|RECIPE", "sizes and what they cost, and what experts specialise in", verb_inspect, true},
    {"doctor", "RUN", "is the run healthy? what is wrong, since when, and what to try", verb_doctor, false},
    {"report", "RUN", "all that a run says of itself as one HTML page", verb_report, true},
    {"compare", "RUN RUN...", "runs matched on seconds, FLOPs, tokens and memory", verb_compare, false},
    {"convert", "MODEL OUT", "a folder becomes a GGUF file or the other way round; a dense model becomes a mixture", verb_convert, true},
    {"quantize", "MODEL OUT.gguf", "matrices in fewer bits, and what that costs", verb_quantize, true},
    {"bench", "peak|products|moe|capacity|train|decode|prefill [MODEL]", "measure this machine and our kernels on it", verb_bench, true},
    {"tokenize", "MODEL [FILE]", "text to token ids, one a line", verb_tokenize, false},
    {"detokenize", "MODEL [FILE]", "token ids to text", verb_detokenize, false},
    {"logits", "MODEL --ids FILE --out FILE", "the logits of every position, to compare with other programs", verb_logits, true},
    {"explain", "[CODE]", "what an exit code means, and what to do about it", verb_explain, false},
    {NULL, NULL, NULL, NULL, false},
};

const char cli_purpose[] = "trains, inspects and runs sparse mixture-of-experts models";
const char cli_examples[] = "  lamp data build data --domain books=my/books --domain code=my/code\n"
                            "  lamp train data --run runs/first\n"
                            "  lamp generate runs/first --prompt \"Once upon a time\"\n";

static void print_exit_codes(FILE *out) {
    enum { WIDTH = 120 };
    int column = fprintf(out, "Exit codes:");
    for (const cli_exit_code *c = cli_exit_codes; c->says; c++) {
        const char *comma = c[1].says ? "," : "";
        if (column + snprintf(NULL, 0, " %d %s%s", -c->status, c->says, comma) > WIDTH) fputc('\n', out), column = -1; /* and no space */
        column += fprintf(out, "%s%d %s%s", column < 0 ? "" : " ", -c->status, c->says, comma);
    }
    fputs(" (lamp explain CODE)\n", out);
}

static void print_help(FILE *out) {
    enum { WORDS = 32 };
    fprintf(out, "lamp %s.\n\n%s\n", cli_purpose, cli_examples);
    for (const cli_verb *v = cli_verbs; v->name; v++) {
        const bool fits = strlen(v->arguments) <= WORDS;
        fprintf(out, "  lamp %-10s %-*s%s%*s%s\n", v->name, WORDS, v->arguments, fits ? " " : "\n", fits ? 0 : WORDS + 19, "", v->purpose);
    }
    fputs("\n  lamp VERB --help      its options;  lamp --version;  lamp --man: all of it as a manual page;\n"
          "  lamp --completion bash|zsh|fish: what completes its words in a shell\n\n",
          out);
    print_exit_codes(out);
}

static void show_log(void *context, log_level level, const char *text) {
    (void)context;
    if (cli_quiet && level != LOG_WARNING) return;
    bool terminal = cli_is_terminal(stderr);
    if (level == LOG_PROGRESS && !terminal) return;
    if (level == LOG_PROGRESS) fprintf(stderr, "\r\033[K%s", text);
    else fprintf(stderr, "%s%s%s\n", terminal ? "\r\033[K" : "", level == LOG_WARNING ? "warning: " : "", text);
}

static const cli_verb *find_verb(const char *name) {
    const cli_verb *nearest = NULL;
    int least = 4;
    for (const cli_verb *v = cli_verbs; v->name; v++) {
        if (!strcmp(v->name, name)) return v;
        int distance = options_edit_distance(name, v->name);
        if (distance < least) least = distance, nearest = v;
    }
    fprintf(stderr, "error: unknown verb %s%s%s%s; see lamp --help\n", name, nearest ? ", did you mean " : "", nearest ? nearest->name : "",
            nearest ? "?" : "");
    return NULL;
}

/* On a machine that is shared, a thread that spins at a barrier takes the core from the thread it waits for: steps then last five times as
 * long. So waiting threads spin briefly and sleep. And where there is one for each core, each keeps to its own: those that wake often otherwise
 * meet on one of them. OpenMP's library reads this before main begins, hence the second start. */
static void restart_with_patient_threads(char **argv) {
    static const char *const wishes[] = {"OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"};
    bool bind = true;
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    setenv("GOMP_SPINCOUNT", "10000", 1);
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) bind &= !getenv(wishes[i]);
    if (bind) setenv("OMP_PROC_BIND", "true", 1);
    execv("/proc/self/exe", argv);
}

/* The exit code of a status, and the last line. */
static int end(int status) {
    if (status >= 0 && fflush(stdout)) status = error_set(LAMP_IO, "cannot write to standard output");
    if (status < 0)
        fprintf(stderr, "%s%s: %s\n", cli_is_terminal(stderr) ? "\r\033[K" : "", status == LAMP_INTERRUPTED ? "stopped" : "error",
                lamp_error_message());
    return -status;
}

int main(int argc, char **argv) {
    restart_with_patient_threads(argv);
    log_set_sink(show_log, NULL);
    cut_short_install();
    if (argc < 2) {
        print_help(stderr);
        return -LAMP_INVALID;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("lamplighter %s\n", lamp_version());
        return 0;
    }
    if (!strcmp(argv[1], "--man")) return end(manual_write());
    if (!strcmp(argv[1], "--completion")) return end(completion_write(argv[2]));
    const cli_verb *verb = find_verb(argv[1]);
    if (!verb) return -LAMP_INVALID;
    if (verb->ends_well) interrupt_install();
    return end(verb->run(argc - 1, argv + 1));
}
