/* Balance losses and the bias: numbers worked out by hand or published, the minimum of each, what micro-batches share, what padding must not
 * touch, and that learning by them evens loads. */
#include "routers.h"

#include <math.h>

#include "moe/noisy_gate.h"
#include "ops/ops.h"

enum { N = 48, D = 12 };
static const layer_size size = {N, D, 3};

static bool near(double a, double b, double relative) { return fabs(a - b) <= relative * (1 + fabs(b)); }

static void add_loss(test_layer *l, balance_loss loss, routing *r, double coefficient) {
    balance_terms[loss].add(&l->t, r, &l->batch, balance_terms[loss].name, coefficient);
}

/* The layer's routing, with counts as layer.c makes them, and the loss of it with coefficient 1. */
static double loss_of(test_layer *l, balance_loss loss) {
    for (int i = 0; i < BALANCE_LOSSES; i++) l->c.balance[i] = i == (int)loss;
    l->t.training = true;
    layer_run(l, NULL);
    return tape_loss(&l->t, balance_terms[loss].name);
}

static tensor *row_of(tape *t, const double *x, ptrdiff_t n) {
    tensor *a = tape_tensor(t, 1, n);
    for (ptrdiff_t i = 0; i < n; i++) a->x[i] = (real)x[i];
    return a;
}

/* Four experts, two chosen, with given draws: standard deviations, gates, probabilities of being chosen, and both losses. */
static void the_noisy_gate_gives_the_golden_numbers(void) {
    static const double clean[] = {1, .5, -.3, .2}, noise_logits[] = {0, 1, -1, .5}, draw[] = {.1, -.4, 1.2, .3};
    static const double gate[] = {.640398, 0, 0, .359602}, probability[] = {.908763, .502362, .005720, .550683};
    static const double deviation[] = {.693147, 1.313262, .313262, .974077};
    static const int32_t bin[] = {0};
    static const real one[] = {1};
    static test_layer l;
    layer_open(&l, (layer_size){1, 1, 2}, (moe_config){.kind = "noisy_top_k", .experts = 4});
    l.t.training = true, l.t.loss_scale = 1;
    double h[4];
    for (int e = 0; e < 4; e++) h[e] = clean[e] + draw[e] * deviation[e];
    tensor *c = row_of(&l.t, clean, 4), *a = row_of(&l.t, noise_logits, 4), *noisy = row_of(&l.t, h, 4), *p = softmax(&l.t, noisy);
    random_key key = tape_random_key(&l.t, RANDOM_GATE_NOISE, 0);
    tensor *drawn = noisy_logits(&l.t, c, a, key, (const uint64_t[]){0}), *load = expected_load(&l.t, c, a, noisy, 2, bin, 1, one);
    routing r = routing_choose(&l.t, noisy->x, 1, &l.c, 1);
    r.probabilities = p, r.load = load, r.weights = routing_weigh(&l.t, &r, p, &l.c);
    for (int e = 0; e < 4; e++) {
        double own = random_normal(key, (uint64_t)e);
        EXPECT(near((double)drawn->x[e], clean[e] + own * deviation[e], 1e-6), "h[%d] = %g", e, (double)drawn->x[e]);
        EXPECT(fabs((double)load->x[e] - probability[e]) < 2e-6, "P[%d] = %g", e, (double)load->x[e]);
    }
    for (int i = 0; i < 2; i++) EXPECT(fabs((double)r.weights->x[i] - gate[r.expert[i]]) < 2e-6, "G[%d] = %g", r.expert[i], (double)r.weights->x[i]);
    add_loss(&l, BALANCE_IMPORTANCE, &r, 1), add_loss(&l, BALANCE_LOAD, &r, 1);
    EXPECT(fabs(tape_loss(&l.t, "importance") - 1.157693) < 1e-5, "CV^2 of G is %g", tape_loss(&l.t, "importance"));
    EXPECT(fabs(tape_loss(&l.t, "load") - .427478) < 1e-5, "CV^2 of P is %g", tape_loss(&l.t, "load"));
    layer_close(&l);
}

