#include "health/doctor.h"

#include "base/error.h"
#include "base/memory.h"
#include "health/conditions.h"

/* One for each condition and each place where it can be. */
typedef struct {
    finding finding;
    int streak;
    int64_t first; /* step of the streak */
    bool found, news;
} slot;

struct doctor {
    chart chart;
    slot *slot; /* (conditions, layers + 1); the first of a condition is the whole run's */
    int64_t examined;                  /* step */
    int64_t examined_records, examined_probe;
};

static slot *slot_of(const doctor *d, int condition, int layer) { return d->slot + (ptrdiff_t)condition * (d->chart.patient.layers + 1) + layer + 1; }

int doctor_new(doctor **out, const patient *p) {
    doctor *d = NULL;
    int status = LAMP_OK;
    TRY(memory_new(&d, 1, sizeof *d, "a doctor"));
    TRY_TO(done, chart_open(&d->chart, p));
    TRY_TO(done, memory_new(&d->slot, (size_t)n_conditions * (size_t)(p->layers + 1), sizeof *d->slot, "findings"));
    for (int i = 0; i < n_conditions; i++)
        for (int l = -1; l < p->layers; l++)
            slot_of(d, i, l)->finding = (finding){conditions[i].name, conditions[i].code, conditions[i].why, conditions[i].remedy, l, -1, -1, ""};
done:
    if (status < 0) doctor_free(d), d = NULL;
    *out = d;
    return status;
}

void doctor_free(doctor *d) {
    if (!d) return;
    chart_close(&d->chart);
    memory_free(d->slot);
    memory_free(d);
}

void doctor_see_step(doctor *d, const step_vitals *v) { chart_add_step(&d->chart, v); }
void doctor_see_routing(doctor *d, int64_t step, const moe_trace *trace) { chart_add_routing(&d->chart, step, trace); }
void doctor_see_probe(doctor *d, const probe_reading *r) { chart_add_probe(&d->chart, r); }
void doctor_see_budget(doctor *d, double tokens) { d->chart.patient.budget_tokens = tokens; }

bool doctor_is_due(const doctor *d) {
    const chart *c = &d->chart;
    return c->step > d->examined && (c->step == 1 || c->step % EXAMINE_EVERY == 0 || !c->vitals.finite);
}

static void examine(const chart *c, const struct condition *condition, slot *s) {
    finding *f = &s->finding;
    if (condition->present(c, f->layer, f->evidence)) {
        if (s->streak++ == 0) s->first = c->step;
        if (s->streak < condition->confirm || (s->found && f->until < 0)) return;
        s->found = s->news = true;
        f->since = s->first, f->until = -1;
    } else {
        s->streak = 0;
        if (s->found && f->until < 0) f->until = c->step, s->news = true;
    }
}

/* A layer that routes nothing is dense. */
static bool has_experts(const chart *c, int layer) { return c->records > 0 && c->window.pairs[layer] > 0; }

/* Layers are examined when there is something new to be seen of them. */
void doctor_examine(doctor *d) {
    const chart *c = &d->chart;
    bool new_routing = c->records > d->examined_records || c->probe_step > d->examined_probe;
    d->examined = c->step, d->examined_records = c->records, d->examined_probe = c->probe_step;
    for (int i = 0; i < n_conditions; i++)
        for (int l = -1; l < c->patient.layers; l++) {
            slot *s = slot_of(d, i, l);
            s->news = false;
            if (conditions[i].per_layer ? new_routing && l >= 0 && has_experts(c, l) : l < 0) examine(c, &conditions[i], s);
        }
}

void doctor_each(const doctor *d, bool news_only, void (*visit)(void *context, const finding *f), void *context) {
    for (int i = 0; i < n_conditions; i++)
        for (int l = -1; l < d->chart.patient.layers; l++) {
            const slot *s = slot_of(d, i, l);
            if (s->found && (s->news || !news_only)) visit(context, &s->finding);
        }
}

bool doctor_says_dead(const doctor *d, int layer, int expert) { return chart_says_dead(&d->chart, layer, expert); }

bool doctor_finds_illness(const doctor *d) {
    for (int i = 0; i < n_conditions * (d->chart.patient.layers + 1); i++)
        if (d->slot[i].found && d->slot[i].finding.until < 0) return true;
    return false;
}

loss_verdict doctor_verdict(const doctor *d) { return loss_course_verdict(&d->chart.course); }
