#include "cli/report_page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/human.h"
#include "cli/readable.h"
#include "cli/report_charts.h"
#include "cli/report_look.h"

/* ---- what it is --------------------------------------------------------------------------------------------------------------------- */

static void put_fact(buffer *out, const char *name, const char *value) {
    buffer_printf(out, "<div><dt>%s</dt><dd>", name);
    put_escaped(out, value);
    buffer_append_text(out, "</dd></div>\n");
}

static const char *text_of(const json_t *object, const char *key) {
    const char *found = json_string_value(json_object_get(object, key));
    return found ? found : "?";
}

/* environment.json is for people: what is missing there is not missed here. */
static int put_environment(buffer *out, const report_facts *f) {
    char path[PATH_BYTES], line[256], a[HUMAN_BYTES], b[HUMAN_BYTES];
    json_t *e = NULL;
    TRY(file_join(path, f->run, "environment.json"));
    if (!file_exists(path)) return LAMP_OK;
    TRY(json_read_file(&e, path));
    snprintf(line, sizeof line, "%s, of which one token meets %s", human_count(a, json_number_value(json_object_get(e, "parameters"))),
             human_count(b, json_number_value(json_object_get(e, "active_parameters"))));
    put_fact(out, "parameters", line);
    snprintf(line, sizeof line, "%.40s, kernels %.20s, %lld threads", text_of(e, "lamplighter"), text_of(e, "kernels"),
             (long long)json_integer_value(json_object_get(e, "threads")));
    put_fact(out, "lamplighter", line);
    put_fact(out, "dataset", text_of(e, "dataset"));
    json_decref(e);
    return LAMP_OK;
}

static int put_facts(buffer *out, const report_facts *f) {
    const model_config *m = &f->recipe.model;
    char line[256], a[HUMAN_BYTES], b[HUMAN_BYTES];
    buffer_append_text(out, "<dl class=\"facts\">\n");
    snprintf(line, sizeof line, "%s, %lld layers of width %lld", m->family, (long long)m->num_hidden_layers, (long long)m->hidden_size);
    put_fact(out, "model", line);
    if (m->moe.experts > 1) {
        snprintf(line, sizeof line, "%lld of inner width %lld, each token takes %lld (%s)", (long long)m->moe.experts, (long long)m->intermediate_size,
                 (long long)m->moe.top_k, m->moe.kind);
        put_fact(out, "experts", line);
    }
    snprintf(line, sizeof line, "%lld steps, %s tokens, %s in steps", (long long)f->vitals.step, human_count(a, (double)f->vitals.tokens),
             human_duration(b, f->seconds));
    put_fact(out, "trained", line);
    snprintf(line, sizeof line, "%lld tokens a step, learning rate %g (%s)", (long long)f->recipe.batch_tokens, f->recipe.schedule.learning_rate,
             f->recipe.schedule.shape);
    put_fact(out, "recipe", line);
    int status = put_environment(out, f);
    buffer_append_text(out, "</dl>\n");
    return status;
}

/* ---- how well it learned ------------------------------------------------------------------------------------------------------------ */

static void put_curves(buffer *out, const report_facts *f) {
    static const struct {
        const char *title, *meaning, *unit;
        bool logarithmic;
    } look[RUN_CURVES] = {
        {"training loss", "nats per token: bold the mean of the steps around, behind it the least and the largest. Marks at the top: findings; lines: steps "
         "not applied",
         "", false},
        {"balance losses", "all together, as they are added to the loss", "", false},
        {"gradient norm", "before clipping", "", true},
        {"learning rate", "of the schedule", "", false},
        {"speed", "tokens per second of a step", "tokens/s", false},
    };
    buffer_append_text(out, "<h2>Training</h2>\n<p>Shaded: from the least to the largest of the steps that share a point.</p>\n<div class=\"grid\">\n");
    for (int i = 0; i < RUN_CURVES; i++) {
        const span *line = f->curve[i];
        if (i == CURVE_LOSS) buffer_append_text(out, "<div class=\"wide\">");
        put_chart(out, &(chart){look[i].title, look[i].meaning, look[i].logarithmic, i == CURVE_LOSS, false, look[i].unit, 1, &line, NULL, f->last,
                                i == CURVE_LOSS ? f : NULL});
        if (i == CURVE_LOSS) buffer_append_text(out, "</div>");
    }
    buffer_append_text(out, "</div>\n");
}

static void put_cell(buffer *out, double x, const char *format) {
    buffer_append_text(out, "<td>");
    if (isfinite(x)) buffer_printf(out, format, x);
    buffer_append_text(out, "</td>");
}

