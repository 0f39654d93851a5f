#include "budget/phases.h"

#include <omp.h>

#include "base/clock.h"

const char *const phase_name[PHASES] = {"products, forward", "products, d-input", "products, d-weight", "attention", "activation", "clip and update"};

static const struct kernels *machine;
static const struct products *machine_products;
static struct kernels watched;
static struct products watched_products;
static double spent[PHASES];

/* Threads that work beside each other share the time that passes. */
static void spend(phase p, double seconds) {
    const double share = seconds / omp_get_num_threads();
#pragma omp atomic
    spent[p] += share;
}

#define SPEND(phase, call)                                                                                                                           \
    do {                                                                                                                                             \
        double begin = clock_seconds();                                                                                                              \
        call;                                                                                                                                        \
        spend(phase, clock_seconds() - begin);                                                                                                       \
    } while (0)

static void linear(real *y, rows_of x, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    SPEND(PHASE_FORWARD, machine_products->linear(y, x, w, g, in, out));
}
static void linear_dx(real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate) {
    SPEND(PHASE_D_INPUT, machine_products->linear_dx(dx, dy, w, g, in, out, accumulate));
}
static void linear_dw(real *dw, real *squares, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate, bool soon) {
    SPEND(PHASE_D_WEIGHT, machine_products->linear_dw(dw, squares, dy, x, g, in, out, accumulate, soon));
}
static void attention(real *y, real *log_sum, const attention_inputs *in, attention_span span, attention_shape shape) {
    SPEND(PHASE_ATTENTION, machine_products->attention(y, log_sum, in, span, shape));
}
static void attention_backward(const attention_gradients *d, const real *dy, const real *y, const real *log_sum, const attention_inputs *in,
                               attention_span span, attention_shape shape) {
    SPEND(PHASE_ATTENTION, machine_products->attention_backward(d, dy, y, log_sum, in, span, shape));
}
static void swiglu(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    SPEND(PHASE_ACTIVATION, machine->swiglu(inner, row_weight, rows, width));
}
static void swiglu_backward(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    SPEND(PHASE_ACTIVATION, machine->swiglu_backward(inner, drow_weight, dact, row_weight, rows, width));
}
static void swiglu_bounded(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width, swiglu_bounds b) {
    SPEND(PHASE_ACTIVATION, machine->swiglu_bounded(inner, row_weight, rows, width, b));
}
static void swiglu_bounded_backward(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows,
                                    ptrdiff_t width, swiglu_bounds b) {
    SPEND(PHASE_ACTIVATION, machine->swiglu_bounded_backward(inner, drow_weight, dact, row_weight, rows, width, b));
}
static void relu(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    SPEND(PHASE_ACTIVATION, machine->relu(inner, row_weight, rows, width));
}
static void relu_backward(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    SPEND(PHASE_ACTIVATION, machine->relu_backward(inner, drow_weight, dact, row_weight, rows, width));
}
static double sum_squares(const real *x, ptrdiff_t n) {
    double sum;
    SPEND(PHASE_UPDATE, sum = machine->sum_squares(x, n));
    return sum;
}
static void adamw(const updated_weight *u, const update_step *step) { SPEND(PHASE_UPDATE, machine->adamw(u, step)); }
static void factored_product(const updated_weight *u, update_step *step, double clip, rows_of dy, rows_of x, row_groups g) {
    SPEND(PHASE_UPDATE, machine->factored_product(u, step, clip, dy, x, g));
}
static void factored(const updated_weight *u, const update_step *step) { SPEND(PHASE_UPDATE, machine->factored(u, step)); }

const struct kernels *phases_watch(tape *t) {
    machine = t->k, machine_products = t->products;
    watched = *machine;
    watched_products = *machine_products;
    watched_products.linear = linear, watched_products.linear_dx = linear_dx, watched_products.linear_dw = linear_dw;
    watched_products.attention = attention, watched_products.attention_backward = attention_backward;
    watched.swiglu = swiglu, watched.swiglu_backward = swiglu_backward;
    watched.swiglu_bounded = swiglu_bounded, watched.swiglu_bounded_backward = swiglu_bounded_backward;
    watched.relu = relu, watched.relu_backward = relu_backward;
    watched.sum_squares = sum_squares, watched.adamw = adamw, watched.factored = factored, watched.factored_product = factored_product;
    t->k = &watched, t->products = &watched_products;
    phases_clear();
    return &watched;
}

void phases_clear(void) {
    for (int p = 0; p < PHASES; p++) spent[p] = 0;
}

double phase_seconds(phase p) { return spent[p]; }
