/* Products in bf16 against naive loops in double over factors rounded to bf16 (nearest, ties to even): only the order of f32 sums may
 * differ, so the tolerance is a few roundings of f32 relative to the sum of absolute terms. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../bf16.h"
#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { MOST_GROUPS = 5 };

static double to_bf16(float x) { return bf16_value(bf16_rounded(x)); }

static float *noise(ptrdiff_t n, uint64_t stream) {
    float *x = malloc(sizeof *x * (size_t)(n > 0 ? n : 1));
    for (ptrdiff_t i = 0; i < n; i++) x[i] = (float)random_normal((random_key){3, stream}, (uint64_t)i);
    return x;
}

static bool close_to(double found, double expected, double absolute) { return fabs(found - expected) <= 4e-6 * absolute + 1e-30; }

typedef struct {
    row_groups g;
    ptrdiff_t in, out, rows;
    const int32_t *row;
    float *x, *y, *w, *packed;
    real *pointer[MOST_GROUPS];
} problem;

static ptrdiff_t picked(const problem *p, ptrdiff_t r) { return p->row ? p->row[r] : r; }

static long wrong_forward(const problem *p, const float *y) {
    long wrong = 0;
    for (int g = 0; g < p->g.groups; g++)
        for (ptrdiff_t r = p->g.start[g]; r < p->g.start[g + 1]; r++)
            for (ptrdiff_t o = 0; o < p->out; o++) {
                double sum = 0, absolute = 0;
                for (ptrdiff_t i = 0; i < p->in; i++) {
                    double term = to_bf16(p->x[picked(p, r) * p->in + i]) * to_bf16(p->pointer[g][o * p->in + i]);
                    sum += term, absolute += fabs(term);
                }
                wrong += !close_to((double)y[r * p->out + o], sum, absolute);
            }
    return wrong;
}

static long wrong_input(const problem *p, const float *dx) {
    long wrong = 0;
    for (int g = 0; g < p->g.groups; g++)
        for (ptrdiff_t r = p->g.start[g]; r < p->g.start[g + 1]; r++)
            for (ptrdiff_t i = 0; i < p->in; i++) {
                double sum = 1, absolute = 1; /* dx begins at one: the product is added */
                for (ptrdiff_t o = 0; o < p->out; o++) {
                    double term = to_bf16(p->y[picked(p, r) * p->out + o]) * to_bf16(p->pointer[g][o * p->in + i]);
                    sum += term, absolute += fabs(term);
                }
                wrong += !close_to((double)dx[r * p->in + i], sum, absolute);
            }
    return wrong;
}

static long wrong_weight(const problem *p, const float *dw) {
    long wrong = 0;
    for (int g = 0; g < p->g.groups; g++)
        for (ptrdiff_t o = 0; o < p->out; o++)
            for (ptrdiff_t i = 0; i < p->in; i++) {
                double sum = 1, absolute = 1;
                for (ptrdiff_t r = p->g.start[g]; r < p->g.start[g + 1]; r++) {
                    double term = to_bf16(p->y[r * p->out + o]) * to_bf16(p->x[picked(p, r) * p->in + i]);
                    sum += term, absolute += fabs(term);
                }
                wrong += !close_to((double)dw[(g * p->out + o) * p->in + i], sum, absolute);
            }
    return wrong;
}

static float *ones(ptrdiff_t n) {
    float *x = malloc(sizeof *x * (size_t)(n > 0 ? n : 1));
    for (ptrdiff_t i = 0; i < n; i++) x[i] = 1;
    return x;
}

static uint16_t *all_rounded(const float *x, ptrdiff_t n) {
    uint16_t *y = malloc(sizeof *y * (size_t)(n > 0 ? n : 1));
    for (ptrdiff_t i = 0; i < n; i++) y[i] = bf16_rounded(x[i]);
    return y;
}