enum { WIDEST = 24 };
typedef struct {
    double clean[N][WIDEST], deviation[N][WIDEST], noisy[N][WIDEST];
} level;

/* A noisy gate as the paper writes it, every entry of it for every token. */
static void gate_by_hand(level *g, const test_layer *l, const weight *router, const weight *noise_weight, random_use use) {
    random_key key = tape_random_key(&l->t, use, 0);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < router->out; m++) {
            double a = 0;
            g->clean[n][m] = 0;
            for (int d = 0; d < D; d++) {
                g->clean[n][m] += (double)router->value[0][m * D + d] * (double)l->input[n * D + d];
                a += (double)noise_weight->value[0][m * D + d] * (double)l->input[n * D + d];
            }
            g->deviation[n][m] = log1p(exp(a));
            g->noisy[n][m] = g->clean[n][m] + g->deviation[n][m] * random_normal(key, (uint64_t)(n * router->out + m));
        }
}

/* Of width entries from `first`: how many are larger than entry i, the gate of entry i when k are chosen, and the probability that it is among
 * these if drawn again. */
static int rank_by_hand(const double *h, int first, int width, int i) {
    int larger = 0;
    for (int j = first; j < first + width; j++) larger += h[j] > h[i];
    return larger;
}
static double share_by_hand(const double *h, int first, int width, int k, int i) {
    double sum = 0;
    for (int j = first; j < first + width; j++) sum += rank_by_hand(h, first, width, j) < k ? exp(h[j]) : 0;
    return rank_by_hand(h, first, width, i) < k ? exp(h[i]) / sum : 0;
}
static double probability_by_hand(const level *g, int n, int first, int width, int k, int i) {
    double threshold = 0;
    for (int j = first; j < first + width; j++) {
        int rank = rank_by_hand(g->noisy[n], first, width, j);
        if (j != i && rank == (rank_by_hand(g->noisy[n], first, width, i) < k ? k : k - 1)) threshold = g->noisy[n][j];
    }
    return 0.5 * (1 + erf((g->clean[n][i] - threshold) / g->deviation[n][i] / sqrt(2)));
}

/* Equations 12 to 14, of gates that are dense: G(i, j) = G_primary(i) G_i(j), importance is its sum, and Load(i, j) = Load_primary(i) Load_i(X_i)(j)
 * / |X_i|, over the tokens that are not padding. */
