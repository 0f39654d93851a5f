/* The laws of the layer of experts: what must hold for any weights and any tokens, and the numbers that can be worked out by hand. */
#include "routers.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 4096 }; /* numbers in x and y of any case here */

typedef struct {
    int tokens, width, inner, experts, chosen;
} sizes;

static const sizes shapes[] = {{1, 8, 5, 4, 2}, {7, 19, 13, 5, 2}, {33, 16, 24, 8, 1}, {20, 12, 9, 6, 6}, {64, 17, 31, 16, 4}, {3, 1, 1, 2, 1}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void open(test_layer *l, const sizes *s, moe_config c) {
    strcpy(c.kind, "softmax");
    c.experts = s->experts, c.top_k = s->chosen, c.scale = 1;
    layer_open(l, (layer_size){s->tokens, s->width, s->inner}, c);
}

static void clear(weight *w) { memset(w->value[0], 0, sizeof(real) * (size_t)weight_size(w)); }

static const real *run(test_layer *l, moe_trace *trace) { return layer_run(l, trace)->x; }

/* y = sum_k w_k E_k(x), as the paper writes it */
static void naive(const test_layer *l, double *y) {
    ptrdiff_t D = l->w.expert.down->out, F = l->w.expert.down->in;
    int E = (int)l->c.experts;
    for (ptrdiff_t n = 0; n < l->x.rows; n++) {
        const real *x = l->input + n * D;
        double p[64], sum = 0, chosen_sum = 0;
        bool chosen[64] = {false};
        for (int e = 0; e < E; e++) {
            double logit = 0;
            for (ptrdiff_t d = 0; d < D; d++) logit += (double)l->w.router->value[0][e * D + d] * (double)x[d];
            sum += p[e] = exp(logit);
        }
        for (int k = 0; k < l->c.top_k; k++) {
            int best = -1;
            for (int e = 0; e < E; e++)
                if (!chosen[e] && (best < 0 || p[e] > p[best])) best = e;
            chosen[best] = true, chosen_sum += p[best];
        }
        for (ptrdiff_t d = 0; d < D; d++) y[n * D + d] = 0;
        for (int e = 0; e < E; e++)
            for (ptrdiff_t f = 0; f < F && chosen[e]; f++) {
                double g = 0, u = 0;
                for (ptrdiff_t d = 0; d < D; d++) {
                    g += (double)l->w.expert.gate->value[e][f * D + d] * (double)x[d];
                    u += (double)l->w.expert.up->value[e][f * D + d] * (double)x[d];
                }
                double a = g / (1 + exp(-g)) * u * p[e] / (l->c.normalize ? chosen_sum : sum);
                for (ptrdiff_t d = 0; d < D; d++) y[n * D + d] += a * (double)l->w.expert.down->value[e][d * F + f];
            }
    }
}

static bool near(double a, double b, double relative) { return fabs(a - b) <= relative * (1 + fabs(b)); }

static void the_layer_equals_its_equation(void) {
    static double y[MOST];
    static test_layer l;
    for (int i = 0; i < 2 * N_SHAPES; i++) {
        const sizes *s = &shapes[i / 2];
        open(&l, s, (moe_config){.normalize = i % 2});
        const real *found = run(&l, NULL);
        naive(&l, y);
        for (int j = 0; j < s->tokens * s->width; j++)
            EXPECT(near((double)found[j], y[j], 2e-6), "%d of %d experts, element %d: %.8g, expected %.8g", s->chosen, s->experts, j,
                   (double)found[j], y[j]);
        layer_close(&l);
    }
}

/* What training keeps of a layer: gate and up of each pair, and beside them only what is D or E wide, or one number a pair. */
static void kept_are_two_inner_widths_a_pair(void) {
    static test_layer l;
    const sizes s = {64, 16, 60, 8, 4};
    open(&l, &s, (moe_config){.normalize = true});
    l.t.training = true;
    run(&l, NULL);
    const double kept = (double)l.t.kept.used / sizeof(real) / s.tokens, pairs = 2.0 * s.chosen * s.inner;
    const double small = s.width + 4 * s.experts + 16 * s.chosen + 64;
    EXPECT(kept >= pairs && kept <= pairs + small, "%.1f numbers a token: 2 K F is %.1f, and %.1f would be small change", kept, pairs, small);
    layer_close(&l);
}

/* With K = E nothing is left out: the chosen probabilities already sum to one. */
static void all_experts_are_the_dense_mixture(void) {
    static test_layer l;
    real plain[MOST];
    const sizes s = {20, 12, 9, 6, 6};
    open(&l, &s, (moe_config){0});
    memcpy(plain, run(&l, NULL), sizeof(real) * 20 * 12);
    l.c.normalize = true;
    const real *normalized = run(&l, NULL);
    for (int i = 0; i < 20 * 12; i++)
        EXPECT(near((double)plain[i], (double)normalized[i], 1e-6), "element %d: %g and %g", i, (double)plain[i], (double)normalized[i]);
    layer_close(&l);
}

static void kept_and_dropped_pairs_are_all_pairs(void) {
    static test_layer l;
    for (int i = 0; i < N_SHAPES; i++) {
        moe_trace trace;
        open(&l, &shapes[i], (moe_config){0});
        EXPECT_OK(moe_trace_open(&trace, 1, shapes[i].experts));
        run(&l, &trace), run(&l, &trace);
        int64_t pairs = trace.dropped[0];
        for (int e = 0; e < shapes[i].experts; e++) pairs += trace.load[e];
        EXPECT(pairs == 2 * shapes[i].tokens * shapes[i].chosen, "shape %d: %lld pairs of two passes", i, (long long)pairs);
        moe_trace_close(&trace);
        layer_close(&l);
    }
}

/* A token may have any number of pairs: 0 to 3 here. */
static void random_routing(routing *r, tape *t, ptrdiff_t N, int experts, uint64_t seed) {
    int32_t *expert = tape_keep(t, sizeof *expert * (size_t)(3 * N)), *token = tape_keep(t, sizeof *token * (size_t)(3 * N));
    ptrdiff_t *start = tape_keep(t, sizeof *start * (size_t)(N + 1)), pairs = 0;
    random_key key = {seed, 9};
    start[0] = 0;
    for (ptrdiff_t n = 0; n < N; n++) {
        for (uint64_t left = random_below(key, (uint64_t)n, 4); left > 0; left--, pairs++)
            expert[pairs] = (int32_t)random_below(key, (uint64_t)(N + pairs), (uint64_t)experts), token[pairs] = (int32_t)n;
        start[n + 1] = pairs;
    }
    *r = (routing){.tokens = N, .pairs = pairs, .weights = tape_tensor(t, pairs, 1), .expert = expert, .token = token, .token_start = start};
    for (ptrdiff_t i = 0; i < pairs; i++) r->weights->x[i] = noise(seed, i);
}

/* Experts that hand back their token, weighted: combine(dispatch(x)) = (sum of the token's weights) x. */
static void dispatch_then_combine_is_the_identity(void) {
    const struct kernels *k;
    tape t;
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&t, k));
    for (uint64_t seed = 0; seed < 60; seed++) {
        ptrdiff_t N = 1 + (ptrdiff_t)(seed * 7 % 90), D = 1 + (ptrdiff_t)(seed * 5 % 23);
        int experts = 1 + (int)(seed * 11 % 40);
        bool unit = seed % 2;
        routing r;
        tape_reset(&t);
        random_routing(&r, &t, N, experts, seed);
        moe_plan p = plan_build(&t, &r, experts);
        plan_check(&p, &r);
        EXPECT(p.rows == r.pairs, "%td rows of %td pairs", p.rows, r.pairs);
        tensor *x = tape_tensor(&t, N, D), *rows = dispatch(&t, x, &p, &r), out = {.x = tape_borrow(&t, p.rows * D), .rows = p.rows, .cols = D};
        for (ptrdiff_t i = 0; i < N * D; i++) x->x[i] = noise(50 + seed, i);
        for (ptrdiff_t i = 0; i < p.rows * D; i++) out.x[i] = (unit ? 1 : r.weights->x[p.pair[i / D]]) * rows->x[rows->row[i / D] * D + i % D];
        const real *y = combine(&t, &out, &p, &r)->x;
        for (ptrdiff_t i = 0; i < N * D; i++) {
            double sum = 0;
            for (ptrdiff_t pair = r.token_start[i / D]; pair < r.token_start[i / D + 1]; pair++) sum += unit ? 1 : (double)r.weights->x[pair];
            EXPECT(near((double)y[i], sum * (double)x->x[i], unit ? 2e-7 : 1e-6), "element %td: %g, expected %g", i, (double)y[i],
                   sum * (double)x->x[i]);
        }
    }
    tape_close(&t);
}

