/* The models seen from outside: what one token may know of the others, with and without a cache, for every kind of block. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "lamp.h"
#include "models/model.h"

enum { V = 37, D = 24, F = 20, L = 2, T = 70 };

/* Weights are larger than one would train with, so that attention and experts weigh in the logits. */
static const model_config base = {
    .family = "olmoe", .vocab_size = V, .hidden_size = D, .intermediate_size = F, .num_hidden_layers = L, .num_attention_heads = 4, .num_key_value_heads = 2,
    .head_dim = 8, .max_position_embeddings = 128, .rope_theta = 10000, .rms_norm_eps = 1e-6, .initializer_range = 0.2, .end_of_text = -1,
    .moe = {.router = &router_softmax, .experts = 5, .top_k = 2, .scale = 1},
};

typedef struct {
    model m;
    tape t;
    int32_t token[T];
} subject;

static void subject_open(subject *s, const model_config *c) {
    const struct kernels *k;
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&s->t, k));
    EXPECT_OK(model_open(&s->m, c));
    EXPECT_OK(weights_allocate_values(&s->m.weights));
    weights_initialize(&s->m.weights, 5);
    for (int i = 0; i < T; i++) s->token[i] = i * i * 7 % V;
}

static void subject_close(subject *s) { model_close(&s->m), tape_close(&s->t); }

/* The logits of one sequence, until the tape is next used. */
static const real *run(subject *s, const int32_t *token, ptrdiff_t n, state *memory, bool last_only) {
    ptrdiff_t start[] = {0, n};
    tape_reset(&s->t);
    return model_logits(&s->t, &s->m, &(token_batch){n, token, NULL, 1, start}, memory, last_only, NULL)->x;
}

static void expect_same(const char *what, const real *found, const real *expected, ptrdiff_t rows, ptrdiff_t first) {
    for (ptrdiff_t i = 0; i < rows * V; i++)
        if (!(fabs((double)found[i] - (double)expected[i]) <= 2e-5)) {
            EXPECT(false, "%s: token %td, logit %td is %.7g, expected %.7g", what, first + i / V, i % V, (double)found[i], (double)expected[i]);
            return;
        }
}

static void check_model(const char *name, const model_config *c) {
    static real whole[T * V];
    static const ptrdiff_t chunks[][5] = {{1, 5, 63, 1}, {33, 37}, {69, 1}, {2, 2, 66}};
    subject s;
    state memory;
    subject_open(&s, c);
    memcpy(whole, run(&s, s.token, T, NULL, false), sizeof whole);
    expect_same(name, run(&s, s.token, T, NULL, true), whole + (T - 1) * V, 1, T - 1);

    EXPECT_OK(model_state_open(&memory, &s.m, T, 1));
    for (ptrdiff_t n = 0; n < T; n++) expect_same(name, run(&s, s.token + n, 1, &memory, false), whole + n * V, 1, n);
    EXPECT(memory.length == T, "%td tokens in the state", memory.length);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        state_clear(&memory);
        for (const ptrdiff_t *chunk = chunks[i]; *chunk; chunk++) {
            ptrdiff_t first = memory.length;
            expect_same(name, run(&s, s.token + first, *chunk, &memory, false), whole + first * V, *chunk, first);
        }
    }
    state_close(&memory);

    /* three sequences in one batch: each begins anew */
    ptrdiff_t start[] = {0, 30, 31, T};
    tape_reset(&s.t);
    const real *batch = model_logits(&s.t, &s.m, &(token_batch){T, s.token, NULL, 3, start}, NULL, false, NULL)->x;
    expect_same(name, batch, whole, 30, 0);
    static real together[T * V];
    memcpy(together, batch, sizeof together);
    for (int i = 0; i < 3; i++) {
        ptrdiff_t length = start[i + 1] - start[i];
        expect_same(name, run(&s, s.token + start[i], length, NULL, false), together + start[i] * V, length, start[i]);
    }
    tape_reset(&s.t);
    batch = model_logits(&s.t, &s.m, &(token_batch){T, s.token, NULL, 3, start}, NULL, true, NULL)->x;
    for (int i = 0; i < 3; i++) expect_same(name, batch + i * V, together + (start[i + 1] - 1) * V, 1, start[i + 1] - 1);

    /* another future leaves the past alone, and changes what comes after */
    for (int i = 40; i < T; i++) s.token[i] = (s.token[i] + 1) % V;
    const real *changed = run(&s, s.token, T, NULL, false);
    expect_same(name, changed, whole, 40, 0);
    double difference = 0;
    for (int i = 41 * V; i < 42 * V; i++) difference += fabs((double)changed[i] - (double)whole[i]);
    EXPECT(difference > 0.1, "%s: another token changes logits by %g only", name, difference);
    subject_close(&s);
}

