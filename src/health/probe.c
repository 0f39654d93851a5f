#include "health/probe.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

int probe_reading_open(probe_reading *r, int layers, int experts, int domains) {
    *r = (probe_reading){.layers = layers, .experts = experts, .domains = domains, .step = -1, .since = -1};
    size_t L = (size_t)layers, cells = L * (size_t)experts;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&r->churn, L, sizeof *r->churn, "churn of layers"));
    TRY_TO(done, memory_new(&r->turned, L, sizeof *r->turned, "turns of routers"));
    TRY_TO(done, memory_new(&r->bias_range, L, sizeof *r->bias_range, "ranges of biases"));
    TRY_TO(done, memory_new(&r->weight_norm, cells, sizeof *r->weight_norm, "norms of experts"));
    TRY_TO(done, memory_new(&r->update_norm, cells, sizeof *r->update_norm, "movements of experts"));
    TRY_TO(done, memory_new(&r->similarity, L, sizeof *r->similarity, "similarities of experts"));
    TRY_TO(done, memory_new(&r->alike, 2 * L, sizeof *r->alike, "experts that are alike"));
    TRY_TO(done, memory_new(&r->domain_load, (size_t)domains * cells, sizeof *r->domain_load, "loads of domains"));
done:
    if (status < 0) probe_reading_close(r);
    return status;
}

void probe_reading_close(probe_reading *r) {
    memory_free(r->churn);
    memory_free(r->turned);
    memory_free(r->bias_range);
    memory_free(r->weight_norm);
    memory_free(r->update_norm);
    memory_free(r->similarity);
    memory_free(r->alike);
    memory_free(r->domain_load);
    *r = (probe_reading){0};
}

static bool is_sketched(const weight *w) { return w->role == ROLE_EXPERT || w->role == ROLE_ROUTER; }

static ptrdiff_t largest_sketched_matrix(const model *m) {
    ptrdiff_t most = 0;
    for (int i = 0; i < m->weights.n; i++) {
        const weight *w = m->weights.row[i];
        if (is_sketched(w) && w->out * w->in > most) most = w->out * w->in;
    }
    return most;
}

int probe_open(probe *p, const model *m, const dataset *d, int T, int64_t tokens) {
    *p = (probe){0};
    if (m->config.moe.experts == 1) return LAMP_OK;
    int layers = (int)m->config.num_hidden_layers, experts = (int)m->config.moe.experts, status = LAMP_OK;
    int64_t of_domain = tokens / d->n_domains;
    if (T > of_domain && of_domain > 0) T = (int)of_domain;
    int B = of_domain > T ? (int)(of_domain / T) : 1;
    size_t sums = (size_t)layers * (size_t)(experts + 1) * SKETCH;
    p->tokens = (int64_t)d->n_domains * B * T;
    TRY_TO(done, probe_reading_open(&p->reading, layers, experts, d->n_domains));
    for (int i = 0; i < d->n_domains; i++) p->reading.domain_name[i] = d->domain[i].summary.name;
    TRY_TO(done, batch_init(&p->batch, B, T));
    TRY_TO(done, memory_new(&p->sequence_start, (size_t)B + 1, sizeof *p->sequence_start, "sequence starts"));
    for (int i = 0; i <= B; i++) p->sequence_start[i] = (ptrdiff_t)i * T;
    TRY_TO(done, moe_trace_open(&p->trace, layers, experts));
    TRY_TO(done, memory_new(&p->choice, (size_t)layers * (size_t)p->tokens, sizeof *p->choice, "choices of the probe"));
    TRY_TO(done, memory_new(&p->last_choice, (size_t)layers * (size_t)p->tokens, sizeof *p->last_choice, "choices of the probe"));
    TRY_TO(done, memory_new(&p->sketch, sums, sizeof *p->sketch, "sketches of experts"));
    TRY_TO(done, memory_new(&p->last_sketch, sums, sizeof *p->last_sketch, "sketches of experts"));
    TRY_TO(done, memory_new(&p->signs, (size_t)largest_sketched_matrix(m) / 64 + 1, sizeof *p->signs, "signs of a sketch"));
done:
    if (status < 0) probe_close(p);
    return status;
}

