#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

bool optimizer_takes_factors(const optimizer_config *config) { return !strcmp(config->experts, "factored"); }

static bool is_factored(const optimizer_config *config, const weight *w) { return w->role == ROLE_EXPERT && !strcmp(config->experts, "factored"); }

bool optimizer_consumes(const optimizer_config *config, const weight *w) {
    return is_factored(config, w) || (w->role == ROLE_EXPERT && !strcmp(config->experts, "adamw_in_backward"));
}

ptrdiff_t optimizer_moment_values(const optimizer_config *config, const weights *table) {
    ptrdiff_t values = 0;
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        values += is_factored(config, w) ? w->groups * (w->out + w->in) : 2 * weight_size(w);
    }
    return values;
}

/* Two moments of each weight, one after the other in the block. */
static int allocate_moments(optimizer *o, const weights *table) {
    TRY(memory_new(&o->moment, 2 * (size_t)table->n, sizeof *o->moment, "the table of moments"));
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const bool factored = is_factored(&o->config, w);
        o->moment[o->n_moments++] = (weight_moment){factored ? "row_squares" : "first_moment", w, w->out, factored ? 1 : w->in, NULL};
        o->moment[o->n_moments++] = (weight_moment){factored ? "column_squares" : "second_moment", w, factored ? 1 : w->out, w->in, NULL};
    }
    o->total = optimizer_moment_values(&o->config, table);
    TRY(memory_new_block(&o->moments, (size_t)o->total, sizeof(real), "moments"));
    real *values = o->moments;
    for (int m = 0; m < o->n_moments; m++) o->moment[m].values = values, values += moment_size(&o->moment[m]);
    return LAMP_OK;
}

static bool has_own_counts(const optimizer_config *c, const weight *w) {
    return w->role == ROLE_EXPERT && (c->lazy_experts || optimizer_consumes(c, w));
}

static int allocate_counts(optimizer *o, const weights *table) {
    ptrdiff_t most = 0;
    for (int i = 0; i < table->n; i++) {
        if (has_own_counts(&o->config, table->row[i])) o->n_experts += table->row[i]->groups;
        if (table->row[i]->groups > most) most = table->row[i]->groups;
    }
    TRY(memory_new(&o->expert_steps, (size_t)o->n_experts, sizeof *o->expert_steps, "steps of experts"));
    TRY(memory_new(&o->counts, (size_t)table->n, sizeof *o->counts, "steps of experts"));
    TRY(memory_new(&o->matrix_step, (size_t)most, sizeof *o->matrix_step, "updates of matrices"));
    int64_t *next = o->expert_steps;
    for (int i = 0; i < table->n; i++)
        if (has_own_counts(&o->config, table->row[i])) o->counts[i] = next, next += table->row[i]->groups;
    return LAMP_OK;
}

int optimizer_open(optimizer *o, const optimizer_config *config, const weights *table) {
    *o = (optimizer){.config = *config};
    int status = LAMP_OK;
    TRY_TO(done, allocate_moments(o, table));
    TRY_TO(done, allocate_counts(o, table));
done:
    if (status < 0) optimizer_close(o);
    return status;
}

void optimizer_close(optimizer *o) {
    memory_free(o->moment);
    memory_free(o->moments);
    memory_free(o->expert_steps);
    memory_free(o->counts);
    memory_free(o->matrix_step);
    *o = (optimizer){0};
}

/* Of a gradient of so many groups; squares may be NULL. */
static double squared_norm(const struct kernels *k, const weight *w, const real *gradient, const real *squares, ptrdiff_t groups) {
    double sum = 0;
    if (!squares) return k->sum_squares(gradient, groups * w->out * w->in);
    for (ptrdiff_t i = 0; i < groups * w->step->squares_size; i++) sum += (double)squares[i];
    return sum;
}

double optimizer_gradient_norm(const optimizer *o, const struct kernels *k, const weights *table) {
    double sum = 0;
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const weight_step *s = w->step;
        if (!optimizer_consumes(&o->config, w)) sum += squared_norm(k, w, s->gradient, s->squared ? s->squares : NULL, w->groups);
    }
    return sqrt(sum);
}

