/* lamp data build OUT --domain NAME=PATH...: text to a tokenised dataset. */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/human.h"
#include "base/problems.h"
#include "cli/cli.h"
#include "data/dataset_build.h"

static int put_json(const dataset_build_report *report) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_integer(&w, "vocabulary_size", report->vocabulary_size);
    json_put_number(&w, "unknown_share", report->unknown_share);
    json_begin_object(&w, "domains");
    for (int i = 0; i < report->n_domains; i++) {
        const domain_summary *d = &report->domain[i];
        json_begin_object(&w, d->name);
        json_put_integer(&w, "documents", d->documents);
        json_put_integer(&w, "bytes", d->bytes);
        json_put_integer(&w, "duplicates", d->duplicates);
        json_put_integer(&w, "binary_files", d->passed_over.binary_files);
        json_put_integer(&w, "empty_documents", d->passed_over.empty_documents);
        json_put_integer(&w, "bad_lines", d->passed_over.bad_lines);
        json_put_integer(&w, "train_tokens", d->train_tokens);
        json_put_integer(&w, "validation_tokens", d->validation_tokens);
        json_end_object(&w);
    }
    json_end_object(&w);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static void print_passed_over(const char *domain, int64_t count, const char *one, const char *many) {
    if (count > 0) printf("%s: passed over %lld %s\n", domain, (long long)count, count == 1 ? one : many);
}

static void print_report(const dataset_build_report *report, const dataset_build_options *options) {
    char bytes[HUMAN_BYTES], train[HUMAN_BYTES], held[HUMAN_BYTES];
    printf("%-20s %10s %10s %12s %12s %12s\n", "domain", "documents", "bytes", "duplicates", "train", "validation");
    for (int i = 0; i < report->n_domains; i++) {
        const domain_summary *d = &report->domain[i];
        printf("%-20s %10lld %10s %12lld %12s %12s\n", d->name, (long long)d->documents, human_count(bytes, (double)d->bytes),
               (long long)d->duplicates, human_count(train, (double)d->train_tokens), human_count(held, (double)d->validation_tokens));
    }
    int64_t bad_lines = 0;
    for (int i = 0; i < report->n_domains; i++) {
        const domain_summary *d = &report->domain[i];
        print_passed_over(d->name, d->passed_over.binary_files, "binary file", "binary files");
        print_passed_over(d->name, d->passed_over.empty_documents, "empty document", "empty documents");
        print_passed_over(d->name, d->passed_over.bad_lines, "bad line", "bad lines");
        bad_lines += d->passed_over.bad_lines;
    }
    if (bad_lines > 0 && options->bad_lines == BAD_LINES_QUARANTINE) printf("the bad lines are in %s/quarantine.jsonl\n", options->out);
    if (report->unknown_share > 0)
        printf("%.2f %% of the tokens are words outside the vocabulary: their spelling is lost, and with it bits per byte\n",
               100 * report->unknown_share);
    printf("vocabulary of %d %s; dataset in %s\n", report->vocabulary_size, options->vocabulary == VOCABULARY_OF_WORDS ? "words" : "tokens",
           options->out);
}

static int check_tokenizer(const char *name) {
    if (file_exists(name)) return LAMP_OK;
    FAIL(LAMP_INVALID, "lamp data: --tokenizer: expected bytes, words, a model or a tokenizer.json, found \"%s\", which is none of them", name);
}

