#include "inspect/ablation.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/human.h"
#include "base/log.h"
#include "base/memory.h"

/* The mean loss of every window, in the order of evaluation. */
typedef struct {
    double *loss;
    size_t n, room;
    int status;
} window_losses;

static void add_windows(void *context, const evaluation *e, const double *loss) {
    window_losses *w = context;
    int B = e->batch.B, T = e->batch.T;
    if (w->status >= 0) w->status = memory_reserve(&w->loss, &w->room, w->n + (size_t)B, sizeof *w->loss, "losses of windows");
    if (w->status < 0) return;
    for (int b = 0; b < B; b++) {
        double sum = 0;
        for (int i = 0; i < T; i++) sum += loss[(ptrdiff_t)b * T + i];
        w->loss[w->n++] = sum / T;
    }
}

static int measure_windows(window_losses *w, evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens) {
    w->n = 0;
    e->watch = add_windows, e->watch_context = w;
    int status = evaluate_dataset(e, t, m, d, tokens);
    e->watch = NULL;
    return status < 0 ? status : w->status;
}

/* The quantile 0.975 of Student's t: Abramowitz and Stegun 26.7.5, within 3 % for 2 degrees of freedom and within 0.1 % from 5 on. */
static double student_t(double degrees) {
    const double z = 1.959963985, z2 = z * z, g = 1 / degrees;
    return z * (1 + g * ((z2 + 1) / 4 + g * (((5 * z2 + 16) * z2 + 3) / 96 + g * ((((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384))));
}

loss_change loss_change_of(const double *difference, ptrdiff_t n) {
    double mean = 0, squares = 0, half = NAN;
    for (ptrdiff_t i = 0; i < n; i++) mean += difference[i] / (double)n;
    for (ptrdiff_t i = 0; i < n; i++) squares += (difference[i] - mean) * (difference[i] - mean);
    if (n >= 3) half = student_t((double)(n - 1)) * sqrt(squares / ((double)n * (double)(n - 1)));
    return (loss_change){mean, mean - half, mean + half, n};
}

static const weight *find_down(const model *m, int layer) {
    for (int i = 0; i < m->weights.n; i++)
        if (m->weights.row[i]->layer == layer && !strcmp(m->weights.row[i]->kind, "moe.down")) return m->weights.row[i];
    CHECK(false, "layer %d has no experts", layer);
}

static void show_progress(int done, int E, double began) {
    char left[HUMAN_BYTES];
    log_progress("ablation: %d of %d experts, about %s left", done, E, human_duration(left, (clock_seconds() - began) / done * (E - done)));
}

/* change (1 + domains) from the windows of both passes; difference (windows) is scratch. */
static void compare(loss_change *change, const evaluation *e, const window_losses *with, const window_losses *without, double *difference) {
    for (size_t i = 0; i < with->n; i++) difference[i] = without->loss[i] - with->loss[i];
    change[0] = loss_change_of(difference, (ptrdiff_t)with->n);
    for (int i = 0; i < e->n_domains; i++) {
        ptrdiff_t windows = e->domain[i].score.tokens / e->batch.T;
        change[1 + i] = loss_change_of(difference, windows);
        difference += windows;
    }
}

/* Other values for group g; returns those it had. The weights themselves may be a mapped file, and are not touched. */
static const void *exchange_values(const weight *w, ptrdiff_t g, const void *values) {
    const bool is_real = w->type == STORED_REAL;
    const void *before = is_real ? w->value[g] : w->stored[g];
    if (is_real) w->value[g] = (real *)(uintptr_t)values;
    else w->stored[g] = values;
    return before;
}

int ablation_measure(ablation *a, evaluation *e, tape *t, model *m, int layer, const dataset *d, int64_t tokens) {
    const weight *down = find_down(m, layer);
    window_losses with = {0}, without = {0};
    evaluation silent = {0};
    real *zeros = NULL;
    double *difference = NULL, began;
    int status, E = (int)down->groups;
    *a = (ablation){.experts = E};
    CHECK(!down->packed, "the products would read the packed copy");
    TRY_TO(done, memory_new(&zeros, (size_t)(down->out * down->in), sizeof *zeros, "a silent expert"));
    TRY_TO(done, evaluation_open(&silent, m, e->batch.B, e->batch.T));
    TRY_TO(done, measure_windows(&with, e, t, m, d, tokens));
    a->n_domains = e->n_domains;
    TRY_TO(done, memory_new(&a->change, (size_t)E * (size_t)(1 + a->n_domains), sizeof *a->change, "changes of loss"));
    TRY_TO(done, memory_new(&difference, with.n, sizeof *difference, "differences of loss"));
    began = clock_seconds();
    for (int expert = 0; expert < E; expert++) {
        bool used = e->trace.load[(ptrdiff_t)layer * E + expert] > 0;
        const void *speaking = exchange_values(down, expert, zeros); /* which are zeros in every type */
        if (used) status = measure_windows(&without, &silent, t, m, d, tokens);
        exchange_values(down, expert, speaking);
        TRY_TO(done, status);
        compare(a->change + (ptrdiff_t)expert * (1 + a->n_domains), e, &with, used ? &without : &with, difference);
        show_progress(expert + 1, E, began);
    }
done:
    memory_free(with.loss);
    memory_free(without.loss);
    memory_free(difference);
    memory_free(zeros);
    evaluation_close(&silent);
    if (status < 0) ablation_release(a);
    return status;
}

void ablation_release(ablation *a) {
    memory_free(a->change);
    *a = (ablation){0};
}
