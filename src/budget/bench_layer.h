/* One layer of experts on its own, as benchmarks run it: forward, backward and, where it has an optimiser, the update. */
#ifndef BENCH_LAYER_H
#define BENCH_LAYER_H

#include "kernels/kernels.h"
#include "moe/moe.h"
#include "optim/optimizer.h"

typedef struct {
    moe_config config;
    ptrdiff_t tokens, width, inner;
    weights table;
    moe_weights w;
    optimizer optimizer;
    tape *tape;     /* borrowed, with its kernels and products; layers may share it, as they run one at a time */
    const real *x;  /* borrowed: (tokens, width) */
    double seconds; /* in all runs */
} bench_layer;

/* c: its router is named by c->kind. t and x are borrowed. With an optimiser, experts are updated as their gradients come. */
int bench_layer_open(bench_layer *l, const moe_config *c, tape *t, const real *x, ptrdiff_t tokens, ptrdiff_t width, ptrdiff_t inner,
                     const optimizer_config *updated_by);
void bench_layer_close(bench_layer *l);

/* context: the layer. Forward, backward, update. */
int bench_layer_run(void *context);

/* Normal tokens: (tokens, width) */
int bench_layer_tokens(real **x, ptrdiff_t tokens, ptrdiff_t width);

#endif
