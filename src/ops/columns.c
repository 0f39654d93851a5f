/* y = columns first .. first + n of x:   dx there += dy */
#include "ops/ops.h"

#include <string.h>

struct saved {
    tensor *x, *y;
    ptrdiff_t first;
};

static void columns_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const ptrdiff_t n = s->y->cols;
    real *dx = tape_gradient(t, s->x) + s->first;
#pragma omp parallel for schedule(static) if (s->y->rows * n > 4096)
    for (ptrdiff_t r = 0; r < s->y->rows; r++)
        for (ptrdiff_t i = 0; i < n; i++) dx[r * s->x->cols + i] += s->y->dx[r * n + i];
}

tensor *columns(tape *t, tensor *x, ptrdiff_t first, ptrdiff_t n) {
    tensor *y = tape_tensor(t, x->rows, n);
#pragma omp parallel for schedule(static) if (x->rows * n > 4096)
    for (ptrdiff_t r = 0; r < x->rows; r++) memcpy(y->x + r * n, x->x + r * x->cols + first, sizeof(real) * (size_t)n);
    RECORD(t, y, columns_backward, (struct saved){x, y, first});
    return y;
}
