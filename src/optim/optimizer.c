#include "optim/optimizer.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"

int optimizer_open(optimizer *o, const optimizer_config *config, const weights *table) {
    *o = (optimizer){.config = *config};
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&o->first, (size_t)table->total, sizeof(real), "first moments"));
    TRY_TO(done, memory_new(&o->second, (size_t)table->total, sizeof(real), "second moments"));
done:
    if (status < 0) optimizer_close(o);
    return status;
}

void optimizer_close(optimizer *o) {
    memory_free(o->first);
    memory_free(o->second);
    *o = (optimizer){0};
}

double optimizer_gradient_norm(const struct kernels *k, const weights *table) { return sqrt(k->sum_squares(table->gradients, table->total)); }

void optimizer_step(optimizer *o, const struct kernels *k, weights *table, double learning_rate, double norm) {
    const optimizer_config *c = &o->config;
    o->steps++;
    adamw_step step = {
        .learning_rate = learning_rate,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .epsilon = c->epsilon,
        .gradient_scale = c->clip > 0 && norm > c->clip ? c->clip / norm : 1,
        .correction1 = 1 - pow(c->beta1, (double)o->steps),
        .correction2 = 1 - pow(c->beta2, (double)o->steps),
    };
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        if (w->role == ROLE_STATE) continue;
        step.decay = weight_is_vector(w) || w->role == ROLE_EMBEDDING ? 0 : c->weight_decay;
        k->adamw(table->values + w->offset, o->first + w->offset, o->second + w->offset, w->gradient, weight_size(w), &step);
    }
}