void probe_close(probe *p) {
    probe_reading_close(&p->reading);
    batch_release(&p->batch);
    memory_free(p->sequence_start);
    moe_trace_close(&p->trace);
    memory_free(p->choice);
    memory_free(p->last_choice);
    memory_free(p->sketch);
    memory_free(p->last_sketch);
    memory_free(p->signs);
    *p = (probe){0};
}

/* ---- choices ----------------------------------------------------------------------------------------------------------------- */

typedef struct {
    probe *probe;
    int64_t first; /* of the probe's tokens, that this batch begins with */
} choice_watch;

/* A sum, so that the order of a token's experts does not matter. */
static void watch_choices(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weight_of) {
    choice_watch *c = context;
    (void)weight_of;
    uint64_t *choice = c->probe->choice + layer * c->probe->tokens + c->first;
    for (ptrdiff_t i = 0; i < pairs; i++) choice[token[i]] += random_bits((random_key){0}, (uint64_t)expert[i]);
}

static int take_choices(probe *p, tape *t, const model *m, const dataset *d) {
    probe_reading *r = &p->reading;
    size_t cells = (size_t)r->layers * (size_t)r->experts;
    int most = p->batch.B;
    memset(p->choice, 0, (size_t)(r->layers * p->tokens) * sizeof *p->choice);
    memset(r->domain_load, 0, (size_t)r->domains * cells * sizeof *r->domain_load);
    for (int i = 0; i < d->n_domains; i++) {
        int64_t windows = window_count(&d->domain[i].validation, p->batch.T);
        if (windows == 0) continue;
        choice_watch c = {p, (int64_t)i * most * p->batch.T};
        p->batch.B = windows < most ? (int)windows : most;
        int status = validation_read(&p->batch, d, i, 0, 1);
        token_batch tokens = {(ptrdiff_t)p->batch.B * p->batch.T, p->batch.token, p->batch.target, p->batch.B, p->sequence_start};
        p->batch.B = most;
        TRY(status);
        moe_trace_clear(&p->trace);
        p->trace.watch = watch_choices, p->trace.watch_context = &c;
        tape_reset(t);
        t->training = false;
        m->backbone->forward(t, m, &tokens, NULL, &p->trace);
        memcpy(r->domain_load + (size_t)i * cells, p->trace.load, cells * sizeof *r->domain_load);
    }
    tape_reset(t);
    return LAMP_OK;
}

static void compare_choices(probe *p) {
    for (int l = 0; l < p->reading.layers; l++) {
        const uint64_t *now = p->choice + l * p->tokens, *before = p->last_choice + l * p->tokens;
        int64_t changed = 0, seen = 0;
        for (int64_t n = 0; n < p->tokens; n++) seen += now[n] || before[n], changed += now[n] != before[n];
        p->reading.churn[l] = seen > 0 ? (double)changed / (double)seen : 0;
    }
}

/* ---- sketches ---------------------------------------------------------------------------------------------------------------- */

/* sums[i mod SKETCH] += +-x[i]; returns the sum of squares. */
static double add_to_sketch(float sums[SKETCH], const real *x, ptrdiff_t n, const uint64_t *signs) {
    double squares = 0;
    for (ptrdiff_t first = 0; first < n; first += SKETCH) {
        ptrdiff_t count = n - first < SKETCH ? n - first : SKETCH;
        uint64_t sign = signs[first / SKETCH];
        real square = 0;
        for (ptrdiff_t i = 0; i < count; i++) {
            real value = x[first + i];
            square += value * value;
            sums[i] += (float)(sign >> i & 1 ? -value : value);
        }
        squares += (double)square;
    }
    return squares;
}

static float *sketch_of(float *sketches, const probe_reading *r, int layer, ptrdiff_t expert) {
    return sketches + ((ptrdiff_t)layer * (r->experts + 1) + expert) * SKETCH;
}

/* An expert's matrices add up in its sketch, a router's in the one behind them. */
static void take_sketch(probe *p, const weight *w) {
    probe_reading *r = &p->reading;
    ptrdiff_t n = w->out * w->in, first = (ptrdiff_t)w->layer * r->experts;
    for (ptrdiff_t word = 0; word <= n / SKETCH; word++) p->signs[word] = random_bits((random_key){1, (uint64_t)w->index}, (uint64_t)word);
    if (w->role == ROLE_ROUTER) {
        add_to_sketch(sketch_of(p->sketch, r, w->layer, r->experts), w->value[0], n, p->signs);
        return;
    }
#pragma omp parallel for
    for (ptrdiff_t e = 0; e < r->experts; e++)
        r->weight_norm[first + e] += add_to_sketch(sketch_of(p->sketch, r, w->layer, e), w->value[e], n, p->signs);
}

