/* Each row through its expert's SwiGLU (Shazeer 2020):  g = x G^T,  u = x U^T,  a = w silu(g) u,  y = a D^T;  or, where there is no G, through
 * two matrices with a ReLU between them (2017, appendix C):  a = w max(0, u).
 *
 * The pair's weight w multiplies the activation instead of the output, which is the same sum, so outputs need not be kept: with
 * da = dy D (dy the token's gradient, read through the plan),
 *     dw = <da, silu(g) u>,   dD += dy^T a,   dg, du as in the kernel,   dG += dg^T x,   dU += du^T x,   dx = dg G + du U
 * Kept per row are g and u, 2 F values (F without G); a is made again from them. The use of each weight ends with its own d-weight, the last to
 * need it: where an update takes gradients as they are produced, there is one of them at a time. */
#include "moe/moe.h"

struct saved {
    mlp_weights w;
    tensor *x, *y, *weights; /* weights: of the pairs; NULL when dense or fixed */
    real *gate, *up;         /* (rows, F); backward turns them into their gradients; gate NULL: ReLU */
    const real *row_weight;  /* (rows); NULL when dense */
    const int32_t *row;      /* of each pair */
    row_groups groups;
};

/* dx += dy W and dW += dy^T x, the last use of W. */
static void backward_through(tape *t, real *dx, weight *w, rows_of dy, rows_of x, row_groups groups) {
    weight_linear_dx(t, dx, dy, w, groups, true);
    weight_linear_dw(t, w, dy, x, groups);
    tape_end_use(t, w);
}

static void experts_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t F = s->w.down->in, rows = s->x->rows;
    rows_of x = tensor_rows(s->x), dy = tensor_gradient_rows(s->y), dup = {s->up, NULL};
    real *dact = tape_borrow(t, rows * F), *act = tape_borrow(t, rows * F), *drow_weight = s->weights ? tape_borrow(t, rows) : NULL;
    weight_linear_dx(t, dact, dy, s->w.down, s->groups, false);
    if (s->gate) t->k->swiglu_backward(act, s->gate, s->up, drow_weight, dact, s->row_weight, rows, F);
    else t->k->relu_backward(act, s->up, drow_weight, dact, s->row_weight, rows, F);
    weight_linear_dw(t, s->w.down, dy, (rows_of){act, NULL}, s->groups);
    tape_end_use(t, s->w.down);
    real *dx = tape_gradient(t, s->x);
    if (s->gate) backward_through(t, dx, s->w.gate, (rows_of){s->gate, NULL}, x, s->groups);
    backward_through(t, dx, s->w.up, dup, x, s->groups);
    if (s->weights) {
        real *dweights = tape_gradient(t, s->weights);
        for (ptrdiff_t i = 0; i < rows; i++) dweights[i] += drow_weight[s->row[i]];
    }
    tape_return(t, dact), tape_return(t, act), tape_return(t, drow_weight);
}

static void run(tape *t, tensor *y, tensor *x, const mlp_weights *w, tensor *pair_weights, const real *row_weight, const int32_t *row,
                row_groups groups) {
    ptrdiff_t F = w->down->in, rows = x->rows;
    size_t bytes = sizeof(real) * (size_t)(rows * F);
    real *gate = w->gate ? tape_keep(t, bytes) : NULL, *up = tape_keep(t, bytes), *act = tape_borrow(t, rows * F);
    if (gate) weight_linear(t, gate, tensor_rows(x), w->gate, groups);
    weight_linear(t, up, tensor_rows(x), w->up, groups);
    if (gate) t->k->swiglu(act, gate, up, row_weight, rows, F);
    else t->k->relu(act, up, row_weight, rows, F);
    weight_linear(t, y->x, (rows_of){act, NULL}, w->down, groups);
    tape_return(t, act);
    RECORD(t, y, experts_backward, (struct saved){*w, x, y, pair_weights, gate, up, row_weight, row, groups});
    if (gate) tape_use(t, w->gate);
    tape_use(t, w->up), tape_use(t, w->down);
}

tensor *experts(tape *t, tensor *x, const mlp_weights *w, const moe_plan *p, const routing *r) {
    ptrdiff_t D = w->down->out;
    tensor *y = tape_keep(t, sizeof *y);
    *y = (tensor){.x = tape_borrow(t, p->rows * D), .rows = p->rows, .cols = D}; /* combine reads it once and returns it */
    real *row_weight = tape_keep(t, sizeof(real) * (size_t)p->rows);
    for (ptrdiff_t i = 0; i < p->rows; i++) row_weight[i] = r->weights->x[p->pair[i]];
    run(t, y, x, w, r->fixed ? NULL : r->weights, row_weight, p->row, (row_groups){p->experts, p->start});
    return y;
}

tensor *dense_mlp(tape *t, tensor *x, const mlp_weights *w) {
    tensor *y = tape_tensor(t, x->rows, w->down->out);
    ptrdiff_t *start = tape_keep(t, 2 * sizeof *start);
    start[0] = 0, start[1] = x->rows;
    run(t, y, x, w, NULL, NULL, NULL, (row_groups){1, start});
    return y;
}
