/* The derivation stands above the kernel (kernels/cpu/rows.c). A weight narrower than x norms each head by itself. */
#include "ops/ops.h"

struct saved {
    const weight *w;
    tensor *x, *y;
    real *inverse_rms;
};

static void rmsnorm_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t width = s->w->in, rows = s->x->rows * s->x->cols / width;
    t->k->rmsnorm_backward(tape_gradient(t, s->x), tape_weight_gradient(t, s->w), s->y->dx, s->x->x, s->inverse_rms, s->w->value[0], rows, width);
}

tensor *rmsnorm(tape *t, tensor *x, const weight *w, double epsilon) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    ptrdiff_t width = w->in, rows = x->rows * x->cols / width;
    real *inverse_rms = tape_keep(t, sizeof(real) * (size_t)rows);
    t->k->rmsnorm(y->x, inverse_rms, x->x, w->value[0], rows, width, (real)epsilon);
    RECORD(t, y, rmsnorm_backward, (struct saved){w, x, y, inverse_rms});
    tape_use(t, w);
    return y;
}