static update_step begin_step(const optimizer_config *c, const weight *w, double learning_rate, double norm, double clip) {
    return (update_step){
        .learning_rate = learning_rate,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .epsilon = c->epsilon,
        .decay = weight_is_vector(w) || w->role == ROLE_EMBEDDING ? 0 : c->weight_decay,
        .gradient_scale = clip > 0 && norm > clip ? clip / norm : 1,
    };
}

static void count_step(update_step *step, int64_t steps) {
    step->correction1 = 1 - pow(step->beta1, (double)steps), step->correction2 = 1 - pow(step->beta2, (double)steps);
}

static updated_weight updated(const optimizer *o, const struct products *products, const weight *w, const gradient_part *part) {
    const weight_moment *m = &o->moment[2 * w->index];
    const ptrdiff_t first = part->first;
    real *packed = w->packed ? w->packed + first * products->packed_size(w->in, w->out) : NULL;
    return (updated_weight){w->value[first],
                            m[0].values + first * m[0].out * m[0].in,
                            m[1].values + first * m[1].out * m[1].in,
                            part->gradient,
                            part->groups,
                            w->out,
                            w->in,
                            packed,
                            products};
}

/* A gradient that is not made. Its steps are counted where it was finite. */
static int consume_product(optimizer *o, const struct kernels *k, const struct products *products, const weight *w, const gradient_part *part,
                           double learning_rate) {
    const optimizer_config *c = &o->config;
    const updated_weight u = updated(o, products, w, part);
    const int64_t *rows = w->step->rows + part->first;
    int64_t *counts = o->counts[w->index] + part->first;
    update_step *step = o->matrix_step + part->first;
    int not_finite = 0;
    for (ptrdiff_t g = 0; g < u.groups; g++) {
        step[g] = begin_step(c, w, learning_rate, 0, 0);
        count_step(&step[g], counts[g] + 1);
        if (c->lazy_experts && rows[g] == 0) step[g].gradient_scale = 0;
    }
    k->factored_product(&u, step, c->clip_matrix, part->dy, part->x, part->rows);
    for (ptrdiff_t g = 0; g < u.groups; g++) {
        const bool lazy = c->lazy_experts && rows[g] == 0, updated = step[g].gradient_scale != 0;
        counts[g] += updated, not_finite += !updated && !lazy;
    }
    return not_finite;
}

int optimizer_consume(optimizer *o, const struct kernels *k, const struct products *products, const weight *w, const gradient_part *part,
                      double learning_rate) {
    if (!part->gradient) return consume_product(o, k, products, w, part, learning_rate);
    const optimizer_config *c = &o->config;
    const updated_weight u = updated(o, products, w, part);
    const ptrdiff_t size = w->out * w->in;
    update_step *step = o->matrix_step + part->first;
    int not_finite = 0;
    for (ptrdiff_t g = 0; g < u.groups; g++) {
        const double norm = sqrt(squared_norm(k, w, part->gradient + g * size, part->squares ? part->squares + g * w->step->squares_size : NULL, 1));
        step[g] = begin_step(c, w, learning_rate, norm, c->clip_matrix);
        not_finite += !isfinite(norm);
        if (!isfinite(norm) || (c->lazy_experts && w->step->rows[part->first + g] == 0)) step[g].gradient_scale = 0;
        else count_step(&step[g], ++o->counts[w->index][part->first + g]);
    }
    (is_factored(c, w) ? k->factored : k->adamw)(&u, step);
    return not_finite;
}

void optimizer_step(optimizer *o, const struct kernels *k, const struct products *products, weights *table, double learning_rate, double norm) {
    o->steps++;
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        if (w->role == ROLE_STATE || optimizer_consumes(&o->config, w)) continue;
        update_step step = begin_step(&o->config, w, learning_rate, norm, o->config.clip);
        const updated_weight u = updated(o, products, w, &(gradient_part){.groups = w->groups, .gradient = w->step->gradient});
        count_step(&step, o->steps);
        for (ptrdiff_t g = 0; g < w->groups; g++) {
            o->matrix_step[g] = step;
            if (o->counts[i] && w->step->rows[g] == 0) o->matrix_step[g].gradient_scale = 0;
            else if (o->counts[i]) count_step(&o->matrix_step[g], ++o->counts[i][g]);
        }
        k->adamw(&u, o->matrix_step);
    }
}
