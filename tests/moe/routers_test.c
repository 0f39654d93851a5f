/* The laws of routing: what must hold for every router in every way it can be set, and the numbers known of each. */
#include "routers.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>

enum { N = 40, D = 16, F = 9 };
static const layer_size size = {N, D, F};

static bool near(double a, double b, double relative) { return fabs(a - b) <= relative * (1 + fabs(b)); }

/* Runs `check` on every way, in training and otherwise. */
static void for_every_way(void (*check)(const char *name, test_layer *l)) {
    static test_layer l;
    for (int i = 0; i < 2 * N_WAYS; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s, %s", ways[i / 2].name, i % 2 ? "training" : "not training");
        layer_open(&l, size, ways[i / 2].c);
        l.t.training = i % 2;
        check(name, &l);
        layer_close(&l);
    }
}

static void every_router_has_a_row(void) {
    const struct router *const *table;
    int n = router_table(&table);
    for (int i = 0; i < n; i++) {
        bool found = false;
        for (int j = 0; j < N_WAYS; j++) found |= !strcmp(ways[j].c.kind, table[i]->name);
        EXPECT(found, "router %s is not tested", table[i]->name);
    }
}

static void check_pairs(const char *name, test_layer *l) {
    routing r = layer_route(l);
    int E = (int)l->c.experts;
    bool own_number = l->t.training && l->c.router->looks_ahead;
    EXPECT(r.tokens == N && r.token_start[0] == 0 && r.token_start[N] == r.pairs, "%s: %td pairs of %td tokens", name, r.token_start[N], r.tokens);
    for (ptrdiff_t n = 0; n < N; n++) {
        double sum = 0;
        bool chosen[64] = {false};
        ptrdiff_t pairs = r.token_start[n + 1] - r.token_start[n];
        for (ptrdiff_t i = r.token_start[n]; i < r.token_start[n + 1]; i++) {
            EXPECT(r.token[i] == n && r.expert[i] >= 0 && r.expert[i] < E && !chosen[r.expert[i]], "%s: pair %td is token %d, expert %d", name, i,
                   r.token[i], r.expert[i]);
            EXPECT(r.weights->x[i] > 0, "%s: weight %g", name, (double)r.weights->x[i]);
            chosen[r.expert[i]] = true, sum += (double)r.weights->x[i];
        }
        bool gshard = l->c.router == &router_gshard, thresholds = l->c.router == &router_batchwise;
        if (!own_number && !gshard && !thresholds) EXPECT(pairs == l->c.top_k, "%s: token %td has %td pairs", name, n, pairs);
        if (gshard) EXPECT(pairs == 2 || (l->t.training && pairs == 1), "%s: token %td has %td pairs", name, n, pairs);
        if (l->c.normalize && !l->c.router->normalizes_kept && pairs > 0)
            EXPECT(near(sum, l->c.scale, 1e-6), "%s: the weights of token %td sum to %g", name, n, sum);
    }
    for (ptrdiff_t n = 0; r.probabilities && n < N; n++) {
        double sum = 0;
        for (ptrdiff_t m = 0; m < r.probabilities->cols; m++) sum += (double)r.probabilities->x[n * r.probabilities->cols + m];
        EXPECT(near(sum, 1, 1e-6), "%s: the probabilities of token %td sum to %g", name, n, sum);
    }
    EXPECT(r.fixed == !r.probabilities && r.fixed == !r.logits, "%s: has %s", name, r.fixed ? "probabilities" : "none");
    EXPECT(r.experts == E && (!l->c.router->takes_shares || r.probabilities->cols == E), "%s: %td experts", name, r.experts);
}

static void pairs_are_in_order_and_weights_sum_up(void) { for_every_way(check_pairs); }

