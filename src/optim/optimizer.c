#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

bool optimizer_takes_factors(const optimizer_config *config) { return !strcmp(config->experts, "factored"); }

static bool is_factored(const optimizer_config *config, const weight *w) { return w->role == ROLE_EXPERT && optimizer_takes_factors(config); }

bool optimizer_consumes(const optimizer_config *config, const weight *w) {
    return is_factored(config, w) || (w->role == ROLE_EXPERT && !strcmp(config->experts, "adamw_in_backward"));
}

/* Vectors and routers, which are small, keep reals. */
static stored_type type_of_moments(const optimizer_config *config, const weight *w) {
    const bool small = weight_is_vector(w) || w->role == ROLE_ROUTER;
    return small || is_factored(config, w) || strcmp(config->moments, "bf16") ? STORED_REAL : STORED_BF16;
}

static void declare_moments(weight_moment pair[2], const optimizer_config *config, const weight *w) {
    const bool factored = is_factored(config, w);
    const stored_type type = type_of_moments(config, w);
    pair[0] = (weight_moment){factored ? "row_squares" : "first_moment", w, w->out, factored ? 1 : w->in, type, NULL};
    pair[1] = (weight_moment){factored ? "column_squares" : "second_moment", w, factored ? 1 : w->out, w->in, type, NULL};
}

/* Rounded up, so that each begins where any type may. */
static size_t bytes_of_moment(const weight_moment *m) {
    const size_t bytes = (size_t)(m->of->groups * m->out) * moment_row_bytes(m);
    return (bytes + sizeof(double) - 1) / sizeof(double) * sizeof(double);
}

size_t optimizer_moment_bytes(const optimizer_config *config, const weights *table) {
    size_t bytes = 0;
    weight_moment pair[2];
    for (int i = 0; i < table->n; i++) {
        declare_moments(pair, config, table->row[i]);
        bytes += bytes_of_moment(&pair[0]) + bytes_of_moment(&pair[1]);
    }
    return bytes;
}

/* Two moments of each weight, one after the other in the block. */
static int allocate_moments(optimizer *o, const weights *table) {
    TRY(memory_new(&o->moment, 2 * (size_t)table->n, sizeof *o->moment, "the table of moments"));
    for (int i = 0; i < table->n; i++, o->n_moments += 2) declare_moments(&o->moment[o->n_moments], &o->config, table->row[i]);
    o->bytes = optimizer_moment_bytes(&o->config, table);
    TRY(memory_new_block(&o->moments, o->bytes, 1, "moments"));
    char *values = o->moments;
    for (int m = 0; m < o->n_moments; m++) o->moment[m].values = values, values += bytes_of_moment(&o->moment[m]);
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

int optimizer_open(optimizer *o, const optimizer_config *config, uint64_t seed, const weights *table) {
    *o = (optimizer){.config = *config, .seed = seed};
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

/* Of group g. */
static update_step begin_step(const optimizer *o, const weight *w, ptrdiff_t g, double learning_rate, double norm, double clip) {
    const optimizer_config *c = &o->config;
    const random_key rounding = random_key_make(o->seed, RANDOM_ROUNDING, (uint64_t)o->steps, (uint64_t)w->index);
    return (update_step){
        .learning_rate = learning_rate,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .epsilon = c->epsilon,
        .decay = weight_is_vector(w) || w->role == ROLE_EMBEDDING ? 0 : c->weight_decay,
        .gradient_scale = clip > 0 && norm > clip ? clip / norm : 1,
        .rounding = (uint32_t)random_bits(rounding, (uint64_t)g),
    };
}

/* steps: with this one */
static void count_step(update_step *step, int64_t steps) {
    step->correction1 = 1 - pow(step->beta1, (double)steps), step->correction2 = 1 - pow(step->beta2, (double)steps);
}

static updated_weight updated(const optimizer *o, const struct products *products, const weight *w, const gradient_part *part) {
    const weight_moment *m = &o->moment[2 * w->index];
    void *first = moment_row(&m[0], part->first * m[0].out), *second = moment_row(&m[1], part->first * m[1].out);
    updated_weight u = {
        .w = w->value[part->first], .gradient = part->gradient, .groups = part->groups, .out = w->out, .in = w->in, .products = products};
    if (m->type == STORED_REAL) u.first = first, u.second = second;
    else u.first_bf16 = first, u.second_bf16 = second;
    if (w->packed) u.packed = w->packed + part->first * products->packed_size(w->in, w->out);
    return u;
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
        step[g] = begin_step(o, w, part->first + g, learning_rate, 0, 0);
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
        step[g] = begin_step(o, w, part->first + g, learning_rate, norm, c->clip_matrix);
        not_finite += !isfinite(norm);
        if (!isfinite(norm) || (c->lazy_experts && w->step->rows[part->first + g] == 0)) step[g].gradient_scale = 0;
        else count_step(&step[g], ++o->counts[w->index][part->first + g]);
    }
    (is_factored(c, w) ? k->factored : k->adamw)(&u, step);
    return not_finite;
}

void optimizer_step(optimizer *o, const struct kernels *k, const struct products *products, weights *table, double learning_rate, double norm) {
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        if (w->role == ROLE_STATE || optimizer_consumes(&o->config, w)) continue;
        const updated_weight u = updated(o, products, w, &(gradient_part){.groups = w->groups, .gradient = w->step->gradient});
        for (ptrdiff_t g = 0; g < w->groups; g++) {
            update_step *step = &o->matrix_step[g];
            *step = begin_step(o, w, g, learning_rate, norm, o->config.clip);
            if (!o->counts[i]) count_step(step, o->steps + 1);
            else if (w->step->rows[g] > 0) count_step(step, ++o->counts[i][g]);
            else step->gradient_scale = 0;
        }
        k->adamw(&u, o->matrix_step);
    }
    o->steps++;
}
