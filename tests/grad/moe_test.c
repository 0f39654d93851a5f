/* The layer of experts: every router in every way, with no loss, each loss and all of them, and the corners K = 1, K = E, E = 1, one token,
 * padding. The noise of a router is a function of its key, so it stands still while an element moves. */
#include "../moe/routers.h"

#include <omp.h>

#include "gradient_check.h"

enum { N = 14, D = 7, F = 3 };

typedef struct {
    moe_config c;
    moe_weights w;
    bool padded, one_table; /* tables differ in products only, which one pass over all routers checks */
} subject;

static const int32_t token[N] = {3, 0, 6, 3, 1, 3, 2, 9, 9, 4, 5, 0, 1, 2};
static const int32_t target[N] = {1, 1, -1, 1, 1, 1, -1, 1, 1, 1, 1, 1, 1, -1};

static tensor *run_moe(tape *t, problem *p) {
    static ptrdiff_t sequence_start[3];
    static token_batch batch;
    const subject *s = p->context;
    ptrdiff_t n = p->leaf[0].rows;
    sequence_start[1] = n / 2, sequence_start[2] = n;
    batch = (token_batch){n, token, s->padded ? target : NULL, 2, sequence_start};
    t->loss_scale = 0.3, t->random.seed = 5, t->random.step = 2;
    return moe(t, &p->leaf[0], &(moe_layer){&s->w, &s->c, &batch, 0}, NULL);
}

static tensor *run_dense(tape *t, problem *p) {
    const subject *s = p->context;
    return dense_mlp(t, &p->leaf[0], &s->w.expert);
}

static void check_subject(const char *name, subject s, ptrdiff_t tokens, tensor *(*forward)(tape *t, problem *p)) {
    problem p = {.name = name, .forward = forward, .context = &s, .n_tables = s.one_table};
    s.c = with_defaults(s.c);
    problem_add_leaf(&p, tokens, D);
    declare_layer(&s.w, &p.weights, &s.c, D, F);
    problem_ready(&p);
    if (s.w.bias) memset(s.w.bias->value[0], 0, sizeof(real) * (size_t)s.c.experts); /* a step function of the bias has no slope to compare */
    problem_check(&p);
    problem_release(&p);
}

static void check(const char *name, moe_config c, ptrdiff_t tokens) { check_subject(name, (subject){.c = c, .one_table = true}, tokens, run_moe); }

static void every_router(void) {
    for (int i = 0; i < N_WAYS; i++) check_subject(ways[i].name, (subject){.c = ways[i].c}, N, run_moe);
}

static bool takes(const char *kind, balance_loss loss) {
    add_prefer_odd();
    return router_takes_loss(router_find(kind), loss);
}

static void every_router_with_every_loss(void) {
    for (int i = 0; i < N_WAYS; i++) {
        subject s = {.c = ways[i].c, .padded = i % 2, .one_table = true};
        for (int loss = 0; loss < BALANCE_LOSSES; loss++) s.c.balance[loss] = takes(s.c.kind, loss) ? 0.3 + 0.1 * loss : 0;
        check_subject(ways[i].name, s, N, run_moe);
    }
}

static moe_config config(const char *kind, int experts, int top_k) {
    moe_config c = {.experts = experts, .top_k = top_k, .scale = 1};
    strcpy(c.kind, kind);
    for (int loss = 0; loss < BALANCE_LOSSES; loss++) c.balance[loss] = takes(kind, loss) ? 0.5 : 0;
    return c;
}

static void the_corners(void) {
    static const char *const kinds[] = {"softmax", "sigmoid", "noisy_top_k", "batchwise", "expert_choice", "hash"};
    for (int i = 0; i < 6; i++) {
        check("K = 1", config(kinds[i], 4, 1), N);
        check("K = E", config(kinds[i], 3, 3), N);
        check("E = 1", config(kinds[i], 1, 1), N);
        check("one token, idle experts", config(kinds[i], 6, 2), 1);
    }
    moe_config c = config("hierarchical", 6, 3);
    c.groups = c.top_groups = 3;
    check("hierarchical, all groups", c, N);
    c = config("hierarchical", 6, 2);
    c.groups = 3, c.top_groups = 1;
    check("hierarchical, all of one group", c, N);
    check("hierarchical, one token", c, 1);
}

static void dense(void) { check_subject("dense", (subject){.c = config("softmax", 1, 1)}, N, run_dense); }

static const test_case cases[] = {
    {"every router", every_router},
    {"every router with every loss", every_router_with_every_loss},
    {"the corners", the_corners},
    {"dense", dense},
};

/* One thread: a layer this small only waits for the others, and on a busy machine for minutes. */
int main(void) {
    omp_set_num_threads(1);
    return test_run("gradients of the layer of experts", cases, sizeof cases / sizeof *cases);
}
