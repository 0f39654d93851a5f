/* What the guard does about what the doctor finds: the doctor is told of an illness, and the treatment must have changed what it says, no more,
 * and be remembered by the checkpoint. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "../world.h"
#include "base/error.h"
#include "formats/checkpoint.h"
#include "train/checkup.h"
#include "train/guard.h"
#include "train/train.h"

typedef struct {
    recipe recipe;
    dataset *data;
    trainer trainer;
    doctor *doctor;
    char last[512], run[PATH_BYTES]; /* the last treatment, and the run's folder */
    int treatments;
} ward;

static int note(void *context, const finding *why, const char *detail) {
    ward *w = context;
    snprintf(w->last, sizeof w->last, "%s: %s", why->code, detail);
    w->treatments++;
    return LAMP_OK;
}

static void ward_open(ward *w, recipe r, const char *run) {
    *w = (ward){.recipe = r};
    strcpy(w->recipe.guard, "treat");
    w->data = world_open(w->recipe.data_path);
    EXPECT_OK(trainer_open(&w->trainer, &w->recipe, w->data));
    patient p = checkup_patient(&w->trainer.recipe);
    EXPECT_OK(doctor_new(&w->doctor, &p));
    world_path(w->run, run);
}

static void ward_close(ward *w) {
    doctor_free(w->doctor);
    trainer_close(&w->trainer);
    dataset_free(w->data);
}

/* As if the run had come to `step`, its loss falling evenly to `loss`, and the last step's trace had been so all along. */
static void tell(ward *w, int64_t from, int64_t step, double first_loss, double loss) {
    trainer *tr = &w->trainer;
    for (int64_t s = from; s <= step; s++) {
        double now = first_loss + (loss - first_loss) * (double)(s - from) / (double)(step - from);
        doctor_see_step(w->doctor, &(step_vitals){.step = s, .tokens = s * 128, .loss = now, .learning_rate = 0.001, .finite = true});
        if (s % 10 == 0) doctor_see_routing(w->doctor, s, &tr->trace);
        if (doctor_is_due(w->doctor)) doctor_examine(w->doctor);
    }
    tr->step = step;
}

static void treat(ward *w) {
    step_report last = {.loss = 4};
    EXPECT_OK(guard_treat(&w->trainer, w->doctor, &last, w->run, note, w));
}

static const weight *find_weight(const trainer *tr, const char *kind, int layer) {
    for (int i = 0; i < tr->model.weights.n; i++) {
        const weight *w = tr->model.weights.row[i];
        if (!strcmp(w->kind, kind) && w->layer == layer) return w;
    }
    CHECK(false, "no %s", kind);
}

static double cosine(const real *x, const real *y, ptrdiff_t n) {
    double xx = 0, yy = 0, xy = 0;
    for (ptrdiff_t i = 0; i < n; i++) xx += (double)(x[i] * x[i]), yy += (double)(y[i] * y[i]), xy += (double)(x[i] * y[i]);
    return xy / sqrt(xx * yy);
}

static void route(ward *w, int layer, const int64_t load[4]) {
    moe_trace *t = &w->trainer.trace;
    int64_t total = 0;
    for (int e = 0; e < 4; e++) t->load[4 * layer + e] = load[e], t->importance[4 * layer + e] = (double)load[e] / 2, total += load[e];
    t->pairs[layer] = total;
}

static void a_dead_expert_is_reseeded_from_the_busiest(void) {
    ward w;
    step_report report;
    ward_open(&w, world_recipe("olmoe"), "revived");
    for (int i = 0; i < 3; i++) EXPECT_OK(trainer_step(&w.trainer, &report));
    route(&w, 0, (const int64_t[]){64, 64, 64, 64}), route(&w, 1, (const int64_t[]){70, 0, 100, 86});
    tell(&w, 4, 120, 6, 4);
    const weight *up = find_weight(&w.trainer, "moe.up", 1), *router = find_weight(&w.trainer, "moe.router", 1);
    const weight *other = find_weight(&w.trainer, "moe.up", 0);
    ptrdiff_t n = up->out * up->in;
    real before = other->value[1][5], bystander = up->value[3][7];
    EXPECT(fabs(cosine(up->value[1], up->value[2], n)) < 0.5, "experts were alike before");
    treat(&w);
    EXPECT(w.treatments == 1 && !strcmp(w.last, "dead_experts: expert 1 re-seeded from 2, balance.switch 0.01 -> 0.02"), "%d treatments, the last \"%s\"",
           w.treatments, w.last);
    double alike = cosine(up->value[1], up->value[2], n), rows = cosine(router->value[0] + router->in, router->value[0] + 2 * router->in, router->in);
    EXPECT(alike > 0.99 && alike < 1, "cosine %g of the two experts", alike);
    EXPECT(rows > 0.9 && rows < 0.9999, "cosine %g of their router rows", rows);
    EXPECT(other->value[1][5] == before && up->value[3][7] == bystander, "another expert was touched");
    for (int i = 0; i < w.trainer.optimizer.n_moments; i++) {
        const weight_moment *m = &w.trainer.optimizer.moment[i];
        if (m->of != up) continue;
        const real *values = m->values;
        EXPECT(values[n] == 0 && values[2 * n] != 0, "%s: %g of the new, %g of the old", m->name, (double)values[n], (double)values[2 * n]);
    }
    treat(&w);
    EXPECT(w.treatments == 1, "it was treated again at once");
    EXPECT_OK(trainer_step(&w.trainer, &report));
    EXPECT(report.applied, "loss %g", report.loss);
    ward_close(&w);
}