/* Of a batch, then of the same batch again. Without padding all pairs are kept or dropped; with it, all pairs of the other tokens. */
static void check_counts(const char *name, test_layer *l) {
    int E = (int)l->c.experts;
    double factor = l->t.training ? l->c.capacity : l->c.eval_capacity;
    for (int padded = 0; padded < 2; padded++) {
        moe_trace trace;
        int64_t kept = 0, expected = 0, full = 0;
        for (int n = 0; n < N; n++) l->target[n] = padded && n % 5 == 0 ? -1 : 0;
        EXPECT_OK(moe_trace_open(&trace, 1, E));
        layer_run(l, &trace), layer_run(l, &trace);
        routing r = layer_route(l);
        for (ptrdiff_t i = 0; i < r.pairs; i++) expected += 2 * token_counts(&l->batch, r.token[i]);
        for (int e = 0; e < E; e++) {
            kept += trace.load[e];
            full += trace.load[e] > 2 * even_share(N, &l->c, factor);
        }
        EXPECT(kept + trace.dropped[0] == expected, "%s: %lld kept, %lld dropped, %lld in all", name, (long long)kept, (long long)trace.dropped[0],
               (long long)expected);
        EXPECT(factor > 0 ? full == 0 : trace.dropped[0] == 0, "%s: %d experts above capacity, %lld dropped", name, (int)full,
               (long long)trace.dropped[0]);
        if (factor > 0 && factor < 0.8) EXPECT(trace.dropped[0] > 0, "%s: nothing dropped at capacity %g", name, factor);
        moe_trace_close(&trace);
    }
}

static void kept_and_dropped_pairs_are_all_pairs(void) { for_every_way(check_counts); }

/* What the layer says, against the definition: the sum of weight * expert(x) over the pairs that found room, and the shared experts. */
static void add_mlp(double *y, const mlp_weights *w, int e, const real *x, double times) {
    for (ptrdiff_t f = 0; f < w->down->in; f++) {
        double g = w->gate_bias ? (double)w->gate_bias->value[e][f] : 0, u = w->up_bias ? (double)w->up_bias->value[e][f] : 0;
        for (ptrdiff_t d = 0; d < D; d++) u += (double)w->up->value[e][f * D + d] * (double)x[d];
        for (ptrdiff_t d = 0; d < D && w->gate; d++) g += (double)w->gate->value[e][f * D + d] * (double)x[d];
        double act = w->gate ? g / (1 + exp(-g)) * u : fmax(0, u), limit = (double)w->bounds.limit;
        if (limit > 0) g = fmin(g, limit), u = fmin(fmax(u, -limit), limit), act = g / (1 + exp(-(double)w->bounds.alpha * g)) * (u + 1);
        for (ptrdiff_t d = 0; d < D; d++) y[d] += times * act * (double)w->down->value[e][d * w->down->in + f];
    }
    for (ptrdiff_t d = 0; d < D && w->down_bias; d++) y[d] += times * (double)w->down_bias->value[e][d];
}

static void add_weighed(double *y, const test_layer *l, int e, const real *x, double times) {
    real scaled[D];
    for (int d = 0; d < D; d++) scaled[d] = (real)times * x[d];
    add_mlp(y, &l->w.expert, e, l->c.weigh_input ? scaled : x, l->c.weigh_input ? 1 : times);
}

static void check_layer(const char *name, test_layer *l) {
    static real found[N * D];
    memcpy(found, layer_run(l, NULL)->x, sizeof found);
    routing r = layer_route(l);
    double factor = l->t.training ? l->c.capacity : l->c.eval_capacity;
    if (factor > 0) r = capacity_keep(&l->t, &r, (int)l->c.experts, even_share(N, &l->c, factor), l->c.drop_by_score);
    for (ptrdiff_t n = 0; n < N; n++) {
        double y[D] = {0}, sum = 0, gate = 0;
        for (ptrdiff_t i = r.token_start[n]; i < r.token_start[n + 1]; i++) sum += (double)r.weights->x[i];
        for (ptrdiff_t i = r.token_start[n]; i < r.token_start[n + 1]; i++)
            add_weighed(y, l, r.expert[i], l->input + n * D, (double)r.weights->x[i] / (l->c.router->normalizes_kept ? sum : 1));
        for (ptrdiff_t d = 0; d < D && l->w.shared_gate; d++) gate += (double)l->w.shared_gate->value[0][d] * (double)l->input[n * D + d];
        if (l->w.shared.down) add_mlp(y, &l->w.shared, 0, l->input + n * D, l->w.shared_gate ? 1 / (1 + exp(-gate)) : 1);
        for (ptrdiff_t d = 0; d < D; d++)
            EXPECT(near((double)found[n * D + d], y[d], 1e-5), "%s: token %td, channel %td: %g, expected %g", name, n, d, (double)found[n * D + d],
                   y[d]);
    }
}

