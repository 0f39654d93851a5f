/* The layer of experts: every balance loss, weights normalised or not, and the corners K = 1, K = E, one token, experts without tokens. */
#include "moe/moe.h"

#include "../test.h"
#include "gradient_check.h"

enum { N = 7, D = 19, F = 13 };

static moe_weights view(problem *p) { return (moe_weights){p->w[0], p->w[1], p->w[2], p->w[3]}; }

static tensor *run_moe(tape *t, problem *p) {
    moe_weights w = view(p);
    t->loss_scale = 0.3;
    return moe(t, &p->leaf[0], &w, p->context, NULL, 0);
}

static tensor *run_dense(tape *t, problem *p) {
    moe_weights w = view(p);
    return dense_mlp(t, &p->leaf[0], &w);
}

static void check(const char *name, moe_config c, ptrdiff_t tokens) {
    problem p = {.name = name, .forward = c.experts > 1 ? run_moe : run_dense, .context = &c};
    problem_add_leaf(&p, tokens, D);
    if (c.experts > 1) p.w[0] = problem_add_weight(&p, "router", ROLE_ROUTER, 1, c.experts, D);
    p.w[1] = problem_add_weight(&p, "gate", ROLE_EXPERT, c.experts, F, D);
    p.w[2] = problem_add_weight(&p, "up", ROLE_EXPERT, c.experts, F, D);
    p.w[3] = problem_add_weight(&p, "down", ROLE_EXPERT, c.experts, D, F);
    problem_ready(&p);
    problem_check(&p);
    problem_release(&p);
}

static void probabilities(void) { check("probabilities as weights", (moe_config){5, 2, false, 0, 0}, N); }
static void normalized(void) { check("normalised weights", (moe_config){5, 2, true, 0, 0}, N); }
static void switch_loss(void) { check("switch loss", (moe_config){5, 2, true, 0.7, 0}, N); }
static void z_loss(void) { check("z-loss", (moe_config){5, 2, false, 0, 0.9}, N); }
static void both_losses(void) { check("both losses", (moe_config){5, 2, false, 0.7, 0.9}, N); }
static void one_of_many(void) { check("K = 1", (moe_config){4, 1, false, 0.7, 0}, N); }
static void all_of_them(void) { check("K = E", (moe_config){3, 3, true, 0.7, 0}, N); }
static void one_token(void) { check("one token, idle experts", (moe_config){6, 2, true, 0.7, 0.9}, 1); }
static void dense(void) { check("dense", (moe_config){1, 1, false, 0, 0}, N); }

static const test_case cases[] = {
    {"probabilities as weights", probabilities}, {"normalised weights", normalized}, {"switch loss", switch_loss},
    {"z-loss", z_loss},                          {"both losses", both_losses},       {"K = 1", one_of_many},
    {"K = E", all_of_them},                      {"one token", one_token},           {"dense", dense},
};

int main(void) { return test_run("gradients of the layer of experts", cases, sizeof cases / sizeof *cases); }
