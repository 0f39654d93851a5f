/* The derivation stands above the kernel (kernels/cpu/rows.c). A weight narrower than x norms each head by itself. */
#include "ops/ops.h"

struct saved {
    const weight *w; /* NULL: 1 */
    tensor *x, *y;
    ptrdiff_t width;
    real *inverse_rms;
};

static void rmsnorm_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const real *w = s->w ? s->w->value[0] : NULL;
    real *dw = s->w ? tape_weight_gradient(t, s->w) : NULL;
    t->k->rmsnorm_backward(tape_gradient(t, s->x), dw, s->y->dx, s->x->x, s->inverse_rms, w, s->x->rows * s->x->cols / s->width, s->width);
}

static tensor *norm(tape *t, tensor *x, const weight *w, ptrdiff_t width, double epsilon) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    ptrdiff_t rows = x->rows * x->cols / width;
    real *inverse_rms = tape_keep(t, sizeof(real) * (size_t)rows);
    t->k->rmsnorm(y->x, inverse_rms, x->x, w ? w->value[0] : NULL, rows, width, (real)epsilon);
    RECORD(t, y, rmsnorm_backward, (struct saved){w, x, y, width, inverse_rms});
    return y;
}

tensor *rmsnorm(tape *t, tensor *x, const weight *w, double epsilon) {
    tensor *y = norm(t, x, w, w->in, epsilon);
    tape_use(t, w);
    return y;
}

tensor *unit_rms(tape *t, tensor *x, ptrdiff_t width, double epsilon) { return norm(t, x, NULL, width, epsilon); }