static void sparse_without_norms(void) { check_model("sparse", &base); }

static void sparse_with_head_norms(void) {
    model_config c = base;
    c.qk_norm = QK_NORM_HEAD, c.moe.normalize = true, c.tie_word_embeddings = true;
    check_model("sparse, tied, head norms", &c);
}

static void sparse_with_full_norms(void) {
    model_config c = base;
    c.qk_norm = QK_NORM_FULL, c.num_key_value_heads = 4, c.moe.top_k = 1;
    check_model("sparse, full norms", &c);
}

static void dense_tied(void) {
    model_config c = base;
    c.moe.experts = c.moe.top_k = 1, c.tie_word_embeddings = true, c.num_key_value_heads = 1;
    check_model("dense, tied", &c);
}

static void dense_with_norms(void) {
    model_config c = base;
    c.moe.experts = c.moe.top_k = 1, c.qk_norm = QK_NORM_HEAD;
    check_model("dense, head norms", &c);
    c.qk_norm = QK_NORM_FULL, c.tie_word_embeddings = true;
    check_model("dense, full norms", &c);
}

/* Wide and projected LSTMs, with experts or the one that is without a router. */
static model_config lstm(int experts, int units) {
    model_config c = base;
    strcpy(c.family, "lstm_moe");
    c.backbone = &lstm_moe_backbone, c.num_hidden_layers = 3, c.sparse_step = 2, c.dense_size = units; /* weights much larger make it chaotic */
    c.moe.experts = experts, c.moe.relu = true, c.moe.normalize = true;
    return c;
}

static void lstms(void) {
    model_config c = lstm(5, D);
    check_model("lstm_moe", &c);
    c = lstm(5, 2 * D), c.tie_word_embeddings = true;
    check_model("lstm_moe, projected, tied", &c);
    c = lstm(1, D);
    check_model("lstm_moe, one expert", &c);
    c.sparse_step = 1;
    check_model("lstm_moe, three LSTMs", &c);
}