static void put_validation(buffer *out, const report_facts *f) {
    const span *line[DATASET_DOMAINS + 1];
    const char *name[DATASET_DOMAINS + 1];
    int n = f->n_domains;
    for (int i = 0; i <= n; i++) line[i] = f->domain[i].at, name[i] = i < n ? f->domain[i].name : "all";
    bool is_spelt = isfinite(f->domain[n].bits_per_byte);
    const char *unit = is_spelt ? "bits per byte" : "loss";
    const char *title = is_spelt ? "bits per byte of text it was not trained on" : "loss on text it was not trained on";
    buffer_append_text(out, "<h2>Validation</h2>\n<div class=\"grid\">\n");
    if (n > 1) put_chart(out, &(chart){"domains", unit, false, false, true, "", n, line, name, f->last, NULL});
    put_chart(out, &(chart){"all domains", title, false, false, false, "", 1, line + n, name + n, f->last, NULL});
    buffer_append_text(out, "</div>\n<div class=\"scroll\"><table><tr><th>domain</th><th>bits per byte</th><th>best</th>"
                            "<th>loss</th><th>perplexity</th><th>tokens</th></tr>\n");
    for (int i = 0; i <= n; i++) {
        const scored_domain *d = &f->domain[i];
        buffer_append_text(out, "<tr><td>");
        put_escaped(out, name[i]);
        buffer_append_text(out, "</td>");
        put_cell(out, d->bits_per_byte, "%.3f"), put_cell(out, d->best, "%.3f"), put_cell(out, d->loss, "%.3f");
        put_cell(out, d->perplexity, "%.4g"), put_cell(out, d->tokens, "%.0f");
        buffer_append_text(out, "</tr>\n");
    }
    buffer_append_text(out, "</table></div>\n");
}

/* ---- text --------------------------------------------------------------------------------------------------------------------------- */

/* A sample begins with a line "--- step N ---". */
static const char *next_sample(const char *at, const char *end) {
    static const char begins[] = "--- step ";
    for (; at && at < end; at = memchr(at, '\n', (size_t)(end - at)), at = at ? at + 1 : end)
        if ((size_t)(end - at) >= sizeof begins - 1 && !memcmp(at, begins, sizeof begins - 1)) return at;
    return end;
}

/* The first, the last, and some between. */
static int put_samples(buffer *out, const report_facts *f) {
    enum { LONGEST = 2000 };
    char path[PATH_BYTES];
    mapped_file map;
    TRY(file_join(path, f->run, "samples.txt"));
    if (!file_exists(path)) return LAMP_OK;
    TRY(file_map(&map, path));
    const char *begin = (const char *)map.bytes, *end = begin + map.length;
    int n = 0, shown = 0;
    for (const char *at = next_sample(begin, end); at < end; at = next_sample(at + 1, end)) n++;
    int wanted = n < MOST_SAMPLES ? n : MOST_SAMPLES;
    if (n > 0) buffer_append_text(out, "<h2>Samples</h2>\n<p>What the model made of the beginning of a validation text.</p>\n");
    const char *at = next_sample(begin, end);
    for (int i = 0; i < n; i++) {
        const char *next = next_sample(at + 1, end);
        if (shown < wanted && i == (wanted > 1 ? shown * (n - 1) / (wanted - 1) : 0)) {
            size_t length = (size_t)(next - at);
            buffer_append_text(out, "<pre class=\"card\">");
            append_readable(out, READABLE_MARKUP, at, length < LONGEST ? length : LONGEST);
            buffer_append_text(out, "</pre>\n");
            shown++;
        }
        at = next;
    }
    file_unmap(&map);
    return LAMP_OK;
}

static void put_settings(buffer *out, const report_facts *f) {
    buffer text = {0};
    recipe defaults;
    memset(&defaults, 0, sizeof defaults);
    options_set_defaults(&recipe_options, &defaults);
    buffer_append_text(out, "<h2>Recipe</h2>\n<p>What is not as it would be by default, then all of it.</p>\n<pre class=\"card\">");
    options_difference(&recipe_options, &defaults, &f->recipe, &text);
    if (text.bytes) put_escaped(out, text.bytes);
    buffer_append_text(out, "</pre>\n<details><summary>recipe.ini</summary><pre class=\"card\">");
    buffer_clear(&text);
    options_write(&recipe_options, &f->recipe, &text);
    if (text.bytes) put_escaped(out, text.bytes);
    buffer_append_text(out, "</pre></details>\n");
    if (text.status < 0) out->status = text.status;
    buffer_release(&text);
}

int report_page(buffer *out, const report_facts *f, const buffer *experts) {
    buffer_printf(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" "
                       "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
                  report_script_hash);
    put_escaped(out, file_name(f->run));
    buffer_printf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>", report_style);
    put_escaped(out, file_name(f->run));
    buffer_append_text(out, "</h1>\n");
    put_verdict(out, f);
    TRY(put_facts(out, f));
    put_curves(out, f);
    if (f->domain) put_validation(out, f);
    TRY(put_time_line(out, f));
    put_routing_sections(out, f);
    if (experts) buffer_append(out, experts->bytes, experts->length);
    TRY(put_samples(out, f));
    put_settings(out, f);
    buffer_printf(out, "<footer>Made by lamp report, lamplighter %s. docs/report.md says what each picture means.</footer>\n</main>\n"
                       "<script>\n%s</script>\n</body>\n</html>\n",
                  lamp_version(), report_script);
    return out->status;
}