static void balance_is_raised_where_importance_is_lopsided_and_remembered(void) {
    ward w, again;
    char newest[PATH_BYTES];
    recipe r = world_recipe("olmoe");
    memset(r.model.moe.balance, 0, sizeof r.model.moe.balance);
    ward_open(&w, r, "raised");
    route(&w, 0, (const int64_t[]){120, 120, 8, 8}), route(&w, 1, (const int64_t[]){120, 8, 120, 8});
    tell(&w, 1, 120, 6, 4);
    treat(&w);
    EXPECT(w.treatments == 1 && !strcmp(w.last, "lopsided_importance: balance.switch 0 -> 0.01"), "%d treatments, the last \"%s\"", w.treatments,
           w.last);
    tell(&w, 121, 180, 4, 3.9);
    treat(&w);
    EXPECT(w.treatments == 1, "treated again too soon: %s", w.last);
    tell(&w, 181, 230, 3.9, 3.8);
    treat(&w);
    EXPECT(w.treatments == 2 && !strcmp(w.last, "lopsided_importance: balance.switch 0.01 -> 0.02"), "%d treatments, the last \"%s\"", w.treatments,
           w.last);
    EXPECT_OK(trainer_save(&w.trainer, w.run));
    ward_open(&again, r, "raised");
    EXPECT_OK(checkpoint_resolve(newest, w.run));
    EXPECT_OK(trainer_resume(&again.trainer, newest));
    EXPECT(again.trainer.model.config.moe.balance[BALANCE_SWITCH] == 0.02 && again.trainer.treated[0] == 230, "resumed with %g, treated in step %lld",
           again.trainer.model.config.moe.balance[BALANCE_SWITCH], (long long)again.trainer.treated[0]);
    ward_close(&again);
    ward_close(&w);
}

static void a_coefficient_beyond_the_highest_is_not_raised_by_lowering_it(void) {
    ward w;
    recipe r = world_recipe("olmoe");
    r.model.moe.balance[BALANCE_SWITCH] = 5;
    ward_open(&w, r, "beyond");
    route(&w, 0, (const int64_t[]){120, 120, 8, 8}), route(&w, 1, (const int64_t[]){120, 8, 120, 8});
    tell(&w, 1, 120, 6, 4);
    treat(&w);
    EXPECT(w.treatments == 0 && w.trainer.model.config.moe.balance[BALANCE_SWITCH] == 5, "%s", w.last);
    ward_close(&w);
}

/* The router of layer 0 is scaled down; of layer 1, which is lopsided, nothing but the common coefficient changes. */
static void only_the_layer_that_was_touched_rests(void) {
    ward w;
    ward_open(&w, world_recipe("olmoe"), "rested");
    route(&w, 0, (const int64_t[]){64, 64, 64, 64}), route(&w, 1, (const int64_t[]){120, 8, 120, 8});
    w.trainer.trace.router[0] = (router_sums){.tokens = 1, .logit_square = 60 * 60};
    tell(&w, 1, 120, 6, 4);
    treat(&w);
    EXPECT(w.treatments == 2, "%d treatments", w.treatments);
    EXPECT(w.trainer.treated[1] == 120 && w.trainer.treated[2] == 0, "layers rest since %lld and %lld", (long long)w.trainer.treated[1],
           (long long)w.trainer.treated[2]);
    ward_close(&w);
}

