#include "optim/optimizer.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"

int optimizer_open(optimizer *o, const optimizer_config *config, const weights *table) {
    *o = (optimizer){.config = *config};
    int status = LAMP_OK;
    TRY_TO(done, memory_new_block(&o->first, (size_t)table->total, sizeof(real), "first moments"));
    TRY_TO(done, memory_new_block(&o->second, (size_t)table->total, sizeof(real), "second moments"));
    for (int i = 0; i < table->n; i++)
        if (config->lazy_experts && table->row[i]->role == ROLE_EXPERT) o->n_experts += table->row[i]->groups;
    TRY_TO(done, memory_new(&o->expert_steps, (size_t)o->n_experts, sizeof *o->expert_steps, "steps of experts"));
done:
    if (status < 0) optimizer_close(o);
    return status;
}

void optimizer_close(optimizer *o) {
    memory_free(o->first);
    memory_free(o->second);
    memory_free(o->expert_steps);
    *o = (optimizer){0};
}

static double squared_norm(const struct kernels *k, const weight *w) {
    const weight_step *s = w->step;
    double sum = 0;
    if (!s->squared) return k->sum_squares(w->step->gradient, weight_size(w));
    for (ptrdiff_t i = 0; i < w->groups * s->squares_size; i++) sum += (double)s->squares[i];
    return sum;
}

double optimizer_gradient_norm(const struct kernels *k, const weights *table) {
    double sum = 0;
    for (int i = 0; i < table->n; i++) sum += squared_norm(k, table->row[i]);
    return sqrt(sum);
}

static void count_step(update_step *step, const optimizer_config *c, int64_t steps) {
    step->correction1 = 1 - pow(c->beta1, (double)steps), step->correction2 = 1 - pow(c->beta2, (double)steps);
}

static void update_reached_experts(const struct kernels *k, updated_weight u, const weight *w, update_step step, const optimizer_config *c,
                                   int64_t *steps) {
    const ptrdiff_t size = w->out * w->in, packed = u.packed ? u.products->packed_size(w->in, w->out) : 0;
    u.groups = 1;
    for (ptrdiff_t e = 0; e < w->groups; e++) {
        if (w->step->rows[e] > 0) count_step(&step, c, ++steps[e]), k->adamw(&u, &step);
        u.w += size, u.first += size, u.second += size, u.gradient += size;
        if (u.packed) u.packed += packed;
    }
}

void optimizer_step(optimizer *o, const struct kernels *k, const struct products *products, weights *table, double learning_rate, double norm) {
    const optimizer_config *c = &o->config;
    update_step step = {
        .learning_rate = learning_rate,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .epsilon = c->epsilon,
        .gradient_scale = c->clip > 0 && norm > c->clip ? c->clip / norm : 1,
    };
    int64_t *expert_steps = o->expert_steps;
    count_step(&step, c, ++o->steps);
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const updated_weight u = {
            table->values + w->offset, o->first + w->offset, o->second + w->offset, w->step->gradient, w->groups, w->out, w->in, w->packed, products};
        step.decay = w->role == ROLE_NORM || w->role == ROLE_EMBEDDING ? 0 : c->weight_decay;
        if (!o->expert_steps || w->role != ROLE_EXPERT) {
            k->adamw(&u, &step);
            continue;
        }
        update_reached_experts(k, u, w, step, c, expert_steps);
        expert_steps += w->groups;
    }
}
