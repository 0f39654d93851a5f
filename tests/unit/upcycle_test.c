/* Upcycling: the mixture is the dense model's function, for every number of experts, choices and slices and whatever the routers say. */
#include "models/upcycle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "infer/comparison.h"
#include "lamp.h"
#include "models/families/family.h"

enum { V = 41, D = 24, F = 36, T = 50, N_TOKENS = 120 };

typedef struct {
    model dense;
    model_config config;
    upcycled_model mixture;
    int32_t ids[N_TOKENS];
} subject;

/* Weights are larger than one would train with, so that the MLPs weigh in the logits. */
static void dense_open(subject *s, const char *name) {
    model_config c = {.vocab_size = V,
                      .hidden_size = D,
                      .intermediate_size = F,
                      .num_hidden_layers = 3,
                      .num_attention_heads = 4,
                      .num_key_value_heads = 2,
                      .head_dim = 6,
                      .max_position_embeddings = T,
                      .rope_theta = 1e4,
                      .rms_norm_eps = 1e-6,
                      .biased = -1,
                      .initializer_range = 0.3,
                      .end_of_text = -1,
                      .sparse_step = 1,
                      .moe = {.kind = "softmax", .experts = 1, .top_k = 1, .scale = 1}};
    *s = (subject){0};
    strcpy(c.family, name);
    EXPECT_OK(family_complete(&c, "test"));
    EXPECT_OK(model_open(&s->dense, &c));
    EXPECT_OK(weights_allocate_values(&s->dense.weights));
    weights_initialize(&s->dense.weights, 7);
    for (int i = 0; i < s->dense.weights.n; i++) {
        const weight *w = s->dense.weights.row[i];
        for (ptrdiff_t j = 0; w->role == ROLE_BIAS && j < w->in; j++) w->value[0][j] = (real)0.1 * (real)(j % 5 - 2);
    }
    for (int i = 0; i < N_TOKENS; i++) s->ids[i] = i * i * 11 % V;
}

static void subject_open(subject *s, const char *name, upcycle_options how) {
    dense_open(s, name);
    EXPECT_OK(upcycle_config(&s->config, &s->dense.config, NULL, &how));
    EXPECT_OK(upcycled_model_open(&s->mixture, &s->dense, &s->config, &how));
}

static void subject_close(subject *s) { upcycled_model_close(&s->mixture), model_close(&s->dense); }

static weight *find(const model *m, const char *kind, int layer) {
    for (int i = 0; i < m->weights.n; i++)
        if (m->weights.row[i]->layer == layer && !strcmp(m->weights.row[i]->kind, kind)) return m->weights.row[i];
    return NULL;
}

/* The difference over the largest logit. */
static double apart(const subject *s) {
    comparison c;
    EXPECT_OK(compare_models(&c, &s->dense, &s->mixture.model, s->ids, N_TOKENS, NULL));
    EXPECT(c.largest > 1 && c.tokens == N_TOKENS, "logits up to %g of %td tokens", c.largest, c.tokens);
    EXPECT(!(c.difference < 1e-5) || fabs(c.loss_a - c.loss_b) < 1e-5, "losses %g and %g", c.loss_a, c.loss_b);
    return c.difference / c.largest;
}

static const upcycle_options ways[] = {{2, 1, 1, 0, 1},   {4, 2, 1, 0, 1},   {5, 5, 1, 0, 1},   {4, 2, 2, 0, 1}, {8, 4, 2, 0, 1},
                                       {8, 8, 2, 0, 1},   {6, 3, 3, 0, 1},   {9, 6, 3, 0, 1},   {4, 4, 4, 0, 1}, {24, 8, 4, 0, 1},
                                       {36, 12, 6, 0, 1}, {70, 21, 1, 0, 1}, {72, 36, 36, 0, 1}};
enum { N_WAYS = sizeof ways / sizeof *ways };

static void expect_same_function(const char *name) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int i = 0; i < N_WAYS; i++) {
        subject s;
        subject_open(&s, name, ways[i]);
        for (int k = 0; k < n; k++) {
            setenv("LAMP_KERNELS", tables[k]->name, 1);
            double found = apart(&s);
            EXPECT(found < 3e-6, "%s, %s: E %d, K %d, G %d: logits differ by %.1e", name, tables[k]->name, (int)ways[i].experts, (int)ways[i].top_k,
                   (int)ways[i].slices, found);
        }
        unsetenv("LAMP_KERNELS");
        subject_close(&s);
    }
}

