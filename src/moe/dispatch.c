/* rows[r] = x[token[r]]: not a copy but a view that is read through the plan.   dx[n] += sum of drows over the token's pairs */
#include "moe/moe.h"

struct saved {
    tensor *x, *rows;
    const int32_t *row;
    const ptrdiff_t *token_start;
};

static void dispatch_backward(tape *t, void *saved) {
    struct saved *s = saved;
    bool adds;
    real *dx = tape_gradient_place(t, s->x, &adds);
    t->k->sum_rows(dx, s->rows->dx, s->row, s->token_start, s->x->rows, s->x->cols, adds);
}

tensor *dispatch(tape *t, tensor *x, const moe_plan *p, const routing *r) {
    tensor *rows = tape_keep(t, sizeof *rows);
    *rows = (tensor){.x = x->x, .row = p->token, .rows = p->rows, .cols = x->cols};
    RECORD(t, rows, dispatch_backward, (struct saved){x, rows, p->row, r->token_start});
    return rows;
}

struct weigh_saved {
    tensor *rows, *weights, *y;
    const int32_t *pair;
};

/* y[r] = w_pair(r) x[r]:   dx[r] += w_pair(r) dy[r],   dw_pair(r) += <dy[r], x[r]> */
static void weigh_backward(tape *t, void *saved) {
    struct weigh_saved *s = saved;
    ptrdiff_t D = s->y->cols;
    real *drows = tape_gradient(t, s->rows), *dweights = tape_gradient(t, s->weights);
#pragma omp parallel for schedule(static) if (s->y->rows * D > 4096)
    for (ptrdiff_t i = 0; i < s->y->rows; i++) {
        const real *x = s->rows->x + s->rows->row[i] * D, *dy = s->y->dx + i * D;
        real w = s->weights->x[s->pair[i]];
        real sum = 0;
        for (ptrdiff_t d = 0; d < D; d++) drows[i * D + d] += w * dy[d], sum += dy[d] * x[d];
        dweights[s->pair[i]] += sum;
    }
}

tensor *weigh_rows(tape *t, tensor *rows, const moe_plan *p, const routing *r) {
    ptrdiff_t D = rows->cols;
    tensor *y = tape_tensor(t, rows->rows, D);
#pragma omp parallel for schedule(static) if (rows->rows * D > 4096)
    for (ptrdiff_t i = 0; i < rows->rows; i++)
        for (ptrdiff_t d = 0; d < D; d++) y->x[i * D + d] = r->weights->x[p->pair[i]] * rows->x[rows->row[i] * D + d];
    RECORD(t, y, weigh_backward, (struct weigh_saved){rows, r->weights, y, p->pair});
    return y;
}