/* Three sequences in two pieces, or three: what the first said is carried to the next, its gradient is not. */
static void truncation_cuts_gradients_and_no_values(void) {
    enum { B = 3, LENGTH = 20, N = B * LENGTH };
    model_config c = lstm(5, 2 * D);
    subject s;
    state memory;
    int32_t token[N], target[N];
    double whole_loss[N], apart = 0, size = 0;
    subject_open(&s, &c);
    EXPECT_OK(weights_allocate_gradients(&s.m.weights));
    EXPECT_OK(model_state_open(&memory, &s.m, 0, 2 * B));
    memory.first = B; /* the other half must be left alone */
    real *gradients = malloc(sizeof(real) * (size_t)s.m.weights.total);
    for (int pieces = 1; pieces <= 4; pieces++) {
        const ptrdiff_t length = LENGTH / pieces, start[] = {0, length, 2 * length, 3 * length};
        if (pieces == 3) continue; /* not of equal length */
        state_clear(&memory);
        weights_zero_gradients(&s.m.weights);
        for (int piece = 0; piece < pieces; piece++) {
            for (ptrdiff_t n = 0; n < B * length; n++) {
                ptrdiff_t at = n / length * LENGTH + piece * length + n % length;
                token[n] = (int32_t)(at * at * 7 % V), target[n] = (int32_t)((at + 1) * (at + 1) * 7 % V);
            }
            tape_reset(&s.t);
            s.t.training = true, s.t.loss_scale = 1.0 / N;
            const double *loss = model_loss(&s.t, &s.m, &(token_batch){B * length, token, target, B, start}, &memory, NULL);
            for (ptrdiff_t n = 0; n < B * length; n++) {
                ptrdiff_t at = n / length * LENGTH + piece * length + n % length;
                if (pieces == 1) whole_loss[at] = loss[n];
                EXPECT(fabs(loss[n] - whole_loss[at]) < 2e-5, "%d pieces: token %td: loss %g, not %g", pieces, at, loss[n], whole_loss[at]);
            }
            tape_backward(&s.t);
        }
        tape_complete_gradients(&s.t, &s.m.weights);
        for (int i = 0; i < s.m.weights.n; i++) {
            const weight *w = s.m.weights.row[i];
            if (pieces == 1) memcpy(gradients + w->offset, w->step->gradient, sizeof(real) * (size_t)weight_size(w));
            for (ptrdiff_t j = 0; j < weight_size(w); j++)
                apart = fmax(apart, fabs((double)(w->step->gradient[j] - gradients[w->offset + j]))),
                size = fmax(size, fabs((double)gradients[w->offset + j]));
        }
        EXPECT(pieces == 1 ? apart == 0 : apart > 0.01 * size, "%d pieces: gradients differ by %g of %g", pieces, apart, size);
    }
    for (int i = 0; i < memory.layers * STATE_KINDS; i++)
        for (ptrdiff_t j = 0; state_is_replaced(&memory, i) && j < B * memory.rows[i].width; j++)
            EXPECT(memory.rows[i].x[j] == 0, "%s of another sequence was written", state_kind_name(i));
    free(gradients);
    state_close(&memory);
    subject_close(&s);
}

/* What is kept of a token is narrow, and those after it look at that. */
static void latents(void) {
    model_config c = base;
    c.num_key_value_heads = 4, c.head_dim = 11;
    c.latent = (latent_attention){.query_rank = 0, .key_rank = 10, .plain_dim = 5, .rotary_dim = 6, .value_dim = 7};
    check_model("latent attention", &c);
    c.latent.query_rank = 9, c.interleaved = true, c.moe.shared_experts = 1, c.moe.shared_size = 7;
    c.rope = (rope_scaling){.kind = "yarn", .factor = 4, .original = 32, .beta_fast = 8, .beta_slow = 1, .mscale = 0.7, .mscale_all_dim = 0.9};
    check_model("latent attention, narrow queries, yarn", &c);
}

static void windows_sinks_and_biases(void) {
    model_config c = base;
    c.window = (attention_window){.size = 9, .full_step = 2}, c.attention_sinks = true, c.attention_bias = BIAS_ALL;
    c.moe.biases = c.moe.normalize = true, c.moe.swiglu_limit = 0.7, c.moe.swiglu_alpha = 1.7;
    check_model("windows, sinks, biases", &c);
    c.window = (attention_window){.size = 16, .chunked = true}, c.interleaved = true, c.num_key_value_heads = 1;
    check_model("chunks", &c);
}

static void earlier_tokens_and_their_order_matter(void) {
    subject s;
    real straight[V];
    subject_open(&s, &base);
    memcpy(straight, run(&s, s.token, 10, NULL, true), sizeof straight);
    int32_t kept = s.token[2];
    s.token[2] = s.token[4], s.token[4] = kept; /* without positions, attention could not tell */
    const real *swapped = run(&s, s.token, 10, NULL, true);
    double difference = 0;
    for (int i = 0; i < V; i++) difference += fabs((double)swapped[i] - (double)straight[i]);
    EXPECT(difference > 0.01, "swapping two earlier tokens changes logits by %g", difference);
    subject_close(&s);
}

