#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "lamp.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

static void the_learning_rate_passes_its_named_points(void) {
    static const struct {
        schedule s;
        double used, rate;
    } points[] = {
        {{"cosine", 0.01, 0.1, 0.1, 0}, 0, 0},         {{"cosine", 0.01, 0.1, 0.1, 0}, 0.05, 0.005}, {{"cosine", 0.01, 0.1, 0.1, 0}, 0.1, 0.01},
        {{"cosine", 0.01, 0.1, 0.1, 0}, 0.55, 0.0055}, {{"cosine", 0.01, 0.1, 0.1, 0}, 1, 0.001},    {{"cosine", 0.01, 0.1, 0.1, 0}, 1.3, 0.001},
        {{"cosine", 0.01, 0, 0, 0}, 0, 0.01},          {{"cosine", 0.01, 0, 0, 0}, 0.5, 0.005},      {{"cosine", 0.01, 0, 1, 0}, 0.5, 0.005},
        {{"wsd", 0.01, 0, 0.1, 0.2}, 0.05, 0.005},     {{"wsd", 0.01, 0, 0.1, 0.2}, 0.1, 0.01},      {{"wsd", 0.01, 0, 0.1, 0.2}, 0.5, 0.01},
        {{"wsd", 0.01, 0, 0.1, 0.2}, 0.8, 0.01},       {{"wsd", 0.01, 0, 0.1, 0.2}, 0.85, 0.005},    {{"wsd", 0.01, 0.1, 0.1, 0.2}, 0.85, 0.0055},
        {{"wsd", 0.01, 0.1, 0.1, 0.2}, 1, 0.001},      {{"wsd", 0.01, 0.1, 0.1, 0.2}, 2, 0.001},     {{"wsd", 0.01, 0.1, 0.1, 0}, 1, 0.01},
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        double found = schedule_learning_rate(&points[i].s, points[i].used);
        EXPECT(fabs(found - points[i].rate) < 1e-12, "%s after %g: %.9g, expected %g", points[i].s.shape, points[i].used, found, points[i].rate);
    }
}

/* Odd sizes, one weight of every role. */
static void make_weights(weights *table) {
    static const weight_role roles[] = {ROLE_EMBEDDING, ROLE_NORM, ROLE_MATRIX, ROLE_ROUTER, ROLE_EXPERT};
    static const int sizes[][3] = {{1, 7, 3}, {1, 1, 3}, {1, 5, 13}, {1, 3, 1}, {3, 11, 5}};
    for (int i = 0; i < 5; i++) {
        weight *w;
        EXPECT_OK(weights_declare(&w, table, "w", 0, roles[i], sizes[i][0], sizes[i][1], sizes[i][2], 0.5));
    }
    EXPECT_OK(weights_allocate_values(table));
    EXPECT_OK(weights_allocate_gradients(table));
    weights_initialize(table, 3);
}

enum { TOTAL = 21 + 3 + 65 + 3 + 165, STEPS = 20 };

static void adamw_follows_a_plain_double_one(void) {
    const optimizer_config config = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .clip = 1};
    const struct kernels *tables[4];
    int n = kernels_available(tables);
    for (int k = 0; k < n; k++) {
        weights table = {0};
        optimizer o;
        static double value[TOTAL], first[TOTAL], second[TOTAL];
        make_weights(&table);
        EXPECT(table.total == TOTAL, "%td", table.total);
        EXPECT_OK(optimizer_open(&o, &config, &table));
        for (int i = 0; i < TOTAL; i++) value[i] = (double)table.values[i], first[i] = second[i] = 0;
        int clipped = 0;
        for (int step = 1; step <= STEPS; step++) {
            double square = 0, rate = 0.02 / step, size = step % 2 ? 1 : 0.01; /* every second gradient is small enough to pass whole */
            for (int i = 0; i < TOTAL; i++) {
                table.gradients[i] = (real)(size * random_normal((random_key){4, (uint64_t)step}, (uint64_t)i));
                square += (double)table.gradients[i] * (double)table.gradients[i];
            }
            double norm = optimizer_gradient_norm(tables[k], &table);
            EXPECT(fabs(norm - sqrt(square)) < 1e-6 * norm, "the gradient's norm is %g, expected %g", norm, sqrt(square));
            optimizer_step(&o, tables[k], &tables[k]->products, &table, rate, norm);
            clipped += norm > config.clip;
            for (int i = 0; i < TOTAL; i++) {
                double g = (double)table.gradients[i] * (sqrt(square) > config.clip ? config.clip / sqrt(square) : 1),
                       decay = i < 24 ? 0 : config.weight_decay;
                first[i] = config.beta1 * first[i] + (1 - config.beta1) * g;
                second[i] = config.beta2 * second[i] + (1 - config.beta2) * g * g;
                double m = first[i] / (1 - pow(config.beta1, step)), v = second[i] / (1 - pow(config.beta2, step));
                value[i] -= rate * (m / (sqrt(v) + config.epsilon) + decay * value[i]);
            }
        }
        EXPECT(o.steps == STEPS && clipped == STEPS / 2, "%d steps, %d clipped", (int)o.steps, clipped);
        for (int i = 0; i < TOTAL; i++)
            EXPECT(fabs((double)table.values[i] - value[i]) < 2e-6, "%s: element %d: %.8g, expected %.8g", tables[k]->name, i,
                   (double)table.values[i], value[i]);
        optimizer_close(&o);
        weights_release(&table);
    }
}

