/* Every router in every way it can be set, as rows that the laws, the gradient checks and the training tests run through; and a layer of
 * experts to run them in. A new router is tested by adding its rows. */
#ifndef TESTS_MOE_ROUTERS_H
#define TESTS_MOE_ROUTERS_H

#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "lamp.h"
#include "moe/moe.h"

typedef struct {
    const char *name;
    moe_config c;
} way;

/* 8 experts of which a token takes 2, and scale 1, where nothing else is said. */
static const way ways[] = {
    {"softmax", {.kind = "softmax"}},
    {"softmax, normalised", {.kind = "softmax", .normalize = true}},
    {"softmax, groups, scaled", {.kind = "softmax", .groups = 4, .top_groups = 2, .scale = 16}},
    {"softmax, capacity", {.kind = "softmax", .capacity = 0.75, .eval_capacity = 1}},
    {"softmax, normalised, capacity by score", {.kind = "softmax", .normalize = true, .capacity = 0.75, .drop_by_score = true}},
    {"switch", {.kind = "switch", .top_k = 1}},
    {"switch, jitter, capacity", {.kind = "switch", .top_k = 1, .jitter = 0.1, .capacity = 1, .eval_capacity = 2}},
    {"gshard", {.kind = "gshard"}},
    {"gshard, capacity", {.kind = "gshard", .capacity = 0.75}},
    {"sigmoid, one not normalised", {.kind = "sigmoid", .top_k = 1}},
    {"sigmoid, normalised, groups, bias", {.kind = "sigmoid", .normalize = true, .groups = 2, .top_groups = 1, .scale = 2.5, .bias_rate = 0.001}},
    {"sigmoid, the input weighed", {.kind = "sigmoid", .top_k = 1, .weigh_input = true}},
    {"noisy top-k", {.kind = "noisy_top_k"}},
    {"noisy top-k, capacity", {.kind = "noisy_top_k", .capacity = 0.75}},
    {"hierarchical", {.kind = "hierarchical", .groups = 4, .top_groups = 2}},
    {"hierarchical, two by two", {.kind = "hierarchical", .top_k = 4, .groups = 4, .top_groups = 2}},
    {"batchwise", {.kind = "batchwise"}},
    {"expert choice", {.kind = "expert_choice"}},
    {"hash", {.kind = "hash"}},
    {"random", {.kind = "random", .capacity = 1}},
    {"from outside", {.kind = "prefer_odd"}},
    {"from outside, normalised, capacity", {.kind = "prefer_odd", .normalize = true, .capacity = 0.75}},
    {"shared experts", {.kind = "softmax", .shared_experts = 2, .shared_size = 5}},
    {"a shared expert behind a gate", {.kind = "softmax", .shared_experts = 1, .shared_size = 7, .shared_gate = true}},
    {"inner values made again", {.kind = "softmax", .recompute = true}},
    {"ReLU experts, inner values made again", {.kind = "softmax", .normalize = true, .relu = true, .recompute = true}},
    {"biases and bounds", {.kind = "softmax", .normalize = true, .biases = true, .swiglu_limit = 0.4, .swiglu_alpha = 1.7}},
    {"biases and bounds, inner values made again",
     {.kind = "softmax", .normalize = true, .biases = true, .swiglu_limit = 0.4, .swiglu_alpha = 1.7, .recompute = true}},
    {"biases, of the router too, and ReLU", {.kind = "sigmoid", .biases = true, .relu = true}},
    {"biases, the input weighed", {.kind = "gshard", .biases = true, .weigh_input = true}},
    {"ReLU experts, one of them shared", {.kind = "softmax", .shared_experts = 1, .shared_size = 5, .relu = true}},
};
enum { N_WAYS = sizeof ways / sizeof *ways, MOST_TOKENS = 2048 };

/* A router of one's own, as a program that uses the library would add it: odd experts first, and heavier. */
static inline void prefer_odd(void *context, float *want, float *factor, const float *score, int experts) {
    (void)context;
    for (int e = 0; e < experts; e++) want[e] = score[e] + (float)(e % 2), factor[e] = e % 2 ? 1.5f : 0.5f;
}

static inline void add_prefer_odd(void) {
    static bool added;
    if (!added) EXPECT_OK(lamp_router_add("prefer_odd", prefer_odd, NULL));
    added = true;
}

static inline moe_config with_defaults(moe_config c) {
    add_prefer_odd();
    if (c.experts == 0) c.experts = 8;
    if (c.top_k == 0) c.top_k = 2;
    if (c.scale == 0) c.scale = 1;
    EXPECT_OK(router_choose(&c, "test"));
    return c;
}

