/* y = max(0, x):   dx += dy where y > 0 */
#include "ops/ops.h"

struct saved {
    tensor *x, *y;
};

static void relu_backward(tape *t, void *saved) {
    struct saved *s = saved;
    real *dx = tape_gradient(t, s->x);
#pragma omp parallel for schedule(static) if (s->y->rows * s->y->cols > 4096)
    for (ptrdiff_t i = 0; i < s->y->rows * s->y->cols; i++) dx[i] += s->y->x[i] > 0 ? s->y->dx[i] : 0;
}

tensor *relu(tape *t, tensor *x) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    t->k->relu(&(inner_rows){.act = y->x, .up = x->x}, NULL, x->rows, x->cols);
    RECORD(t, y, relu_backward, (struct saved){x, y});
    return y;
}
