/* lamp bench WHAT: what this machine can do, and how much of it our kernels reach. */
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/file.h"
#include "base/human.h"
#include "budget/random_model.h"
#include "cli/bench_picture.h"
#include "cli/cli.h"
#include "formats/quantise.h"

/* The processor's name as the system tells it. */
static const char *processor_name(char name[128]) {
    FILE *file = fopen("/proc/cpuinfo", "re");
    strcpy(name, "unknown");
    for (char line[256]; file && fgets(line, sizeof line, file);) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        snprintf(name, 128, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file) fclose(file);
    return name;
}

static void print_rows(const bench *b) {
    char name[128], memory[HUMAN_BYTES], rate[BENCH_RATE_BYTES];
    printf("%s, %d thread%s, %sB, %s kernels\n\n", processor_name(name), b->threads, b->threads == 1 ? "" : "s",
           human_count(memory, (double)arena_machine_bytes()), b->k->name);
    for (int i = 0; i < b->n; i++) {
        const bench_row *row = &b->row[i];
        const char *of;
        double share = bench_share(row, &of);
        bool part = row->share_of_time > 0;
        printf("%s%-*s %-4s %15s", part ? "  " : "", part ? 58 : 60, row->name, row->precision, bench_rate(rate, row));
        if (*of) printf("  %3.0f %% of %s", share * 100, of);
        else printf("  %d thread%s", row->threads, row->threads == 1 ? "" : "s");
        if (row->share_of_first > 0) printf(", %.2f of the first", row->share_of_first);
        if (row->bytes_held) printf(", %sB", human_count(memory, (double)row->bytes_held));
        putchar('\n');
    }
}

static void put_row(json_writer *w, const bench_row *row) {
    const double scale = row->unit == BENCH_TOKENS ? 1 : 1e-9;
    json_begin_object(w, NULL);
    json_put_text(w, "name", row->name);
    json_put_text(w, "precision", row->precision);
    json_put_integer(w, "threads", row->threads);
    if (row->per_second > 0) json_put_number(w, row->unit == BENCH_TOKENS ? "tokens_per_second" : "g_per_second", row->per_second * scale);
    if (row->high > 0) json_put_number(w, "lower_quartile", row->low * scale), json_put_number(w, "upper_quartile", row->high * scale);
    if (row->unit == BENCH_FLOPS || row->unit == BENCH_BYTES) json_put_text(w, "unit", row->unit == BENCH_BYTES ? "B" : "FLOP");
    if (row->seconds > 0) json_put_number(w, "seconds", row->seconds);
    if (row->share_of_peak > 0) json_put_number(w, "share_of_peak", row->share_of_peak);
    if (row->share_of_roof > 0) json_put_number(w, "share_of_roof", row->share_of_roof);
    if (row->share_of_first > 0) json_put_number(w, "share_of_first", row->share_of_first);
    if (row->experts > 0) json_put_integer(w, "experts", row->experts), json_put_integer(w, "tokens", row->tokens);
    if (row->share_of_time > 0) json_put_number(w, "share_of_time", row->share_of_time);
    if (row->bytes_held > 0) json_put_integer(w, "bytes_held", row->bytes_held);
    json_end_object(w);
}

static int put_json(const bench *b, const char *what) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    char name[128];
    json_begin_object(&w, NULL);
    json_put_text(&w, "bench", what);
    json_put_text(&w, "processor", processor_name(name));
    json_put_integer(&w, "threads", b->threads);
    json_put_integer(&w, "memory_bytes", (int64_t)arena_machine_bytes());
    json_put_text(&w, "kernels", b->k->name);
    json_begin_array(&w, "rows");
    for (int i = 0; i < b->n; i++) put_row(&w, &b->row[i]);
    json_end_array(&w);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static int draw(const bench *b, const char *what, const char *path) {
    buffer svg = {0};
    char name[128], title[256];
    snprintf(title, sizeof title, "lamp bench %s: %s, %d threads, %s kernels", what, processor_name(name), b->threads, b->k->name);
    bench_picture(&svg, b, title);
    int status = svg.status < 0 ? svg.status : file_write_whole(path, svg.bytes, svg.length);
    buffer_release(&svg);
    return status;
}

/* What was asked for. Each of them goes with some measurements only. */
typedef struct {
    const char *model, *recipe, *data, *precision;
    int64_t tokens;
} request;

static int measure_peak(bench *b, const request *q) { return (void)q, bench_peaks(b); }
static int measure_products(bench *b, const request *q) { return (void)q, bench_products(b); }
static int measure_moe(bench *b, const request *q) { return (void)q, bench_moe(b); }
static int measure_capacity(bench *b, const request *q) { return bench_capacity(b, q->precision); }
static int measure_train(bench *b, const request *q) { return bench_train(b, q->recipe, q->data); }
static int measure_decode(bench *b, const request *q) { return bench_decode(b, q->model); }
static int measure_prefill(bench *b, const request *q) { return bench_prefill(b, q->model, (ptrdiff_t)q->tokens); }

