/* lamp data build OUT --domain NAME=PATH...: text to a tokenised dataset. */
#include <string.h>

#include "base/error.h"
#include "base/human.h"
#include "cli/cli.h"
#include "data/dataset_build.h"

static int put_json(const dataset_build_report *report) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_integer(&w, "vocabulary_size", report->vocabulary_size);
    json_begin_object(&w, "domains");
    for (int i = 0; i < report->n_domains; i++) {
        const domain_summary *d = &report->domain[i];
        json_begin_object(&w, d->name);
        json_put_integer(&w, "documents", d->documents);
        json_put_integer(&w, "bytes", d->bytes);
        json_put_integer(&w, "duplicates", d->duplicates);
        json_put_integer(&w, "binary_files", d->binary_files);
        json_put_integer(&w, "train_tokens", d->train_tokens);
        json_put_integer(&w, "validation_tokens", d->validation_tokens);
        json_end_object(&w);
    }
    json_end_object(&w);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static void print_report(const dataset_build_report *report, const char *out) {
    char bytes[HUMAN_BYTES], train[HUMAN_BYTES], held[HUMAN_BYTES];
    printf("%-20s %10s %10s %12s %12s %12s\n", "domain", "documents", "bytes", "duplicates", "train", "validation");
    for (int i = 0; i < report->n_domains; i++) {
        const domain_summary *d = &report->domain[i];
        printf("%-20s %10lld %10s %12lld %12s %12s\n", d->name, (long long)d->documents, human_count(bytes, (double)d->bytes), (long long)d->duplicates,
               human_count(train, (double)d->train_tokens), human_count(held, (double)d->validation_tokens));
    }
    printf("vocabulary of %d tokens; dataset in %s\n", report->vocabulary_size, out);
}

int verb_data(int argc, char **argv) {
    cli_list arguments, domains = {0};
    bool json;
    int64_t vocabulary = 8192;
    dataset_build_options options;
    dataset_build_report report;
    char names[CLI_LIST_ITEMS][DOMAIN_NAME_BYTES];
    const cli_option rows[] = {
        {"domain", "NAME=PATH", "a domain: a folder of text files, a text file, or .jsonl with a field \"text\"", CLI_PATHS, &domains, 0, 0},
        {"vocab", "N", "size of the vocabulary (8192)", CLI_INTEGER, &vocabulary, 258, 1 << 20},
    };
    cli_command command = {
        "data", "Exact duplicate documents are dropped, and about 2 % of each domain's documents are held out for validation.\n", rows, 2, 2, 2};
    TRY(cli_parse(&arguments, &json, &command, argc, argv));
    if (strcmp(arguments.item[0], "build")) FAIL(LAMP_INVALID, "lamp data: expected build, found %s", arguments.item[0]);
    if (domains.n == 0) FAIL(LAMP_INVALID, "lamp data build: no text: give at least one --domain NAME=PATH");
    dataset_build_defaults(&options);
    if (domains.n > DATASET_DOMAINS) FAIL(LAMP_INVALID, "lamp data build: more than %d domains", DATASET_DOMAINS);
    options.out = arguments.item[1];
    options.vocabulary_size = (int)vocabulary;
    options.n_domains = domains.n;
    for (int i = 0; i < domains.n; i++) {
        const char *equals = strchr(domains.item[i], '=');
        size_t length = equals ? (size_t)(equals - domains.item[i]) : 0;
        if (length == 0 || length >= DOMAIN_NAME_BYTES || !equals[1])
            FAIL(LAMP_INVALID, "lamp data build: --domain: expected NAME=PATH, found \"%s\"", domains.item[i]);
        snprintf(names[i], sizeof names[i], "%.*s", (int)length, domains.item[i]);
        options.domain[i].name = names[i], options.domain[i].path = equals + 1;
    }
    TRY(dataset_build(&options, &report));
    if (json) return put_json(&report);
    print_report(&report, options.out);
    return LAMP_OK;
}
