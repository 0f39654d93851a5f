#include "cli/report_facts.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "train/checkup.h"
#include "train/run_logs.h"

/* ---- columns ------------------------------------------------------------------------------------------------------------------------ */

static int column_of(const report_facts *f, int64_t step, int columns) {
    if (step <= 1 || f->last <= 1) return 0;
    int at = (int)((double)(step - 1) / (double)f->last * columns);
    return at < columns ? at : columns - 1;
}

static void add(span *s, double x) {
    if (!isfinite(x)) return;
    if (s->n == 0 || x < (double)s->least) s->least = (float)x;
    if (s->n == 0 || x > (double)s->most) s->most = (float)x;
    s->sum += (float)x, s->n++;
}

static span *strip_at(report_facts *f, int strip, int layer, int64_t step) {
    return f->strip + ((ptrdiff_t)strip * f->patient.layers + layer) * POINTS + column_of(f, step, POINTS);
}

/* ---- cells -------------------------------------------------------------------------------------------------------------------------- */

static char colour_of(double times_even) {
    enum { HALF_OCTAVES = 6 };
    if (times_even <= 0) return COLOUR_NOTHING;
    double octaves = 2 * log2(times_even);
    return (char)(COLOUR_EVEN + lrint(fmax(-HALF_OCTAVES, fmin(HALF_OCTAVES, octaves))));
}

static double layer_total(const int64_t *load, int experts) {
    double total = 0;
    for (int e = 0; e < experts; e++) total += (double)load[e];
    return total;
}

void loads_to_cells(cells *c, const int64_t *load, int layers, int experts) {
    double farthest[SIDE];
    c->rows = layers < SIDE ? layers : SIDE, c->columns = experts < SIDE ? experts : SIDE;
    memset(c->cell, COLOUR_NONE, (size_t)(c->rows * c->columns));
    c->cell[c->rows * c->columns] = 0;
    for (int row = 0, l = 0; row < c->rows; row++) {
        for (int i = 0; i < c->columns; i++) farthest[i] = -1;
        for (; l < layers && (ptrdiff_t)l * c->rows / layers == row; l++) {
            const int64_t *of = load + (ptrdiff_t)l * experts;
            double total = layer_total(of, experts);
            for (int e = 0; e < experts && total > 0; e++) {
                int column = (int)((ptrdiff_t)e * c->columns / experts);
                double times = (double)of[e] * experts / total, distance = times > 0 ? fabs(log2(times)) : INFINITY;
                if (distance > farthest[column]) farthest[column] = distance, c->cell[row * c->columns + column] = colour_of(times);
            }
        }
    }
}

double jensen_shannon_distance(const int64_t *a, const int64_t *b, int n) {
    double all_a = layer_total(a, n), all_b = layer_total(b, n), divergence = 0;
    if (all_a == 0 || all_b == 0) return NAN;
    for (int i = 0; i < n; i++) {
        double p = (double)a[i] / all_a, q = (double)b[i] / all_b, m = (p + q) / 2;
        if (p > 0) divergence += p / 2 * log2(p / m);
        if (q > 0) divergence += q / 2 * log2(q / m);
    }
    return sqrt(fmax(0, divergence));
}

/* What was counted since the last frame becomes one. */
static int end_frame(report_facts *f) {
    cells c;
    size_t E = (size_t)f->patient.layers * (size_t)f->patient.experts;
    if (f->n_frames == 0) return LAMP_OK;
    loads_to_cells(&c, f->load, f->patient.layers, f->patient.experts);
    f->rows = c.rows, f->columns = c.columns;
    memset(f->load, 0, E * sizeof *f->load);
    return memory_copy_text(&f->frame[f->n_frames - 1].cell, c.cell, "a frame of the heat map");
}

/* ---- listening to the logs ---------------------------------------------------------------------------------------------------------- */

