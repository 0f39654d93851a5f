/* y = m x with m = 0 or 1 / (1 - share), drawn for each number (Srivastava et al. 2014):   dx += m dy */
#include "ops/ops.h"

struct saved {
    tensor *x, *y;
    random_key key;
    uint64_t first;
    double share;
};

static void dropout_backward(tape *t, void *saved) {
    struct saved *s = saved;
    bool adds;
    real *dx = tape_gradient_place(t, s->x, &adds);
    t->k->dropout(dx, s->y->dx, s->key, s->first, s->y->rows * s->y->cols, s->share, adds);
}

tensor *dropout(tape *t, tensor *x, double share, int layer) {
    if (!t->training || share == 0) return x;
    tensor *y = tape_tensor(t, x->rows, x->cols);
    const random_key key = tape_random_key(t, RANDOM_DROPOUT, layer);
    const uint64_t first = tape_random_index(t, 0, x->cols);
    t->k->dropout(y->x, x->x, key, first, x->rows * x->cols, share, false);
    RECORD(t, y, dropout_backward, (struct saved){x, y, key, first, share});
    return y;
}