static void the_layer_equals_its_definition(void) { for_every_way(check_layer); }

/* Bits, gradients included, whatever the number of threads; other noise in another step. */
static void check_replay(const char *name, test_layer *l) {
    static real y[N * D], gradients[1 << 16];
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        weights_zero_gradients(&l->table);
        for (int i = 0; i < BALANCE_LOSSES; i++) l->c.balance[i] = router_takes_loss(l->c.router, i) ? 0.1 : 0;
        tensor *out = layer_run(l, NULL);
        for (ptrdiff_t i = 0; i < N * D && l->t.training; i++) tape_gradient(&l->t, out)[i] = noise(2, i);
        if (threads == 1) memcpy(y, out->x, sizeof y);
        EXPECT(!memcmp(y, out->x, sizeof y), "%s: %d threads change the output", name, threads);
        tape_backward(&l->t);
        for (int i = 0; i < l->t.n_blocks; i++)
            EXPECT(!l->t.block[i].taken || l->t.block[i].bytes == (char *)l->x.dx, "%s: block %d was not returned", name, i);
        if (threads == 1) memcpy(gradients, l->table.gradients, sizeof(real) * (size_t)l->table.total);
        EXPECT(!memcmp(gradients, l->table.gradients, sizeof(real) * (size_t)l->table.total), "%s: %d threads change the gradients", name, threads);
    }
    l->t.random.step++;
    const real *next = layer_run(l, NULL)->x;
    bool noisy = l->w.noise || l->c.jitter > 0 || l->c.router == &router_random || l->c.router == &router_gshard;
    EXPECT(!memcmp(y, next, sizeof y) == !(noisy && l->t.training), "%s: another step %s", name, noisy ? "has the same noise" : "has other outputs");
}

static void noise_is_a_function_of_its_key(void) { for_every_way(check_replay); }

/* A micro-batch draws what the whole batch would have drawn for its tokens. */
static void check_first_token(const char *name, test_layer *l) {
    static real whole[N * D];
    if (l->c.capacity > 0 || l->c.eval_capacity > 0 || l->c.router->looks_ahead) return; /* here tokens depend on each other */
    memcpy(whole, layer_run(l, NULL)->x, sizeof whole);
    moe_layer view = layer_view(l);
    static const ptrdiff_t start[] = {0, N / 2};
    token_batch half = {N / 2, l->token + N / 2, NULL, 1, start};
    view.batch = &half;
    tensor x = {.x = l->input + N / 2 * D, .rows = N / 2, .cols = D};
    tape_reset(&l->t);
    l->t.random.first_token = N / 2;
    const real *second = moe(&l->t, &x, &view, NULL)->x;
    for (int i = 0; i < N / 2 * D; i++)
        EXPECT(near((double)second[i], (double)whole[N / 2 * D + i], 1e-6), "%s: element %d of the second half: %g, expected %g", name, i,
               (double)second[i], (double)whole[N / 2 * D + i]);
}

static void micro_batches_draw_what_the_batch_draws(void) { for_every_way(check_first_token); }