static void take_weights(probe *p, const model *m) {
    probe_reading *r = &p->reading;
    ptrdiff_t cells = (ptrdiff_t)r->layers * r->experts;
    memset(p->sketch, 0, (size_t)(cells + r->layers) * SKETCH * sizeof *p->sketch);
    memset(r->weight_norm, 0, (size_t)cells * sizeof *r->weight_norm);
    for (int i = 0; i < m->weights.n; i++) {
        const weight *w = m->weights.row[i];
        if (is_sketched(w)) take_sketch(p, w);
        if (w->role != ROLE_STATE) continue;
        real least = w->value[0][0], most = least;
        for (ptrdiff_t e = 1; e < w->in; e++) least = w->value[0][e] < least ? w->value[0][e] : least, most = w->value[0][e] > most ? w->value[0][e] : most;
        r->bias_range[w->layer] = (double)(most - least);
    }
    for (ptrdiff_t i = 0; i < cells; i++) r->weight_norm[i] = sqrt(r->weight_norm[i]);
}

static double inner_product(const float *x, const float *y) {
    float sum = 0;
    for (int i = 0; i < SKETCH; i++) sum += x[i] * y[i];
    return (double)sum;
}

static double cosine(const float *x, const float *y) {
    double squares = inner_product(x, x) * inner_product(y, y);
    return squares > 0 ? inner_product(x, y) / sqrt(squares) : 0;
}

/* Movement is the norm of the difference of two sketches. The angle comes from the distance of the two directions: a cosine near one has lost
 * it to rounding. */
static void compare_sketches(probe *p) {
    probe_reading *r = &p->reading;
    for (int l = 0; l < r->layers; l++) {
        float moved[SKETCH];
        const float *now = sketch_of(p->sketch, r, l, r->experts), *before = sketch_of(p->last_sketch, r, l, r->experts);
        double size_now = sqrt(inner_product(now, now)), size_before = sqrt(inner_product(before, before));
        for (int i = 0; i < SKETCH; i++) moved[i] = (float)((double)now[i] / size_now - (double)before[i] / size_before);
        r->turned[l] = size_now > 0 && size_before > 0 ? 2 * asin(fmin(1, sqrt(inner_product(moved, moved)) / 2)) : size_now != size_before ? M_PI_2 : 0;
        for (ptrdiff_t e = 0; e < r->experts; e++) {
            now = sketch_of(p->sketch, r, l, e), before = sketch_of(p->last_sketch, r, l, e);
            for (int i = 0; i < SKETCH; i++) moved[i] = now[i] - before[i];
            r->update_norm[(ptrdiff_t)l * r->experts + e] = sqrt(inner_product(moved, moved));
        }
    }
}

static void find_alike(probe *p, int layer) {
    probe_reading *r = &p->reading;
    r->similarity[layer] = 0, r->alike[2 * layer] = 0, r->alike[2 * layer + 1] = 1;
    for (int e = 0; e < r->experts; e++)
        for (int f = e + 1; f < r->experts; f++) {
            double alike = cosine(sketch_of(p->sketch, r, layer, e), sketch_of(p->sketch, r, layer, f));
            if (alike > r->similarity[layer]) r->similarity[layer] = alike, r->alike[2 * layer] = e, r->alike[2 * layer + 1] = f;
        }
}

int probe_take(probe *p, tape *t, const model *m, const dataset *d, int64_t step) {
    if (p->reading.layers == 0) return LAMP_OK;
    uint64_t *choice = p->last_choice;
    float *sketch = p->last_sketch;
    p->last_choice = p->choice, p->choice = choice;
    p->last_sketch = p->sketch, p->sketch = sketch;
    TRY(take_choices(p, t, m, d));
    take_weights(p, m);
#pragma omp parallel for schedule(dynamic)
    for (int l = 0; l < p->reading.layers; l++) find_alike(p, l);
    p->reading.since = p->reading.step, p->reading.step = step;
    if (p->reading.since >= 0) compare_choices(p), compare_sketches(p);
    return LAMP_OK;
}
