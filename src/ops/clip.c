/* x is held within -most .. most, in place: what made x does not need it again.   dx stays where x lies inside, and is 0 where it was held */
#include "ops/ops.h"

struct saved {
    tensor *x;
    real most;
};

static void clip_backward(tape *t, void *saved) {
    struct saved *s = saved;
    (void)t;
    if (!s->x->dx) return;
#pragma omp parallel for schedule(static) if (s->x->rows * s->x->cols > 4096)
    for (ptrdiff_t i = 0; i < s->x->rows * s->x->cols; i++)
        if (!(s->x->x[i] > -s->most && s->x->x[i] < s->most)) s->x->dx[i] = 0;
}

tensor *clip(tape *t, tensor *x, double most) {
    if (most == 0) return x;
#pragma omp parallel for schedule(static) if (x->rows * x->cols > 4096)
    for (ptrdiff_t i = 0; i < x->rows * x->cols; i++) {
        if (x->x[i] > (real)most) x->x[i] = (real)most;
        if (x->x[i] < -(real)most) x->x[i] = -(real)most;
    }
    RECORD(t, NULL, clip_backward, (struct saved){x, (real)most}); /* x's gradient is still to be read by what made it */
    return x;
}