static int see_step(void *context, const log_reader *metrics, const step_vitals *v) {
    report_facts *f = context;
    int at = column_of(f, v->step, POINTS);
    double seconds = log_number(metrics, "seconds");
    add(&f->curve[CURVE_LOSS][at], v->loss);
    add(&f->curve[CURVE_BALANCE][at], v->balance_loss);
    add(&f->curve[CURVE_GRADIENT][at], v->gradient_norm);
    add(&f->curve[CURVE_RATE][at], v->learning_rate);
    add(&f->curve[CURVE_SPEED][at], log_number(metrics, "tokens_per_second"));
    if (json_is_false(json_object_get(metrics->line, "applied"))) f->not_applied[at] = true, f->n_not_applied++;
    if (isfinite(seconds)) f->seconds += seconds;
    f->vitals = *v;
    doctor_see_step(f->doctor, v);
    return LAMP_OK;
}

static int see_routing(void *context, int64_t step, const moe_trace *trace) {
    report_facts *f = context;
    int frame = column_of(f, step, FRAMES);
    doctor_see_routing(f->doctor, step, trace);
    for (int l = 0; l < trace->layers; l++) {
        moe_summary s = moe_trace_summarize(trace, l);
        double x[LAYER_NUMBERS];
        layer_numbers(x, &s);
        for (int i = 0; i < LAYER_NUMBERS && trace->pairs[l] > 0; i++) add(strip_at(f, i, l, step), x[i]);
    }
    if (f->n_frames == 0 || column_of(f, f->frame[f->n_frames - 1].first, FRAMES) != frame) {
        TRY(end_frame(f));
        f->frame[f->n_frames++].first = step;
    }
    f->frame[f->n_frames - 1].last = step;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)trace->layers * trace->experts; i++) f->load[i] += trace->load[i];
    return LAMP_OK;
}

static int see_probe(void *context, const probe_reading *r) {
    report_facts *f = context;
    doctor_see_probe(f->doctor, r);
    f->probe.step = r->step;
    memcpy(f->probe.domain_load, r->domain_load, (size_t)r->domains * (size_t)r->layers * (size_t)r->experts * sizeof *r->domain_load);
    for (int l = 0; l < r->layers && r->since >= 0; l++) {
        add(strip_at(f, STRIP_CHURN, l, r->step), r->churn[l]);
        add(strip_at(f, STRIP_TURNED, l, r->step), r->turned[l]);
        add(strip_at(f, STRIP_SIMILARITY, l, r->step), r->similarity[l]);
    }
    return LAMP_OK;
}

static void note_finding(void *context, const finding *found) {
    report_facts *f = context;
    int kept = f->n_episodes < MOST_EPISODES ? f->n_episodes : MOST_EPISODES;
    if (found->until < 0) {
        if (kept < MOST_EPISODES) f->episode[kept] = *found;
        f->n_episodes++;
        return;
    }
    for (int i = kept - 1; i >= 0; i--)
        if (f->episode[i].code == found->code && f->episode[i].layer == found->layer) {
            f->episode[i].until = found->until;
            return;
        }
}

static int examine_if_due(void *context, int64_t step) {
    report_facts *f = context;
    (void)step;
    if (!doctor_is_due(f->doctor)) return LAMP_OK;
    doctor_examine(f->doctor);
    doctor_each(f->doctor, true, note_finding, f);
    return LAMP_OK;
}

