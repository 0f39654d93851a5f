/* loss = scale sum_n (log sum_v exp(z_nv) - z_n,target),  z = x w^T
 *   dz = scale (softmax(z) - onehot(target)),   dx = dz w,   dw = dz^T x
 * Nothing stands between the loss and backward's beginning, so dz is final as soon as z is known: dx and dw are made chunk by chunk in
 * forward, and the backward that is recorded only hands dx over; dw is ready then. */
#include "ops/ops.h"

#include <string.h>

enum { CHUNK = 240 }; /* rows: the logits of a chunk stay near the cores */

struct saved {
    tensor *x;
    real *dx;
};

static void head_loss_backward(tape *t, void *saved) {
    struct saved *s = saved;
    real *dx = tape_gradient(t, s->x);
    t->k->add(dx, dx, s->dx, s->x->rows * s->x->cols);
    tape_return(t, s->dx);
}

ptrdiff_t head_loss_rows(ptrdiff_t tokens) { return tokens < CHUNK ? tokens : CHUNK; }

const double *head_loss(tape *t, tensor *x, const weight *w, const int32_t *target) {
    ptrdiff_t N = x->rows, D = x->cols, V = w->out;
    double *loss = tape_keep(t, sizeof(double) * (size_t)N), sum = 0;
    real *logits = tape_borrow(t, head_loss_rows(N) * V), *dx = t->training ? tape_borrow(t, N * D) : NULL;
    for (ptrdiff_t n = 0; n < N; n += CHUNK) {
        ptrdiff_t rows = N - n < CHUNK ? N - n : CHUNK, start[] = {0, rows};
        row_groups one = {1, start, 0};
        rows_of x_rows = {x->x + n * D, NULL}, dz_rows = {logits, NULL};
        weight_linear(t, logits, x_rows, w, one);
        t->k->cross_entropy(loss + n, logits, target + n, rows, V, (real)t->loss_scale);
        if (!t->training) continue;
        weight_linear_dx(t, dx + n * D, dz_rows, w, one, false);
        weight_linear_dw(t, w, dz_rows, x_rows, one);
    }
    tape_return(t, logits);
    for (ptrdiff_t n = 0; n < N; n++) sum += loss[n];
    tape_add_loss(t, "loss", sum * t->loss_scale);
    RECORD(t, NULL, head_loss_backward, (struct saved){x, dx});
    tape_use(t, w);
    return loss;
}
