#include "infer/comparison.h"

#include <math.h>

#include "base/error.h"
#include "base/interrupt.h"

static double larger_or_nan(double a, double b) { return isnan(a) || a >= b ? a : b; }

/* The mean is left to the caller. logits become their gradients. */
static double loss_of(const struct kernels *k, tensor *logits, const int32_t *target, double *each) {
    double sum = 0;
    k->cross_entropy(each, logits->x, NULL, target, logits->rows, logits->cols, 1);
    for (ptrdiff_t n = 0; n < logits->rows; n++) sum += each[n];
    return sum;
}

/* Sums over a sequence, until compare_models makes means of them. */
static void add_row(comparison *c, const real *x, const real *y, ptrdiff_t V) {
    ptrdiff_t first = 0, second = 0;
    double sum_x = 0, sum_y = 0, divergence = 0;
    for (ptrdiff_t v = 1; v < V; v++) first = x[v] > x[first] ? v : first, second = y[v] > y[second] ? v : second;
    for (ptrdiff_t v = 0; v < V; v++) {
        const double difference = (double)y[v] - (double)x[v], p = exp((double)x[v] - (double)x[first]);
        c->difference = larger_or_nan(c->difference, fabs(difference));
        c->largest = larger_or_nan(c->largest, fabs((double)x[v]));
        c->squared_difference += difference * difference, c->squared += (double)x[v] * (double)x[v];
        sum_x += p, sum_y += exp((double)y[v] - (double)y[second]), divergence -= p * difference;
    }
    c->divergence += divergence / sum_x + log(sum_y / sum_x) + (double)y[second] - (double)x[first];
    c->agreement += first == second;
}

static void compare_sequence(comparison *c, tape *t_a, tape *t_b, const model *a, const model *b, const int32_t *ids, ptrdiff_t n, moe_trace *trace) {
    ptrdiff_t start[] = {0, n};
    token_batch batch = {n, ids, NULL, 1, start};
    tape_reset(t_a), tape_reset(t_b);
    tensor *x = model_logits(t_a, a, &batch, NULL, false, trace), *y = model_logits(t_b, b, &batch, NULL, false, NULL);
    for (ptrdiff_t i = 0; i < n; i++) add_row(c, x->x + i * x->cols, y->x + i * x->cols, x->cols);
    int32_t *target = tape_keep(t_a, sizeof *target * (size_t)n);
    double *each = tape_keep(t_a, sizeof *each * (size_t)n);
    for (ptrdiff_t i = 0; i < n; i++) target[i] = i + 1 < n ? ids[i + 1] : -1;
    c->loss_a += loss_of(t_a->k, x, target, each);
    c->loss_b += loss_of(t_a->k, y, target, each);
}

int compare_models(comparison *c, const model *a, const model *b, const int32_t *ids, ptrdiff_t n, moe_trace *trace) {
    CHECK(a->head->out == b->head->out && n > 1, "vocabularies of %td and %td, %td tokens", a->head->out, b->head->out, n);
    const struct kernels *k;
    tape t_a = {0}, t_b = {0};
    int status = LAMP_OK;
    ptrdiff_t context = a->config.max_position_embeddings, predicted = 0;
    *c = (comparison){.tokens = n};
    TRY_TO(done, kernels_choose(&k));
    TRY_TO(done, tape_open(&t_a, k));
    TRY_TO(done, tape_open(&t_b, k));
    for (ptrdiff_t i = 0; i < n; i += context) {
        ptrdiff_t length = n - i < context ? n - i : context;
        TRY_TO(done, interrupt_check("comparing"));
        compare_sequence(c, &t_a, &t_b, a, b, ids + i, length, trace);
        predicted += length - 1;
    }
    c->loss_a /= (double)predicted, c->loss_b /= (double)predicted;
    c->divergence /= (double)n, c->agreement /= (double)n, c->error = sqrt(c->squared_difference / c->squared);
done:
    if (t_b.k) tape_close(&t_b);
    if (t_a.k) tape_close(&t_a);
    return status;
}
