#include "budget/bench_layer.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

enum { SEED = 1, DISTINCT = 8 /* experts */ };
static const double LEARNING_RATE = 1e-4;

int bench_layer_tokens(real **x, ptrdiff_t tokens, ptrdiff_t width) {
    TRY(memory_new_block(x, (size_t)(tokens * width), sizeof **x, "tokens of a layer"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < tokens * width; i++) (*x)[i] = (real)random_normal((random_key){SEED, 0}, (uint64_t)i);
    return LAMP_OK;
}

/* Experts of the same values take as long as others, and thousands of them begin at once. The router's are all its own. */
static void initialize(weights *table) {
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const ptrdiff_t size = w->out * w->in, own = w->role == ROLE_EXPERT && w->groups > DISTINCT ? DISTINCT * size : weight_size(w);
#pragma omp parallel for schedule(static)
        for (ptrdiff_t j = 0; j < own; j++) w->value[0][j] = (real)(0.04 * random_normal((random_key){SEED, (uint64_t)i + 1}, (uint64_t)j));
#pragma omp parallel for schedule(static)
        for (ptrdiff_t g = own / size; g < w->groups; g++) memcpy(w->value[g], w->value[g % DISTINCT], sizeof(real) * (size_t)size);
    }
}

int bench_layer_open(bench_layer *l, const moe_config *c, tape *t, const real *x, ptrdiff_t tokens, ptrdiff_t width, ptrdiff_t inner,
                     const optimizer_config *updated_by) {
    *l = (bench_layer){.config = *c, .tokens = tokens, .width = width, .inner = inner, .tape = t, .x = x};
    mlp_weights *expert = &l->w.expert;
    const ptrdiff_t E = c->experts;
    TRY(router_choose(&l->config, "lamp bench"));
    TRY(l->config.router->declare(&l->w, &l->table, &l->config, width, 0, 1 / sqrt((double)width)));
    if (!c->relu) TRY(weights_declare(&expert->gate, &l->table, "gate", 0, ROLE_EXPERT, E, inner, width, 0));
    TRY(weights_declare(&expert->up, &l->table, "up", 0, ROLE_EXPERT, E, inner, width, 0));
    TRY(weights_declare(&expert->down, &l->table, "down", 0, ROLE_EXPERT, E, width, inner, 0));
    for (int i = 0; i < l->table.n && updated_by; i++) l->table.row[i]->step->passing = optimizer_consumes(updated_by, l->table.row[i]);
    TRY(weights_allocate_values(&l->table));
    TRY(weights_allocate_gradients(&l->table));
    if (updated_by) TRY(weights_allocate_packed(&l->table, t->products, (packing){PACK_NONE, 0})); /* the squares of gradients, which clipping asks for */
    if (updated_by) TRY(optimizer_open(&l->optimizer, updated_by, 0, &l->table));
    initialize(&l->table);
    return LAMP_OK;
}

void bench_layer_close(bench_layer *l) {
    weights_release(&l->table);
    optimizer_close(&l->optimizer);
    *l = (bench_layer){0};
}

static void consume(void *context, const weight *w, const gradient_part *part) {
    bench_layer *l = context;
    if (optimizer_consumes(&l->optimizer.config, w)) optimizer_consume(&l->optimizer, l->tape->k, l->tape->products, w, part, LEARNING_RATE);
}

int bench_layer_run(void *context) {
    bench_layer *l = context;
    tape *t = l->tape;
    const ptrdiff_t start[] = {0, l->tokens};
    const token_batch batch = {l->tokens, NULL, NULL, 1, start};
    const bool updates = l->optimizer.moment != NULL;
    tensor x = {.x = (real *)l->x, .rows = l->tokens, .cols = l->width};
    double begin = clock_seconds();
    weights_zero_gradients(&l->table);
    tape_reset(t);
    t->training = true, t->loss_scale = 1 / (double)l->tokens;
    t->gradient_ready = updates ? consume : NULL, t->ready_context = l, t->takes_factors = optimizer_takes_factors(&l->optimizer.config);
    tensor *y = moe(t, &x, &(moe_layer){&l->w, &l->config, &batch, 0}, NULL);
    memcpy(tape_gradient(t, y), l->x, sizeof(real) * (size_t)(l->tokens * l->width)); /* any gradient does */
    tape_backward(t);
    if (updates) {
        const double norm = optimizer_gradient_norm(&l->optimizer, t->k, &l->table);
        optimizer_step(&l->optimizer, t->k, t->products, &l->table, LEARNING_RATE, norm);
    }
    l->seconds += clock_seconds() - begin;
    return LAMP_OK;
}
