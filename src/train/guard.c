#include "train/guard.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "formats/checkpoint.h"
#include "health/chart.h"

enum { REST = 100 /* steps */ };
static const double START = 0.01, HIGHEST = 1;                 /* of coefficients that are raised */
static const double CALM_NORM = 3;                             /* of logits, after they exploded */
static const double SPLIT = 0.1, VARIATION = 0.05;             /* noise of a re-seeded expert's router row and matrices, over their own size */

typedef struct {
    trainer *tr;
    const doctor *doctor;
    const step_report *last;
    const char *run;
    guard_report *report;
    void *context;
    bool touched, repack; /* this treatment has changed weights, and so did any */
    int status;
} visit;

/* Place 0 is the whole run's, layer l is place l + 1. */
static bool rested(const trainer *tr, int place) { return tr->treated[place] == 0 || tr->step - tr->treated[place] >= REST; }

/* ---- balance ----------------------------------------------------------------------------------------------------------------- */

static bool scale_balance(moe_config *c, int loss, double to, buffer *what) {
    double was = c->balance[loss];
    if (to > was) to = fmax(was, fmin(to, HIGHEST));
    if (to == was) return false;
    c->balance[loss] = to;
    buffer_printf(what, "%sbalance.%s %g -> %g", what->length ? ", " : "", balance_terms[loss].name, was, to);
    return true;
}

/* Coefficients are those of all layers, which therefore rest together. */
static bool scale_all(visit *v, double factor, buffer *what) {
    moe_config *c = &v->tr->model.config.moe;
    bool scaled = false, any = false;
    if (!rested(v->tr, 0)) return false;
    for (int i = 0; i < BALANCE_Z; i++) {
        if (c->balance[i] == 0) continue;
        any = true, scaled |= scale_balance(c, i, factor * c->balance[i], what);
    }
    if (!any && factor > 1) scaled = scale_balance(c, router_takes_loss(c->router, BALANCE_SWITCH) ? BALANCE_SWITCH : BALANCE_LOAD, START, what);
    if (scaled) v->tr->treated[0] = v->tr->step;
    return scaled;
}

static bool raise_balance(visit *v, int layer, buffer *what) { return (void)layer, scale_all(v, 2, what); }
static bool lower_balance(visit *v, int layer, buffer *what) { return (void)layer, scale_all(v, 0.5, what); }

static weight *find(const visit *v, const char *kind, int layer) {
    const weights *table = &v->tr->model.weights;
    for (int i = 0; i < table->n; i++)
        if (table->row[i]->layer == layer && !strcmp(table->row[i]->kind, kind)) return table->row[i];
    return NULL;
}

static bool reset_bias(visit *v, int layer, buffer *what) {
    weight *bias = find(v, "moe.router_bias", layer);
    real least = INFINITY, most = -INFINITY;
    if (!bias) return false;
    for (ptrdiff_t e = 0; e < bias->in; e++) {
        real b = bias->value[0][e];
        least = b < least ? b : least, most = b > most ? b : most;
    }
    if ((double)(most - least) <= BIASES_TOO_WIDE) return false;
    memset(bias->value[0], 0, (size_t)bias->in * sizeof(real));
    buffer_printf(what, "biases from %.2g to %.2g -> 0", (double)least, (double)most);
    return v->touched = true;
}

static bool correct_balance(visit *v, int layer, buffer *what) {
    if (reset_bias(v, layer, what)) return true;
    double heavy = -v->last->balance_floor;
    for (int i = 0; i < BALANCE_LOSSES; i++) heavy += v->last->balance_loss[i];
    return heavy > BALANCE_TOO_HEAVY * v->last->loss ? lower_balance(v, layer, what) : raise_balance(v, layer, what);
}

/* ---- weights ----------------------------------------------------------------------------------------------------------------- */

static void add_noise(real *x, ptrdiff_t n, random_key key, ptrdiff_t first, double share, double sign) {
    double squares = 0;
    for (ptrdiff_t i = 0; i < n; i++) squares += (double)(x[i] * x[i]);
    double deviation = share * sqrt(squares / (double)n);
    for (ptrdiff_t i = 0; i < n; i++) x[i] += (real)(sign * deviation * random_normal(key, (uint64_t)(first + i)));
}

/* What the optimiser remembers of group g of w, or of row `row` of its one group. */
static void forget(trainer *tr, const weight *w, ptrdiff_t g, ptrdiff_t row) {
    for (int i = 0; i < tr->optimizer.n_moments; i++) {
        const weight_moment *m = &tr->optimizer.moment[i];
        if (m->of != w) continue;
        if (row < 0) memset(moment_row(m, g * m->out), 0, (size_t)m->out * moment_row_bytes(m));
        else if (m->out == w->out) memset(moment_row(m, row), 0, moment_row_bytes(m));
    }
}

/* Expert `to` becomes `from` with some noise, and their rows in the router part to opposite sides, so that each gets some of the tokens. */
static void reseed(trainer *tr, int layer, int to, int from) {
    for (int i = 0; i < tr->model.weights.n; i++) {
        weight *w = tr->model.weights.row[i];
        random_key key = random_key_make((uint64_t)tr->recipe.seed, RANDOM_RESEED, (uint64_t)tr->step, (uint64_t)i);
        ptrdiff_t size = w->out * w->in;
        if (w->layer != layer) continue;
        if (w->role == ROLE_EXPERT) {
            memcpy(w->value[to], w->value[from], (size_t)size * sizeof(real));
            add_noise(w->value[to], size, key, to * size, VARIATION, 1);
            forget(tr, w, to, -1);
        } else if (w->role == ROLE_ROUTER && w->out == tr->trace.experts) {
            real *mine = w->value[0] + to * w->in, *theirs = w->value[0] + from * w->in;
            memcpy(mine, theirs, (size_t)w->in * sizeof(real));
            add_noise(mine, w->in, key, to * w->in, SPLIT, 1), add_noise(theirs, w->in, key, to * w->in, SPLIT, -1);
            forget(tr, w, 0, to), forget(tr, w, 0, from);
        } else if (weight_is_vector(w) && w->in == tr->trace.experts && w->role != ROLE_NORM) {
            w->value[0][to] = w->value[0][from];
        }
    }
}