static void weights_are_probabilities_or_sum_to_one(void) {
    static test_layer l;
    for (int i = 0; i < 2 * N_SHAPES; i++) {
        bool normalize = i % 2;
        open(&l, &shapes[i / 2], (moe_config){.normalize = normalize});
        routing r = layer_route(&l);
        int E = (int)l.c.experts;
        EXPECT(r.pairs == l.x.rows * l.c.top_k, "%td pairs", r.pairs);
        for (ptrdiff_t n = 0; n < l.x.rows; n++) {
            double sum = 0, least = INFINITY;
            bool chosen[64] = {false};
            for (ptrdiff_t j = r.token_start[n]; j < r.token_start[n + 1]; j++) {
                real p = r.probabilities->x[n * E + r.expert[j]];
                sum += (double)r.weights->x[j], least = fmin(least, (double)p);
                EXPECT(r.token[j] == n && !chosen[r.expert[j]], "pair %td of token %td: token %d, expert %d", j, n, r.token[j], r.expert[j]);
                EXPECT(normalize || r.weights->x[j] == p, "weight %g, probability %g", (double)r.weights->x[j], (double)p);
                chosen[r.expert[j]] = true;
            }
            EXPECT(!normalize || near(sum, 1, 1e-6), "weights of token %td sum to %g", n, sum);
            for (int e = 0; e < E; e++) EXPECT(chosen[e] || (double)r.probabilities->x[n * E + e] <= least, "token %td left out expert %d", n, e);
        }
        layer_close(&l);
    }
}