static void mixtures_of_llama_are_the_same_function(void) { expect_same_function("llama"); }
static void mixtures_of_qwen2_are_the_same_function(void) { expect_same_function("qwen2"); }
static void mixtures_of_qwen3_are_the_same_function(void) { expect_same_function("qwen3"); }

/* Routers without an opinion, with one so strong that most probabilities are zero, and with copies that tie. */
static void the_routers_do_not_matter(void) {
    static const double factors[] = {0, 1e-30, 1, 1e4, 1e30};
    for (int i = 0; i < 5; i++) {
        subject s;
        subject_open(&s, "llama", (upcycle_options){24, 8, 4, 0, 1});
        for (int l = 0; l < 3; l++) {
            weight *router = find(&s.mixture.model, "moe.router", l);
            for (ptrdiff_t j = 0; j < weight_size(router); j++) router->value[0][j] *= (real)factors[i];
            for (ptrdiff_t j = 0; j < 8 * D; j++) router->value[0][j + 12 * D] = router->value[0][j + 4 * D]; /* copies 1 and 2 are 3 and 4 */
        }
        double found = apart(&s);
        EXPECT(found < 3e-6, "routers times %g: logits differ by %.1e", factors[i], found);
        subject_close(&s);
    }
}

static void count_split_copies(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weights_of) {
    enum { G = 3, K = 6 };
    (void)layer, (void)token;
    int *split = context;
    for (ptrdiff_t i = 0; i < pairs; i += K) {
        int slices[24] = {0};
        for (ptrdiff_t k = 0; k < K; k++) {
            slices[expert[i + k] / G] += 1 << expert[i + k] % G;
            *split += weights_of[i + k] != weights_of[i + k / G * G];
        }
        for (int r = 0; r < 24; r++) *split += slices[r] != 0 && slices[r] != (1 << G) - 1;
    }
}

static void a_token_takes_whole_copies(void) {
    subject s;
    tape t;
    moe_trace trace;
    const struct kernels *k;
    int split = 0;
    ptrdiff_t start[] = {0, T};
    subject_open(&s, "llama", (upcycle_options){36, 6, 3, 0.5, 3});
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&t, k));
    EXPECT_OK(model_trace_open(&trace, &s.mixture.model));
    trace.watch = count_split_copies, trace.watch_context = &split;
    model_logits(&t, &s.mixture.model, &(token_batch){T, s.ids, NULL, 1, start}, NULL, false, &trace);
    EXPECT(split == 0, "%d tokens take part of a copy, or its slices with unequal weights", split);
    EXPECT(trace.load[0] > 0 && trace.load[0] < T * 3, "expert 0 has %d tokens", (int)trace.load[0]);
    moe_trace_close(&trace), tape_close(&t);
    subject_close(&s);
}

/* What the comparison is there to find. */
static void slices_that_part_are_noticed(void) {
    subject s;
    subject_open(&s, "llama", (upcycle_options){8, 2, 2, 0, 1});
    real *router = find(&s.mixture.model, "moe.router", 1)->value[0];
    for (int d = 0; d < D; d++) {
        real one = router[d];
        router[d] = router[5 * D + d], router[5 * D + d] = one;
    }
    double found = apart(&s);
    EXPECT(found > 1e-2, "logits differ by only %.1e", found);
    subject_close(&s);
    subject_open(&s, "llama", (upcycle_options){4, 2, 1, 0, 1});
    find(&s.mixture.model, "moe.router", 2)->value[0][3] = (real)NAN;
    EXPECT(isnan(apart(&s)), "a NaN is lost");
    subject_close(&s);
}

