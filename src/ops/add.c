/* y = a + b:   da += dy,   db += dy */
#include "ops/ops.h"

struct saved {
    tensor *a, *b, *y;
};

static void add_backward(tape *t, void *saved) {
    struct saved *s = saved;
    tape_add_gradient(t, s->b, s->y->dx);
    tape_pass_gradient(t, s->a, s->y);
}

tensor *add(tape *t, tensor *a, tensor *b) {
    tensor *y = tape_tensor(t, a->rows, a->cols);
    t->k->add(y->x, a->x, b->x, a->rows * a->cols);
    RECORD(t, y, add_backward, (struct saved){a, b, y});
    return y;
}