/* The busiest expert of the same group that has not been taken yet, or -1. */
static int busiest(const trainer *tr, int layer, int beside, const bool *taken) {
    const moe_config *c = &tr->model.config.moe;
    const int64_t *load = tr->trace.load + (ptrdiff_t)layer * tr->trace.experts;
    int group = c->groups > 0 ? tr->trace.experts / (int)c->groups : tr->trace.experts, best = -1;
    for (int e = 0; e < tr->trace.experts; e++)
        if (!taken[e] && e / group == beside / group && load[e] > 0 && (best < 0 || load[e] > load[best])) best = e;
    return best;
}

static bool revive(visit *v, int layer, buffer *what) {
    enum { MOST = 64 /* at once */, NAMED = 4 };
    trainer *tr = v->tr;
    bool *taken = NULL;
    int revived = 0;
    v->status = memory_new(&taken, (size_t)tr->trace.experts, sizeof *taken, "experts that were re-seeded from");
    for (int e = 0; v->status >= 0 && e < tr->trace.experts && revived < MOST; e++) {
        int from = doctor_says_dead(v->doctor, layer, e) ? busiest(tr, layer, e, taken) : -1;
        if (from < 0) continue;
        taken[from] = taken[e] = true;
        reseed(tr, layer, e, from);
        if (revived++ < NAMED) buffer_printf(what, "%sexpert %d re-seeded from %d", revived > 1 ? ", " : "", e, from);
    }
    if (revived > NAMED) buffer_printf(what, ", and %d more", revived - NAMED);
    memory_free(taken);
    if (revived > 0) v->touched = true;
    return raise_balance(v, layer, what) || revived > 0;
}

static bool calm_logits(visit *v, int layer, buffer *what) {
    trainer *tr = v->tr;
    const router_sums *r = &tr->trace.router[layer];
    double norm = r->tokens > 0 ? sqrt(r->logit_square / r->tokens) : 0;
    if (!(norm > CALM_NORM) || !isfinite(norm)) return false;
    for (int i = 0; i < tr->model.weights.n; i++) {
        weight *w = tr->model.weights.row[i];
        if (w->layer != layer || w->role != ROLE_ROUTER) continue;
        for (ptrdiff_t j = 0; j < weight_size(w); j++) w->value[0][j] *= (real)(CALM_NORM / norm);
    }
    buffer_printf(what, "norm of logits %.3g -> %.3g", norm, CALM_NORM);
    if (tr->model.config.moe.balance[BALANCE_Z] == 0) scale_balance(&tr->model.config.moe, BALANCE_Z, 0.001, what);
    return v->touched = true;
}

static bool rewind_weights(visit *v, int layer, buffer *what) {
    char newest[PATH_BYTES];
    int64_t from;
    (void)layer;
    if (checkpoint_resolve(newest, v->run) < 0) return false; /* there is none yet */
    v->status = trainer_rewind(v->tr, newest, &from);
    v->touched = true;
    if (v->status >= 0) buffer_printf(what, "weights of step %lld -> those of step %lld; the data goes on", (long long)v->tr->step, (long long)from);
    return v->status >= 0;
}

/* ---- the table --------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *code;
    bool (*treat)(visit *v, int layer, buffer *what); /* whether it did anything; what: appended */
} treatments[] = {
    {"dead_experts", revive},
    {"lopsided_importance", raise_balance},
    {"lopsided_load", raise_balance},
    {"uniform_routing", lower_balance},
    {"drifted_balance", correct_balance},
    {"exploding_logits", calm_logits},
    {"diverging_loss", rewind_weights},
};

static void treat(void *context, const finding *f) {
    visit *v = context;
    buffer what = {0};
    if (f->until >= 0 || v->status < 0 || !rested(v->tr, f->layer + 1)) return;
    v->touched = false;
    for (size_t i = 0; i < sizeof treatments / sizeof *treatments; i++) {
        if (strcmp(treatments[i].code, f->code) || !treatments[i].treat(v, f->layer, &what) || v->status < 0) continue;
        if (v->touched) v->tr->treated[f->layer + 1] = v->tr->step, v->repack = true;
        v->status = what.status >= 0 ? v->report(v->context, f, what.bytes) : what.status;
    }
    buffer_release(&what);
}

int guard_treat(trainer *tr, const doctor *d, const step_report *last, const char *run, guard_report *report, void *context) {
    visit v = {tr, d, last, run, report, context, false, false, LAMP_OK};
    doctor_each(d, false, treat, &v);
    if (v.repack) weights_pack(&tr->model.weights, tr->tape.products);
    return v.status;
}

static void note_first(void *context, const finding *f) {
    const finding **first = context;
    if (!*first && f->until < 0 && strcmp(f->code, "too_few_tokens")) *first = f; /* known before, and no reason to end */
}

int guard_stop(const doctor *d) {
    const finding *first = NULL;
    doctor_each(d, true, note_first, &first);
    if (!first) return LAMP_OK;
    if (first->layer < 0) FAIL(LAMP_DIVERGED, "train.guard = stop: %s: %s. Try: %s", first->name, first->evidence, first->remedy);
    FAIL(LAMP_DIVERGED, "train.guard = stop: %s, layer %d: %s. Try: %s", first->name, first->layer, first->evidence, first->remedy);
}