/* K = E leaves nothing out: normalised or by chance, every router is then the dense mixture of its own weights, which sum to one. */
static void all_experts_are_the_dense_mixture(void) {
    static const char *const kinds[] = {"softmax", "noisy_top_k", "batchwise", "expert_choice", "sigmoid", "hierarchical"};
    static test_layer l;
    for (int i = 0; i < 6; i++) {
        moe_config c = {.experts = 6, .top_k = 6, .normalize = i == 4};
        if (i == 5) c.groups = c.top_groups = 3;
        strcpy(c.kind, kinds[i]);
        layer_open(&l, size, c);
        l.t.training = true;
        routing r = layer_route(&l);
        EXPECT(r.pairs == 6 * N, "%s: %td pairs", kinds[i], r.pairs);
        for (ptrdiff_t n = 0; n < N; n++) {
            double sum = 0;
            for (ptrdiff_t j = r.token_start[n]; j < r.token_start[n + 1]; j++) {
                ptrdiff_t m = i == 5 ? (j - 6 * n) / 2 * 2 + r.expert[j] % 2 : r.expert[j]; /* hierarchical: in the order of choice of their groups */
                double p = (double)r.probabilities->x[n * 6 + m];
                sum += (double)r.weights->x[j];
                EXPECT(near((double)r.weights->x[j], p, 1e-6), "%s: weight %g, probability %g", kinds[i], (double)r.weights->x[j], p);
            }
            EXPECT(near(sum, 1, 1e-6), "%s: the weights of token %td sum to %g", kinds[i], n, sum);
        }
        layer_close(&l);
    }
}

/* Capacity drops the right pairs: 6 tokens, their first and second choices, room for 2 in each of 3 experts. */
static void capacity_drops_the_right_pairs(void) {
    static int32_t expert[] = {0, 1, 0, 1, 0, 2, 1, 0, 2, 1, 2, 0}, token[] = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5};
    static real shares[] = {(real).6, (real).4, (real).7, (real).3, (real).9, (real).1, (real).5, (real).5, (real).8, (real).2, (real).55, (real).45};
    static ptrdiff_t start[] = {0, 2, 4, 6, 8, 10, 12};
    /* by position: expert 0 takes the first choices of 0 and 1, 1 that of 3 and then the second of 0, 2 those of 4 and 5 */
    static const char by_position[] = "11"
                                      "10"
                                      "00"
                                      "10"
                                      "10"
                                      "10";
    /* by score: expert 0 keeps .9 and .7; 1 keeps .5 and .4; 2 keeps .8 and .55 */
    static const char by_score[] = "01"
                                   "10"
                                   "10"
                                   "10"
                                   "10"
                                   "10";
    static test_layer l;
    layer_open(&l, size, (moe_config){.kind = "softmax"});
    tensor w = {.x = shares, .rows = 12, .cols = 1};
    routing r = {.tokens = 6, .pairs = 12, .weights = &w, .expert = expert, .token = token, .token_start = start};
    for (int score = 0; score < 2; score++) {
        const char *wanted = score ? by_score : by_position;
        routing kept = capacity_keep(&l.t, &r, 3, 2, score);
        ptrdiff_t i = 0;
        for (int j = 0; j < 12; j++) {
            if (wanted[j] == '0') continue;
            EXPECT(i < kept.pairs && kept.token[i] == token[j] && kept.expert[i] == expert[j] && kept.weights->x[i] == shares[j],
                   "by %s: kept pair %td is not pair %d", score ? "score" : "position", i, j);
            i++;
        }
        EXPECT(i == kept.pairs && kept.token_start[6] == i, "by %s: %td kept, expected %td", score ? "score" : "position", kept.pairs, i);
        for (int n = 0; n < 6; n++)
            EXPECT(kept.token_start[n + 1] - kept.token_start[n] == (wanted[2 * n] == '1') + (wanted[2 * n + 1] == '1'), "token %d", n);
    }
    EXPECT(capacity_keep(&l.t, &r, 3, 12, false).weights == &w, "with room for all something was made anew");
    layer_close(&l);
}

