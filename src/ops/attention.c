/* The algorithm and the derivation stand above the kernel (kernels/cpu/attention_blocks.c). */
#include "ops/ops.h"

struct saved {
    tensor *q, *y;
    tensor_heads k, v;
    const weight *sinks;
    real *log_sum;
    attention_span span;
    attention_shape shape;
};

static heads_of heads_in(tensor_heads h) { return (heads_of){h.rows->x + h.first, h.rows->cols, h.apart}; }
static const real *scores_of(const weight *sinks) { return sinks ? sinks->value[0] : NULL; }

static void attention_backward(tape *t, void *saved) {
    struct saved *s = saved;
    attention_inputs in = {s->q->x, heads_in(s->k), heads_in(s->v), scores_of(s->sinks)};
    attention_gradients d = {.q = tape_gradient(t, s->q), .sink = s->sinks ? tape_weight_gradient(t, s->sinks) : NULL};
    d.k = tape_gradient(t, s->k.rows) + s->k.first, d.v = tape_gradient(t, s->v.rows) + s->v.first;
    t->products->attention_backward(&d, s->y->dx, s->y->x, s->log_sum, &in, s->span, s->shape);
}

static tensor *attend(tape *t, const attention_inputs *in, ptrdiff_t queries, real **log_sum, attention_span span, attention_shape shape) {
    tensor *y = tape_tensor(t, queries, shape.heads * shape.value_dim);
    *log_sum = tape_keep(t, sizeof(real) * (size_t)(queries * shape.heads));
    t->products->attention(y->x, *log_sum, in, span, shape);
    return y;
}

tensor *attention(tape *t, tensor *q, tensor_heads k, tensor_heads v, const weight *sinks, attention_span span, attention_shape shape) {
    real *log_sum;
    tensor *y = attend(t, &(attention_inputs){q->x, heads_in(k), heads_in(v), scores_of(sinks)}, q->rows, &log_sum, span, shape);
    RECORD(t, y, attention_backward, (struct saved){q, y, k, v, sinks, log_sum, span, shape});
    if (sinks) tape_use(t, sinks);
    return y;
}

tensor *attention_cached(tape *t, tensor *q, heads_of k, heads_of v, const weight *sinks, attention_span span, attention_shape shape) {
    real *log_sum;
    return attend(t, &(attention_inputs){q->x, k, v, scores_of(sinks)}, q->rows, &log_sum, span, shape);
}