/* The weights of a layer, beside the experts': declared as models/transformer.c does. */
static inline void declare_layer(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, ptrdiff_t F) {
    ptrdiff_t E = c->experts, S = c->shared_experts * c->shared_size;
    if (c->router->declare) EXPECT_OK(c->router->declare(w, table, c, D, 0, 1));
    if (!c->relu) EXPECT_OK(weights_declare(&w->expert.gate, table, "gate", 0, ROLE_EXPERT, E, F, D, 0.5));
    EXPECT_OK(weights_declare(&w->expert.up, table, "up", 0, ROLE_EXPERT, E, F, D, 0.5));
    EXPECT_OK(weights_declare(&w->expert.down, table, "down", 0, ROLE_EXPERT, E, D, F, 0.5));
    w->expert.bounds = (swiglu_bounds){(real)c->swiglu_alpha, (real)c->swiglu_limit};
    if (c->biases) {
        if (!c->relu) EXPECT_OK(weights_declare(&w->expert.gate_bias, table, "gate bias", 0, ROLE_BIAS, E, 1, F, 0));
        EXPECT_OK(weights_declare(&w->expert.up_bias, table, "up bias", 0, ROLE_BIAS, E, 1, F, 0));
        EXPECT_OK(weights_declare(&w->expert.down_bias, table, "down bias", 0, ROLE_BIAS, E, 1, D, 0));
    }
    if (S == 0) return;
    if (!c->relu) EXPECT_OK(weights_declare(&w->shared.gate, table, "shared gate", 0, ROLE_MATRIX, 1, S, D, 0.5));
    EXPECT_OK(weights_declare(&w->shared.up, table, "shared up", 0, ROLE_MATRIX, 1, S, D, 0.5));
    EXPECT_OK(weights_declare(&w->shared.down, table, "shared down", 0, ROLE_MATRIX, 1, D, S, 0.5));
    if (c->shared_gate) EXPECT_OK(weights_declare(&w->shared_gate, table, "shared expert gate", 0, ROLE_MATRIX, 1, 1, D, 1));
}

typedef struct {
    int tokens, width, inner;
} layer_size;

typedef struct {
    tape t;
    weights table;
    moe_weights w;
    moe_config c;
    tensor x;
    int32_t token[MOST_TOKENS], target[MOST_TOKENS];
    ptrdiff_t sequence_start[3]; /* two sequences, if there are two tokens */
    token_batch batch;
    real input[4096];
} test_layer;

static inline real noise(uint64_t stream, ptrdiff_t i) { return (real)(2 * random_uniform((random_key){3, stream}, (uint64_t)i) - 1); }

/* Weights and tokens are random, the same every time; routers that begin at zero are not, so that there is something to see. */
static inline void layer_open(test_layer *l, layer_size s, moe_config c) {
    const struct kernels *k;
    memset(l, 0, sizeof *l);
    l->c = with_defaults(c);
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&l->t, k));
    declare_layer(&l->w, &l->table, &l->c, s.width, s.inner);
    EXPECT_OK(weights_allocate_values(&l->table));
    EXPECT_OK(weights_allocate_gradients(&l->table));
    weights_initialize(&l->table, 1);
    for (int i = 0; i < l->table.n; i++) {
        weight *w = l->table.row[i];
        for (ptrdiff_t j = 0; j < weight_size(w) && (w->role == ROLE_ROUTER || w->role == ROLE_BIAS); j++)
            w->value[0][j] = noise(40 + (uint64_t)i, j);
    }
    l->t.loss_scale = 1.0 / s.tokens;
    l->t.random.seed = 7, l->t.random.step = 3;
    for (int i = 0; i < s.tokens * s.width; i++) l->input[i] = noise(1, i);
    for (int n = 0; n < s.tokens; n++) l->token[n] = n * n % 11, l->target[n] = 0;
    l->x = (tensor){.x = l->input, .rows = s.tokens, .cols = s.width};
    l->sequence_start[1] = s.tokens / 3, l->sequence_start[2] = s.tokens;
    l->batch = (token_batch){s.tokens, l->token, l->target, 2, l->sequence_start};
}

static inline void layer_close(test_layer *l) { weights_release(&l->table), tape_close(&l->t); }

static inline moe_layer layer_view(const test_layer *l) { return (moe_layer){&l->w, &l->c, &l->batch, 0}; }

static inline tensor *layer_run(test_layer *l, moe_trace *trace) {
    moe_layer view = layer_view(l);
    tape_reset(&l->t), l->x.dx = NULL;
    return moe(&l->t, &l->x, &view, trace);
}

static inline routing layer_route(test_layer *l) {
    moe_layer view = layer_view(l);
    tape_reset(&l->t), l->x.dx = NULL;
    return l->c.router->route(&l->t, &l->x, &view);
}

#endif