static void capacity_is_rounded_up_and_kept_within_the_batch(void) {
    static const struct {
        ptrdiff_t tokens;
        int experts, top_k;
        double factor;
        ptrdiff_t room;
    } cases[] = {{16, 8, 2, 1, 4}, {16, 8, 2, 1.25, 5}, {16, 10, 1, 1.25, 2}, {17, 8, 2, 1, 5},
                 {1, 64, 8, 1, 1}, {16, 4, 2, 100, 16}, {3, 64, 1, 0.1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ptrdiff_t room = even_share(cases[i].tokens, &(moe_config){.experts = cases[i].experts, .top_k = cases[i].top_k}, cases[i].factor);
        EXPECT(room == cases[i].room, "row %zu: room for %td, expected %td", i, room, cases[i].room);
    }
}

/* A layer of one token of width 1, so that router weights are logits. */
static void open_with_logits(test_layer *l, moe_config c, const real *logits, const real *noise_logits) {
    layer_open(l, (layer_size){1, 1, 2}, c);
    l->input[0] = 1;
    memcpy(l->w.router->value[0], logits, sizeof(real) * (size_t)c.experts);
    if (noise_logits) memcpy(l->w.noise->value[0], noise_logits, sizeof(real) * (size_t)c.experts);
}

static const real golden_logits[] = {(real)1, (real).5, (real)-.3, (real).2};

static void normalised_is_the_softmax_over_the_chosen_logits(void) {
    static test_layer l;
    open_with_logits(&l, (moe_config){.kind = "softmax", .experts = 4, .top_k = 2, .normalize = true}, golden_logits, NULL);
    routing r = layer_route(&l);
    double first = exp(1) / (exp(1) + exp(.5));
    EXPECT(near((double)r.weights->x[0], first, 1e-6) && near((double)r.weights->x[1], 1 - first, 1e-6), "weights %g, %g", (double)r.weights->x[0],
           (double)r.weights->x[1]);
    layer_close(&l);
}

/* b chooses, s weighs: expert 3 is let in by its bias, and its weight does not show it. */
static void the_bias_chooses_and_does_not_weigh(void) {
    static test_layer l;
    open_with_logits(&l, (moe_config){.kind = "sigmoid", .experts = 4, .top_k = 2, .normalize = true, .scale = 2.5}, golden_logits, NULL);
    l.w.bias->value[0][3] = 5;
    routing r = layer_route(&l);
    double s0 = 1 / (1 + exp(-1)), s3 = 1 / (1 + exp(-.2));
    EXPECT(r.expert[0] == 3 && r.expert[1] == 0, "chose %d and %d", r.expert[0], r.expert[1]);
    EXPECT(near((double)r.weights->x[0], 2.5 * s3 / (s0 + s3), 1e-6), "weight %g", (double)r.weights->x[0]);
    layer_close(&l);
}

/* Four groups of two. V3: a group is as good as the sum of its two; V2: as its best. The best expert of all stands in a group that V3 leaves out. */
static void groups_limit_the_choice(void) {
    static const real logits[] = {(real)3, (real)-9, (real)2, (real)1.9, (real)1.5, (real)1.4, 0, (real)-1};
    static test_layer l;
    moe_config c = {.kind = "sigmoid", .experts = 8, .top_k = 2, .groups = 4, .top_groups = 1};
    open_with_logits(&l, c, logits, NULL);
    routing r = layer_route(&l);
    EXPECT(r.expert[0] == 2 && r.expert[1] == 3, "sigmoid chose %d and %d", r.expert[0], r.expert[1]);
    layer_close(&l);
    strcpy(c.kind, "softmax");
    open_with_logits(&l, c, logits, NULL);
    r = layer_route(&l);
    EXPECT(r.expert[0] == 0 && r.expert[1] == 1, "softmax chose %d and %d", r.expert[0], r.expert[1]);
    layer_close(&l);
}

/* 2017, appendix A: zero weights, so that noise of deviation ln 2 chooses alone: all experts alike, and it repeats. Without it ties go down. */
static void noisy_top_k_begins_balanced(void) {
    static test_layer l;
    double sum = 0;
    int64_t load[8] = {0};
    layer_open(&l, size, (moe_config){.kind = "noisy_top_k"});
    weights_initialize(&l.table, 1);
    l.t.training = true;
    for (int step = 0; step < 100; step++) {
        l.t.random.step = (uint64_t)step;
        routing r = layer_route(&l);
        double expected = 0;
        for (ptrdiff_t i = 0; i < r.pairs; i++) load[r.expert[i]]++;
        for (ptrdiff_t i = 0; i < 8 * N; i++) EXPECT(r.logits->x[i] == 0, "logit %g", (double)r.logits->x[i]);
        for (int e = 0; e < 8; e++) expected += (double)r.load->x[e];
        sum += expected / N;
    }
    for (int e = 0; e < 8; e++) EXPECT(load[e] > 900 && load[e] < 1100, "expert %d got %d of 1000", e, (int)load[e]);
    EXPECT(fabs(sum / 100 - 2) < 0.03, "the load sums to %g a token, expected 2", sum / 100);
    l.t.training = false;
    routing r = layer_route(&l);
    for (ptrdiff_t i = 0; i < r.pairs; i++) EXPECT(r.expert[i] == i % 2, "without noise choice %d is expert %d", (int)(i % 2), r.expert[i]);
    layer_close(&l);
}

static void gshard_sends_the_second_choice_by_chance(void) {
    static test_layer l;
    static const real logits[] = {(real)2, (real).5, (real)-3, (real)-3};
    double g1 = exp(2), g2 = exp(.5), expected = 2 * g2 / (g1 + g2);
    int seconds = 0;
    open_with_logits(&l, (moe_config){.kind = "gshard", .experts = 4, .top_k = 2}, logits, NULL);
    l.t.training = true;
    for (int step = 0; step < 1000; step++) {
        l.t.random.step = (uint64_t)step;
        routing r = layer_route(&l);
        seconds += r.pairs == 2;
        EXPECT(r.chosen[0] == 1 && r.chosen[1] == 0, "balance counts %d first and %d second choices", (int)r.chosen[0], (int)r.chosen[1]);
    }
    EXPECT(fabs(seconds / 1000.0 - expected) < 0.05, "second choices sent: %g, expected %g", seconds / 1000.0, expected);
    layer_close(&l);
}

static void batchwise_experts_are_full_and_thresholds_learn_to_be(void) {
    static test_layer l;
    layer_open(&l, size, (moe_config){.kind = "batchwise", .balance[BALANCE_THRESHOLD] = 1});
    l.t.training = true;
    double first = 0, last = 0;
    for (int step = 0; step < 400; step++) {
        int64_t load[8] = {0};
        weights_zero_gradients(&l.table);
        routing r = layer_route(&l);
        for (ptrdiff_t i = 0; i < r.pairs; i++) load[r.expert[i]]++;
        for (int e = 0; e < 8; e++) EXPECT(load[e] == N / 4, "expert %d has %d tokens", e, (int)load[e]);
        last = tape_loss(&l.t, "threshold");
        if (step == 0) first = last;
        tape_backward(&l.t);
        for (int e = 0; e < 8; e++) l.w.threshold->value[0][e] -= (real)0.5 * l.w.threshold->step->gradient[e];
    }
    EXPECT(first > 0.01 && last >= 0 && last < 0.02 * first, "the loss of the thresholds went from %g to %g", first, last);
    l.t.training = false;
    routing r = layer_route(&l);
    EXPECT(r.pairs > 2 * N - 6 && r.pairs < 2 * N + 6, "by thresholds %td pairs, in the batch %d", r.pairs, 2 * N);
    layer_close(&l);
}

static void expert_choice_fills_experts_and_without_training_serves_tokens(void) {
    static test_layer l;
    layer_open(&l, size, (moe_config){.kind = "expert_choice"});
    int64_t load[8] = {0};
    l.t.training = true;
    routing r = layer_route(&l);
    for (ptrdiff_t i = 0; i < r.pairs; i++) load[r.expert[i]]++;
    for (int e = 0; e < 8; e++) {
        double least = INFINITY;
        bool taken[N] = {false};
        EXPECT(load[e] == N / 4, "expert %d has %d tokens", e, (int)load[e]);
        for (ptrdiff_t i = 0; i < r.pairs; i++)
            if (r.expert[i] == e) taken[r.token[i]] = true, least = fmin(least, (double)r.weights->x[i]);
        for (int n = 0; n < N; n++) EXPECT(taken[n] || (double)r.probabilities->x[n * 8 + e] <= least, "expert %d left out token %d", e, n);
    }
    layer_close(&l);
}

static void hash_goes_by_the_token_and_random_does_not(void) {
    static test_layer l;
    layer_open(&l, size, (moe_config){.kind = "hash"});
    bool differ = false;
    routing r = layer_route(&l);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < n; m++) {
            bool same = r.expert[2 * n] == r.expert[2 * m] && r.expert[2 * n + 1] == r.expert[2 * m + 1];
            EXPECT(l.token[n] != l.token[m] || same, "tokens %d and %d are the same word and take other experts", n, m);
            differ |= !same;
        }
    EXPECT(differ, "all words take the same experts");
    layer_close(&l);
    int64_t load[8] = {0};
    layer_open(&l, size, (moe_config){.kind = "random"});
    l.t.training = true;
    for (l.t.random.step = 0; l.t.random.step < 100; l.t.random.step++) {
        r = layer_route(&l);
        for (ptrdiff_t i = 0; i < r.pairs; i++) load[r.expert[i]]++;
    }
    for (int e = 0; e < 8; e++) EXPECT(load[e] > 900 && load[e] < 1100, "expert %d got %d of 1000", e, (int)load[e]);
    layer_close(&l);
}

