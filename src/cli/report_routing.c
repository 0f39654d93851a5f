/* The part of a report that is about routing: who is used, how routers speak, and what domains do. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cli/report_charts.h"
#include "cli/report_page.h"

/* In the order of layer_number_names and of the strips of probes. */
static const struct {
    const char *title, *meaning;
    bool logarithmic;
} strips[STRIPS] = {
    {"largest load over mean", "1 is even; this expert sets the time of a step", true},
    {"CV of load", "0 is even: deviation of the pairs per expert, over their mean", true},
    {"CV of importance", "the same of the weight that experts receive", true},
    {"entropy of loads", "1 is even, 0 is one expert for all", false},
    {"effective experts", "so many, evenly used, would have this entropy", false},
    {"dead experts", "without a single token in the step", false},
    {"starved experts", "with less than a tenth of the mean", false},
    {"dropped pairs", "share that found no room", false},
    {"norm of logits", "root mean square of the router's logits; if it explodes, the router saturates", true},
    {"spread of logits", "their deviation within a token; near 0 all experts look the same to it", true},
    {"z", "squared log-sum of exponentials, what balance.z holds down", true},
    {"top probability", "of a token's best expert", false},
    {"margin", "by which the second is behind", false},
    {"uncertainty", "entropy of a token's probabilities; 1: it cannot decide", false},
    {"churn", "share of fixed tokens that changed an expert since the last look", false},
    {"turned", "angle by which the router turned since the last look, in radians", true},
    {"similarity", "cosine of the two experts most alike", false},
};

static void put_strips(buffer *out, const report_facts *f) {
    int L = f->patient.layers;
    const span **line = NULL;
    const char **name = NULL;
    char(*text)[16] = NULL;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&line, (size_t)L, sizeof *line, "lines of a chart"));
    TRY_TO(done, memory_new(&name, (size_t)L, sizeof *name, "names of lines"));
    TRY_TO(done, memory_new(&text, (size_t)L, sizeof *text, "names of layers"));
    for (int l = 0; l < L; l++) snprintf(text[l], sizeof text[l], "layer %d", l), name[l] = text[l], line[l] = f->strip + (ptrdiff_t)l * POINTS;
    chart c = {.unit = "", .n = L, .line = line, .name = name, .last = f->last};
    buffer_append_text(out, "<h2>Layers over time</h2>\n<p>");
    if (chart_shows_each(&c)) buffer_append_text(out, "Each line is a layer, and a point the mean of its steps.</p>\n"), put_key(out, &c);
    else buffer_append_text(out, "Of all layers: from the least to the largest, the middle half, and the median; a point is the mean of its steps.</p>\n");
    buffer_append_text(out, "<div class=\"grid\">\n");
    for (int i = 0; i < STRIPS; i++) {
        for (int l = 0; l < L; l++) line[l] = f->strip + ((ptrdiff_t)i * L + l) * POINTS;
        c.title = strips[i].title, c.meaning = strips[i].meaning, c.logarithmic = strips[i].logarithmic;
        put_chart(out, &c);
    }
    buffer_append_text(out, "</div>\n");
done:
    memory_free(line);
    memory_free(name);
    memory_free(text);
    if (status < 0) out->status = status;
}

/* ---- heat maps ---------------------------------------------------------------------------------------------------------------------- */

enum { MOST_LABELS = 32 };

static void put_ends(buffer *out, const char *class, const char *what, int n) {
    buffer_printf(out, "<div class=\"%s\"><span>%s 0</span><span>%s%d</span></div>", class, what, class[0] == 'r' ? what : "", n - 1);
}

static void put_expert_columns(buffer *out, int experts) { put_ends(out, "columns", "expert", experts); }

static void put_load_map(buffer *out, const report_facts *f) {
    const patient *p = &f->patient;
    cells c = {f->rows, f->columns, ""};
    buffer_append_text(out, "<h2>Who is used</h2>\n<p>Each cell is an expert of a layer; its colour says how many token-expert pairs it received, compared "
                            "with its even share: blue less, orange more.</p>\n<figure>");
    buffer_printf(out, "<div class=\"heat\" data-layers=\"%d\" data-experts=\"%d\" data-steps=\"", p->layers, p->experts);
    for (int i = 0; i < f->n_frames; i++)
        buffer_printf(out, "%s%lld\xE2\x80\x93%lld", i ? " " : "", (long long)f->frame[i].first, (long long)f->frame[i].last);
    buffer_append_text(out, "\" data-frames=\"");
    for (int i = 0; i < f->n_frames; i++) buffer_printf(out, "%s%s", i ? " " : "", f->frame[i].cell);
    buffer_append_text(out, "\">");
    if (c.rows == p->layers && c.rows <= MOST_LABELS) {
        buffer_append_text(out, "<div class=\"rows\">");
        for (int l = 0; l < c.rows; l++) buffer_printf(out, "<span>layer %d</span>", l);
        buffer_append_text(out, "</div>");
    } else {
        put_ends(out, "rows ends", "layer ", p->layers);
    }
    memcpy(c.cell, f->frame[f->n_frames - 1].cell, (size_t)(c.rows * c.columns));
    int height = c.rows <= 8 ? 34 * c.rows : c.rows <= 32 ? 20 * c.rows : 640;
    buffer_printf(out, "<div style=\"height:%dpx\">", height);
    put_cells(out, &c);
    buffer_append_text(out, "</div>");
    put_expert_columns(out, p->experts);
    buffer_append_text(out, "</div>\n");
    put_cells_legend(out);
    buffer_append_text(out, "</figure>\n");
}

