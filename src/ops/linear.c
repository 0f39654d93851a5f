/* y = x w^T:   dx = dy w,   dw = dy^T x */
#include "ops/ops.h"

struct saved {
    const weight *w;
    tensor *x, *y;
    row_groups groups;
};

static void linear_backward(tape *t, void *saved) {
    struct saved *s = saved;
    weight_linear_dx(t, tape_gradient(t, s->x), tensor_gradient_rows(s->y), s->w, s->groups, true);
    weight_linear_dw(t, s->w, tensor_gradient_rows(s->y), tensor_rows(s->x), s->groups);
}

tensor *linear_in_groups(tape *t, tensor *x, const weight *w, row_groups groups) {
    tensor *y = tape_tensor(t, x->rows, weight_group_out(w, groups));
    weight_linear(t, y->x, tensor_rows(x), w, groups);
    RECORD(t, y, linear_backward, (struct saved){w, x, y, groups});
    tape_use(t, w);
    return y;
}

tensor *linear(tape *t, tensor *x, const weight *w) {
    ptrdiff_t *start = tape_keep(t, 2 * sizeof *start);
    start[0] = 0, start[1] = x->rows;
    return linear_in_groups(t, x, w, (row_groups){1, start, 0});
}
