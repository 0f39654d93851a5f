/* A rotation's transpose turns the other way: dx = rotate(dy, -angle). */
#include "ops/ops.h"

#include <math.h>

struct saved {
    tensor *x, *y;
    rotary_angles angles;
    rotation_shape shape;
};

static void rotary_backward(tape *t, void *saved) {
    struct saved *s = saved;
    t->k->rotate(s->y->dx, s->y->dx, s->angles.cosine, s->angles.sine, s->y->rows, s->shape, -1);
    tape_pass_gradient(t, s->x, s->y);
}

rotary_angles rotary_angles_make(tape *t, const ptrdiff_t *position, ptrdiff_t N, const double *frequency, ptrdiff_t half, double length) {
    real *cosine = tape_keep(t, sizeof(real) * (size_t)(N * half)), *sine = tape_keep(t, sizeof(real) * (size_t)(N * half));
#pragma omp parallel for schedule(static) if (N > 64)
    for (ptrdiff_t n = 0; n < N; n++)
        for (ptrdiff_t i = 0; i < half; i++) {
            double angle = (double)position[n] * frequency[i];
            cosine[n * half + i] = (real)(length * cos(angle)), sine[n * half + i] = (real)(length * sin(angle));
        }
    return (rotary_angles){cosine, sine, half, false};
}

tensor *rotary(tape *t, tensor *x, ptrdiff_t width, rotary_angles angles) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    rotation_shape shape = {x->cols / width, width, angles.half, angles.neighbours};
    t->k->rotate(y->x, x->x, angles.cosine, angles.sine, x->rows, shape, 1);
    RECORD(t, y, rotary_backward, (struct saved){x, y, angles, shape});
    return y;
}
