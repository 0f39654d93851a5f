#include "budget/contest.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "budget/model_names.h"

const learning_curve *contest_curve(const contest *c, const run_record *r) { return c->validated ? &r->validation : &r->training; }

/* ---- models ------------------------------------------------------------------------------------------------------------------------- */

static contestant *find_model(contest *c, const run_record *r) {
    for (contestant *m = c->model; m < c->model + c->n; m++)
        if (run_record_is_alike(m->run[0], r)) return m;
    return NULL;
}

/* Keeps the runs of a model together, in the order of seeds. */
static int add_run(contest *c, run_record *r) {
    contestant *model = find_model(c, r);
    if (!model) {
        model = &c->model[c->n++];
        *model = (contestant){.run = model == c->model ? c->order : model[-1].run + model[-1].n};
    }
    run_record **at = model->run + model->n, **end = c->model[c->n - 1].run + c->model[c->n - 1].n;
    while (at > model->run && at[-1]->recipe.seed > r->recipe.seed) at--;
    if (at > model->run && at[-1]->recipe.seed == r->recipe.seed)
        FAIL(LAMP_INVALID, "%s and %s are the same recipe with the same seed; give one of them", at[-1]->path, r->path);
    memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
    *at = r;
    model->n++;
    for (contestant *later = model + 1; later < c->model + c->n; later++) later->run++;
    return LAMP_OK;
}

static bool has_seeds_of(const contestant *a, const contestant *b) {
    bool same = a->n == b->n;
    for (int i = 0; i < a->n && same; i++) same = a->run[i]->recipe.seed == b->run[i]->recipe.seed;
    return same;
}

static int read_runs(contest *c, const char *const *paths) {
    for (run_record *r = c->run; r < c->run + c->n_runs; r++) {
        TRY(run_record_read(r, paths[r - c->run]));
        if (strcmp(r->dataset, c->run->dataset))
            FAIL(LAMP_INVALID, "%s and %s were trained on different datasets (%s, %s): their losses cannot be compared", c->run->path, r->path,
                 c->run->dataset, r->dataset);
        if (r->validation.n == 0) c->unvalidated = r;
        TRY(add_run(c, r));
    }
    c->validated = !c->unvalidated;
    return LAMP_OK;
}

/* ---- where they stand --------------------------------------------------------------------------------------------------------------- */

static void find_budget(contest *c, spending by) {
    c->budget[by] = INFINITY;
    for (const run_record *r = c->run; r < c->run + c->n_runs; r++) {
        double end = curve_end(contest_curve(c, r), by);
        if (end < c->budget[by]) c->budget[by] = end, c->shortest[by] = r;
    }
}

/* x (n). */
static void score_runs(double *x, const contest *c, const contestant *m, spending by, score_kind what) {
    for (int i = 0; i < m->n; i++) x[i] = curve_score(contest_curve(c, m->run[i]), by, c->budget[by], what);
}

static double ratio_of(const contest *c, const contestant *m, spending by) {
    const contestant *control = c->model;
    double sum = 0;
    int n = 0;
    for (int i = 0; i < m->n; i++)
        for (int j = 0; j < control->n; j++) {
            if (m->paired && i != j) continue;
            sum += log(curve_ratio(contest_curve(c, m->run[i]), contest_curve(c, control->run[j]), by, c->budget[by])), n++;
        }
    return exp(sum / n);
}

/* mine, theirs: room for the scores of a model's runs. */
static void stand(contest *c, contestant *m, spending by, double *mine, double *theirs) {
    standing *at = &m->at[by];
    for (int what = 0; what < SCORES; what++) {
        score_runs(mine, c, m, by, what);
        at->score[what] = interval_of_mean(mine, m->n);
    }
    score_runs(mine, c, m, by, SCORE_LOSS), score_runs(theirs, c, c->model, by, SCORE_LOSS);
    at->difference = interval_of_difference(mine, m->n, theirs, c->model->n);
    if (m->paired) {
        for (int i = 0; i < m->n; i++) mine[i] -= theirs[i];
        at->difference = interval_of_mean(mine, m->n);
    }
    at->ratio = ratio_of(c, m, by);
}

static double loss_of(const contestant *m) { return m->at[SPENT_TOKENS].score[SCORE_LOSS].mean; }

static void find_front(contest *c) {
    for (contestant *m = c->model; m < c->model + c->n; m++) {
        m->on_front = isfinite(loss_of(m));
        for (const contestant *other = c->model; other < c->model + c->n; other++)
            if (other->bytes <= m->bytes && loss_of(other) < loss_of(m)) m->on_front = false;
    }
}

static int fit_effective(contest *c) {
    sized_loss *x;
    TRY(memory_new(&x, (size_t)c->n, sizeof *x, "sizes and losses"));
    for (int i = 0; i < c->n; i++) {
        const run_record *r = c->model[i].run[0];
        x[i] = (sized_loss){(double)r->active_parameters, (double)r->parameters, loss_of(&c->model[i])};
    }
    c->has_effective = effective_parameters_fit(&c->effective, x, c->n);
    memory_free(x);
    return LAMP_OK;
}

static int compare(contest *c) {
    double *scores;
    TRY(memory_new(&scores, 2 * (size_t)c->n_runs, sizeof *scores, "scores of runs"));
    for (int by = 0; by < SPENDINGS; by++) find_budget(c, by);
    for (contestant *m = c->model; m < c->model + c->n; m++) {
        m->paired = has_seeds_of(m, c->model);
        for (int i = 0; i < m->n; i++)
            if (m->run[i]->bytes > m->bytes) m->bytes = m->run[i]->bytes;
        for (int by = 0; by < SPENDINGS; by++) stand(c, m, by, scores, scores + c->n_runs);
    }
    memory_free(scores);
    find_front(c);
    return fit_effective(c);
}

int contest_open(contest *c, const char *const *paths, int n) {
    int status;
    *c = (contest){.n_runs = n};
    TRY_TO(done, memory_new(&c->run, (size_t)n, sizeof *c->run, "runs to compare"));
    TRY_TO(done, memory_new(&c->order, (size_t)n, sizeof *c->order, "runs to compare"));
    TRY_TO(done, memory_new(&c->model, (size_t)n, sizeof *c->model, "models to compare"));
    TRY_TO(done, read_runs(c, paths));
    model_names_choose(c->model, c->n);
    status = compare(c);
done:
    if (status < 0) contest_close(c);
    return status;
}

void contest_close(contest *c) {
    for (int i = 0; c->run && i < c->n_runs; i++) run_record_release(&c->run[i]);
    memory_free(c->run);
    memory_free(c->order);
    memory_free(c->model);
    *c = (contest){0};
}