/* One token of width 1, so that the router's weights are its logits. */
static void golden_numbers_hold(void) {
    static const double softmax[] = {.429481, .260493, .117047, .192978};
    static const real logits[] = {(real)1, (real).5, (real)-.3, (real).2};
    static test_layer l;
    open(&l, &(sizes){1, 1, 3, 4, 2}, (moe_config){.normalize = true});
    l.input[0] = 1;
    memcpy(l.w.router->value[0], logits, sizeof logits);
    routing r = layer_route(&l);
    for (int e = 0; e < 4; e++) EXPECT(fabs((double)r.probabilities->x[e] - softmax[e]) < 1e-6, "p[%d] = %g", e, (double)r.probabilities->x[e]);
    EXPECT(r.expert[0] == 0 && r.expert[1] == 1, "chose %d and %d", r.expert[0], r.expert[1]);
    l.t.training = true;
    balance_terms[BALANCE_Z].add(&l.t, &r, &l.batch, "z", 0.5);
    EXPECT(near(tape_loss(&l.t, "z"), 0.5 * 3.4046805605, 1e-6), "z-loss %.10g", tape_loss(&l.t, "z"));
    layer_close(&l);
}

/* A router of zeros: every probability is 1 / E, every token takes experts 0 .. K - 1, and the loss stands at its minimum of 1. */
static void a_uniform_router_has_the_least_switch_loss(void) {
    static test_layer l;
    for (int i = 0; i < N_SHAPES; i++) {
        open(&l, &shapes[i], (moe_config){.balance[BALANCE_SWITCH] = 0.25});
        l.t.training = true;
        run(&l, NULL);
        double random = tape_loss(&l.t, "switch") / 0.25;
        EXPECT(shapes[i].chosen == shapes[i].experts ? near(random, 1, 1e-6) : random > 1.001, "a random router's loss is %g", random);
        clear(l.w.router);
        run(&l, NULL);
        EXPECT(near(tape_loss(&l.t, "switch"), 0.25, 1e-6), "a uniform router's loss is %g", tape_loss(&l.t, "switch"));
        l.t.training = false;
        run(&l, NULL);
        EXPECT(l.t.n_losses == 0, "%d losses without training", l.t.n_losses);
        layer_close(&l);
    }
}

