/* The factored update from the factors of a gradient, against the factored update from that gradient. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { MOST_GROUPS = 5 };

/* Numbers in [-size, size). */
static real *numbers(ptrdiff_t n, uint64_t stream, double size) {
    real *x = malloc(sizeof *x * (size_t)(n + 1));
    for (ptrdiff_t i = 0; i < n; i++) x[i] = (real)(size * (2 * random_uniform((random_key){9, stream}, (uint64_t)i) - 1));
    return x;
}

static real *copy(const real *x, ptrdiff_t n) { return memcpy(malloc(sizeof *x * (size_t)(n + 1)), x, sizeof *x * (size_t)n); }

typedef struct {
    ptrdiff_t groups, out, in, rows; /* rows of all groups together */
    int of_group[MOST_GROUPS];
    double clip;
    bool picked, packed;
} shape;

typedef struct {
    real *w, *first, *second, *packed;
    update_step step[MOST_GROUPS];
} state;

static const update_step some_step = {.learning_rate = 0.01, .beta2 = 0.95, .epsilon = 1e-8, .decay = 0.1, .gradient_scale = 1, .correction2 = 0.142625};

static updated_weight view(const struct kernels *k, const shape *s, const state *a, const real *gradient) {
    return (updated_weight){.w = a->w, .first = a->first, .second = a->second, .gradient = gradient, .groups = s->groups, .out = s->out, .in = s->in,
                            .packed = a->packed, .products = &k->products};
}

static void expect_near(const char *table, const char *what, const real *found, const real *expected, ptrdiff_t n, double of) {
    for (ptrdiff_t i = 0; i < n; i++) {
        double far = fabs((double)found[i] - (double)expected[i]);
        EXPECT(far <= 2e-5 * (fabs((double)expected[i]) + of), "%s: %s %td is %.8g, expected %.8g", table, what, i, (double)found[i], (double)expected[i]);
    }
}

/* gradient (groups, out, in), summed in double; group 1's step, where there is one, leaves it alone. */
static void expect_update(const struct kernels *k, const shape *s, const ptrdiff_t *start, const int32_t *row) {
    const ptrdiff_t out = s->out, in = s->in, size = out * in, values = s->groups * size, packed = s->packed ? k->products.packed_size(in, out) : 0;
    real *dy = numbers(s->rows * out, 1, 1), *x = numbers(s->rows * in, 2, 1), *gradient = numbers(values, 0, 0);
    state begin = {.w = numbers(values, 3, 0.5), .first = numbers(s->groups * out, 4, 1), .second = numbers(s->groups * in, 5, 1)}, expected = begin, found[3];
    for (ptrdiff_t i = 0; i < s->groups * out; i++) begin.first[i] = (real)fabs((double)begin.first[i]);
    for (ptrdiff_t i = 0; i < s->groups * in; i++) begin.second[i] = (real)fabs((double)begin.second[i]);
    for (ptrdiff_t g = 0; g < s->groups; g++) {
        double squares = 0;
        for (ptrdiff_t o = 0; o < out; o++)
            for (ptrdiff_t i = 0; i < in; i++) {
                double sum = 0;
                for (ptrdiff_t r = start[g]; r < start[g + 1]; r++) {
                    const ptrdiff_t from = row ? row[r] : r;
                    sum += (double)dy[from * out + o] * (double)x[from * in + i];
                }
                gradient[g * size + o * in + i] = (real)sum, squares += sum * sum;
            }
        begin.step[g] = some_step;
        if (g == 1) begin.step[g].gradient_scale = 0;
        expected.step[g] = begin.step[g];
        if (g != 1 && s->clip > 0 && sqrt(squares) > s->clip) expected.step[g].gradient_scale = s->clip / sqrt(squares);
    }
    expected.w = copy(begin.w, values), expected.first = copy(begin.first, s->groups * out), expected.second = copy(begin.second, s->groups * in);
    const updated_weight plain = view(k, s, &expected, gradient);
    k->factored(&plain, expected.step);
    for (int threads = 1; threads <= 3; threads++) {
        state *f = &found[threads - 1];
        *f = (state){.w = copy(begin.w, values), .first = copy(begin.first, s->groups * out), .second = copy(begin.second, s->groups * in)};
        f->packed = packed ? calloc((size_t)(s->groups * packed + 1), sizeof(real)) : NULL;
        memcpy(f->step, begin.step, sizeof f->step);
        omp_set_num_threads(threads);
        const updated_weight u = view(k, s, f, NULL);
        k->factored_product(&u, f->step, s->clip, (rows_of){.x = dy, .row = row}, (rows_of){.x = x, .row = row}, (row_groups){(int)s->groups, start, 0});
        EXPECT(threads == 1 || !memcmp(f->w, found[0].w, sizeof(real) * (size_t)values), "%s: %d threads differ from one", k->name, threads);
    }
    expect_near(k->name, "row mean", found[0].first, expected.first, s->groups * out, 1e-2);
    expect_near(k->name, "column mean", found[0].second, expected.second, s->groups * in, 1e-2);
    expect_near(k->name, "weight", found[0].w, expected.w, values, 0.5);
    for (ptrdiff_t g = 0; g < s->groups; g++) {
        double scale = found[0].step[g].gradient_scale, right = expected.step[g].gradient_scale;
        EXPECT(fabs(scale - right) <= 1e-5 * right, "%s: group %td is scaled by %g, expected %g", k->name, g, scale, right);
        if (!packed || g == 1) continue;
        real *again = calloc((size_t)packed, sizeof(real));
        k->products.pack_rows(again, found[0].w + g * size, 0, out, in, out);
        EXPECT(!memcmp(again, found[0].packed + g * packed, sizeof(real) * (size_t)packed), "%s: group %td was not packed anew", k->name, g);
        free(again);
    }
    for (int i = 0; i < 3; i++) free(found[i].w), free(found[i].first), free(found[i].second), free(found[i].packed);
    free(expected.w), free(expected.first), free(expected.second), free(begin.w), free(begin.first), free(begin.second);
    free(dy), free(x), free(gradient);
}