static void the_hierarchical_gate_is_that_of_its_definition(void) {
    static const struct {
        int experts, groups, top_groups, top_k;
    } cases[] = {{8, 4, 2, 2}, {24, 4, 3, 6}, {24, 8, 2, 4}, {24, 3, 1, 5}};
    static test_layer l;
    static level primary, secondary;
    for (int i = 0; i < 4; i++) {
        const int E = cases[i].experts, a = cases[i].groups, top = cases[i].top_groups, b = E / a, k = cases[i].top_k / top;
        double importance[WIDEST] = {0};
        layer_open(&l, size, (moe_config){.kind = "hierarchical", .experts = E, .top_k = top * k, .groups = a, .top_groups = top});
        l.t.training = true;
        for (int n = 0; n < N; n++) l.target[n] = n % 5 ? 0 : -1;
        routing r = layer_route(&l);
        gate_by_hand(&primary, &l, l.w.group_router, l.w.group_noise, RANDOM_GROUP_NOISE);
        gate_by_hand(&secondary, &l, l.w.router, l.w.noise, RANDOM_GATE_NOISE);
        EXPECT(r.pairs == N * top * k && r.experts == E, "%td pairs", r.pairs);
        for (ptrdiff_t p = 0; p < r.pairs; p++) {
            int n = r.token[p], e = r.expert[p], group = e / b, at = (int)(p % (top * k));
            double share = share_by_hand(primary.noisy[n], 0, a, top, group) * share_by_hand(secondary.noisy[n], group * b, b, k, e);
            EXPECT(rank_by_hand(primary.noisy[n], 0, a, group) == at / k && rank_by_hand(secondary.noisy[n], group * b, b, e) == at % k,
                   "choice %d of token %d is expert %d", at, n, e);
            EXPECT(near((double)r.weights->x[p], share, 1e-5), "pair %td: weight %g, expected %g", p, (double)r.weights->x[p], share);
            if (l.target[n] >= 0) importance[e] += (double)r.weights->x[p];
        }
        for (int e = 0; e < E; e++) {
            int group = e / b, members = 0;
            double upper = 0, lower = 0, sum = 0;
            for (int n = 0; n < N; n++) {
                if (l.target[n] < 0) continue;
                sum += share_by_hand(primary.noisy[n], 0, a, top, group) * share_by_hand(secondary.noisy[n], group * b, b, k, e);
                upper += probability_by_hand(&primary, n, 0, a, top, group);
                if (rank_by_hand(primary.noisy[n], 0, a, group) >= top) continue;
                members++, lower += probability_by_hand(&secondary, n, group * b, b, k, e);
            }
            EXPECT(near(importance[e], sum, 1e-5), "expert %d: importance %g, expected %g", e, importance[e], sum);
            EXPECT(near((double)r.load->x[e], upper * lower / members, 1e-5), "expert %d: load %g, expected %g", e, (double)r.load->x[e],
                   upper * lower / members);
        }
        layer_close(&l);
    }
}

/* What a token needs at E = a b is a multiple of a + top_groups b, forward and backward together, and not of E. */
static void the_hierarchical_gate_is_never_as_wide_as_its_experts(void) {
    static test_layer l;
    enum { TOKENS = 64, GROUPS = 128, OF_GROUP = 128 };
    layer_open(&l, (layer_size){TOKENS, 2, 1},
               (moe_config){.kind = "hierarchical", .experts = GROUPS * OF_GROUP, .top_k = 4, .groups = GROUPS, .top_groups = 2, .balance = {1, 1}});
    l.t.training = true;
    routing r = layer_route(&l);
    add_loss(&l, BALANCE_IMPORTANCE, &r, 1), add_loss(&l, BALANCE_LOAD, &r, 1), add_loss(&l, BALANCE_Z, &r, 1);
    tape_backward(&l.t);
    const double of_experts = 8 * l.c.experts; /* load, importance and their gradients */
    double numbers = ((double)tape_bytes(&l.t) / sizeof(real) - of_experts) / TOKENS, looked_at = GROUPS + 2 * OF_GROUP;
    EXPECT(numbers < 16 * looked_at && numbers < (double)l.c.experts, "%.0f numbers a token, which looks at %.0f", numbers, looked_at);
    layer_close(&l);
}

/* Loads and probabilities all alike: the Switch losses stand at 1, the variations at 0, and none is NaN. Zero weights make probabilities
 * alike; that all take the same experts does not matter to the Switch loss then. */
static void even_loads_have_the_least_loss(void) {
    static const char *const kinds[] = {"softmax", "sigmoid", "gshard"};
    static test_layer l;
    for (int i = 0; i < 3; i++) {
        moe_config c = {.normalize = true};
        strcpy(c.kind, kinds[i]);
        layer_open(&l, size, c);
        EXPECT(loss_of(&l, BALANCE_SEQUENCE) > 1.001, "%s: sequence %g of random weights", kinds[i], loss_of(&l, BALANCE_SEQUENCE));
        EXPECT(loss_of(&l, BALANCE_IMPORTANCE) > 1e-4, "%s: importance %g of random weights", kinds[i], loss_of(&l, BALANCE_IMPORTANCE));
        memset(l.w.router->value[0], 0, sizeof(real) * (size_t)weight_size(l.w.router));
        EXPECT(near(loss_of(&l, BALANCE_SWITCH), 1, 1e-6), "%s: switch %g", kinds[i], loss_of(&l, BALANCE_SWITCH));
        EXPECT(near(loss_of(&l, BALANCE_SEQUENCE), 1, 1e-6), "%s: sequence %g", kinds[i], loss_of(&l, BALANCE_SEQUENCE));
        EXPECT(near(loss_of(&l, BALANCE_Z), log(8) * log(8), 1e-5), "%s: z %g", kinds[i], loss_of(&l, BALANCE_Z));
        layer_close(&l);
    }
}

