/* One layer of experts, forward and backward: what its products take, and what it costs to be sparse (route, plan, dispatch, combine). */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "budget/bench.h"
#include "budget/bench_layer.h"
#include "budget/phases.h"

enum { TOKENS = 4096, WIDTH = 512, INNER = 1024, EXPERTS = 64, CHOSEN = 2 };

static int measure_layer(bench *b, bench_layer *l, const struct products *products, const char *precision) {
    const double flops = 18.0 * TOKENS * CHOSEN * WIDTH * INNER; /* three weights, three products each */
    bench_case c = {"", precision, b->threads, BENCH_TOKENS, TOKENS, flops, 0, bench_layer_run, NULL, l};
    snprintf(c.name, sizeof c.name, "%d experts of %d, %d a token: %d x %d, there and back", EXPERTS, INNER, CHOSEN, TOKENS, WIDTH);
    l->tape->k = b->k, l->tape->products = products;
    phases_watch(l->tape);
    TRY(bench_layer_run(l)); /* reserves memory */
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
    const moe_config c = {.experts = EXPERTS, .top_k = CHOSEN, .kind = "softmax", .normalize = true, .scale = 1, .balance[BALANCE_SWITCH] = 0.01};
    bench_layer l = {0};
    tape t = {0};
    real *x = NULL;
    int status;
    TRY_TO(done, tape_open(&t, b->k));
    TRY_TO(done, bench_layer_tokens(&x, TOKENS, WIDTH));
    TRY_TO(done, bench_layer_open(&l, &c, &t, x, TOKENS, WIDTH, INNER, NULL));
    TRY_TO(done, measure_layer(b, &l, &b->k->products, "f32"));
    if (b->k->products_bf16) TRY_TO(done, measure_layer(b, &l, b->k->products_bf16, "bf16"));
done:
    bench_layer_close(&l);
    memory_free(x);
    if (t.k) tape_close(&t);
    return status;
}
