#include "health/chart.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

enum { EARLY = 5 /* records */, WINDOW_FULL = 10 /* records */ };

int chart_open(chart *c, const patient *p) {
    *c = (chart){.patient = *p, .bad_step = -1, .spike_step = -1};
    int status = LAMP_OK;
    size_t L = (size_t)p->layers;
    if (L == 0) return LAMP_OK;
    TRY_TO(done, moe_trace_open(&c->window, p->layers, p->experts));
    TRY_TO(done, memory_new(&c->now, L, sizeof *c->now, "summaries of layers"));
    TRY_TO(done, memory_new(&c->last_seen, L * (size_t)p->experts, sizeof *c->last_seen, "when experts were last used"));
    TRY_TO(done, memory_new(&c->layer, L, sizeof *c->layer, "charts of layers"));
    for (size_t l = 0; l < L; l++) c->layer[l] = (layer_chart){.most_even = INFINITY, .least_swing = INFINITY, .churn = -1, .turned = -1};
done:
    if (status < 0) chart_close(c);
    return status;
}

void chart_close(chart *c) {
    moe_trace_close(&c->window);
    memory_free(c->now);
    memory_free(c->last_seen);
    memory_free(c->layer);
    *c = (chart){0};
}

void chart_add_step(chart *c, const step_vitals *v) {
    c->step = v->step, c->tokens = v->tokens, c->vitals = *v;
    if (!v->finite) {
        c->bad_step = v->step, c->bad_steps++;
        return;
    }
    if (loss_is_spike(v->loss_z, c->course.steps)) c->spike_step = v->step, c->spike = v->loss_z;
    loss_course_add(&c->course, v->loss, v->learning_rate);
    double excess = (v->balance_loss - v->balance_floor) / v->loss;
    if (v->loss > 0 && isfinite(excess)) c->excess_balance += 0.05 * (excess - c->excess_balance);
}

static void fade(int64_t *x, const int64_t *added, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) x[i] = x[i] * 4 / 5 + PAIRS_IN_WINDOW * added[i];
}

/* A step that is not finite may have routed by numbers that are not. */
void chart_add_routing(chart *c, int64_t step, const moe_trace *trace) {
    moe_trace *w = &c->window;
    if (!c->vitals.finite) return;
    ptrdiff_t cells = (ptrdiff_t)w->layers * w->experts;
    fade(w->load, trace->load, cells);
    fade(w->pairs, trace->pairs, w->layers);
    fade(w->dropped, trace->dropped, w->layers);
    for (ptrdiff_t i = 0; i < cells; i++) {
        w->importance[i] = 0.8 * w->importance[i] + trace->importance[i];
        if (trace->load[i] > 0) c->last_seen[i] = step;
    }
    c->records++;
    for (int l = 0; l < w->layers; l++) {
        layer_chart *layer = &c->layer[l];
        w->router[l] = trace->router[l];
        c->now[l] = moe_trace_summarize(w, l);
        double norm = sqrt(c->now[l].router.logit_square);
        if (c->records <= EARLY) layer->early_norm += norm / EARLY;
        layer->swing += 0.2 * (moe_trace_summarize(trace, l).load_cv - layer->swing);
        if (c->records < WINDOW_FULL) continue;
        layer->most_even = fmin(layer->most_even, c->now[l].load_cv), layer->least_swing = fmin(layer->least_swing, layer->swing);
    }
}

/* Share of pairs on the K busiest of E experts. */
static double share_of_busiest(const int64_t *load, int E, int K) {
    int64_t total = 0, busiest = 0, below = INT64_MAX;
    for (int e = 0; e < E; e++) total += load[e];
    for (int taken = 0; taken < K;) { /* all of the largest count below the last, as long as there is room */
        int64_t most = -1;
        int with = 0;
        for (int e = 0; e < E; e++)
            if (load[e] < below && load[e] > most) most = load[e];
        for (int e = 0; e < E; e++) with += load[e] == most;
        if (most <= 0) break;
        if (with > K - taken) with = K - taken;
        busiest += with * most, taken += with, below = most;
    }
    return total > 0 ? (double)busiest / (double)total : 0;
}

static void find_captured(layer_chart *layer, const probe_reading *r, int l, int K) {
    double all = 0;
    layer->captured_share = 0;
    for (int i = 0; i < r->domains; i++) {
        double share = share_of_busiest(r->domain_load + ((ptrdiff_t)i * r->layers + l) * r->experts, r->experts, K);
        all += share;
        if (share > layer->captured_share) layer->captured_share = share, layer->captured = i;
    }
    layer->others_share = r->domains > 1 ? (all - layer->captured_share) / (r->domains - 1) : all;
}

bool chart_says_dead(const chart *c, int layer, int expert) {
    return c->step >= UNUSED_STEPS && c->step - c->last_seen[(ptrdiff_t)layer * c->patient.experts + expert] >= UNUSED_STEPS;
}

void chart_add_probe(chart *c, const probe_reading *r) {
    c->probe_step = r->step;
    for (int l = 0; l < r->layers; l++) {
        layer_chart *layer = &c->layer[l];
        bool compared = r->since >= 0 && r->step - r->since >= 5 * EXAMINE_EVERY;
        layer->churn = compared ? r->churn[l] : -1, layer->turned = compared ? r->turned[l] : -1;
        layer->similarity = r->similarity[l], layer->bias_range = r->bias_range[l];
        memcpy(layer->alike, r->alike + 2 * l, sizeof layer->alike);
        find_captured(layer, r, l, c->patient.top_k);
    }
}