static void ties_go_to_the_lower_expert(void) {
    static test_layer l;
    for (int i = 0; i < N_SHAPES; i++) {
        open(&l, &shapes[i], (moe_config){0});
        clear(l.w.router);
        routing r = layer_route(&l);
        for (ptrdiff_t j = 0; j < r.pairs; j++) EXPECT(r.expert[j] == j % l.c.top_k, "choice %td is expert %d", j % l.c.top_k, r.expert[j]);
        layer_close(&l);
    }
}

/* Zero router and K = 1: all tokens to expert 0. The others must learn nothing, and say nothing. */
static void idle_experts_are_harmless(void) {
    static double y[MOST];
    static test_layer l;
    const sizes s = {40, 10, 7, 5, 1};
    const weight *parts[3];
    open(&l, &s, (moe_config){.balance[BALANCE_SWITCH] = 0.1, .balance[BALANCE_Z] = 0.1});
    clear(l.w.router);
    l.t.training = true;
    tensor *out = layer_run(&l, NULL);
    naive(&l, y);
    for (int i = 0; i < 400; i++) EXPECT(near((double)out->x[i], y[i], 2e-6), "element %d: %g, expected %g", i, (double)out->x[i], y[i]);
    for (int i = 0; i < 400; i++) tape_gradient(&l.t, out)[i] = noise(2, i);
    tape_backward(&l.t);
    parts[0] = l.w.expert.gate, parts[1] = l.w.expert.up, parts[2] = l.w.expert.down;
    for (int p = 0; p < 3; p++)
        for (ptrdiff_t i = 0; i < weight_size(parts[p]); i++) {
            bool idle = i >= parts[p]->out * parts[p]->in;
            EXPECT((parts[p]->step->gradient[i] == 0) == idle, "%s, element %td: gradient %g", parts[p]->kind, i,
                   (double)parts[p]->step->gradient[i]);
        }
    layer_close(&l);
}

static void outputs_follow_their_tokens(void) {
    static test_layer l;
    real straight[MOST];
    const sizes s = {50, 16, 11, 7, 2};
    open(&l, &s, (moe_config){.normalize = true});
    memcpy(straight, run(&l, NULL), sizeof(real) * 50 * 16);
    for (uint64_t n = 0; n < 50; n++) {
        uint64_t to = random_permute((random_key){1, 1}, n, 50);
        for (uint64_t d = 0; d < 16; d++) l.input[to * 16 + d] = noise(1, (ptrdiff_t)(n * 16 + d));
    }
    const real *moved = run(&l, NULL);
    for (uint64_t n = 0; n < 50; n++) {
        uint64_t to = random_permute((random_key){1, 1}, n, 50);
        for (uint64_t d = 0; d < 16; d++)
            EXPECT(near((double)moved[to * 16 + d], (double)straight[n * 16 + d], 1e-6), "token %d, moved to %d, changed", (int)n, (int)to);
    }
    layer_close(&l);
}