/* ---- domains ------------------------------------------------------------------------------------------------------------------------ */

static const int64_t *domain_load(const report_facts *f, int domain, int layer) {
    return f->probe.domain_load + ((ptrdiff_t)domain * f->patient.layers + layer) * f->patient.experts;
}

static void put_domain_map(buffer *out, const report_facts *f, int layer) {
    cells all = {0}, one;
    for (int i = 0; i < f->patient.domains; i++) {
        loads_to_cells(&one, domain_load(f, i, layer), 1, f->patient.experts);
        memcpy(all.cell + i * one.columns, one.cell, (size_t)one.columns);
        all.rows = i + 1, all.columns = one.columns;
    }
    buffer_printf(out, "<figure><figcaption><b>layer %d</b></figcaption><div class=\"heat\"><div class=\"rows\">", layer);
    for (int i = 0; i < all.rows; i++) {
        buffer_append_text(out, "<span>");
        put_escaped(out, f->patient.domain_name[i]);
        buffer_append_text(out, "</span>");
    }
    buffer_printf(out, "</div><div style=\"height:%dpx\">", 22 * all.rows);
    put_cells(out, &all);
    buffer_append_text(out, "</div>");
    put_expert_columns(out, f->patient.experts);
    buffer_append_text(out, "</div></figure>\n");
}

static double mean_distance(const report_facts *f, int a, int b) {
    double sum = 0;
    int n = 0;
    for (int l = 0; l < f->patient.layers; l++) {
        double distance = jensen_shannon_distance(domain_load(f, a, l), domain_load(f, b, l), f->patient.experts);
        if (isfinite(distance)) sum += distance, n++;
    }
    return sum / n;
}

static void put_distances(buffer *out, const report_facts *f) {
    const patient *p = &f->patient;
    buffer_append_text(out, "<h3>How far apart domains are routed</h3>\n<p class=\"dim\">Jensen-Shannon distance of their shares of experts, mean over layers: "
                            "0 the same experts alike, 1 none in common.</p>\n<div class=\"scroll\"><table><tr><th></th>");
    for (int i = 0; i < p->domains; i++) {
        buffer_append_text(out, "<th>");
        put_escaped(out, p->domain_name[i]);
        buffer_append_text(out, "</th>");
    }
    buffer_append_text(out, "</tr>\n");
    for (int i = 0; i < p->domains; i++) {
        buffer_append_text(out, "<tr><th>");
        put_escaped(out, p->domain_name[i]);
        buffer_append_text(out, "</th>");
        for (int j = 0; j < p->domains; j++) {
            double distance = mean_distance(f, i, j);
            if (isfinite(distance)) buffer_printf(out, "<td class=\"d%d\">%.2f</td>", (int)fmin(9, 10 * distance), distance);
            else buffer_append_text(out, "<td></td>");
        }
        buffer_append_text(out, "</tr>\n");
    }
    buffer_append_text(out, "</table></div>\n");
}

/* Of many layers eight, evenly spread; dense ones have nothing to show. */
static void put_domains(buffer *out, const report_facts *f) {
    enum { SHOWN = 8 };
    int L = f->patient.layers, sparse = 0, seen = 0;
    for (int l = 0; l < L; l++) sparse += model_layer_is_sparse(&f->recipe.model, l);
    int shown = sparse < SHOWN ? sparse : SHOWN;
    buffer_printf(out, "<h2>What domains do</h2>\n<p>Where the tokens of each domain's validation text went, at step %lld: in the colours of the map "
                       "above.</p>\n<div class=\"grid\">\n",
                  (long long)f->probe.step);
    for (int l = 0, drawn = 0; l < L && drawn < shown; l++) {
        if (!model_layer_is_sparse(&f->recipe.model, l)) continue;
        if (seen++ == (shown > 1 ? drawn * (sparse - 1) / (shown - 1) : 0)) put_domain_map(out, f, l), drawn++;
    }
    buffer_append_text(out, "</div>\n");
    if (f->patient.domains > 1) put_distances(out, f);
}

void put_routing_sections(buffer *out, const report_facts *f) {
    if (f->n_frames > 0) put_load_map(out, f);
    if (f->n_frames > 0) put_strips(out, f);
    if (f->probe.step >= 0 && f->patient.domains > 0) put_domains(out, f);
}