static void exploded_logits_are_scaled_down(void) {
    ward w;
    ward_open(&w, world_recipe("olmoe"), "calmed");
    w.trainer.model.config.moe.balance[BALANCE_Z] = 0;
    for (int l = 0; l < 2; l++) route(&w, l, (const int64_t[]){64, 64, 64, 64});
    w.trainer.trace.router[1] = (router_sums){.tokens = 2, .logit_square = 2 * 60 * 60, .spread = 100, .z = 7200, .top1 = 2, .margin = 2};
    tell(&w, 1, 120, 6, 4);
    const weight *router = find_weight(&w.trainer, "moe.router", 1), *other = find_weight(&w.trainer, "moe.router", 0);
    double before = (double)router->value[0][3], unchanged = (double)other->value[0][3];
    treat(&w);
    EXPECT(!strcmp(w.last, "exploding_logits: norm of logits 60 -> 3, balance.z 0 -> 0.001"), "\"%s\"", w.last);
    EXPECT(fabs((double)router->value[0][3] - before / 20) < 1e-6 && (double)other->value[0][3] == unchanged, "%g, before %g",
           (double)router->value[0][3], before);
    ward_close(&w);
}

static void a_diverging_run_goes_back_to_its_checkpoint(void) {
    ward w;
    step_report report;
    ward_open(&w, world_recipe("olmoe"), "rewound");
    for (int l = 0; l < 2; l++) route(&w, l, (const int64_t[]){64, 64, 64, 64});
    treat(&w);
    for (int i = 0; i < 3; i++) EXPECT_OK(trainer_step(&w.trainer, &report));
    EXPECT_OK(trainer_save(&w.trainer, w.run));
    const real *some = find_weight(&w.trainer, "moe.up", 1)->value[0];
    real kept = *some;
    for (int i = 0; i < 3; i++) EXPECT_OK(trainer_step(&w.trainer, &report));
    EXPECT(*some != kept, "nothing was learned");
    tell(&w, 7, 120, 6, 3);
    tell(&w, 121, 260, 3, 5);
    treat(&w);
    EXPECT(!strcmp(w.last, "diverging_loss: weights of step 260 -> those of step 3; the data goes on"), "\"%s\"", w.last);
    EXPECT(*some == kept && w.trainer.step == 260, "step %lld", (long long)w.trainer.step);
    ward_close(&w);
}

/* A head that has gone astray makes the next losses jump; once it is back, so is the loss. */
static void a_jump_of_the_loss_is_passed_over_but_not_for_ever(void) {
    ward w;
    step_report report;
    recipe r = world_recipe("olmoe");
    r.steps = 100;
    ward_open(&w, r, "spiked");
    for (int i = 0; i < 70; i++) EXPECT_OK(trainer_step(&w.trainer, &report));
    const weight *head = w.trainer.model.head;
    for (ptrdiff_t i = 0; i < weight_size(head); i++) head->value[0][i] *= -8;
    weights_pack(&w.trainer.model.weights, w.trainer.tape.products);
    real before = head->value[0][9];
    for (int i = 0; i < 3; i++) {
        EXPECT_OK(trainer_step(&w.trainer, &report));
        EXPECT(report.spike && !report.applied && head->value[0][9] == before, "spike %d: loss %g, %+.1f deviations", i, report.loss, report.loss_z);
    }
    EXPECT_OK(trainer_step(&w.trainer, &report));
    EXPECT(!report.spike && report.applied && head->value[0][9] != before, "the fourth was passed over as well");
    ward_close(&w);
}

static void a_stopped_run_is_saved_and_says_why(void) {
    train_report report;
    char run[PATH_BYTES];
    recipe r = world_recipe("olmoe");
    strcpy(r.guard, "stop");
    r.steps = 400, r.schedule.learning_rate = 1e-9;
    EXPECT_ERROR(train_run(&report, &r, world_path(run, "stopped"), "test", &(train_watcher){0}), LAMP_DIVERGED, "train.guard = stop: ");
    EXPECT_OK(checkpoint_resolve(run, run));
    EXPECT(report.last.step > 0 && report.last.step < 400 && !report.finished, "step %lld", (long long)report.last.step);
}

int main(void) {
    static const test_case cases[] = {
        {"a dead expert is re-seeded from the busiest", a_dead_expert_is_reseeded_from_the_busiest},
        {"balance is raised where importance is lopsided, and remembered", balance_is_raised_where_importance_is_lopsided_and_remembered},
        {"a coefficient beyond the highest is not raised by lowering it", a_coefficient_beyond_the_highest_is_not_raised_by_lowering_it},
        {"only the layer that was touched rests", only_the_layer_that_was_touched_rests},
        {"exploded logits are scaled down", exploded_logits_are_scaled_down},
        {"a diverging run goes back to its checkpoint", a_diverging_run_goes_back_to_its_checkpoint},
        {"a jump of the loss is passed over, but not for ever", a_jump_of_the_loss_is_passed_over_but_not_for_ever},
        {"a stopped run is saved and says why", a_stopped_run_is_saved_and_says_why},
    };
    return test_run("guard", cases, sizeof cases / sizeof *cases);
}
