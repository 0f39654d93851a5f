/* Our LSTM against PyTorch's nn.LSTM: what it says, what it ends with, and its gradients (tools/golden_lstm.py), with every kernel table. */
#include <math.h>
#include <stdio.h>

#include "../test.h"
#include "formats/safetensors.h"
#include "lamp.h"
#include "ops/ops.h"

enum { N = 16, SEQUENCES = 4, D = 6, MOST_UNITS = 12, ROOM = 4 * MOST_UNITS * D };

typedef struct {
    const safetensors *file;
    const char *name; /* of the case */
    ptrdiff_t units;
    tape t;
    weights table;
    lstm_weights w;
} subject;

static bool read(real values[ROOM], const subject *s, const char *what) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", s->name, what);
    const safetensors_entry *entry = safetensors_find(s->file, name);
    EXPECT(entry && entry->size <= ROOM, "%s", name);
    if (entry) EXPECT_OK(safetensors_read(values, entry, 0, entry->size));
    return entry;
}

static void expect_same(const subject *s, const char *what, const real *found, ptrdiff_t n) {
    real expected[ROOM];
    double worst = 0, scale = 0;
    if (!read(expected, s, what)) return;
    for (ptrdiff_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)(found[i] - expected[i]))), scale = fmax(scale, fabs((double)expected[i]));
    EXPECT(worst <= 2e-6 * scale, "%s.%s with %s: differs by %.2e of %.2e", s->name, what, s->t.k->name, worst, scale);
}

static weight *add_weight(subject *s, const char *kind, weight_role role, ptrdiff_t out, ptrdiff_t in) {
    weight *w;
    EXPECT_OK(weights_declare(&w, &s->table, kind, 0, role, 1, out, in, 1));
    return w;
}

static void subject_open(subject *s, const struct kernels *k, bool projected) {
    EXPECT_OK(tape_open(&s->t, k));
    s->w.input = add_weight(s, "input", ROLE_MATRIX, LSTM_GATES * s->units, D);
    s->w.recurrent = add_weight(s, "recurrent", ROLE_MATRIX, LSTM_GATES * s->units, D);
    s->w.bias = add_weight(s, "bias", ROLE_BIAS, 1, LSTM_GATES * s->units);
    if (projected) s->w.projection = add_weight(s, "projection", ROLE_MATRIX, D, s->units);
    EXPECT_OK(weights_allocate_values(&s->table));
    EXPECT_OK(weights_allocate_gradients(&s->table));
    for (int i = 0; i < s->table.n; i++) read(s->table.row[i]->value[0], s, s->table.row[i]->kind);
    weights_zero_gradients(&s->table);
}

static void compare(const safetensors *file, const struct kernels *k, const char *name, ptrdiff_t units, bool projected) {
    static const ptrdiff_t start[] = {0, 5, 6, 13, 16};
    subject s = {.file = file, .name = name, .units = units};
    real x[ROOM], hidden[ROOM], cell[ROOM], dy[ROOM];
    char gradient[64];
    subject_open(&s, k, projected);
    if (!read(x, &s, "x") || !read(hidden, &s, "h0") || !read(cell, &s, "c0") || !read(dy, &s, "dy")) return;
    s.t.training = true;
    tensor input = {.x = x, .rows = N, .cols = D};
    tensor *y = lstm(&s.t, &input, &s.w, &(token_batch){.n_tokens = N, .n_sequences = SEQUENCES, .sequence_start = start}, hidden, cell);
    expect_same(&s, "y", y->x, N * D);
    expect_same(&s, "hn", hidden, SEQUENCES * D);
    expect_same(&s, "cn", cell, SEQUENCES * units);
    real *wanted = tape_gradient(&s.t, y);
    for (int i = 0; i < N * D; i++) wanted[i] = dy[i];
    tape_backward(&s.t);
    expect_same(&s, "dx", input.dx, N * D);
    for (int i = 0; i < s.table.n; i++) {
        snprintf(gradient, sizeof gradient, "d%s", s.table.row[i]->kind);
        expect_same(&s, gradient, s.table.row[i]->step->gradient, weight_size(s.table.row[i]));
    }
    weights_release(&s.table);
    tape_close(&s.t);
}

static void pytorch_says_the_same(void) {
    const struct kernels *tables[KERNEL_TABLES];
    safetensors *golden = NULL;
    EXPECT_OK(safetensors_open(&golden, "tests/golden/lstm.safetensors"));
    for (int i = 0, n = kernels_available(tables); golden && i < n; i++) {
        compare(golden, tables[i], "plain", D, false);
        compare(golden, tables[i], "projected", MOST_UNITS, true);
    }
    safetensors_close(golden);
}

static const test_case cases[] = {{"PyTorch says the same", pytorch_says_the_same}};

int main(void) { return test_run("the LSTM against PyTorch", cases, sizeof cases / sizeof *cases); }