static void the_loss_is_the_cross_entropy_of_the_logits(void) {
    enum { N = 500 }; /* more than the head takes at once */
    subject s;
    static real logits[N * V];
    int32_t token[N], target[N];
    ptrdiff_t start[] = {0, 25, N};
    double sum = 0;
    subject_open(&s, &base);
    for (int i = 0; i < N; i++) token[i] = i * i * 3 % V, target[i] = i % 9 ? (i * 5 + 1) % V : -1;
    token_batch batch = {N, token, target, 2, start};
    memcpy(logits, model_logits(&s.t, &s.m, &batch, NULL, false, NULL)->x, sizeof logits);
    tape_reset(&s.t);
    s.t.loss_scale = 0.5;
    const double *loss = model_loss(&s.t, &s.m, &batch, NULL, NULL);
    for (int n = 0; n < N; n++) {
        double total = 0, expected = 0;
        for (int v = 0; v < V; v++) total += exp((double)logits[n * V + v]);
        if (target[n] >= 0) expected = log(total) - (double)logits[n * V + target[n]];
        EXPECT(fabs(loss[n] - expected) < 1e-5, "token %d: loss %g, expected %g", n, loss[n], expected);
        sum += expected;
    }
    EXPECT(fabs(tape_loss(&s.t, "loss") - 0.5 * sum) < 1e-3, "the ledger says %g, expected %g", tape_loss(&s.t, "loss"), 0.5 * sum);
    subject_close(&s);
}

typedef struct {
    real *gradients; /* when they were ready */
    int n;
} arrivals;

static void note_arrival(void *context, const weight *w, const gradient_part *part) {
    arrivals *a = context;
    memcpy(a->gradients + w->offset, part->gradient, sizeof(real) * (size_t)weight_size(w)), a->n++;
}

static void training_passes_repeat_and_allocate_nothing(void) {
    subject s;
    model_config c = base;
    moe_trace trace;
    int32_t target[T];
    ptrdiff_t start[] = {0, 25, T};
    c.moe.balance[BALANCE_SWITCH] = 0.01, c.moe.balance[BALANCE_Z] = 0.001, c.qk_norm = QK_NORM_FULL;
    subject_open(&s, &c);
    EXPECT_OK(weights_allocate_gradients(&s.m.weights));
    EXPECT_OK(moe_trace_open(&trace, L, (int)c.moe.experts));
    for (int i = 0; i < T; i++) target[i] = (i * 5 + 1) % V;
    token_batch batch = {T, s.token, target, 2, start};
    real *gradients = malloc(sizeof(real) * (size_t)s.m.weights.total);
    arrivals ready = {.gradients = malloc(sizeof(real) * (size_t)s.m.weights.total)};
    s.t.gradient_ready = note_arrival, s.t.ready_context = &ready;
    size_t size = sizeof(real) * (size_t)s.m.weights.total, bytes = 0;
    long allocations = 0;
    s.t.training = true, s.t.loss_scale = 1.0 / T;
    for (int step = 0; step < 3; step++) {
        tape_reset(&s.t);
        weights_zero_gradients(&s.m.weights);
        ready.n = 0;
        moe_trace_clear(&trace);
        model_loss(&s.t, &s.m, &batch, NULL, &trace);
        tape_backward(&s.t);
        for (int i = 0; i < s.t.n_blocks; i++) EXPECT(!s.t.block[i].taken, "block %d of %zu bytes was not returned", i, s.t.block[i].size);
        EXPECT(ready.n == s.m.weights.n, "%d gradients were ready after backward", ready.n);
        tape_complete_gradients(&s.t, &s.m.weights);
        EXPECT(ready.n == s.m.weights.n && !memcmp(ready.gradients, s.m.weights.gradients, size), "a gradient changed after it was ready");
        if (step == 0) memcpy(gradients, s.m.weights.gradients, size), bytes = tape_bytes(&s.t), allocations = test_allocations();
        EXPECT(!memcmp(gradients, s.m.weights.gradients, size), "step %d has other gradients", step);
        EXPECT(tape_bytes(&s.t) == bytes && test_allocations() == allocations, "step %d took memory", step);
    }
    EXPECT(tape_loss(&s.t, "switch") >= 0.01 * L && tape_loss(&s.t, "z") > 0, "switch %g, z %g", tape_loss(&s.t, "switch"), tape_loss(&s.t, "z"));
    for (int l = 0; l < L; l++) {
        int64_t pairs = 0;
        for (int e = 0; e < c.moe.experts; e++) pairs += trace.load[l * c.moe.experts + e];
        EXPECT(pairs == T * c.moe.top_k, "layer %d: %lld pairs", l, (long long)pairs);
    }
    for (int i = 0; i < s.m.weights.n; i++) {
        const weight *w = s.m.weights.row[i];
        double sum = 0;
        for (ptrdiff_t j = 0; j < weight_size(w); j++) sum += fabs((double)w->step->gradient[j]);
        EXPECT(sum > 0 && isfinite(sum), "%s of layer %d: gradient %g", w->kind, w->layer, sum);
    }
    free(gradients), free(ready.gradients);
    moe_trace_close(&trace);
    subject_close(&s);
}

