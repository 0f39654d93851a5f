#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "lamp.h"
#include "ops/ops.h"
#include "tensor/state.h"

static void open_tape(tape *t) {
    const struct kernels *k;
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(t, k));
}

static int taken(const tape *t) {
    int n = 0;
    for (int i = 0; i < t->n_blocks; i++) n += t->block[i].taken;
    return n;
}

typedef struct {
    int *log, *n, number;
    tensor *input;
} note;

static void write_note(tape *t, void *saved) {
    note *s = saved;
    s->log[(*s->n)++] = s->number;
    if (s->input) tape_gradient(t, s->input)[0] += 1;
}

/* c <- b <- a, and beside them d, whose gradient nobody touches. */
static void backward_runs_in_reverse_and_skips_what_has_no_gradient(void) {
    tape t;
    int log[8], n = 0;
    open_tape(&t);
    t.training = true;
    tensor *a = tape_tensor(&t, 1, 1), *b = tape_tensor(&t, 1, 1), *c = tape_tensor(&t, 1, 1), *d = tape_tensor(&t, 1, 1);
    RECORD(&t, a, write_note, (note){log, &n, 1, NULL});
    RECORD(&t, b, write_note, (note){log, &n, 2, a});
    RECORD(&t, d, write_note, (note){log, &n, 3, a});
    RECORD(&t, NULL, write_note, (note){log, &n, 4, NULL});
    RECORD(&t, c, write_note, (note){log, &n, 5, b});
    tape_gradient(&t, c)[0] = 1;
    tape_backward(&t);
    EXPECT(n == 4 && log[0] == 5 && log[1] == 4 && log[2] == 2 && log[3] == 1, "%d calls: %d %d %d %d", n, log[0], log[1], log[2], log[3]);
    EXPECT(taken(&t) == 0 && !a->dx && !b->dx && !c->dx, "%d gradients are still taken", taken(&t));
    t.training = false;
    RECORD(&t, a, write_note, (note){log, &n, 6, NULL});
    tape_backward(&t);
    EXPECT(n == 4, "a tape that does not train called %d", log[4]);
    tape_close(&t);
}

static void borrowed_memory_comes_back(void) {
    tape t;
    open_tape(&t);
    real *large = tape_borrow(&t, 1000), *small = tape_borrow(&t, 10);
    EXPECT((uintptr_t)large % 64 == 0 && (uintptr_t)small % 64 == 0 && (uintptr_t)tape_keep(&t, 3) % 64 == 0, "not aligned");
    for (int i = 0; i < 1000; i++) large[i] = 7;
    tape_return(&t, large), tape_return(&t, small), tape_return(&t, NULL);
    tensor *a = tape_tensor(&t, 30, 20);
    const real *dx = tape_gradient(&t, a);
    EXPECT(dx == large && tape_gradient(&t, a) == dx, "600 numbers did not take the free block of 1000");
    for (int i = 0; i < 600; i++) EXPECT(dx[i] == 0, "element %d of a fresh gradient is %g", i, (double)dx[i]);
    const real *half = tape_borrow(&t, 499);
    EXPECT(half != large && half != small, "499 numbers took a block in use");
    tape_return(&t, dx);
    const real *less = tape_borrow(&t, 400);
    EXPECT(less != large, "400 numbers wasted a block of 1000");
    tape_reset(&t);
    EXPECT(taken(&t) == 0 && tape_borrow(&t, 1000) == large, "reset kept something");
    const size_t bytes = tape_bytes(&t);
    for (ptrdiff_t n = 100; n <= 1000; n += 100) {
        tape_reset(&t);
        EXPECT(tape_borrow(&t, n) == large && tape_bytes(&t) == bytes, "%td numbers lie beside those of a step before", n);
    }
    tape_close(&t);
}