static void what_does_not_go_together_is_refused(void) {
    static const struct {
        moe_config c;
        const char *message;
    } cases[] = {
        {{.kind = "sofmax"}, "r.ini: router.kind: unknown router \"sofmax\"; expected one of softmax|switch"},
        {{.kind = "switch", .top_k = 2}, "router.top_k: expected 1 with router.kind switch, found 2"},
        {{.kind = "switch", .top_k = 1, .normalize = true}, "router.normalize: expected false"},
        {{.kind = "gshard", .top_k = 3}, "router.top_k: expected 2"},
        {{.kind = "hierarchical", .top_k = 2}, "needs groups"},
        {{.kind = "hierarchical", .top_k = 3, .groups = 4, .top_groups = 2}, "expected a multiple of router.top_groups (2)"},
        {{.kind = "softmax", .top_k = 2, .groups = 3, .top_groups = 1}, "expected a divisor of router.experts (8), found 3"},
        {{.kind = "softmax", .top_k = 2, .groups = 4, .top_groups = 5}, "router.top_groups: expected 1 to router.groups (4), found 5"},
        {{.kind = "softmax", .top_k = 3, .groups = 4, .top_groups = 1}, "router.top_k: expected at most 2"},
        {{.kind = "noisy_top_k", .top_k = 2, .groups = 4, .top_groups = 2}, "which knows no groups; found 4"},
        {{.kind = "softmax", .top_k = 2, .bias_rate = 0.1}, "balance.bias_rate: expected 0"},
        {{.kind = "softmax", .top_k = 2, .jitter = 0.1}, "router.jitter: expected 0"},
        {{.kind = "batchwise", .top_k = 2, .capacity = 1}, "router.capacity: expected 0"},
        {{.kind = "expert_choice", .top_k = 2, .eval_capacity = 1}, "router.capacity: expected 0"},
        {{.kind = "hash", .top_k = 2, .balance[BALANCE_SWITCH] = 0.01},
         "r.ini: balance.switch: expected 0 with router.kind hash, which has no probability of every expert; found 0.01"},
        {{.kind = "hierarchical", .top_k = 2, .groups = 4, .top_groups = 2, .balance[BALANCE_SEQUENCE] = 0.1}, "balance.sequence: expected 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_config c = cases[i].c;
        c.experts = 8;
        EXPECT_ERROR(router_choose(&c, "r.ini"), LAMP_INVALID, cases[i].message);
    }
}

static void a_router_from_outside_needs_a_new_name(void) {
    EXPECT_ERROR(lamp_router_add("softmax", prefer_odd, NULL), LAMP_INVALID, "router \"softmax\": there is one of this name");
    EXPECT_ERROR(lamp_router_add("a|b", prefer_odd, NULL), LAMP_INVALID, "found \"a|b\"");
    EXPECT_ERROR(lamp_router_add("", prefer_odd, NULL), LAMP_INVALID, "found \"\"");
    EXPECT_ERROR(lamp_router_add("nothing", NULL, NULL), LAMP_INVALID, "router \"nothing\" has no function");
}

/* The kinds that a recipe takes are the names in the table, in its order. */
static void kinds_are_the_names(void) {
    const struct router *const *table;
    char names[1024] = "";
    int n = router_table(&table);
    for (int i = 0; i < n; i++) snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? "|" : "", table[i]->name);
    EXPECT(!strcmp(names, router_kinds), "the table has %s, the recipe takes %s", names, router_kinds);
}

