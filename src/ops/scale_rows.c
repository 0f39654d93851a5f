/* y[r] = f_r x[r]:   dx[r] += f_r dy[r],   df_r += <dy[r], x[r]> */
#include "ops/ops.h"

struct saved {
    tensor *x, *factor, *y;
};

static void scale_rows_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t rows = s->x->rows, cols = s->x->cols;
    real *dx = tape_gradient(t, s->x), *df = tape_gradient(t, s->factor);
#pragma omp parallel for schedule(static) if (rows * cols > 4096)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *x = s->x->x + r * cols, *dy = s->y->dx + r * cols;
        real sum = 0;
        for (ptrdiff_t j = 0; j < cols; j++) dx[r * cols + j] += s->factor->x[r] * dy[j], sum += dy[j] * x[j];
        df[r] += sum;
    }
}

tensor *scale_rows(tape *t, tensor *x, tensor *factor) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
#pragma omp parallel for schedule(static) if (x->rows * x->cols > 4096)
    for (ptrdiff_t r = 0; r < x->rows; r++)
        for (ptrdiff_t j = 0; j < x->cols; j++) y->x[r * x->cols + j] = factor->x[r] * x->x[r * x->cols + j];
    RECORD(t, y, scale_rows_backward, (struct saved){x, factor, y});
    return y;
}