static void a_gradient_is_passed_on_or_added(void) {
    tape t;
    open_tape(&t);
    tensor *a = tape_tensor(&t, 3, 5), *y = tape_tensor(&t, 3, 5), *z = tape_tensor(&t, 3, 5);
    for (int i = 0; i < 15; i++) tape_gradient(&t, y)[i] = (real)i, tape_gradient(&t, z)[i] = 100;
    const real *of_y = y->dx;
    tape_pass_gradient(&t, a, y);
    EXPECT(a->dx == of_y && !y->dx, "what nobody had touched did not take the memory");
    tape_pass_gradient(&t, a, z);
    EXPECT(a->dx == of_y && z->dx, "what was there lost its memory");
    tape_add_gradient(&t, y, a->dx);
    for (int i = 0; i < 15; i++)
        EXPECT(a->dx[i] == 100 + (real)i && y->dx[i] == a->dx[i] && z->dx[i] == 100, "element %d: %g and its copy %g", i, (double)a->dx[i], (double)y->dx[i]);
    tape_close(&t);
}

static void the_ledger_adds_by_name(void) {
    tape t;
    open_tape(&t);
    tape_add_loss(&t, "loss", 1), tape_add_loss(&t, "z", 0.5), tape_add_loss(&t, "loss", 2);
    EXPECT(t.n_losses == 2 && tape_loss(&t, "loss") == 3 && tape_loss(&t, "z") == 0.5 && tape_loss(&t, "none") == 0, "%d lines", t.n_losses);
    tape_reset(&t);
    EXPECT(t.n_losses == 0 && tape_loss(&t, "loss") == 0, "reset kept %d lines", t.n_losses);
    tape_close(&t);
}

/* A small network of the plain operations; returns its loss. */
static double pass(tape *t, weight *const *w, const int32_t *token, const int32_t *target, ptrdiff_t N) {
    tape_reset(t);
    tensor *x = embedding(t, w[0], token, N), *h = rmsnorm(t, x, w[1], 1e-5);
    h = softmax(t, linear(t, h, w[2]));
    x = add(t, x, linear(t, h, w[3]));
    head_loss(t, x, w[0], target);
    tape_backward(t);
    return tape_loss(t, "loss");
}

static void a_second_pass_takes_no_new_memory(void) {
    enum { N = 300, V = 50, D = 24, F = 40 };
    tape t;
    weights table = {0};
    weight *w[4];
    int32_t token[N], target[N];
    open_tape(&t);
    t.training = true, t.loss_scale = 1.0 / N;
    EXPECT_OK(weights_declare(&w[0], &table, "embedding", -1, ROLE_EMBEDDING, 1, V, D, 1));
    EXPECT_OK(weights_declare(&w[1], &table, "norm", -1, ROLE_NORM, 1, 1, D, 0));
    EXPECT_OK(weights_declare(&w[2], &table, "up", -1, ROLE_MATRIX, 1, F, D, 1));
    EXPECT_OK(weights_declare(&w[3], &table, "down", -1, ROLE_MATRIX, 1, D, F, 1));
    EXPECT_OK(weights_allocate_values(&table));
    EXPECT_OK(weights_allocate_gradients(&table));
    weights_initialize(&table, 1);
    for (int i = 0; i < N; i++) token[i] = i * 7 % V, target[i] = i * 11 % V;
    double loss = pass(&t, w, token, target, N);
    size_t bytes = tape_bytes(&t);
    long allocations = test_allocations();
    EXPECT(taken(&t) == 0, "%d of %d blocks were not returned", taken(&t), t.n_blocks);
    for (int i = 0; i < 3; i++) {
        double again = pass(&t, w, token, target, N);
        EXPECT(again == loss, "loss %.17g, before %.17g", again, loss);
        EXPECT(tape_bytes(&t) == bytes && taken(&t) == 0, "%zu bytes, before %zu", tape_bytes(&t), bytes);
        EXPECT(test_allocations() == allocations, "%ld allocations in a later pass", test_allocations() - allocations);
    }
    weights_release(&table);
    tape_close(&t);
}

