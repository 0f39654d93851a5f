/* y = 1 / (1 + exp(-x)):   dx += y (1 - y) dy */
#include <math.h>

#include "ops/ops.h"

struct saved {
    tensor *x, *y;
};

static void sigmoid_backward(tape *t, void *saved) {
    struct saved *s = saved;
    real *dx = tape_gradient(t, s->x);
#pragma omp parallel for schedule(static) if (s->y->rows * s->y->cols > 4096)
    for (ptrdiff_t i = 0; i < s->y->rows * s->y->cols; i++) dx[i] += s->y->x[i] * (1 - s->y->x[i]) * s->y->dx[i];
}

tensor *sigmoid(tape *t, tensor *x) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
#pragma omp parallel for schedule(static) if (x->rows * x->cols > 4096)
    for (ptrdiff_t i = 0; i < x->rows * x->cols; i++) y->x[i] = (real)(1 / (1 + exp(-(double)x->x[i])));
    RECORD(t, y, sigmoid_backward, (struct saved){x, y});
    return y;
}