/* Each token takes all experts with the same weight: perfect balance, where a standard deviation would have no slope. */
static void perfect_balance_has_no_nan(void) {
    static test_layer l;
    moe_config c = {.kind = "softmax", .experts = 4, .top_k = 4, .balance[BALANCE_IMPORTANCE] = 1, .balance[BALANCE_LOAD] = 1};
    layer_open(&l, size, c);
    memset(l.w.router->value[0], 0, sizeof(real) * (size_t)weight_size(l.w.router));
    l.t.training = true;
    tensor *y = layer_run(&l, NULL);
    EXPECT(tape_loss(&l.t, "load") == 0 && tape_loss(&l.t, "importance") == 0, "load %g, importance %g", tape_loss(&l.t, "load"),
           tape_loss(&l.t, "importance"));
    for (ptrdiff_t i = 0; i < N * D; i++) tape_gradient(&l.t, y)[i] = noise(2, i);
    tape_backward(&l.t);
    for (ptrdiff_t i = 0; i < l.table.total; i++)
        EXPECT(isfinite((double)l.table.gradients[i]), "gradient %td is %g", i, (double)l.table.gradients[i]);
    layer_close(&l);
}

/* Without noise, or where all are chosen, the load is a count: it shows, and moves nothing. */
static void a_counted_load_has_no_gradient(void) {
    static const char *const kinds[] = {"softmax", "noisy_top_k"};
    static test_layer l;
    for (int i = 0; i < 2; i++) {
        moe_config c = {.top_k = i ? 8 : 2};
        strcpy(c.kind, kinds[i]);
        layer_open(&l, size, c);
        double loss = loss_of(&l, BALANCE_LOAD);
        EXPECT(i ? near(loss, 0, 1e-9) : loss > 0.01, "%s: loss %g", kinds[i], loss);
        tape_backward(&l.t);
        for (ptrdiff_t j = 0; j < l.table.total; j++) EXPECT(l.table.gradients[j] == 0, "%s: gradient %g", kinds[i], (double)l.table.gradients[j]);
        layer_close(&l);
    }
}

/* The second micro-batch of a step sees the counts of both, and all losses are shares of one mean over tokens. */
static void counts_are_of_the_step_so_far(void) {
    static test_layer l;
    moe_trace trace;
    layer_open(&l, size, (moe_config){.kind = "softmax", .balance[BALANCE_SWITCH] = 1});
    EXPECT_OK(moe_trace_open(&trace, 1, 8));
    l.t.training = true;
    layer_run(&l, &trace);
    double first = tape_loss(&l.t, "switch");
    int64_t before[8], pairs = 0;
    memcpy(before, trace.chosen, sizeof before);
    for (int i = 0; i < N * D; i++) l.input[i] = noise(77, i);
    layer_run(&l, &trace);
    routing r = layer_route(&l);
    double expected = 0, alone = 0;
    for (int e = 0; e < 8; e++) pairs += trace.chosen[e];
    EXPECT(pairs == 4 * N, "%d pairs of two batches", (int)pairs);
    for (int e = 0; e < 8; e++) {
        double mean = 0;
        for (int n = 0; n < N; n++) mean += (double)r.probabilities->x[n * 8 + e] / N;
        expected += 8 * mean * (double)trace.chosen[e] / (double)pairs, alone += 8 * mean * (double)(trace.chosen[e] - before[e]) / (2 * N);
    }
    layer_run(&l, NULL);
    EXPECT(near(tape_loss(&l.t, "switch"), alone, 1e-6), "without a trace %g, expected %g", tape_loss(&l.t, "switch"), alone);
    moe_trace_clear(&trace);
    memcpy(trace.chosen, before, sizeof before);
    layer_run(&l, &trace);
    EXPECT(near(tape_loss(&l.t, "switch"), expected, 1e-6) && fabs(expected - alone) > 1e-4 && fabs(first - expected) > 1e-4,
           "second micro-batch %g, expected %g; alone it would be %g", tape_loss(&l.t, "switch"), expected, alone);
    moe_trace_close(&trace);
    layer_close(&l);
}

