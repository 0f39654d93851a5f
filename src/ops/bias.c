/* y += b in every row, in place: what made y does not need it again.   db = sum of dy over the rows */
#include "ops/ops.h"

struct saved {
    const weight *b;
    tensor *y;
    row_groups rows;
};

static void bias_backward(tape *t, void *saved) {
    struct saved *s = saved;
    if (!s->y->dx) return;
    t->k->add_bias_backward(tape_weight_gradient(t, s->b), NULL, tensor_gradient_rows(s->y), s->b->value, NULL, s->rows, s->y->cols);
}

tensor *add_bias(tape *t, tensor *y, const weight *b) {
    if (!b) return y;
    ptrdiff_t *start = tape_keep(t, 2 * sizeof *start);
    start[0] = 0, start[1] = y->rows;
    row_groups rows = {1, start, 0};
    t->k->add_bias(y->x, b->value, NULL, rows, y->cols);
    RECORD(t, NULL, bias_backward, (struct saved){b, y, rows}); /* y's gradient is still to be read by what made it */
    tape_use(t, b);
    return y;
}