/* Worked out by hand, a layer of the sparse model: attention 24 x (32 + 16 + 16 + 32) = 2304 and norms 8 + 8, norms 24 + 24, router
 * 5 x 24 = 120, experts 5 x 3 x 20 x 24 = 7200 of which two are active, 2880. */
static void parameters_are_counted(void) {
    static const struct {
        int experts, chosen;
        bool tied;
        model_costs expected;
    } table[] = {
        {5, 2, false, {21176, 11672, 11496, 6 * 11496 + 12 * 2 * 64 * 32}},
        {5, 2, true, {20288, 11648, 11496, 6 * 11496 + 12 * 2 * 64 * 32}},
        {1, 1, true, {8528, 8528, 8376, 6 * 8376 + 12 * 2 * 64 * 32}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        model m;
        model_config c = base;
        c.moe.experts = table[i].experts, c.moe.top_k = table[i].chosen, c.tie_word_embeddings = table[i].tied, c.qk_norm = QK_NORM_HEAD;
        EXPECT_OK(model_open(&m, &c));
        model_costs found = model_count(&m, 64);
        const model_costs *x = &table[i].expected;
        EXPECT(found.parameters == x->parameters && found.parameters == m.weights.total, "row %zu: %lld parameters", i, (long long)found.parameters);
        EXPECT(found.active_parameters == x->active_parameters, "row %zu: %lld active", i, (long long)found.active_parameters);
        EXPECT(found.active_matrix_parameters == x->active_matrix_parameters, "row %zu: %lld in matrices", i,
               (long long)found.active_matrix_parameters);
        EXPECT(found.flops_per_token == x->flops_per_token, "row %zu: %g FLOPs", i, found.flops_per_token);
        model_close(&m);
    }
}

static const test_case cases[] = {
    {"sparse", sparse_without_norms},
    {"sparse, tied, head norms", sparse_with_head_norms},
    {"sparse, full norms", sparse_with_full_norms},
    {"dense, tied", dense_tied},
    {"dense, with norms", dense_with_norms},
    {"LSTMs", lstms},
    {"truncation cuts gradients and no values", truncation_cuts_gradients_and_no_values},
    {"latents", latents},
    {"windows, sinks and biases", windows_sinks_and_biases},
    {"earlier tokens and their order matter", earlier_tokens_and_their_order_matter},
    {"the loss is the cross-entropy of the logits", the_loss_is_the_cross_entropy_of_the_logits},
    {"training passes repeat and allocate nothing", training_passes_repeat_and_allocate_nothing},
    {"parameters are counted", parameters_are_counted},
};

int main(void) { return test_run("models", cases, sizeof cases / sizeof *cases); }
