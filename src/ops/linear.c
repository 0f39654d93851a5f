/* y = x w^T:   dx = dy w,   dw = dy^T x */
#include "ops/ops.h"

struct saved {
    const weight *w;
    tensor *x, *y;
    row_groups groups;
};

static void linear_backward(tape *t, void *saved) {
    struct saved *s = saved;
    bool adds;
    real *dx = tape_gradient_place(t, s->x, &adds);
    weight_linear_dx(t, dx, tensor_gradient_rows(s->y), s->w, s->groups, adds);
    weight_linear_dw(t, s->w, tensor_gradient_rows(s->y), tensor_rows(s->x), s->groups);
}

static void linear_each_in_groups(tape *t, tensor **y, tensor *x, const weight *const *w, int n, row_groups groups) {
    real **values = tape_keep(t, sizeof *values * (size_t)n);
    for (int i = 0; i < n; i++) y[i] = tape_tensor(t, x->rows, weight_group_out(w[i], groups)), values[i] = y[i]->x;
    weight_linear_each(t, values, tensor_rows(x), w, n, groups);
    for (int i = 0; i < n; i++) {
        RECORD(t, y[i], linear_backward, (struct saved){w[i], x, y[i], groups});
        tape_use(t, w[i]);
    }
}

tensor *linear_in_groups(tape *t, tensor *x, const weight *w, row_groups groups) {
    tensor *y;
    linear_each_in_groups(t, &y, x, &w, 1, groups);
    return y;
}

void linear_each(tape *t, tensor **y, tensor *x, const weight *const *w, int n) {
    ptrdiff_t *start = tape_keep(t, 2 * sizeof *start);
    start[0] = 0, start[1] = x->rows;
    linear_each_in_groups(t, y, x, w, n, (row_groups){1, start, 0});
}

tensor *linear(tape *t, tensor *x, const weight *w) {
    tensor *y;
    linear_each(t, &y, x, &w, 1);
    return y;
}