static void wanted_experts_are_taken_and_weighed(void) {
    test_layer l;
    layer_open(&l, size, (moe_config){.kind = "prefer_odd"});
    routing r = layer_route(&l);
    for (ptrdiff_t i = 0; i < r.pairs; i++) {
        ptrdiff_t e = r.expert[i];
        double expected = (e % 2 ? 1.5 : 0.5) * (double)r.probabilities->x[r.token[i] * 8 + e];
        EXPECT(e % 2 == 1, "token %d takes expert %td", (int)r.token[i], e);
        EXPECT(near((double)r.weights->x[i], expected, 1e-6), "weight %g, expected %g", (double)r.weights->x[i], expected);
    }
    layer_close(&l);
}

static void want_nothing_sensible(void *context, float *want, float *factor, const float *score, int experts) {
    (void)context, (void)factor, (void)score;
    for (int e = 0; e < experts; e++) want[e] = e % 3 == 0 ? NAN : e % 3 == 1 ? -INFINITY : 0;
}

static void whatever_is_wanted_experts_differ(void) {
    test_layer l;
    EXPECT_OK(lamp_router_add("nothing_sensible", want_nothing_sensible, NULL));
    layer_open(&l, size, (moe_config){.kind = "nothing_sensible", .top_k = 8});
    routing r = layer_route(&l);
    for (ptrdiff_t n = 0; n < N; n++) {
        int chosen = 0;
        for (ptrdiff_t k = 0; k < 8; k++) chosen |= 1 << r.expert[n * 8 + k];
        EXPECT(chosen == 255, "token %td takes the experts of mask %x", n, (unsigned)chosen);
    }
    layer_close(&l);
}