/* Over many draws the sampled softmax's sum is, in the mean, that of all words: within five of its own standard errors. */
static void a_sampled_softmax_has_the_right_mean(void) {
    enum { N = 5, V = 40, D = 6, S = 8, DRAWS = 4000 };
    static const int32_t target[N] = {0, 39, 3, 3, 12};
    tape t;
    weights table = {0};
    weight *w;
    double all[N], sum[N] = {0}, squares[N] = {0};
    real values[N * D];
    open_tape(&t);
    EXPECT_OK(weights_declare(&w, &table, "head", -1, ROLE_MATRIX, 1, V, D, 1));
    EXPECT_OK(weights_allocate_values(&table));
    EXPECT_OK(weights_allocate_gradients(&table));
    weights_initialize(&table, 1);
    for (int i = 0; i < N * D; i++) values[i] = (real)(i * 5 % 7 - 3) / 4;
    tensor x = {values, NULL, N, D, NULL, NULL};
    memcpy(all, head_loss(&t, &x, w, target), sizeof all);
    t.training = true, t.loss_scale = 1;
    for (int i = 0; i < DRAWS; i++) {
        tape_reset(&t);
        weights_zero_gradients(&table);
        t.random.step = (uint64_t)i, x.dx = NULL;
        const double *loss = head_loss_sampled(&t, &x, w, target, S);
        for (int n = 0; n < N; n++) sum[n] += exp(loss[n] - all[n]), squares[n] += exp(2 * (loss[n] - all[n]));
        tape_backward(&t);
    }
    for (int n = 0; n < N; n++) {
        const double mean = sum[n] / DRAWS, error = sqrt((squares[n] / DRAWS - mean * mean) / DRAWS);
        EXPECT(fabs(mean - 1) < 5 * error && error > 0 && error < 0.02, "token %d: %.4f +- %.4f of the whole sum", n, mean, error);
    }
    weights_release(&table);
    tape_close(&t);
}

/* What was ready, in order, and a copy of each gradient at that moment. */
typedef struct {
    const weight *w[8];
    real gradient[8][64];
    int n;
} arrivals;

static void note_arrival(void *context, const weight *w, const gradient_part *part) {
    arrivals *a = context;
    memcpy(a->gradient[a->n], part->gradient, sizeof(real) * (size_t)weight_size(w));
    a->w[a->n++] = w;
}

/* The embedding is also the head; nothing uses the last weight. Some gradients have no place of their own. */
static void gradients_are_ready_once_and_whole(void) {
    enum { N = 9, V = 6, D = 4, F = 5 };
    static const int32_t token[N] = {1, 2, 3, 1, 5, 0, 1, 2, 2}, target[N] = {2, 3, 1, 5, 0, 1, 2, 2, 4};
    static const int order[] = {3, 2, 1, 0, 4};
    static real whole[5][64];
    for (int passing = 0; passing < 2; passing++) {
        tape t;
        weights table = {0};
        weight *w[5];
        arrivals a = {0};
        open_tape(&t);
        EXPECT_OK(weights_declare(&w[0], &table, "embedding", -1, ROLE_EMBEDDING, 1, V, D, 1));
        EXPECT_OK(weights_declare(&w[1], &table, "norm", -1, ROLE_NORM, 1, 1, D, 0));
        EXPECT_OK(weights_declare(&w[2], &table, "up", -1, ROLE_MATRIX, 1, F, D, 1));
        EXPECT_OK(weights_declare(&w[3], &table, "down", -1, ROLE_MATRIX, 1, D, F, 1));
        EXPECT_OK(weights_declare(&w[4], &table, "idle", -1, ROLE_MATRIX, 1, F, D, 1));
        for (int i = 0; i < 5; i++) w[i]->step->passing = passing && i != 1;
        EXPECT_OK(weights_allocate_values(&table));
        EXPECT_OK(weights_allocate_gradients(&table));
        EXPECT(table.total_gradients == (passing ? D : table.total), "room for %td gradients", table.total_gradients);
        weights_initialize(&table, 1);
        t.training = true, t.ready_context = &a;
        for (int step = 0; step < 2; step++) {
            weights_zero_gradients(&table);
            a.n = 0;
            if (!passing) t.gradient_ready = NULL, pass(&t, w, token, target, 4); /* of two micro-batches the first */
            EXPECT(a.n == 0, "%d gradients were ready in the first micro-batch", a.n);
            t.gradient_ready = note_arrival;
            if (passing) t.training = false, pass(&t, w, token, target, N), t.training = true; /* an evaluation: nothing is recorded */
            pass(&t, w, token + (passing ? 0 : 4), target + (passing ? 0 : 4), passing ? N : N - 4);
            EXPECT(a.n == 4 && !w[4]->step->ready, "%d gradients were ready after backward", a.n);
            tape_complete_gradients(&t, &table);
            EXPECT(a.n == 5 && taken(&t) == 0, "%d gradients were ready, %d blocks are taken", a.n, taken(&t));
            for (int i = 0; i < 5; i++) {
                const weight *arrived = w[order[i]];
                EXPECT(a.w[i] == arrived && !arrived->step->gradient == arrived->step->passing, "arrival %d is %s", i, a.w[i]->kind);
                for (ptrdiff_t j = 0; j < weight_size(arrived); j++) {
                    double found = (double)a.gradient[i][j], expected = passing ? (double)whole[i][j] : (double)arrived->step->gradient[j];
                    EXPECT(passing ? fabs(found - expected) < 1e-6 : found == expected, "%s, element %td: %g when ready, then %g", arrived->kind, j,
                           found, expected);
                }
            }
            memcpy(whole, a.gradient, sizeof whole);
        }
        weights_release(&table);
        tape_close(&t);
    }
}

