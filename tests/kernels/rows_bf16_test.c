/* Activations of experts and gradients of logits whose rows are rounded to bf16: what is made of reals, rounded, to the last bit; of activations forward
 * keeps copies of gate and up. */
#include <stdlib.h>
#include <string.h>

#include "../bf16.h"
#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { ROWS = 5, MOST_WIDTH = 96, MOST = ROWS * MOST_WIDTH, ACTIVATIONS = 3 };

static const swiglu_bounds bounds = {(real)1.7, (real)0.8};

static void forward(const struct kernels *k, int kind, const inner_rows *inner, const real *weight, ptrdiff_t width) {
    if (kind == 0) k->swiglu(inner, weight, ROWS, width);
    else if (kind == 1) k->swiglu_bounded(inner, weight, ROWS, width, bounds);
    else k->relu(inner, weight, ROWS, width);
}

static void backward(const struct kernels *k, int kind, const inner_rows *inner, real *dweight, const real *dact, const real *weight, ptrdiff_t width) {
    if (kind == 0) k->swiglu_backward(inner, dweight, dact, weight, ROWS, width);
    else if (kind == 1) k->swiglu_bounded_backward(inner, dweight, dact, weight, ROWS, width, bounds);
    else k->relu_backward(inner, dweight, dact, weight, ROWS, width);
}

static void expect_rounded(const struct kernels *k, const char *what, int kind, const uint16_t *found, const real *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
    while (i < n && found[i] == bf16_rounded((float)x[i])) i++;
    EXPECT(i == n, "%s, activation %d, %td wide: %s[%td] is %g, and %g before rounding", k->name, kind, n / ROWS, what, i, bf16_value(found[i]),
           (double)x[i]);
    EXPECT(found[n] == 0x7777, "%s, activation %d: %s goes on behind its end", k->name, kind, what);
}

/* Lines of 32 values that are aligned go past the caches, others do not. */
static void check(const struct kernels *k, int kind, ptrdiff_t width, ptrdiff_t aside) {
    static uint16_t room[3][MOST + 64] __attribute__((aligned(64)));
    static real act[MOST], gate[MOST], up[MOST], dact[MOST], weight[ROWS], dweight[2][ROWS];
    const ptrdiff_t n = ROWS * width;
    const bool gated = kind < 2;
    uint16_t *place[3] = {room[0] + aside, room[1] + aside, room[2] + aside};
    for (ptrdiff_t i = 0; i < n; i++) {
        gate[i] = (real)random_normal((random_key){1, 1}, (uint64_t)i), up[i] = (real)random_normal((random_key){1, 2}, (uint64_t)i);
        dact[i] = (real)random_normal((random_key){1, 3}, (uint64_t)i);
    }
    for (int r = 0; r < ROWS; r++) weight[r] = (real)(r + 1) / ROWS;
    for (int i = 0; i < 3; i++) place[i][n] = 0x7777;
    forward(k, kind, &(inner_rows){.act = act, .gate = gated ? gate : NULL, .up = up}, weight, width);
    const inner_rows kept = {.gate = gated ? gate : NULL, .up = up, .bf16 = {place[0], gated ? place[1] : NULL, place[2]}};
    forward(k, kind, &kept, weight, width);
    expect_rounded(k, "act", kind, place[0], act, n);
    if (gated) expect_rounded(k, "gate", kind, place[1], gate, n);
    expect_rounded(k, "up", kind, place[2], up, n);

    for (ptrdiff_t i = 0; i < n; i++) gate[i] = (real)bf16_value(bf16_rounded((float)gate[i])), up[i] = (real)bf16_value(bf16_rounded((float)up[i]));
    backward(k, kind, &(inner_rows){.bf16 = kept.bf16}, dweight[1], dact, weight, width);
    backward(k, kind, &(inner_rows){.act = act, .gate = gated ? gate : NULL, .up = up}, dweight[0], dact, weight, width);
    expect_rounded(k, "act made again", kind, place[0], act, n);
    if (gated) expect_rounded(k, "gate's gradient", kind, place[1], gate, n);
    expect_rounded(k, "up's gradient", kind, place[2], up, n);
    EXPECT(!memcmp(dweight[0], dweight[1], sizeof *dweight), "%s, activation %d: gradients of rows' weights differ", k->name, kind);
}

static void rounded_rows_are_what_is_made_of_reals(void) {
    static const ptrdiff_t widths[] = {1, 15, 16, 33, 64, 96};
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int t = 0; t < n; t++)
        for (int kind = 0; kind < ACTIVATIONS; kind++)
            for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) check(tables[t], kind, widths[i], 0), check(tables[t], kind, widths[i], 1);
}

/* The gradient of logits too; a row without a target has none. */
static void rounded_gradients_of_logits_are_what_is_made_of_reals(void) {
    static const ptrdiff_t widths[] = {1, 15, 16, 33, 96};
    static const int32_t target[ROWS] = {0, -1, 0, 0, -1};
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int t = 0; t < n; t++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            static uint16_t found[MOST + 1];
            static real logits[2][MOST];
            const ptrdiff_t size = ROWS * widths[w];
            double loss[2][ROWS];
            int32_t last[ROWS];
            for (int r = 0; r < ROWS; r++) last[r] = target[r] < 0 ? -1 : r % 2 ? 0 : (int32_t)widths[w] - 1;
            for (ptrdiff_t i = 0; i < size; i++) logits[0][i] = logits[1][i] = (real)random_normal((random_key){1, 4}, (uint64_t)i);
            found[size] = 0x7777;
            tables[t]->cross_entropy(loss[0], logits[0], NULL, last, ROWS, widths[w], (real)0.25);
            tables[t]->cross_entropy(loss[1], logits[1], found, last, ROWS, widths[w], (real)0.25);
            expect_rounded(tables[t], "gradient of logits", -1, found, logits[0], size);
            EXPECT(!memcmp(loss[0], loss[1], sizeof *loss), "%s, %td wide: losses differ", tables[t]->name, widths[w]);
        }
}

static const test_case cases[] = {
    {"rounded rows are what is made of reals", rounded_rows_are_what_is_made_of_reals},
    {"rounded gradients of logits are what is made of reals", rounded_gradients_of_logits_are_what_is_made_of_reals},
};

int main(void) { return test_run("rows in bf16", cases, sizeof cases / sizeof *cases); }
