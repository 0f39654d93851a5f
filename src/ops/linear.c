/* y = x w^T:   dx = dy w,   dw = dy^T x.  One group of rows. */
#include "ops/ops.h"

struct saved {
    const weight *w;
    tensor *x, *y;
};

static void linear_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const weight *w = s->w;
    const struct products *p = tape_products(t, w);
    ptrdiff_t start[] = {0, s->y->rows};
    p->linear_dx(tape_gradient(t, s->x), tensor_gradient_rows(s->y), w->value, (row_groups){1, start}, w->in, w->out, true);
    p->linear_dw(w->gradient, tensor_gradient_rows(s->y), tensor_rows(s->x), (row_groups){1, start}, w->in, w->out);
}

tensor *linear(tape *t, tensor *x, const weight *w) {
    tensor *y = tape_tensor(t, x->rows, w->out);
    ptrdiff_t start[] = {0, x->rows};
    tape_products(t, w)->linear(y->x, tensor_rows(x), w->value, (row_groups){1, start}, w->in, w->out);
    RECORD(t, y, linear_backward, (struct saved){w, x, y});
    return y;
}