/* A batch with padding has the losses of the batch without it. Choices by rank in the batch would differ, so those routers stay out. */
static void padding_does_not_count(void) {
    static test_layer l;
    for (int i = 0; i < N_WAYS; i++) {
        double loss[BALANCE_LOSSES];
        int64_t chosen[8];
        moe_trace trace;
        layer_open(&l, size, ways[i].c);
        if (l.c.router->looks_ahead || l.c.capacity > 0) {
            layer_close(&l);
            continue;
        }
        EXPECT_OK(moe_trace_open(&trace, 1, 8));
        l.t.training = true;
        for (int j = 0; j < BALANCE_LOSSES; j++) l.c.balance[j] = router_takes_loss(l.c.router, j);
        l.x.rows = l.batch.n_tokens = l.sequence_start[2] = N - 10;
        layer_run(&l, &trace);
        for (int j = 0; j < BALANCE_LOSSES; j++) loss[j] = tape_loss(&l.t, balance_terms[j].name);
        memcpy(chosen, trace.chosen, sizeof chosen);
        l.x.rows = l.batch.n_tokens = l.sequence_start[2] = N;
        for (int n = N - 10; n < N; n++) l.target[n] = -1;
        moe_trace_clear(&trace);
        layer_run(&l, &trace);
        for (int j = 0; j < BALANCE_LOSSES; j++)
            EXPECT(near(tape_loss(&l.t, balance_terms[j].name), loss[j], 1e-5), "%s: %s loss %g with padding, %g without", ways[i].name,
                   balance_terms[j].name, tape_loss(&l.t, balance_terms[j].name), loss[j]);
        for (int e = 0; e < 8; e++)
            EXPECT(trace.chosen[e] == chosen[e], "%s: expert %d: %d and %d", ways[i].name, e, (int)trace.chosen[e], (int)chosen[e]);
        moe_trace_close(&trace);
        layer_close(&l);
    }
}

/* Balance reads what was chosen: with room for next to nothing, its losses and counts are those of the dropless layer. */
static void balance_counts_before_dropping(void) {
    static test_layer l;
    moe_trace trace;
    layer_open(&l, size, (moe_config){.kind = "softmax"});
    EXPECT_OK(moe_trace_open(&trace, 1, 8));
    double dropless[] = {loss_of(&l, BALANCE_SWITCH), loss_of(&l, BALANCE_IMPORTANCE)};
    l.c.capacity = 0.1;
    EXPECT(near(loss_of(&l, BALANCE_SWITCH), dropless[0], 1e-9) && near(loss_of(&l, BALANCE_IMPORTANCE), dropless[1], 1e-9), "the losses changed");
    layer_run(&l, &trace);
    int64_t chosen = 0, kept = 0;
    for (int e = 0; e < 8; e++) chosen += trace.chosen[e], kept += trace.load[e];
    EXPECT(chosen == 2 * N && kept < N && trace.dropped[0] == chosen - kept, "%d chosen, %d kept, %d dropped", (int)chosen, (int)kept,
           (int)trace.dropped[0]);
    moe_trace_close(&trace);
    layer_close(&l);
}