/* Without capacity a token's output is its own affair: alone, in a crowd, or beside a token of NaN. */
static void tokens_do_not_disturb_each_other(void) {
    static test_layer l;
    real together[MOST];
    const sizes s = {50, 16, 11, 7, 2};
    open(&l, &s, (moe_config){0});
    memcpy(together, run(&l, NULL), sizeof(real) * 50 * 16);
    for (int n = 0; n < 50; n += 7) {
        l.x.x = l.input + n * 16, l.x.rows = l.batch.n_tokens = 1;
        const real *alone = run(&l, NULL);
        for (int d = 0; d < 16; d++) EXPECT(near((double)alone[d], (double)together[n * 16 + d], 1e-6), "token %d alone", n);
    }
    l.x.x = l.input, l.x.rows = l.batch.n_tokens = 50, l.input[20 * 16 + 3] = (real)NAN;
    const real *disturbed = run(&l, NULL);
    for (int i = 0; i < 50 * 16; i++) {
        double now = (double)disturbed[i], then = (double)together[i];
        EXPECT(i / 16 == 20 ? isnan(now) : near(now, then, 1e-6), "token %d, token 20 being NaN: %g, before %g", i / 16, now, then);
    }
    layer_close(&l);
}

static void a_layer_is_summarised(void) {
    static const struct {
        int64_t load[4], dropped;
        moe_summary expected;
    } table[] = {
        {{4, 4, 4, 4}, 0, {1, 0, 0, 1, 4, 0, 0, 0, {0, 0, 0, 0, 0, 0, 0}}},
        {{8, 0, 0, 0}, 0, {4, 1.7320508, 1.7320508, 0, 1, 3, 0, 0, {0, 0, 0, 0, 0, 0, 0}}},
        {{3, 1, 2, 2}, 2, {1.5, 0.3535534, 0.3535534, 0.9528200, 3.7467423, 0, 0, 0.2, {0, 0, 0, 0, 0, 0, 0}}},
        {{0, 0, 5, 5}, 0, {2, 1, 1, 0.5, 2, 2, 0, 0, {0, 0, 0, 0, 0, 0, 0}}},
        {{99, 1, 100, 0}, 0, {2, 0.9900505, 0.9900505, 0.5201983, 2.0567930, 1, 1, 0, {0, 0, 0, 0, 0, 0, 0}}},
        {{0, 0, 0, 0}, 0, {0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0, 0}}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        moe_trace trace, twice;
        EXPECT_OK(moe_trace_open(&trace, 2, 4));
        EXPECT_OK(moe_trace_open(&twice, 2, 4));
        for (int e = 0; e < 4; e++) trace.load[4 + e] = table[i].load[e], trace.importance[4 + e] = 0.3 * (double)table[i].load[e];
        trace.dropped[1] = trace.pairs[1] = table[i].dropped;
        for (int e = 0; e < 4; e++) trace.pairs[1] += table[i].load[e];
        moe_trace_add(&twice, &trace), moe_trace_add(&twice, &trace);
        moe_summary once = moe_trace_summarize(&trace, 1), s = moe_trace_summarize(&twice, 1);
        const moe_summary *x = &table[i].expected;
        EXPECT(near(s.load_max_over_mean, x->load_max_over_mean, 1e-6), "row %zu: max over mean %g", i, s.load_max_over_mean);
        EXPECT(near(s.load_cv, x->load_cv, 1e-6) && near(s.importance_cv, x->importance_cv, 1e-6), "row %zu: CV %g, %g", i, s.load_cv,
               s.importance_cv);
        EXPECT(near(s.entropy, x->entropy, 1e-6) && near(s.effective_experts, x->effective_experts, 1e-5), "row %zu: entropy %.9g, as %.9g experts",
               i, s.entropy, s.effective_experts);
        EXPECT(s.dead == x->dead && s.starved == x->starved, "row %zu: %d dead, %d starved", i, s.dead, s.starved);
        EXPECT(near(s.dropped, x->dropped, 1e-6) && near(once.load_cv, s.load_cv, 1e-12), "row %zu: dropped %g", i, s.dropped);
        moe_trace_clear(&twice);
        EXPECT(twice.load[5] == 0 && twice.importance[5] == 0 && twice.dropped[1] == 0, "row %zu: not cleared", i);
        moe_trace_close(&trace), moe_trace_close(&twice);
    }
}