/* Rows that are rounded already give the same bits. One or two rows a group are not rounded otherwise. */
static void check_rounded_rows(const struct kernels *k, const problem *p, float *const *expected, const matrices *w, bool forward) {
    uint16_t *x = all_rounded(p->x, p->rows * p->in), *y = all_rounded(p->y, p->rows * p->out);
    const ptrdiff_t sizes[] = {p->rows * p->out, p->rows * p->in, p->g.groups * p->in * p->out};
    float *found[] = {ones(sizes[0]), ones(sizes[1]), ones(sizes[2])};
    k->products_bf16->linear(found[0], (rows_of){.bf16 = x, .row = p->row}, w, p->g, p->in, p->out);
    k->products_bf16->linear_dx(found[1], (rows_of){.bf16 = y, .row = p->row}, w, p->g, p->in, p->out, true);
    k->products_bf16->linear_dw(found[2], NULL, (rows_of){.bf16 = y}, (rows_of){.bf16 = x, .row = p->row}, p->g, p->in, p->out, true, false);
    for (int i = forward ? 0 : 1; i < 3; i++)
        EXPECT(!memcmp(found[i], expected[i], sizeof(float) * (size_t)sizes[i]), "%s, %td -> %td: result %d of rounded rows differs", k->name, p->in,
               p->out, i);
    for (int i = 0; i < 3; i++) free(found[i]);
    free(x), free(y);
}

static void check(const struct kernels *k, const ptrdiff_t *start, int groups, ptrdiff_t in, ptrdiff_t out, bool gathered) {
    problem p = {{groups, start, 0}, in, out, start[groups], NULL, NULL, NULL, NULL, NULL, {0}};
    int32_t *row = malloc(sizeof *row * (size_t)(p.rows + 1));
    for (ptrdiff_t r = 0; r < p.rows; r++) row[r] = (int32_t)(p.rows - 1 - r);
    p.x = noise(p.rows * in, 1), p.y = noise(p.rows * out, 2), p.w = noise(groups * in * out, 3), p.row = gathered ? row : NULL;
    const ptrdiff_t packed_size = k->products_bf16->packed_size(in, out);
    p.packed = malloc(sizeof *p.packed * (size_t)(groups * packed_size));
    for (int g = 0; g < groups; g++) {
        p.pointer[g] = p.w + g * in * out;
        k->products_bf16->pack_rows(p.packed + g * packed_size, p.pointer[g], 0, out, in, out);
    }
    float *results[2][3];
    for (int threads = 1; threads <= 2; threads++) {
        float **found = results[threads - 1];
        found[0] = ones(p.rows * out), found[1] = ones(p.rows * in), found[2] = ones(groups * in * out);
        omp_set_num_threads(threads);
        const matrices w = {p.pointer, threads == 2 ? p.packed : NULL};
        k->products_bf16->linear(found[0], (rows_of){.x = p.x, .row = p.row}, &w, p.g, in, out);
        k->products_bf16->linear_dx(found[1], (rows_of){.x = p.y, .row = p.row}, &w, p.g, in, out, true);
        k->products_bf16->linear_dw(found[2], NULL, (rows_of){.x = p.y}, (rows_of){.x = p.x, .row = p.row}, p.g, in, out, true, false);
    }
    ptrdiff_t most = 0, sizes[] = {p.rows * out, p.rows * in, groups * in * out};
    for (int g = 0; g < groups; g++) most = start[g + 1] - start[g] > most ? start[g + 1] - start[g] : most;
    check_rounded_rows(k, &p, results[1], &(matrices){p.pointer, p.packed}, most > 2);
    if (most > 2)
        EXPECT(wrong_forward(&p, results[0][0]) == 0, "forward, %d groups, %td -> %td: %ld wrong", groups, in, out, wrong_forward(&p, results[0][0]));
    EXPECT(wrong_input(&p, results[0][1]) == 0, "d-input, %d groups, %td -> %td: %ld wrong", groups, in, out, wrong_input(&p, results[0][1]));
    EXPECT(wrong_weight(&p, results[0][2]) == 0, "d-weight, %d groups, %td -> %td: %ld wrong", groups, in, out, wrong_weight(&p, results[0][2]));
    for (int i = 0; i < 3; i++) {
        EXPECT(!memcmp(results[0][i], results[1][i], sizeof(float) * (size_t)sizes[i]),
               "result %d differs between one thread and two with packed weights", i);
        free(results[0][i]), free(results[1][i]);
    }
    free(p.x), free(p.y), free(p.w), free(p.packed), free(row);
}