int verb_data(int argc, char **argv) {
    cli_list arguments, domains = {0};
    bool json;
    int64_t size = 8192;
    dataset_build_options options;
    dataset_build_report report;
    char names[CLI_LIST_ITEMS][DOMAIN_NAME_BYTES] = {0};
    problem_list problems = {0};
    const char *bad_lines = "error", *field = "text", *standard_input = "txt", *tokenizer_name = "bytes";
    int policy, kind;
    static const char *const policies[] = {[BAD_LINES_ERROR] = "error", [BAD_LINES_SKIP] = "skip", [BAD_LINES_QUARANTINE] = "quarantine", NULL};
    static const char *const kinds[] = {"txt", "txt.gz", "txt.zst", "jsonl", "jsonl.gz", "jsonl.zst", NULL};
    const cli_option rows[] = {
        {"domain", "NAME=PATH", "a domain: a text file, .jsonl, either packed as .gz or .zst, a folder of these, or - for standard input", CLI_PATHS,
         &domains, 0, 0},
        {"field", "NAME", "which field of a line of .jsonl holds its text (text)", CLI_TEXT, &field, 0, 0},
        {"stdin", "KIND", "what standard input is: txt, jsonl, or one of these and .gz or .zst, as in jsonl.zst (txt)", CLI_TEXT, &standard_input, 0,
         0},
        {"bad-lines", "POLICY", "error, skip, or quarantine, which keeps them in OUT/quarantine.jsonl (error)", CLI_TEXT, &bad_lines, 0, 0},
        {"tokenizer", "KIND|MODEL",
         "what tokens are: runs of bytes that occur often (bytes), the most frequent words (words), or as a model has them", CLI_TEXT,
         &tokenizer_name, 0, 0},
        {"vocab", "N", "size of the vocabulary (8192)", CLI_INTEGER, &size, 3, 1 << 20},
    };
    cli_command command = {
        "data",
        "Exact duplicate documents are dropped, and about 2 % of each domain's documents are held out for validation.\n"
        "A line of .jsonl is one document, and so is any other file of up to 1 MiB; a larger one is cut at blank lines.\n"
        "A line is bad if it is no JSON object with text in the field, or longer than 16 MiB. A packed file that is broken always ends the build.\n",
        rows,
        sizeof rows / sizeof *rows,
        2,
        2};
    TRY(cli_parse(&arguments, &json, &command, argc, argv));
    if (strcmp(arguments.item[0], "build")) FAIL(LAMP_INVALID, "lamp data: expected build, found %s", arguments.item[0]);
    if (domains.n == 0) FAIL(LAMP_INVALID, "lamp data build: no text: give at least one --domain NAME=PATH");
    TRY(cli_choose(&policy, policies, bad_lines, "data", "bad-lines"));
    TRY(cli_choose(&kind, kinds, standard_input, "data", "stdin"));
    dataset_build_defaults(&options);
    if (!strcmp(tokenizer_name, "words")) options.vocabulary = VOCABULARY_OF_WORDS;
    else if (strcmp(tokenizer_name, "bytes")) TRY(check_tokenizer(options.tokenizer_from = tokenizer_name));
    else if (size < 258) FAIL(LAMP_INVALID, "lamp data: --vocab: expected at least 258 with every byte a token, found %lld", (long long)size);
    if (domains.n > DATASET_DOMAINS) FAIL(LAMP_INVALID, "lamp data build: more than %d domains", DATASET_DOMAINS);
    options.out = arguments.item[1];
    options.vocabulary_size = (int)size;
    options.field = field, options.bad_lines = (bad_line_policy)policy, options.standard_input_kind = kinds[kind];
    options.n_domains = domains.n;
    for (int i = 0; i < domains.n; i++) {
        const char *equals = strchr(domains.item[i], '=');
        size_t length = equals ? (size_t)(equals - domains.item[i]) : 0;
        if (length == 0 || length >= DOMAIN_NAME_BYTES || !equals[1])
            problems_add(&problems, error_set(LAMP_INVALID, "lamp data build: --domain: expected NAME=PATH, found \"%s\"", domains.item[i]));
        else options.domain[i].name = memcpy(names[i], domains.item[i], length), options.domain[i].path = equals + 1;
    }
    TRY(problems_end(&problems));
    TRY(dataset_build(&options, &report));
    if (json) return put_json(&report);
    print_report(&report, &options);
    return LAMP_OK;
}
