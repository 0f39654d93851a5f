/* The algorithm and the derivation stand above the kernel (kernels/cpu/attention_blocks.c). */
#include "ops/ops.h"

struct saved {
    tensor *q, *k, *v, *y;
    real *log_sum;
    attention_span span;
    attention_shape shape;
};

static void attention_backward(tape *t, void *saved) {
    struct saved *s = saved;
    t->products->attention_backward(tape_gradient(t, s->q), tape_gradient(t, s->k), tape_gradient(t, s->v), s->y->dx, s->y->x, s->log_sum, s->q->x,
                                    s->k->x, s->v->x, s->span, s->shape);
}

tensor *attention(tape *t, tensor *q, tensor *k, tensor *v, attention_span span, attention_shape shape) {
    tensor *y = tape_tensor(t, q->rows, q->cols);
    real *log_sum = tape_keep(t, sizeof(real) * (size_t)(q->rows * shape.heads));
    t->products->attention(y->x, log_sum, q->x, k->x, v->x, span, shape);
    RECORD(t, y, attention_backward, (struct saved){q, k, v, y, log_sum, span, shape});
    return y;
}

tensor *attention_cached(tape *t, tensor *q, const real *k, const real *v, attention_span span, attention_shape shape) {
    tensor *y = tape_tensor(t, q->rows, q->cols);
    real *log_sum = tape_keep(t, sizeof(real) * (size_t)(q->rows * shape.heads));
    t->products->attention(y->x, log_sum, q->x, k, v, span, shape);
    return y;
}
