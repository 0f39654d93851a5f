/* y[n] = w[token[n]];  dw[token[n]] += dy[n] */
#include "ops/ops.h"

struct saved {
    const weight *w;
    const int32_t *token;
    tensor *y;
};

static void embedding_backward(tape *t, void *saved) {
    struct saved *s = saved;
    t->k->scatter_add(tape_weight_gradient(t, s->w), s->y->dx, s->token, s->y->rows, s->y->cols);
}

tensor *embedding(tape *t, const weight *w, const int32_t *token, ptrdiff_t N) {
    tensor *y = tape_tensor(t, N, w->in);
    weight_rows(t, y->x, w, token, N);
    RECORD(t, y, embedding_backward, (struct saved){w, token, y});
    tape_use(t, w);
    return y;
}