static const struct measurement {
    const char *name;
    int (*run)(bench *b, const request *q);
    bool of_recipe, of_model;
} measurements[] = {
    {"peak", measure_peak, false, false},      {"products", measure_products, false, false},
    {"moe", measure_moe, false, false},        {"capacity", measure_capacity, false, false},
    {"train", measure_train, true, false},     {"decode", measure_decode, false, true},
    {"prefill", measure_prefill, false, true}, {NULL, NULL, false, false},
};

static int find_measurement(const struct measurement **found, const char *what) {
    char names[128] = "";
    for (const struct measurement *m = measurements; m->name; m++) {
        *found = m;
        if (!strcmp(m->name, what)) return LAMP_OK;
        sprintf(names + strlen(names), "%s%s", m == measurements ? "" : m[1].name ? ", " : " or ", m->name);
    }
    FAIL(LAMP_INVALID, "lamp bench %s: expected %s", what, names);
}

static int check_request(const struct measurement *m, const request *q) {
    if (q->precision && strcmp(m->name, "capacity")) FAIL(LAMP_INVALID, "lamp bench %s: --precision goes with capacity", m->name);
    if ((q->recipe || q->data) && !m->of_recipe) FAIL(LAMP_INVALID, "lamp bench %s: --recipe and --data go with train", m->name);
    if (q->tokens && strcmp(m->name, "prefill")) FAIL(LAMP_INVALID, "lamp bench %s: --tokens goes with prefill", m->name);
    if (!q->recipe && m->of_recipe) FAIL(LAMP_INVALID, "lamp bench %s: which model? give --recipe FILE, for example bench/model_p.ini", m->name);
    if (!q->model && m->of_model) FAIL(LAMP_INVALID, "lamp bench %s MODEL: which model? lamp bench --make-model FILE.gguf makes one", m->name);
    if (q->model && !m->of_model) FAIL(LAMP_INVALID, "lamp bench %s: expected no model, found %s", m->name, q->model);
    return LAMP_OK;
}

static int make_model(const char *path, const char *type_name) {
    stored_type type = type_name ? quantise_type_named(type_name) : STORED_Q8_0;
    if (type == STORED_TYPES) FAIL(LAMP_INVALID, "lamp bench --type: expected f32, f16, bf16, q8_0, q4_0 or mxfp4, found \"%.32s\"", type_name);
    return random_model_write(path, type);
}

int verb_bench(int argc, char **argv) {
    cli_list arguments;
    bool json;
    double seconds = 0.5;
    const char *svg_path = NULL, *new_model = NULL, *type_name = NULL;
    request q = {0};
    bench b = {0};
    const cli_option rows[] = {
        {"seconds", "S", "how long to measure each row, in all rounds together (0.5); long work takes longer", CLI_NUMBER, &seconds, 0.001, 3600},
        {"svg", "FILE", "also draw the rows as bars", CLI_PATH, &svg_path, 0, 0},
        {"recipe", "FILE", "of train: the model and its batch", CLI_PATH, &q.recipe, 0, 0},
        {"data", "DATASET", "of train: the text (default: the recipe's data.path)", CLI_PATH, &q.data, 0, 0},
        {"precision", "f32|bf16", "of capacity: of its products (default: the faster)", CLI_TEXT, &q.precision, 0, 0},
        {"tokens", "N", "of prefill: how long a text (512)", CLI_INTEGER, &q.tokens, 1, 1e6},
        {"make-model", "FILE.gguf", "measure nothing, but write a random model of the size of OLMoE, 6.9 billion parameters", CLI_PATH, &new_model, 0,
         0},
        {"type", "TYPE", "of its weights: f32, f16, bf16, q8_0, q4_0 or mxfp4 (q8_0)", CLI_TEXT, &type_name, 0, 0},
    };
    const char *details = "peak      multiply-adds in registers and reading from memory, on one thread and on all\n"
                          "products  the three products of a weight, at the shapes that matter\n"
                          "moe       a layer of experts: its products against everything else in it\n"
                          "capacity  one layer with 4 to 4096 experts at equal work for a token, with its update\n"
                          "train     steps of a recipe, and where their time goes\n"
                          "decode    a MODEL that writes token by token, against the time that its weights take to be read\n"
                          "prefill   a MODEL that reads a text\n"
                          "Shares are of what probes beside the work reached in the same rounds; values are medians.\n";
    const struct measurement *m;
    int status = cli_parse(&arguments, &json, &(cli_command){"bench", details, rows, sizeof rows / sizeof *rows, 0, 2}, argc, argv);
    TRY_TO(done, status);
    if (new_model || type_name) {
        if (!new_model || arguments.n > 0)
            FAIL_TO(done, LAMP_INVALID, "lamp bench: --type goes with --make-model FILE.gguf, and both with nothing else");
        return make_model(new_model, type_name);
    }
    if (arguments.n == 0) FAIL_TO(done, LAMP_INVALID, "lamp bench: what? see lamp bench --help");
    q.model = arguments.n > 1 ? arguments.item[1] : NULL;
    TRY_TO(done, find_measurement(&m, arguments.item[0]));
    TRY_TO(done, check_request(m, &q));
    TRY_TO(done, bench_open(&b, seconds));
    TRY_TO(done, m->run(&b, &q));
    if (svg_path) TRY_TO(done, draw(&b, m->name, svg_path));
    if (json) status = put_json(&b, m->name);
    else print_rows(&b);
done:
    bench_close(&b);
    return status;
}
