/* lamp report RUN: all that a run says of itself as one HTML page. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/find_data.h"
#include "cli/inspect_experts.h"
#include "cli/report_page.h"

static int make_profiles(buffer *table, const report_facts *f, inspect_wishes *wishes) {
    loaded_model m = {0};
    char found[PATH_BYTES];
    int status;
    wishes->table = table;
    TRY_TO(done, loaded_model_open(&m, f->run, VALUES_STORED));
    if (!wishes->data) {
        TRY_TO(done, find_data_of_run(found, f->run));
        wishes->data = found;
    }
    status = inspect_experts(NULL, &m, wishes);
done:
    loaded_model_close(&m);
    return status;
}

static int put_json(const char *out, size_t bytes, const report_facts *f) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "report", out);
    json_put_integer(&w, "bytes", (int64_t)bytes);
    json_put_bool(&w, "healthy", !doctor_finds_illness(f->doctor));
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static int report(const char *run, const char *out, inspect_wishes *wishes, bool json) {
    report_facts f;
    buffer page = {0}, table = {0};
    char path[PATH_BYTES];
    int status;
    TRY(report_facts_read(&f, run));
    if (!out) {
        TRY_TO(done, file_join(path, f.run, "report.html"));
        out = path;
    }
    if (wishes->experts) TRY_TO(done, make_profiles(&table, &f, wishes));
    TRY_TO(done, report_page(&page, &f, wishes->experts ? &table : NULL));
    TRY_TO(done, file_write_whole(out, page.bytes, page.length));
    if (json) status = put_json(out, page.length, &f);
    else printf("%s\n", out);
done:
    buffer_release(&table);
    buffer_release(&page);
    report_facts_release(&f);
    return status;
}

int verb_report(int argc, char **argv) {
    cli_list arguments;
    bool json;
    const char *out = NULL;
    inspect_wishes wishes = {.layer = -1, .tokens = 32768};
    const cli_option rows[] = {
        {"out", "FILE.html", "where to write it (default: RUN/report.html)", CLI_PATH, &out, 0, 0},
        {"experts", NULL, "also run validation text and show what each expert of one layer specialises in", CLI_FLAG, &wishes.experts, 0, 0},
        {"data", "DATASET", "with --experts: its text (default: the dataset the run was trained on)", CLI_PATH, &wishes.data, 0, 0},
        {"layer", "L", "with --experts: which layer (default: the middle one)", CLI_INTEGER, &wishes.layer, 0, 1e9},
    };
    const char *details = "The page needs no network and loads nothing; it can be mailed and printed.\n";
    TRY(cli_parse(&arguments, &json, &(cli_command){"report", details, rows, 4, 1, 1}, argc, argv));
    if ((wishes.data || wishes.layer >= 0) && !wishes.experts) FAIL(LAMP_INVALID, "lamp report: --%s goes with --experts", wishes.data ? "data" : "layer");
    return report(arguments.item[0], out, &wishes, json);
}
