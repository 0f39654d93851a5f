/* y = x w^T:   dx = dy w,   dw = dy^T x.  One group of rows. */
#include "ops/ops.h"

struct saved {
    const weight *w;
    tensor *x, *y;
};

static void linear_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t start[] = {0, s->y->rows};
    weight_linear_dx(t, tape_gradient(t, s->x), tensor_gradient_rows(s->y), s->w, (row_groups){1, start, 0}, true);
    weight_linear_dw(t, s->w, tensor_gradient_rows(s->y), tensor_rows(s->x), (row_groups){1, start, 0});
}

tensor *linear(tape *t, tensor *x, const weight *w) {
    tensor *y = tape_tensor(t, x->rows, w->out);
    ptrdiff_t start[] = {0, x->rows};
    weight_linear(t, y->x, tensor_rows(x), w, (row_groups){1, start, 0});
    RECORD(t, y, linear_backward, (struct saved){w, x, y});
    tape_use(t, w);
    return y;
}