enum { ROWS = 3, TOTAL = 30 * 40 + 40 + 3 * 20 * 40 };

static void declare(weights *table) {
    weight *w;
    EXPECT_OK(weights_declare(&w, table, "matrix", 0, ROLE_MATRIX, 1, 30, 40, 0.02));
    EXPECT_OK(weights_declare(&w, table, "norm", 0, ROLE_NORM, 1, 1, 40, 0));
    EXPECT_OK(weights_declare(&w, table, "experts", 1, ROLE_EXPERT, 3, 20, 40, 0.5));
    EXPECT_OK(weights_allocate_values(table));
}

static void weights_lie_in_one_block(void) {
    tape t;
    weights table = {0};
    open_tape(&t);
    declare(&table);
    EXPECT_OK(weights_allocate_gradients(&table));
    EXPECT(weights_bytes(&table) == 2 * TOTAL * sizeof(real), "%zu bytes", weights_bytes(&table));
    EXPECT(table.n == ROWS && table.total == TOTAL, "%d rows, %td numbers", table.n, table.total);
    ptrdiff_t offset = 0;
    for (int i = 0; i < ROWS; i++) {
        const weight *w = table.row[i];
        EXPECT(w->offset == offset && w->step->gradient == table.gradients + offset, "row %d begins at %td", i, w->offset);
        for (ptrdiff_t g = 0; g < w->groups; g++) EXPECT(w->value[g] == table.values + offset + g * w->out * w->in, "row %d, group %td", i, g);
        offset += weight_size(w);
    }
    for (int i = 0; i < TOTAL; i++) EXPECT(table.gradients[i] == 0, "gradient %d begins as %g", i, (double)table.gradients[i]);
    for (int i = 0; i < TOTAL; i++) table.gradients[i] = 1;
    weights_zero_gradients(&table);
    tape_complete_gradients(&t, &table);
    for (int i = 0; i < TOTAL; i++) EXPECT(table.gradients[i] == 0, "gradient %d is %g", i, (double)table.gradients[i]);
    weights_release(&table);
    weights_release(&table);
    tape_close(&t);
}

static void initial_weights_are_a_function_of_the_seed(void) {
    weights a = {0}, b = {0};
    declare(&a), declare(&b);
    omp_set_num_threads(1);
    weights_initialize(&a, 7);
    omp_set_num_threads(3);
    memset(b.values, 0xff, sizeof(real) * TOTAL);
    weights_initialize(&b, 7);
    EXPECT(!memcmp(a.values, b.values, sizeof(real) * TOTAL), "the same seed gave other weights");
    weights_initialize(&b, 8);
    int same = 0;
    double square = 0, expert_square = 0;
    for (int i = 0; i < TOTAL; i++) same += a.values[i] == b.values[i];
    for (int i = 0; i < 1200; i++) square += (double)a.values[i] * (double)a.values[i] / 1200;
    for (int i = 1240; i < TOTAL; i++) expert_square += (double)a.values[i] * (double)a.values[i] / 2400;
    for (int i = 1200; i < 1240; i++) EXPECT(a.values[i] == 1, "a norm begins at %g", (double)a.values[i]);
    EXPECT(same == 40, "%d of %d weights are the same under another seed", same, TOTAL);
    EXPECT(fabs((double)a.values[0] / 0.02 - (double)a.values[1240] / 0.5) > 1e-3 && a.values[1240] != a.values[2040], "rows or experts begin alike");
    EXPECT(fabs(sqrt(square) / 0.02 - 1) < 0.1 && fabs(sqrt(expert_square) / 0.5 - 1) < 0.1, "deviations %g and %g", sqrt(square),
           sqrt(expert_square));
    weights_release(&a), weights_release(&b);
}