/* Updates sum to rate (experts below the mean - experts above it); one at the mean stays. */
static void the_bias_moves_towards_even_loads(void) {
    real b[4] = {0, 1, -1, (real)0.5};
    real *value[] = {b};
    weight bias = {.groups = 1, .out = 1, .in = 4, .value = value};
    balance_move_bias(&bias, (const int64_t[]){9, 1, 4, 2}, 0.25);
    EXPECT(b[0] == (real)-0.25 && b[1] == (real)1.25 && b[2] == -1 && b[3] == (real)0.75, "biases %g %g %g %g", (double)b[0], (double)b[1],
           (double)b[2], (double)b[3]);
}

static double worst_load(const moe_trace *trace) { return moe_trace_summarize(trace, 0).load_max_over_mean; }

/* What each method is for: loads that were uneven become even, by gradient descent on the loss alone or by the bias alone. */
static void balancing_evens_loads(void) {
    static const struct {
        const char *kind;
        balance_loss loss; /* BALANCE_LOSSES: the bias */
    } methods[] = {{"softmax", BALANCE_SWITCH},    {"softmax", BALANCE_SEQUENCE}, {"noisy_top_k", BALANCE_LOAD}, {"noisy_top_k", BALANCE_IMPORTANCE},
                   {"hierarchical", BALANCE_LOAD}, {"sigmoid", BALANCE_SWITCH},   {"sigmoid", BALANCE_LOSSES}};
    static test_layer l;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        moe_trace trace;
        moe_config c = {.normalize = true};
        strcpy(c.kind, methods[i].kind);
        if (!strcmp(c.kind, "hierarchical")) c.groups = 4, c.top_groups = 2;
        bool by_bias = methods[i].loss == BALANCE_LOSSES;
        if (!by_bias) c.balance[methods[i].loss] = 1;
        layer_open(&l, size, c);
        EXPECT_OK(moe_trace_open(&trace, 1, 8));
        for (int n = 0; n < N; n++) l.input[n * D] = 1; /* a channel that all tokens share, and two experts that like it */
        for (int e = 0; e < 2; e++) l.w.router->value[0][e * D] = 2;
        if (l.w.group_router) l.w.group_router->value[0][0] = 2;
        l.t.training = true;
        double first = 0;
        for (int step = 0; step < 300; step++) {
            weights_zero_gradients(&l.table), moe_trace_clear(&trace);
            layer_run(&l, &trace);
            if (step == 0) first = worst_load(&trace);
            tape_backward(&l.t);
            for (ptrdiff_t j = 0; j < l.table.total; j++) l.table.values[j] -= (real)0.3 * l.table.gradients[j];
            if (by_bias) balance_move_bias(l.w.bias, trace.chosen, 0.01);
        }
        double last = worst_load(&trace);
        EXPECT(first > 2 && last < 1 + 0.6 * (first - 1), "%s, %s: max/mean load from %.2f to %.2f", methods[i].kind,
               by_bias ? "bias" : balance_terms[methods[i].loss].name, first, last);
        moe_trace_close(&trace);
        layer_close(&l);
    }
}

static const test_case cases[] = {
    {"the noisy gate gives the golden numbers", the_noisy_gate_gives_the_golden_numbers},
    {"the hierarchical gate is that of its definition", the_hierarchical_gate_is_that_of_its_definition},
    {"the hierarchical gate is never as wide as its experts", the_hierarchical_gate_is_never_as_wide_as_its_experts},
    {"even loads have the least loss", even_loads_have_the_least_loss},
    {"perfect balance has no NaN", perfect_balance_has_no_nan},
    {"a counted load has no gradient", a_counted_load_has_no_gradient},
    {"counts are of the step so far", counts_are_of_the_step_so_far},
    {"padding does not count", padding_does_not_count},
    {"balance counts before dropping", balance_counts_before_dropping},
    {"the bias moves towards even loads", the_bias_moves_towards_even_loads},
    {"balancing evens loads", balancing_evens_loads},
};

int main(void) { return test_run("laws of balance", cases, sizeof cases / sizeof *cases); }