static const test_case cases[] = {
    {"a router from outside needs a new name", a_router_from_outside_needs_a_new_name},
    {"kinds are the names", kinds_are_the_names},
    {"wanted experts are taken and weighed", wanted_experts_are_taken_and_weighed},
    {"every router has a row", every_router_has_a_row},
    {"whatever is wanted, experts differ", whatever_is_wanted_experts_differ},
    {"pairs are in order and weights sum up", pairs_are_in_order_and_weights_sum_up},
    {"kept and dropped pairs are all pairs", kept_and_dropped_pairs_are_all_pairs},
    {"the layer equals its definition", the_layer_equals_its_definition},
    {"noise is a function of its key", noise_is_a_function_of_its_key},
    {"micro-batches draw what the batch draws", micro_batches_draw_what_the_batch_draws},
    {"all experts are the dense mixture", all_experts_are_the_dense_mixture},
    {"capacity drops the right pairs", capacity_drops_the_right_pairs},
    {"capacity is rounded up and kept within the batch", capacity_is_rounded_up_and_kept_within_the_batch},
    {"normalised is the softmax over the chosen logits", normalised_is_the_softmax_over_the_chosen_logits},
    {"the bias chooses and does not weigh", the_bias_chooses_and_does_not_weigh},
    {"groups limit the choice", groups_limit_the_choice},
    {"noisy top-k begins balanced", noisy_top_k_begins_balanced},
    {"gshard sends the second choice by chance", gshard_sends_the_second_choice_by_chance},
    {"batchwise experts are full, and thresholds learn to be", batchwise_experts_are_full_and_thresholds_learn_to_be},
    {"expert choice fills experts", expert_choice_fills_experts_and_without_training_serves_tokens},
    {"hash goes by the token, random does not", hash_goes_by_the_token_and_random_does_not},
    {"what does not go together is refused", what_does_not_go_together_is_refused},
};

int main(void) { return test_run("laws of routing", cases, sizeof cases / sizeof *cases); }