/* Without a gradient only decay moves a weight, and only those that decay. */
static void norms_and_embeddings_do_not_decay(void) {
    const optimizer_config config = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5};
    const struct kernels *k;
    weights table = {0};
    optimizer o;
    real begin[TOTAL];
    EXPECT_OK(kernels_choose(&k));
    make_weights(&table);
    EXPECT_OK(optimizer_open(&o, &config, &table));
    memcpy(begin, table.values, sizeof begin);
    optimizer_step(&o, k, &k->products, &table, 0.1, 0);
    for (int i = 0; i < TOTAL; i++) {
        double expected = (double)begin[i] * (i < 24 ? 1 : 0.95);
        EXPECT(fabs((double)table.values[i] - expected) <= (i < 24 ? 0 : 1e-6), "element %d: %.8g, expected %.8g", i, (double)table.values[i],
               expected);
    }
    optimizer_close(&o);
    weights_release(&table);
}

/* An expert without a row stays as it is, moments too; its first step then corrects as a first step does, and equals one of an optimiser
 * that begins there. */
static void lazy_experts_count_their_own_steps(void) {
    const optimizer_config config = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .lazy_experts = true};
    enum { LATE = 92 + 55, EXPERT = 55 }; /* the second of three experts */
    const struct kernels *k;
    weights table = {0};
    optimizer o, fresh;
    real begin[TOTAL], late[EXPERT];
    EXPECT_OK(kernels_choose(&k));
    make_weights(&table);
    int64_t *rows = table.row[4]->step->rows;
    EXPECT_OK(optimizer_open(&o, &config, &table));
    memcpy(begin, table.values, sizeof begin);
    for (int i = 0; i < TOTAL; i++) table.gradients[i] = (real)random_normal((random_key){5, 0}, (uint64_t)i);
    rows[0] = rows[2] = 4, rows[1] = 0;
    for (int step = 0; step < 3; step++) optimizer_step(&o, k, &k->products, &table, 0.1, 0);
    for (int i = 0; i < TOTAL; i++) {
        bool idle = i >= LATE && i < LATE + EXPERT;
        EXPECT((table.values[i] == begin[i] && o.first[i] == 0 && o.second[i] == 0) == idle, "element %d was %.8g and is %.8g", i, (double)begin[i],
               (double)table.values[i]);
    }
    EXPECT(o.n_experts == 3 && o.expert_steps[0] == 3 && o.expert_steps[1] == 0 && o.expert_steps[2] == 3, "%td experts", o.n_experts);

    rows[1] = 1;
    optimizer_step(&o, k, &k->products, &table, 0.1, 0);
    EXPECT(o.expert_steps[1] == 1 && o.steps == 4, "%d steps", (int)o.expert_steps[1]);
    memcpy(late, table.values + LATE, sizeof late);
    memcpy(table.values, begin, sizeof begin);
    EXPECT_OK(optimizer_open(&fresh, &config, &table));
    optimizer_step(&fresh, k, &k->products, &table, 0.1, 0);
    EXPECT(!memcmp(late, table.values + LATE, sizeof late), "a late first step differs from a first step: %.8g, %.8g", (double)late[0],
           (double)table.values[LATE]);
    optimizer_close(&o), optimizer_close(&fresh);
    weights_release(&table);
}

static const test_case cases[] = {
    {"the learning rate passes its named points", the_learning_rate_passes_its_named_points},
    {"AdamW follows a plain double one", adamw_follows_a_plain_double_one},
    {"norms and embeddings do not decay", norms_and_embeddings_do_not_decay},
    {"lazy experts count their own steps", lazy_experts_count_their_own_steps},
};

int main(void) { return test_run("optimiser", cases, sizeof cases / sizeof *cases); }
