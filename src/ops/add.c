/* y = a + b:   da += dy,   db += dy */
#include "ops/ops.h"

struct saved {
    tensor *a, *b, *y;
};

static void add_backward(tape *t, void *saved) {
    struct saved *s = saved;
    tensor *inputs[] = {s->a, s->b};
    for (int i = 0; i < 2; i++) {
        real *dx = tape_gradient(t, inputs[i]);
        t->k->add(dx, dx, s->y->dx, s->y->rows * s->y->cols);
    }
}

tensor *add(tape *t, tensor *a, tensor *b) {
    tensor *y = tape_tensor(t, a->rows, a->cols);
    t->k->add(y->x, a->x, b->x, a->rows * a->cols);
    RECORD(t, y, add_backward, (struct saved){a, b, y});
    return y;
}
