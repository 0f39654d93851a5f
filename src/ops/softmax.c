/* p_i = exp(x_i) / sum_j exp(x_j):   dx_i = p_i (dp_i - sum_j p_j dp_j) */
#include "ops/ops.h"

struct saved {
    tensor *x, *p;
};

static void softmax_backward(tape *t, void *saved) {
    struct saved *s = saved;
    t->k->softmax_backward(tape_gradient(t, s->x), s->p->dx, s->p->x, s->p->rows, s->p->cols);
}

tensor *softmax(tape *t, tensor *x) {
    tensor *p = tape_tensor(t, x->rows, x->cols);
    t->k->softmax(p->x, x->x, x->rows, x->cols);
    RECORD(t, p, softmax_backward, (struct saved){x, p});
    return p;
}