static void it_is_the_update_by_that_gradient(void) {
    static const shape shapes[] = {{1, 1, 1, 1, {1}, 0, false, false},          {1, 17, 3, 5, {5}, 0, true, true},
                                   {3, 33, 70, 40, {32, 3, 5}, 0.5, true, true}, {2, 97, 64, 33, {32, 1}, 0, false, true},
                                   {5, 40, 31, 17, {0, 2, 7, 8, 0}, 3, true, false}, {1, 200, 130, 16, {16}, 1, false, true}};
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        ptrdiff_t start[MOST_GROUPS + 1] = {0};
        int32_t row[64];
        for (ptrdiff_t g = 0; g < s->groups; g++) start[g + 1] = start[g] + s->of_group[g];
        for (ptrdiff_t r = 0; r < s->rows; r++) row[r] = (int32_t)(s->rows - 1 - r);
        for (int t = 0; t < n; t++) expect_update(tables[t], s, start, s->picked ? row : NULL);
    }
}

static void a_gradient_that_is_not_finite_changes_nothing(void) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int t = 0; t < n; t++) {
        real w[2 * 12] = {1}, first[2 * 4] = {1}, second[2 * 3] = {1}, dy[2 * 4] = {INFINITY, 1, 1, 1, 1, 1, 1, 1}, x[2 * 3] = {1, 1, 1, 1, 1, 1};
        const ptrdiff_t start[] = {0, 1, 2};
        update_step step[] = {some_step, some_step};
        const updated_weight u = {.w = w, .first = first, .second = second, .groups = 2, .out = 4, .in = 3};
        tables[t]->factored_product(&u, step, 1, (rows_of){.x = dy}, (rows_of){.x = x},
                                    (row_groups){2, start, 0});
        EXPECT(step[0].gradient_scale == 0 && w[0] == 1 && first[0] == 1 && second[0] == 1, "%s: it changed something", tables[t]->name);
        EXPECT(step[1].gradient_scale > 0 && w[12] < 0, "%s: the other matrix did not move", tables[t]->name);
    }
}

int main(void) {
    static const test_case cases[] = {
        {"it is the update by that gradient", it_is_the_update_by_that_gradient},
        {"a gradient that is not finite changes nothing", a_gradient_that_is_not_finite_changes_nothing},
    };
    return test_run("factored product", cases, sizeof cases / sizeof *cases);
}