static void noise_has_the_size_asked_for(void) {
    static const char *const parts[][2] = {{"moe.gate", "mlp.gate"}, {"moe.up", "mlp.up"}, {"moe.down", "mlp.down"}};
    subject s, again, other;
    upcycle_options how = {8, 4, 2, 0.1, 5};
    subject_open(&s, "llama", how), subject_open(&again, "llama", how);
    how.seed = 6, subject_open(&other, "llama", how);
    for (int i = 0; i < 3; i++) {
        const weight *w = find(&s.mixture.model, parts[i][0], 1), *dense = find(&s.dense, parts[i][1], 1);
        double factor = i == 2 ? 2 : 1, noise = 0, all = 0, both = 0;
        for (ptrdiff_t e = 0; e < 8; e++)
            for (ptrdiff_t r = 0; r < w->out; r++)
                for (ptrdiff_t c = 0; c < w->in; c++) {
                    ptrdiff_t at = i == 2 ? r * F + e % 2 * (F / 2) + c : (e % 2 * (F / 2) + r) * D + c, j = r * w->in + c;
                    double x = (double)dense->value[0][at], added = (double)w->value[e][j] / factor - x;
                    noise += added * added, all += x * x;
                    both += added * ((double)w->value[(e + 2) % 8][j] / factor - x);
                }
        EXPECT(fabs(sqrt(noise / all) - 0.1) < 0.005, "%s: relative noise %.4f", parts[i][0], sqrt(noise / all));
        EXPECT(fabs(both / noise) < 0.05, "%s: the noise of two copies correlates by %.3f", parts[i][0], both / noise);
        size_t bytes = sizeof(real) * (size_t)(w->out * w->in);
        EXPECT(!memcmp(w->value[3], find(&again.mixture.model, parts[i][0], 1)->value[3], bytes), "%s: the same seed, other noise", parts[i][0]);
        EXPECT(memcmp(w->value[3], find(&other.mixture.model, parts[i][0], 1)->value[3], bytes), "%s: another seed, the same noise", parts[i][0]);
    }
    double found = apart(&s);
    EXPECT(found > 1e-3 && found < 1, "logits differ by %.1e", found);
    subject_close(&s), subject_close(&again), subject_close(&other);
}

static void what_does_not_go_together_is_refused(void) {
    static const struct {
        upcycle_options how;
        const char *family, *text;
    } wrong[] = {
        {{1, 1, 1, 0, 1}, NULL, "experts: expected at least 2"},
        {{4, 5, 1, 0, 1}, NULL, "top-k: expected 1 to 4"},
        {{4, 2, 5, 0, 1}, NULL, "split: expected a divisor of the inner width 36"},
        {{6, 4, 4, 0, 1}, NULL, "experts: expected a multiple of split (4)"},
        {{8, 2, 4, 0, 1}, NULL, "top-k: expected a multiple of split (4)"},
        {{4, 2, 1, 0, 1}, "qwen3_moe", "norms queries and keys differently from llama, so it would compute another function; expected mixtral"},
        {{4, 2, 1, 0, 1}, "olmoe", "expected mixtral"},
        {{4, 2, 1, 0, 1}, "qwen3", "family qwen3 has no experts; expected mixtral"},
        {{4, 2, 1, 0, 1}, "mixtrel", "did you mean mixtral?"},
    };
    subject s;
    model_config config;
    dense_open(&s, "llama");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        EXPECT_ERROR(upcycle_config(&config, &s.dense.config, wrong[i].family, &wrong[i].how), LAMP_INVALID, wrong[i].text);
    EXPECT_OK(upcycle_config(&config, &s.dense.config, "mixtral", &ways[1]));
    model_config again;
    EXPECT_ERROR(upcycle_config(&again, &config, NULL, &ways[1]), LAMP_INVALID, "expected a dense model, found family mixtral with 4 experts");
    subject_close(&s);
}

static const test_case cases[] = {
    {"mixtures of llama are the same function", mixtures_of_llama_are_the_same_function},
    {"mixtures of qwen2 are the same function", mixtures_of_qwen2_are_the_same_function},
    {"mixtures of qwen3 are the same function", mixtures_of_qwen3_are_the_same_function},
    {"the routers do not matter", the_routers_do_not_matter},
    {"a token takes whole copies", a_token_takes_whole_copies},
    {"slices that part are noticed", slices_that_part_are_noticed},
    {"noise has the size asked for", noise_has_the_size_asked_for},
    {"what does not go together is refused", what_does_not_go_together_is_refused},
};

int main(void) { return test_run("upcycle", cases, sizeof cases / sizeof *cases); }