static void a_state_appends_layer_by_layer(void) {
    state s;
    real key[6] = {1, 2, 3, 4, 5, 6}, value[6] = {7, 8, 9, 10, 11, 12};
    EXPECT_OK(state_open(&s, 2));
    for (int l = 0; l < 2; l++) state_declare(&s, l, STATE_KEY, 2), state_declare(&s, l, STATE_VALUE, 2);
    EXPECT_OK(state_allocate(&s, 4, 1));
    EXPECT(state_bytes_per_token(&s) == 8 * sizeof(real), "%zu bytes per token", state_bytes_per_token(&s));
    for (int l = 0; l < 2; l++) state_append(&s, l, STATE_KEY, key, 3), state_append(&s, l, STATE_VALUE, value, 3);
    EXPECT(s.length == 0, "append moved the length to %td", s.length);
    s.length = 3;
    state_of(&s, 0, STATE_KEY)[6] = -1;
    state_append(&s, 1, STATE_KEY, key + 4, 1), state_append(&s, 1, STATE_VALUE, value + 4, 1);
    const real *first_key = state_of(&s, 0, STATE_KEY), *second_key = state_of(&s, 1, STATE_KEY), *second_value = state_of(&s, 1, STATE_VALUE);
    EXPECT(!memcmp(first_key, key, sizeof key) && !memcmp(second_value, value, sizeof value), "the first three rows changed");
    EXPECT(second_key[6] == 5 && second_value[7] == 12 && first_key[6] == -1, "row 4 is (%g, %g)", (double)second_key[6], (double)second_key[7]);
    state_close(&s);
    state_close(&s);
    EXPECT(!s.rows && s.capacity == 0, "a closed state holds something");
}

static void a_cleared_state_forgets_what_is_replaced(void) {
    state s;
    EXPECT_OK(state_open(&s, 1));
    state_declare(&s, 0, STATE_HIDDEN, 3);
    EXPECT_OK(state_allocate(&s, 5, 2));
    real *hidden = state_of(&s, 0, STATE_HIDDEN);
    EXPECT(!state_of(&s, 0, STATE_KEY) && state_bytes_per_token(&s) == 0, "a layer remembers what it did not declare");
    for (int i = 0; i < 6; i++) hidden[i] = (real)(i + 1);
    s.length = 4;
    state_clear(&s);
    for (int i = 0; i < 6; i++) EXPECT(hidden[i] == 0, "%g is left", (double)hidden[i]);
    EXPECT(s.length == 0, "%td tokens are left", s.length);
    state_close(&s);
}

static const test_case cases[] = {
    {"backward runs in reverse and skips what has no gradient", backward_runs_in_reverse_and_skips_what_has_no_gradient},
    {"borrowed memory comes back", borrowed_memory_comes_back},
    {"a gradient is passed on or added", a_gradient_is_passed_on_or_added},
    {"the ledger adds by name", the_ledger_adds_by_name},
    {"a second pass takes no new memory", a_second_pass_takes_no_new_memory},
    {"a sampled softmax has the right mean", a_sampled_softmax_has_the_right_mean},
    {"gradients are ready once, and whole", gradients_are_ready_once_and_whole},
    {"weights lie in one block", weights_lie_in_one_block},
    {"initial weights are a function of the seed", initial_weights_are_a_function_of_the_seed},
    {"a state appends layer by layer", a_state_appends_layer_by_layer},
    {"a cleared state forgets what is replaced", a_cleared_state_forgets_what_is_replaced},
};

int main(void) { return test_run("tensors", cases, sizeof cases / sizeof *cases); }