static void count_pairs(void *context, int at, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *share) {
    (void)token, (void)expert, (void)share;
    *(ptrdiff_t *)context += at == 1 ? pairs : 1000;
}

/* Pairs of three tokens, of which the last is padding and one other was dropped. */
static void a_trace_counts_what_was_kept_and_what_was_not(void) {
    static int32_t token[] = {0, 0, 1, 2}, expert[] = {0, 3, 0, 2};
    static const int32_t target[] = {5, 5, -1};
    static int64_t chosen[] = {2, 0, 0, 1};
    static ptrdiff_t start[] = {0, 2, 3, 4}, start_of_kept[] = {0, 1, 2, 3};
    real shares[] = {(real)0.75, (real)0.25, (real)0.5, 1};
    tensor weights_of_all = {.x = shares, .rows = 4, .cols = 1}, weights_of_kept = {.x = shares + 1, .rows = 3, .cols = 1};
    routing all = {.tokens = 3, .pairs = 4, .token = token, .token_start = start, .expert = expert, .weights = &weights_of_all, .chosen = chosen};
    routing kept = {.tokens = 3, .pairs = 3, .token = token + 1, .token_start = start_of_kept, .expert = expert + 1, .weights = &weights_of_kept};
    token_batch batch = {.n_tokens = 3, .target = target};
    ptrdiff_t seen = 0;
    moe_trace trace;
    EXPECT_OK(moe_trace_open(&trace, 2, 4));
    trace.watch = count_pairs, trace.watch_context = &seen;
    moe_trace_record(&trace, 1, &all, &kept, &batch);
    const int64_t *sum = moe_trace_record(&trace, 1, &all, &kept, &batch);
    EXPECT(trace.load[4] == 2 && trace.load[7] == 2 && trace.load[6] == 0, "loads %d, %d, %d", (int)trace.load[4], (int)trace.load[7],
           (int)trace.load[6]);
    EXPECT(trace.dropped[1] == 2 && trace.dropped[0] == 0, "dropped %d", (int)trace.dropped[1]);
    EXPECT(sum == trace.chosen + 4 && sum[0] == 4 && sum[3] == 2, "chosen %d and %d", (int)sum[0], (int)sum[3]);
    EXPECT(near(trace.importance[4], 1, 1e-6) && near(trace.importance[7], 0.5, 1e-6), "importances %g, %g", trace.importance[4],
           trace.importance[7]);
    EXPECT(trace.pairs[1] == 6, "%d pairs", (int)trace.pairs[1]);
    EXPECT_OK(moe_trace_check(&trace));
    EXPECT(seen == 6, "the watcher saw %td pairs", seen);
    moe_trace_close(&trace);
}

/* Gradients of all experts, in the order of the weights table. */
typedef struct {
    real *gradients;
    int parts;
} gathered;

static void multiply_factors(real *gradient, const weight *w, const gradient_part *p) {
    for (int e = 0; e < p->groups; e++, gradient += w->out * w->in)
        for (ptrdiff_t r = p->rows.start[e]; r < p->rows.start[e + 1]; r++) {
            const real *dy = p->dy.x + (p->dy.row ? p->dy.row[r] : r) * w->out, *x = p->x.x + (p->x.row ? p->x.row[r] : r) * w->in;
            for (ptrdiff_t i = 0; i < w->out * w->in; i++) gradient[i] += dy[i / w->in] * x[i % w->in];
        }
}

