#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

static real noise(uint64_t stream, ptrdiff_t i) { return (real)(2 * random_uniform((random_key){11, stream}, (uint64_t)i) - 1); }

void problem_add_leaf(problem *p, ptrdiff_t rows, ptrdiff_t cols) {
    tensor *a = &p->leaf[p->n_leaves];
    *a = (tensor){.rows = rows, .cols = cols};
    CHECK(memory_new(&a->x, (size_t)(rows * cols), sizeof(real), "a leaf") == LAMP_OK, "leaf");
    for (ptrdiff_t i = 0; i < rows * cols; i++) a->x[i] = noise((uint64_t)p->n_leaves + 1, i);
    p->n_leaves++;
}

weight *problem_add_weight(problem *p, const char *kind, weight_role role, ptrdiff_t groups, ptrdiff_t out, ptrdiff_t in) {
    weight *w;
    CHECK(weights_declare(&w, &p->weights, kind, 0, role, groups, out, in, 1) == LAMP_OK, "%s", kind);
    return w;
}

void problem_ready(problem *p) {
    CHECK(weights_allocate_values(&p->weights) == LAMP_OK && weights_allocate_gradients(&p->weights) == LAMP_OK, "weights");
    for (ptrdiff_t i = 0; i < p->weights.total; i++) p->weights.values[i] = noise(100, i);
}

void problem_release(problem *p) {
    for (int i = 0; i < p->n_leaves; i++) memory_free(p->leaf[i].x);
    weights_release(&p->weights);
}

static double loss(tape *t, problem *p, bool training) {
    tape_reset(t);
    t->training = training;
    for (int i = 0; i < p->n_leaves; i++) p->leaf[i].dx = NULL;
    tensor *y = p->forward(t, p);
    double sum = 0;
    for (ptrdiff_t i = 0; y && i < y->rows * y->cols; i++) sum += (double)y->x[i] * (double)noise(200, i);
    for (int i = 0; i < t->n_losses; i++) sum += t->loss[i].value;
    if (training && y)
        for (ptrdiff_t i = 0; i < y->rows * y->cols; i++) tape_gradient(t, y)[i] = noise(200, i);
    return sum;
}

static double worst_error(tape *t, problem *p, real *x, const real *dx, ptrdiff_t n) {
    const double step = 1e-5;
    double worst = 0;
    ptrdiff_t stride = n > 400 ? 7 : 1; /* large inputs: every seventh element meets every lane and block */
    for (ptrdiff_t i = 0; i < n; i += stride) {
        real kept = x[i];
        double at[4];
        for (int j = 0; j < 4; j++) { /* four points: the error is of fourth order in the step */
            x[i] = (real)((double)kept + step * (j < 2 ? j - 2 : j - 1));
            at[j] = loss(t, p, true); /* a training tape, so that losses known only while training take part */
        }
        x[i] = kept;
        double numeric = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * step), error = fabs(numeric - (double)dx[i]) / (1 + fabs(numeric));
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

void problem_check(problem *p) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    if (p->n_tables > 0) n = p->n_tables;
    for (int i = 0; i < n; i++) {
        tape t;
        real *analytic[MAX_LEAVES] = {0}, *gradients = NULL;
        CHECK(tape_open(&t, tables[i]) == LAMP_OK, "%s", lamp_error_message());
        if (p->weights.gradients) weights_zero_gradients(&p->weights);
        loss(&t, p, true);
        tape_backward(&t);
        for (int j = 0; j < p->n_leaves; j++) {
            ptrdiff_t size = p->leaf[j].rows * p->leaf[j].cols;
            CHECK(memory_new(&analytic[j], (size_t)size, sizeof(real), "a gradient") == LAMP_OK, "leaf");
            if (p->leaf[j].dx) memcpy(analytic[j], p->leaf[j].dx, sizeof(real) * (size_t)size);
        }
        CHECK(memory_new(&gradients, (size_t)p->weights.total, sizeof(real), "gradients") == LAMP_OK, "weights");
        tape_complete_gradients(&t, &p->weights);
        if (p->weights.total) memcpy(gradients, p->weights.gradients, sizeof(real) * (size_t)p->weights.total);
        for (int j = 0; j < p->n_leaves; j++) {
            double error = worst_error(&t, p, p->leaf[j].x, analytic[j], p->leaf[j].rows * p->leaf[j].cols);
            EXPECT(error <= 1e-7, "%s with %s: input %d: relative error %.2e", p->name, tables[i]->name, j, error);
        }
        for (int j = 0; j < p->weights.n; j++) {
            const weight *w = p->weights.row[j];
            double error = worst_error(&t, p, p->weights.values + w->offset, gradients + w->offset, weight_size(w));
            EXPECT(error <= 1e-7, "%s with %s: weight %s: relative error %.2e", p->name, tables[i]->name, w->kind, error);
        }
        for (int j = 0; j < p->n_leaves; j++) memory_free(analytic[j]);
        memory_free(gradients);
        tape_close(&t);
    }
}