static void products_equal_naive_loops(void) {
    static const ptrdiff_t starts[][MOST_GROUPS + 1] = {{0, 13}, {0, 3, 3, 40}, {0, 1, 2, 30, 30, 71}, {0, 520}};
    static const int groups[] = {1, 3, 5, 1};
    static const ptrdiff_t sizes[][2] = {{1, 1}, {3, 17}, {16, 32}, {33, 31}, {64, 100}, {515, 13}, {1030, 7}, {9, 530}};
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int i = 0; i < n; i++)
        for (int s = 0; tables[i]->products_bf16 && s < 4; s++)
            for (int j = 0; j < 8; j++) check(tables[i], starts[s], groups[s], sizes[j][0], sizes[j][1], (s + j) % 2);
}

/* Factors and probabilities are rounded to eight bits, so what is a mean of values near one may differ by a hundredth from the same in f32. */
static void attention_is_near_that_of_f32(void) {
    enum { QUERIES = 150, HEADS = 2, WIDTH = 24, SIZE = QUERIES * HEADS * WIDTH };
    static const ptrdiff_t start[] = {0, 70, QUERIES};
    const attention_span span = {2, start, start, start + 1};
    const attention_shape shape = {HEADS, HEADS, WIDTH, WIDTH, 0.2F, 0, false};
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    float *q = noise(SIZE, 11), *k = noise(SIZE, 12), *v = noise(SIZE, 13), *dy = noise(SIZE, 14), log_sum[QUERIES * HEADS];
    const attention_inputs in = {q, {k, HEADS * WIDTH, WIDTH}, {v, HEADS * WIDTH, WIDTH}, NULL};
    for (int i = 0; i < n; i++) {
        const struct products *each[] = {&tables[i]->products, tables[i]->products_bf16};
        float *found[2][4];
        if (!each[1]) continue;
        for (int p = 0; p < 2; p++) {
            for (int j = 0; j < 4; j++) found[p][j] = ones(SIZE);
            each[p]->attention(found[p][0], log_sum, &in, span, shape);
            each[p]->attention_backward(&(attention_gradients){found[p][1], found[p][2], found[p][3], NULL}, dy, found[p][0], log_sum, &in, span,
                                        shape);
        }
        for (int j = 0; j < 4; j++) {
            double squares = 0, wrong = 0;
            for (ptrdiff_t r = 0; r < SIZE; r++)
                squares += pow((double)found[0][j][r], 2), wrong += pow((double)found[1][j][r] - (double)found[0][j][r], 2);
            EXPECT(squares > 0 && wrong <= 1e-4 * squares, "%s, result %d: %g of %g", tables[i]->name, j, sqrt(wrong), sqrt(squares));
            free(found[0][j]), free(found[1][j]);
        }
    }
    free(q), free(k), free(v), free(dy);
}

static void peaks_go_with_products(void) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int i = 0; i < n; i++) {
        EXPECT(!tables[i]->products_bf16 == !tables[i]->peak_flops_bf16, "%s has one without the other", tables[i]->name);
        if (tables[i]->peak_flops_bf16) EXPECT(tables[i]->peak_flops_bf16(0.001) > 0, "%s", tables[i]->name);
    }
}

static const test_case cases[] = {{"products equal naive loops", products_equal_naive_loops},
                                  {"attention is near that of f32", attention_is_near_that_of_f32},
                                  {"peaks go with products", peaks_go_with_products}};

int main(void) { return test_run("bf16 products", cases, sizeof cases / sizeof *cases); }
