/* A rotation's transpose turns the other way: dx = rotate(dy, -angle). */
#include "ops/ops.h"

#include <math.h>

struct saved {
    tensor *x, *y;
    rotary_angles angles;
};

static void rotary_backward(tape *t, void *saved) {
    struct saved *s = saved;
    t->k->rotate(tape_gradient(t, s->x), s->y->dx, s->angles.cosine, s->angles.sine, s->y->rows, s->y->cols / (2 * s->angles.half), s->angles.half, -1, true);
}

rotary_angles rotary_angles_make(tape *t, const ptrdiff_t *position, ptrdiff_t N, ptrdiff_t head_dim, double theta) {
    ptrdiff_t half = head_dim / 2;
    real *cosine = tape_keep(t, sizeof(real) * (size_t)(N * half)), *sine = tape_keep(t, sizeof(real) * (size_t)(N * half));
    double *frequency = tape_keep(t, sizeof(double) * (size_t)half);
    for (ptrdiff_t i = 0; i < half; i++) frequency[i] = pow(theta, -2.0 * (double)i / (double)head_dim);
#pragma omp parallel for schedule(static) if (N > 64)
    for (ptrdiff_t n = 0; n < N; n++)
        for (ptrdiff_t i = 0; i < half; i++) {
            double angle = (double)position[n] * frequency[i];
            cosine[n * half + i] = (real)cos(angle), sine[n * half + i] = (real)sin(angle);
        }
    return (rotary_angles){cosine, sine, half};
}

tensor *rotary(tape *t, tensor *x, rotary_angles angles) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    t->k->rotate(y->x, x->x, angles.cosine, angles.sine, x->rows, x->cols / (2 * angles.half), angles.half, 1, false);
    RECORD(t, y, rotary_backward, (struct saved){x, y, angles});
    return y;
}
