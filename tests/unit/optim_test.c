#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../bf16.h"
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
        {{"rsqrt", 0.01, 0.1, 0.04, 0}, 0.02, 0.005},  {{"rsqrt", 0.01, 0.1, 0.04, 0}, 0.04, 0.01},  {{"rsqrt", 0.01, 0.1, 0.04, 0}, 0.16, 0.005},
        {{"rsqrt", 0.01, 0.1, 0.04, 0}, 1, 0.002},     {{"rsqrt", 0.01, 0.1, 0.04, 0}, 2, 0.002},
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
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int k = 0; k < n; k++) {
        weights table = {0};
        optimizer o;
        static double value[TOTAL], first[TOTAL], second[TOTAL];
        make_weights(&table);
        EXPECT(table.total == TOTAL, "%td", table.total);
        EXPECT_OK(optimizer_open(&o, &config, 1, &table));
        for (int i = 0; i < TOTAL; i++) value[i] = (double)table.values[i], first[i] = second[i] = 0;
        int clipped = 0;
        for (int step = 1; step <= STEPS; step++) {
            double square = 0, rate = 0.02 / step, size = step % 2 ? 1 : 0.01; /* every second gradient is small enough to pass whole */
            for (int i = 0; i < TOTAL; i++) {
                table.gradients[i] = (real)(size * random_normal((random_key){4, (uint64_t)step}, (uint64_t)i));
                square += (double)table.gradients[i] * (double)table.gradients[i];
            }
            double norm = optimizer_gradient_norm(&o, tables[k], &table);
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
    EXPECT_OK(optimizer_open(&o, &config, 1, &table));
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

/* Of AdamW: which is 0 or 1, i counts as in the values. */
static real moment_at(const optimizer *o, ptrdiff_t i, int which) {
    const weight_moment *m = &o->moment[which];
    while (i >= m->of->offset + weight_size(m->of)) m += 2;
    return ((const real *)m->values)[i - m->of->offset];
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
    EXPECT_OK(optimizer_open(&o, &config, 1, &table));
    memcpy(begin, table.values, sizeof begin);
    for (int i = 0; i < TOTAL; i++) table.gradients[i] = (real)random_normal((random_key){5, 0}, (uint64_t)i);
    rows[0] = rows[2] = 4, rows[1] = 0;
    for (int step = 0; step < 3; step++) optimizer_step(&o, k, &k->products, &table, 0.1, 0);
    for (int i = 0; i < TOTAL; i++) {
        bool idle = i >= LATE && i < LATE + EXPERT;
        EXPECT((table.values[i] == begin[i] && moment_at(&o, i, 0) == 0 && moment_at(&o, i, 1) == 0) == idle, "element %d was %.8g and is %.8g", i,
               (double)begin[i], (double)table.values[i]);
    }
    EXPECT(o.n_experts == 3 && o.expert_steps[0] == 3 && o.expert_steps[1] == 0 && o.expert_steps[2] == 3, "%td experts", o.n_experts);

    rows[1] = 1;
    optimizer_step(&o, k, &k->products, &table, 0.1, 0);
    EXPECT(o.expert_steps[1] == 1 && o.steps == 4, "%d steps", (int)o.expert_steps[1]);
    memcpy(late, table.values + LATE, sizeof late);
    memcpy(table.values, begin, sizeof begin);
    EXPECT_OK(optimizer_open(&fresh, &config, 1, &table));
    optimizer_step(&fresh, k, &k->products, &table, 0.1, 0);
    EXPECT(!memcmp(late, table.values + LATE, sizeof late), "a late first step differs from a first step: %.8g, %.8g", (double)late[0],
           (double)table.values[LATE]);
    optimizer_close(&o), optimizer_close(&fresh);
    weights_release(&table);
}

/* Experts of one weight, in plain double. */
enum { GROUPS = 3, OUT = 11, IN = 5, MATRIX = OUT * IN };
typedef struct {
    double w[GROUPS][MATRIX], row[GROUPS][OUT], column[GROUPS][IN], first[GROUPS][MATRIX], second[GROUPS][MATRIX];
    int steps[GROUPS];
} plain_experts;

static void factored_step(plain_experts *p, int g, const double *gradient, const optimizer_config *c, double rate) {
    double mean = 0, row[OUT] = {0}, column[IN] = {0};
    for (int i = 0; i < MATRIX; i++) row[i / IN] += gradient[i] * gradient[i] / IN, column[i % IN] += gradient[i] * gradient[i] / OUT;
    for (int o = 0; o < OUT; o++) p->row[g][o] = c->beta2 * p->row[g][o] + (1 - c->beta2) * row[o], mean += p->row[g][o] / OUT;
    for (int i = 0; i < IN; i++) p->column[g][i] = c->beta2 * p->column[g][i] + (1 - c->beta2) * column[i];
    for (int i = 0; i < MATRIX; i++) {
        double v = mean == 0 ? 0 : p->row[g][i / IN] * p->column[g][i % IN] / mean / (1 - pow(c->beta2, p->steps[g]));
        p->w[g][i] -= rate * (gradient[i] / (sqrt(v) + c->epsilon) + c->weight_decay * p->w[g][i]);
    }
}

static void adamw_step(plain_experts *p, int g, const double *gradient, const optimizer_config *c, double rate) {
    double *first = p->first[g], *second = p->second[g];
    for (int i = 0; i < MATRIX; i++) {
        first[i] = c->beta1 * first[i] + (1 - c->beta1) * gradient[i], second[i] = c->beta2 * second[i] + (1 - c->beta2) * gradient[i] * gradient[i];
        double m = first[i] / (1 - pow(c->beta1, p->steps[g])), v = second[i] / (1 - pow(c->beta2, p->steps[g]));
        p->w[g][i] -= rate * (m / (sqrt(v) + c->epsilon) + c->weight_decay * p->w[g][i]);
    }
}

static void plain_step(plain_experts *p, int g, const real *gradient, const optimizer_config *c, double rate) {
    double norm = 0, clipped[MATRIX];
    for (int i = 0; i < MATRIX; i++) norm += (double)gradient[i] * (double)gradient[i];
    const double scale = c->clip_matrix > 0 && sqrt(norm) > c->clip_matrix ? c->clip_matrix / sqrt(norm) : 1;
    for (int i = 0; i < MATRIX; i++) clipped[i] = scale * (double)gradient[i];
    p->steps[g]++;
    (optimizer_takes_factors(c) ? factored_step : adamw_step)(p, g, clipped, c, rate);
}

/* Some gradients are clipped and some are not; one expert meets tokens only in every third step; one gradient is not finite. The others of
 * the table are none of optimizer_consume's business, nor this one of optimizer_step's. */
static void consumed_experts_follow_plain_ones(const char *experts_by, bool lazy) {
    optimizer_config config = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .clip = 1, .clip_matrix = 2, .lazy_experts = lazy};
    strcpy(config.experts, experts_by);
    const struct kernels *k;
    weights table = {0};
    optimizer o;
    static plain_experts p;
    real rest[TOTAL - GROUPS * MATRIX];
    EXPECT_OK(kernels_choose(&k));
    make_weights(&table);
    const weight *w = table.row[4];
    EXPECT_OK(optimizer_open(&o, &config, 1, &table));
    const ptrdiff_t of_experts = optimizer_takes_factors(&config) ? GROUPS * (OUT + IN) : 2 * GROUPS * MATRIX;
    ptrdiff_t moments = 0;
    for (int m = 0; m < o.n_moments; m++) moments += moment_size(&o.moment[m]);
    EXPECT(moments == 2 * (TOTAL - GROUPS * MATRIX) + of_experts, "%td numbers in the moments", moments);
    EXPECT(optimizer_consumes(&config, w) && !optimizer_consumes(&config, table.row[2]), "the wrong weights are consumed");
    memset(&p, 0, sizeof p);
    memcpy(rest, table.values, sizeof rest);
    for (int i = 0; i < GROUPS * MATRIX; i++) p.w[i / MATRIX][i % MATRIX] = (double)w->value[0][i];
    for (int step = 1; step <= STEPS; step++) {
        double rate = 0.02 / step, size = step % 2 ? 1 : 0.01;
        for (int i = 0; i < GROUPS * MATRIX; i++) w->step->gradient[i] = (real)(size * random_normal((random_key){6, (uint64_t)step}, (uint64_t)i));
        w->step->rows[0] = w->step->rows[2] = 2, w->step->rows[1] = step % 3 == 0;
        if (step % 3) memset(w->step->gradient + MATRIX, 0, MATRIX * sizeof(real));
        if (step == 7) w->step->gradient[2 * MATRIX + 3] = NAN;
        int skipped = optimizer_consume(&o, k, &k->products, w, &(gradient_part){.groups = GROUPS, .gradient = w->step->gradient}, rate);
        EXPECT(skipped == (step == 7), "step %d: %d matrices were skipped", step, skipped);
        for (int g = 0; g < GROUPS; g++)
            if (!(lazy && w->step->rows[g] == 0) && !(step == 7 && g == 2)) plain_step(&p, g, w->step->gradient + g * MATRIX, &config, rate);
    }
    for (int i = 0; i < GROUPS * MATRIX; i++) {
        double found = (double)w->value[0][i], expected = p.w[i / MATRIX][i % MATRIX];
        EXPECT(fabs(found - expected) < 2e-6, "element %d: %.8g, expected %.8g", i, found, expected);
    }
    for (int g = 0; g < GROUPS; g++) EXPECT(o.expert_steps[g] == p.steps[g], "expert %d counts %d steps", g, (int)o.expert_steps[g]);
    EXPECT(o.steps == 0 && !memcmp(rest, table.values, sizeof rest), "other weights moved");
    EXPECT(optimizer_gradient_norm(&o, k, &table) == 0, "the norm takes experts in");
    real moved = w->value[0][0];
    optimizer_step(&o, k, &k->products, &table, 0.1, 0);
    EXPECT(w->value[0][0] == moved && table.values[30] != rest[30], "optimizer_step moved the wrong weights");
    optimizer_close(&o);
    weights_release(&table);
}

static void factored_experts_follow_plain_double_ones(void) {
    consumed_experts_follow_plain_ones("factored", false);
    consumed_experts_follow_plain_ones("factored", true);
}

static void experts_updated_in_backward_follow_plain_double_ones(void) {
    consumed_experts_follow_plain_ones("adamw_in_backward", false);
    consumed_experts_follow_plain_ones("adamw_in_backward", true);
}

/* A second moment that forgets a thousandth a step changes by less than half of bf16's spacing: to the nearest, it would stay where it is. */
static void moments_in_bf16_follow_those_in_f32(void) {
    optimizer_config config = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    enum { MANY = 3000, MATRIX_SIZE = 65, MATRIX_ROW = 2 };
    const struct kernels *k;
    optimizer o[2];
    weights table[2] = {{0}, {0}};
    EXPECT_OK(kernels_choose(&k));
    for (int i = 0; i < 2; i++) {
        strcpy(config.moments, i ? "bf16" : "f32");
        make_weights(&table[i]);
        EXPECT_OK(optimizer_open(&o[i], &config, 1, &table[i]));
    }
    EXPECT(o[0].bytes > 1.8 * (double)o[1].bytes, "%zu bytes, and %zu in bf16", o[0].bytes, o[1].bytes);
    for (int step = 1; step <= MANY; step++)
        for (int i = 0; i < 2; i++) {
            for (int j = 0; j < TOTAL; j++)
                table[i].gradients[j] = (real)((step < MANY / 2 ? 1 : 0.5) * random_normal((random_key){7, (uint64_t)step}, (uint64_t)j));
            optimizer_step(&o[i], k, &k->products, &table[i], 1e-3, 0);
        }
    const weight_moment *exact = &o[0].moment[2 * MATRIX_ROW + 1], *rounded = &o[1].moment[2 * MATRIX_ROW + 1];
    EXPECT(exact->type == STORED_REAL && rounded->type == STORED_BF16 && moment_size(rounded) == MATRIX_SIZE, "what is kept how");
    EXPECT(o[1].moment[3].type == STORED_REAL && o[1].moment[7].type == STORED_REAL, "norms and routers keep reals");
    double sum = 0, sum_rounded = 0, distance = 0;
    for (int j = 0; j < MATRIX_SIZE; j++) {
        sum += (double)((const real *)exact->values)[j], sum_rounded += bf16_value(((const uint16_t *)rounded->values)[j]);
        distance += fabs((double)(table[0].row[MATRIX_ROW]->value[0][j] - table[1].row[MATRIX_ROW]->value[0][j])) / MATRIX_SIZE;
    }
    EXPECT(fabs(sum_rounded / sum - 1) < 0.02, "second moments sum to %g, and to %g in bf16", sum, sum_rounded);
    EXPECT(distance > 0 && distance < 0.01, "weights are %g apart on average", distance);
    for (int i = 0; i < 2; i++) optimizer_close(&o[i]), weights_release(&table[i]);
}

static const test_case cases[] = {
    {"the learning rate passes its named points", the_learning_rate_passes_its_named_points},
    {"AdamW follows a plain double one", adamw_follows_a_plain_double_one},
    {"norms and embeddings do not decay", norms_and_embeddings_do_not_decay},
    {"lazy experts count their own steps", lazy_experts_count_their_own_steps},
    {"factored experts follow plain double ones", factored_experts_follow_plain_double_ones},
    {"moments in bf16 follow those in f32", moments_in_bf16_follow_those_in_f32},
    {"experts updated in backward follow plain double ones", experts_updated_in_backward_follow_plain_double_ones},
};

int main(void) { return test_run("optimiser", cases, sizeof cases / sizeof *cases); }