static void gather_part(void *context, const weight *w, const gradient_part *part) {
    gathered *g = context;
    const ptrdiff_t size = w->out * w->in;
    real *gradients = g->gradients + w->offset + part->first * size;
    if (w->role != ROLE_EXPERT) return;
#pragma omp atomic
    g->parts++;
    if (part->gradient) memcpy(gradients, part->gradient, sizeof(real) * (size_t)(part->groups * size));
    else multiply_factors(gradients, w, part);
}

static void check_parts(const sizes *s, int parts_expected, bool relu, bool recompute, bool bf16) {
    static test_layer l;
    ptrdiff_t total = 0;
    real *gradients[3] = {NULL}, y[3][MOST], dx[3][MOST];
    const int times = bf16 ? 2 : 3; /* the third as factors, which stay real where others are rounded */
    for (int passing = 0; passing < times; passing++) {
        open(&l, s, (moe_config){.normalize = true, .relu = relu, .recompute = recompute});
        gradients[passing] = calloc((size_t)l.table.total, sizeof(real));
        gathered g = {gradients[passing], 0};
        if (bf16 && l.t.k->products_bf16) l.t.products = l.t.k->products_bf16;
        for (int i = 0; i < l.table.n; i++) l.table.row[i]->step->passing = passing && l.table.row[i]->role == ROLE_EXPERT;
        weights_zero_gradients(&l.table);
        l.t.training = true, l.t.gradient_ready = gather_part, l.t.ready_context = &g, l.t.takes_factors = passing == 2;
        tensor *out = layer_run(&l, NULL);
        memcpy(y[passing], out->x, sizeof *y);
        memcpy(tape_gradient(&l.t, out), l.input, sizeof *y);
        tape_backward(&l.t);
        memcpy(dx[passing], l.x.dx, sizeof *dx);
        EXPECT(g.parts == (passing ? parts_expected : 1) * (relu ? 2 : 3), "%d parts", g.parts);
        total = l.table.total;
        layer_close(&l);
    }
    for (int i = 1; i < times; i++) EXPECT(!memcmp(y[0], y[i], sizeof *y) && !memcmp(dx[0], dx[i], sizeof *dx), "outputs or their gradients differ");
    EXPECT(!memcmp(gradients[0], gradients[1], sizeof(real) * (size_t)total), "gradients of experts differ");
    for (ptrdiff_t i = 0; i < total && times == 3; i++)
        EXPECT(near((double)gradients[2][i], (double)gradients[0][i], 1e-6), "element %td: %g as factors, expected %g", i, (double)gradients[2][i],
               (double)gradients[0][i]);
    for (int i = 0; i < times; i++) free(gradients[i]);
}

/* Of 150 experts a part has sixteen; some of them have no rows. Forward goes through the same parts. With seventy choices a token there are rows enough
 * for slices of a few experts where there are no parts. Of three experts with 2048 rows each a part has all, unless memory is short. */
static void gradients_that_come_in_parts_are_the_same(void) {
    const sizes many = {32, 128, 128, 150, 12}, often = {32, 128, 128, 150, 70}, crowded = {2048, 2, 3, 3, 3};
    for (int kind = 0; kind < 8; kind++) {
        const bool relu = kind % 2, recompute = kind / 2 % 2, bf16 = kind / 4;
        check_parts(&many, 10, relu, recompute, bf16);
        if (relu == recompute) check_parts(&often, 10, relu, recompute, bf16);
        check_parts(&crowded, recompute ? 2 : 1, relu, recompute, bf16);
    }
}

/* Tokens first .. first + n forth and back, with a gradient that is the input. */
static void pass_tokens(test_layer *l, int first, int n, real *y, real *dx) {
    const ptrdiff_t D = l->x.cols;
    l->x = (tensor){.x = l->input + first * D, .rows = n, .cols = D};
    l->batch.n_tokens = n;
    l->t.training = true;
    tensor *out = layer_run(l, NULL);
    memcpy(y + first * D, out->x, sizeof(real) * (size_t)(n * D));
    memcpy(tape_gradient(&l->t, out), l->x.x, sizeof(real) * (size_t)(n * D));
    tape_backward(&l->t);
    memcpy(dx + first * D, l->x.dx, sizeof(real) * (size_t)(n * D));
}

