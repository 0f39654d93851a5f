/* One layer of experts, forward and backward: what its products take, and what it costs to be sparse (route, plan, dispatch, combine). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "budget/bench.h"
#include "budget/phases.h"
#include "moe/moe.h"

enum { TOKENS = 4096, WIDTH = 512, INNER = 1024, EXPERTS = 64, CHOSEN = 2, SEED = 1 };

typedef struct {
    tape t;
    weights table;
    moe_weights w;
    real *x;        /* (TOKENS, WIDTH) */
    double seconds; /* in all runs */
} layer;

static int run_layer(void *context) {
    layer *l = context;
    static const ptrdiff_t start[] = {0, TOKENS};
    const moe_config c = {
        .experts = EXPERTS, .top_k = CHOSEN, .router = &router_softmax, .normalize = true, .scale = 1, .balance[BALANCE_SWITCH] = 0.01};
    const token_batch batch = {TOKENS, NULL, NULL, 1, start};
    tensor x = {.x = l->x, .rows = TOKENS, .cols = WIDTH};
    double begin = clock_seconds();
    tape_reset(&l->t);
    tensor *y = moe(&l->t, &x, &(moe_layer){&l->w, &c, &batch, 0}, NULL);
    memcpy(tape_gradient(&l->t, y), l->x, sizeof(real) * TOKENS * WIDTH); /* any gradient does */
    tape_backward(&l->t);
    l->seconds += clock_seconds() - begin;
    return LAMP_OK;
}

static int open_layer(layer *l, const struct kernels *k) {
    TRY(tape_open(&l->t, k));
    TRY(memory_new(&l->x, TOKENS * WIDTH, sizeof *l->x, "tokens of a layer"));
    TRY(weights_declare(&l->w.router, &l->table, "router", 0, ROLE_ROUTER, 1, EXPERTS, WIDTH, 0.04));
    TRY(weights_declare(&l->w.expert.gate, &l->table, "gate", 0, ROLE_EXPERT, EXPERTS, INNER, WIDTH, 0.04));
    TRY(weights_declare(&l->w.expert.up, &l->table, "up", 0, ROLE_EXPERT, EXPERTS, INNER, WIDTH, 0.04));
    TRY(weights_declare(&l->w.expert.down, &l->table, "down", 0, ROLE_EXPERT, EXPERTS, WIDTH, INNER, 0.03));
    TRY(weights_allocate_values(&l->table));
    TRY(weights_allocate_gradients(&l->table));
    weights_initialize(&l->table, SEED);
    l->t.training = true;
    l->t.loss_scale = 1.0 / TOKENS;
    for (ptrdiff_t i = 0; i < TOKENS * WIDTH; i++) l->x[i] = (real)random_normal((random_key){SEED, 0}, (uint64_t)i);
    return LAMP_OK;
}

static int measure_layer(bench *b, layer *l, const struct products *products, const char *precision) {
    const double flops = 18.0 * TOKENS * CHOSEN * WIDTH * INNER; /* three weights, three products each */
    bench_case c = {"", precision, b->threads, BENCH_TOKENS, TOKENS, flops, 0, run_layer, NULL, l};
    snprintf(c.name, sizeof c.name, "%d experts of %d, %d a token: %d x %d, there and back", EXPERTS, INNER, CHOSEN, TOKENS, WIDTH);
    l->t.k = b->k, l->t.products = products;
    phases_watch(&l->t);
    TRY(run_layer(l)); /* reserves memory */
    phases_clear(), l->seconds = 0;
    TRY(bench_run(b, precision, &c, 1));
    const double in_products = phase_seconds(PHASE_FORWARD) + phase_seconds(PHASE_D_INPUT) + phase_seconds(PHASE_D_WEIGHT);
    const double in_activation = phase_seconds(PHASE_ACTIVATION);
    const bench_row whole = b->row[b->n - 1];
    TRY(bench_add_part(b, "experts: products", &whole, in_products / l->seconds));
    bench_row *part = &b->row[b->n - 1];
    part->unit = BENCH_FLOPS, part->per_second = flops / part->seconds;
    part->share_of_peak = whole.share_of_peak / part->share_of_time;
    TRY(bench_add_part(b, "experts: activation", &whole, in_activation / l->seconds));
    return bench_add_part(b, "overhead: route, plan, dispatch, combine", &whole, 1 - (in_products + in_activation) / l->seconds);
}

int bench_moe(bench *b) {
    layer l = {0};
    int status;
    TRY_TO(done, open_layer(&l, b->k));
    TRY_TO(done, measure_layer(b, &l, &b->k->products, "f32"));
    if (b->k->products_bf16) TRY_TO(done, measure_layer(b, &l, b->k->products_bf16, "bf16"));
done:
    weights_release(&l.table);
    memory_free(l.x);
    if (l.t.k) tape_close(&l.t);
    return status;
}