static double number_of(const json_t *scores, const char *key) {
    const json_t *value = json_object_get(scores, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void score_domain(scored_domain *d, const json_t *scores, int at) {
    double bits = number_of(scores, "bits_per_byte");
    d->loss = number_of(scores, "loss"), d->perplexity = number_of(scores, "perplexity"), d->tokens = number_of(scores, "tokens");
    d->bits_per_byte = bits;
    if (!(d->best <= bits)) d->best = bits;
    add(&d->at[at], isfinite(bits) ? bits : d->loss);
}

/* The first validation says which domains there are. */
static int see_validation(void *context, const log_reader *metrics) {
    report_facts *f = context;
    char where[LOG_WHERE_BYTES];
    int at = column_of(f, metrics->step, POINTS);
    json_t *domains, *scores;
    const char *name;
    log_where(where, metrics);
    TRY(json_get_object(&domains, metrics->line, "domains", where));
    if (!f->domain) {
        size_t n = json_object_size(domains);
        if (n > DATASET_DOMAINS) FAIL(LAMP_MALFORMED, "%s: \"domains\": expected at most %d, found %zu", where, DATASET_DOMAINS, n);
        TRY(memory_new(&f->domain, n + 1, sizeof *f->domain, "scores of domains"));
        f->n_domains = (int)n;
        int i = 0;
        json_object_foreach(domains, name, scores) snprintf(f->domain[i++].name, DOMAIN_NAME_BYTES, "%s", name);
        for (i = 0; i <= f->n_domains; i++) f->domain[i].best = NAN;
    }
    for (int i = 0; i < f->n_domains; i++) score_domain(&f->domain[i], json_object_get(domains, f->domain[i].name), at);
    score_domain(&f->domain[f->n_domains], metrics->line, at);
    return LAMP_OK;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------------------- */

/* Of the last whole line: what lies behind it is not read, so that the columns hold for a run that goes on meanwhile. */
static int find_last_step(int64_t *last, const char *run) {
    log_reader log = {0};
    char where[LOG_WHERE_BYTES];
    json_t *line = NULL;
    int status = LAMP_OK;
    *last = 0;
    TRY_TO(done, log_open(&log, run, "metrics.jsonl"));
    const char *bytes = (const char *)log.map.bytes;
    size_t end = log.map.length, begin;
    while (end > 0 && bytes[end - 1] != '\n') end--;
    if (end == 0) goto done;
    for (begin = end - 1; begin > 0 && bytes[begin - 1] != '\n';) begin--;
    log.number = 1;
    for (size_t i = 0; i < begin; i++) log.number += bytes[i] == '\n';
    log_where(where, &log);
    TRY_TO(done, json_read_bytes(&line, bytes + begin, end - begin - 1, where));
    status = json_get_integer(last, line, "step", 0, INT64_MAX, where);
done:
    json_decref(line);
    log_close(&log);
    return status;
}

int report_facts_read(report_facts *f, const char *run) {
    *f = (report_facts){0};
    int status = LAMP_OK;
    size_t length = strlen(run);
    while (length > 1 && run[length - 1] == '/') length--;
    if (length >= sizeof f->run) FAIL(LAMP_INVALID, "%.60s...: path is longer than %d bytes", run, PATH_BYTES - 1);
    memcpy(f->run, run, length);
    TRY(checkup_open_run(&f->patient, &f->recipe, f->run));
    const patient *p = &f->patient;
    TRY_TO(done, doctor_new(&f->doctor, p));
    TRY_TO(done, memory_new(&f->episode, MOST_EPISODES, sizeof *f->episode, "findings"));
    if (p->layers > 0) {
        TRY_TO(done, memory_new(&f->strip, (size_t)STRIPS * (size_t)p->layers * POINTS, sizeof *f->strip, "curves of layers"));
        TRY_TO(done, memory_new(&f->load, (size_t)p->layers * (size_t)p->experts, sizeof *f->load, "loads"));
        TRY_TO(done, probe_reading_open(&f->probe, p->layers, p->experts, p->domains));
    }
    TRY_TO(done, find_last_step(&f->last, f->run));
    TRY_TO(done, run_logs_read(p, f->run, f->last, &(log_listener){f, see_step, see_validation, see_routing, see_probe, examine_if_due}));
    if (p->layers > 0) status = end_frame(f);
done:
    if (status < 0) report_facts_release(f);
    return status;
}

void report_facts_release(report_facts *f) {
    doctor_free(f->doctor);
    memory_free(f->strip);
    memory_free(f->domain);
    memory_free(f->episode);
    memory_free(f->load);
    if (f->probe.layers > 0) probe_reading_close(&f->probe);
    for (int i = 0; i < f->n_frames; i++) memory_free(f->frame[i].cell);
    *f = (report_facts){0};
}