/* 3900 pairs go through the layer in slices, pieces of its three experts; 1950 do not. Nor does a bit change where inner values are made again. */
static void slices_change_no_bit_of_a_token(void) {
    static test_layer l;
    static real y[2][MOST], dx[2][MOST], of_kept[2][MOST];
    const sizes s = {1300, 3, 5, 3, 3};
    for (int kind = 0; kind < 8; kind++) {
        ptrdiff_t total = 0;
        real *gradients = NULL;
        for (int whole = 0; whole < 2; whole++) {
            open(&l, &s, (moe_config){.normalize = true, .relu = kind % 2, .recompute = kind / 2 % 2});
            if (kind / 4 && l.t.k->products_bf16) l.t.products = l.t.k->products_bf16;
            weights_zero_gradients(&l.table);
            if (whole) pass_tokens(&l, 0, 1300, y[1], dx[1]);
            else pass_tokens(&l, 0, 650, y[0], dx[0]), pass_tokens(&l, 650, 650, y[0], dx[0]);
            total = l.table.total;
            if (!whole) gradients = calloc((size_t)total, sizeof(real));
            for (int i = 0; i < l.table.n; i++) {
                const weight *w = l.table.row[i];
                for (ptrdiff_t j = 0; j < weight_size(w) && w->step->written; j++)
                    if (!whole) gradients[w->offset + j] = w->step->gradient[j];
                    else EXPECT(near((double)w->step->gradient[j], (double)gradients[w->offset + j], 1e-5), "kind %d, %s, element %td: %g and %g", kind,
                                w->kind, j, (double)w->step->gradient[j], (double)gradients[w->offset + j]);
            }
            layer_close(&l);
            if (whole) free(gradients);
        }
        EXPECT(!memcmp(y[0], y[1], sizeof *y) && !memcmp(dx[0], dx[1], sizeof *dx), "kind %d: outputs or their gradients differ", kind);
        if (kind / 2 % 2 == 0) memcpy(of_kept[kind % 2], dx[1], sizeof *dx);
        else EXPECT(!memcmp(of_kept[kind % 2], dx[1], sizeof *dx), "kind %d: gradients differ from those of kept values", kind);
    }
}

static const test_case cases[] = {
    {"kept are two inner widths a pair", kept_are_two_inner_widths_a_pair},
    {"the layer equals its equation", the_layer_equals_its_equation},
    {"all experts are the dense mixture", all_experts_are_the_dense_mixture},
    {"kept and dropped pairs are all pairs", kept_and_dropped_pairs_are_all_pairs},
    {"dispatch then combine is the identity", dispatch_then_combine_is_the_identity},
    {"weights are probabilities or sum to one", weights_are_probabilities_or_sum_to_one},
    {"golden numbers hold", golden_numbers_hold},
    {"a uniform router has the least Switch loss", a_uniform_router_has_the_least_switch_loss},
    {"ties go to the lower expert", ties_go_to_the_lower_expert},
    {"gradients that come in parts are the same", gradients_that_come_in_parts_are_the_same},
    {"slices change no bit of a token", slices_change_no_bit_of_a_token},
    {"idle experts are harmless", idle_experts_are_harmless},
    {"outputs follow their tokens", outputs_follow_their_tokens},
    {"tokens do not disturb each other", tokens_do_not_disturb_each_other},
    {"a layer is summarised", a_layer_is_summarised},
    {"a trace counts what was kept and what was not", a_trace_counts_what_was_kept_and_what_was_not},
};

int main(void) { return test_run("laws of the layer of experts", cases, sizeof cases / sizeof *cases); }
