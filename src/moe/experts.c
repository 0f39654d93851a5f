/* Each row through its expert's SwiGLU (Shazeer 2020):  g = x G^T,  u = x U^T,  a = w silu(g) u,  y = a D^T;  or, where there is no G, through
 * two matrices with a ReLU between them (2017, appendix C):  a = w max(0, u).
 *
 * The pair's weight w multiplies the activation instead of the output, which is the same sum, so outputs need not be kept: with
 * da = dy D (dy the token's gradient, read through the plan),
 *     dw = <da, silu(g) u>,   dD += dy^T a,   dg, du as in the kernel,   dG += dg^T x,   dU += du^T x,   dx = dg G + du U
 * Kept per row are g and u, 2 F values (F without G); a is made again from them. Or nothing is kept, and they are made again too. The use of each
 * weight ends with its own d-weight, the last to need it: where an update takes gradients as they are produced, there is one of them at a time.
 *
 * Thousands of experts go through this in parts, a few neighbours at a time: their activations, their gradients and, at the update, their weights
 * are still in the caches when they are needed next. */
#include "moe/moe.h"

struct saved {
    mlp_weights w;
    tensor *x, *y, *weights; /* weights: of the pairs; NULL when dense or fixed */
    bool recompute;
    real *gate, *up;         /* (rows, F); backward turns them into their gradients; gate NULL: ReLU. Both NULL: recompute */
    const real *row_weight;  /* (rows); NULL when dense */
    const int32_t *row;      /* of each pair */
    row_groups groups;
};

enum { PART_BYTES = 1 << 23 /* of one matrix of its experts: a fraction of the last cache */, PART_EXPERTS = 64 };

/* Neighbouring experts; their rows are a batch of its own, which begins at row `row` of the whole. */
typedef struct {
    ptrdiff_t row, rows;
    row_groups groups;
    bool last, few; /* of all parts; rows of every expert */
    ptrdiff_t start[PART_EXPERTS + 1];
} part;

ptrdiff_t experts_in_part(const weight *w) {
    ptrdiff_t fit = PART_BYTES / (w->out * w->in * (ptrdiff_t)sizeof(real));
    return fit >= w->groups ? w->groups : fit < 1 ? 1 : fit > PART_EXPERTS ? PART_EXPERTS : fit;
}

/* Rows of the largest part. Of several, rounded up to a power of two, so that the same memory does from step to step. */
static ptrdiff_t part_room(row_groups all, ptrdiff_t experts) {
    ptrdiff_t most = 0, room = 1;
    for (ptrdiff_t e = 0; e < all.groups; e += experts) {
        ptrdiff_t end = e + experts < all.groups ? e + experts : all.groups, rows = all.start[end] - all.start[e];
        if (rows > most) most = rows;
    }
    while (room < most) room *= 2;
    return experts < all.groups ? room : most;
}

/* false: there are no experts from `first` on */
static bool part_make(part *p, row_groups all, ptrdiff_t first, ptrdiff_t experts) {
    if (first >= all.groups) return false;
    const ptrdiff_t left = all.groups - first, n = left < experts ? left : experts;
    p->row = all.start[first], p->rows = all.start[first + n] - p->row;
    const bool whole = n == all.groups;
    p->last = n == left, p->few = true;
    p->groups = whole ? all : (row_groups){(int)n, p->start, first};
    for (ptrdiff_t e = 0; e <= n && !whole; e++) p->start[e] = all.start[first + e] - p->row;
    for (ptrdiff_t e = first; e < first + n; e++) p->few &= all.start[e + 1] - all.start[e] <= PRODUCT_ROWS;
    return true;
}

static rows_of rows_from(rows_of x, ptrdiff_t row, ptrdiff_t width) {
    return x.row ? (rows_of){x.x, x.row + row} : (rows_of){x.x + row * width, NULL};
}

/* dW += dy^T x, the last use of W. Where only few rows reached each expert, an update can do without dW itself. */
static void add_to_weight(tape *t, weight *w, rows_of dy, rows_of x, const part *p) {
    const bool in_parts = tape_takes_parts(t, w);
    if (in_parts) tape_begin_part(t, w, p->groups.first, p->groups.groups);
    if (in_parts && p->few && t->takes_factors) {
        tape_end_part_as(t, w, &(gradient_factors){dy, x, p->groups});
    } else {
        weight_linear_dw(t, w, dy, x, p->groups);
        if (in_parts) tape_end_part(t, w);
    }
    if (p->last) tape_end_use(t, w);
}

/* g and u; gate NULL: ReLU */
static void inner(tape *t, real *gate, real *up, rows_of x, const mlp_weights *w, row_groups groups) {
    if (gate) weight_linear(t, gate, x, w->gate, groups);
    weight_linear(t, up, x, w->up, groups);
}

/* Where a part begins in what is kept of all rows, or in what is only there for one part. */
static real *inner_of(real *x, const part *p, ptrdiff_t F, bool recompute) { return x && !recompute ? x + p->row * F : x; }

/* dx += , the gradients of a part's weights, and of its rows' weights. */
static void part_backward(tape *t, const struct saved *s, const part *p, real *act, real *dact, real *drow_weight) {
    const ptrdiff_t F = s->w.down->in, D = s->x->cols;
    const rows_of x = rows_from(tensor_rows(s->x), p->row, D), dy = rows_from(tensor_gradient_rows(s->y), p->row, D);
    const real *row_weight = s->row_weight ? s->row_weight + p->row : NULL;
    real *gate = inner_of(s->gate, p, F, s->recompute), *up = inner_of(s->up, p, F, s->recompute), *dx = tape_gradient(t, s->x) + p->row * D;
    if (s->recompute) inner(t, gate, up, x, &s->w, p->groups);
    weight_linear_dx(t, dact, dy, s->w.down, p->groups, false);
    if (gate) t->k->swiglu_backward(act, gate, up, drow_weight, dact, row_weight, p->rows, F);
    else t->k->relu_backward(act, up, drow_weight, dact, row_weight, p->rows, F);
    add_to_weight(t, s->w.down, dy, (rows_of){act, NULL}, p);
    if (gate) weight_linear_dx(t, dx, (rows_of){gate, NULL}, s->w.gate, p->groups, true);
    if (gate) add_to_weight(t, s->w.gate, (rows_of){gate, NULL}, x, p);
    weight_linear_dx(t, dx, (rows_of){up, NULL}, s->w.up, p->groups, true);
    add_to_weight(t, s->w.up, (rows_of){up, NULL}, x, p);
}

static void experts_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const ptrdiff_t n = tape_takes_parts(t, s->w.down) ? experts_in_part(s->w.down) : s->groups.groups, room = part_room(s->groups, n), rows = s->x->rows;
    real *dact = tape_borrow(t, room * s->w.down->in), *act = tape_borrow(t, room * s->w.down->in),
         *drow_weight = s->weights ? tape_borrow(t, rows) : NULL;
    part p;
    if (s->recompute) s->gate = s->w.gate ? tape_borrow(t, room * s->w.down->in) : NULL, s->up = tape_borrow(t, room * s->w.down->in);
    for (ptrdiff_t first = 0; part_make(&p, s->groups, first, n); first += n)
        part_backward(t, s, &p, act, dact, drow_weight ? drow_weight + p.row : NULL);
    if (s->weights) {
        real *dweights = tape_gradient(t, s->weights);
        for (ptrdiff_t i = 0; i < rows; i++) dweights[i] += drow_weight[s->row[i]];
    }
    if (s->recompute) tape_return(t, s->gate), tape_return(t, s->up);
    tape_return(t, dact), tape_return(t, act), tape_return(t, drow_weight);
}

static void run(tape *t, tensor *y, tensor *x, const mlp_weights *w, tensor *pair_weights, const real *row_weight, const int32_t *row,
                row_groups groups, bool recompute) {
    const ptrdiff_t F = w->down->in, D = x->cols, n = t->training && w->down->step->passing ? experts_in_part(w->down) : groups.groups,
                    room = part_room(groups, n);
    size_t bytes = sizeof(real) * (size_t)(x->rows * F);
    real *up = recompute ? tape_borrow(t, room * F) : tape_keep(t, bytes), *act = tape_borrow(t, room * F);
    real *gate = !w->gate ? NULL : recompute ? tape_borrow(t, room * F) : tape_keep(t, bytes);
    part p;
    for (ptrdiff_t first = 0; part_make(&p, groups, first, n); first += n) {
        const rows_of part_x = rows_from(tensor_rows(x), p.row, D);
        const real *part_weight = row_weight ? row_weight + p.row : NULL;
        real *part_gate = inner_of(gate, &p, F, recompute), *part_up = inner_of(up, &p, F, recompute);
        inner(t, part_gate, part_up, part_x, w, p.groups);
        if (gate) t->k->swiglu(act, part_gate, part_up, part_weight, p.rows, F);
        else t->k->relu(act, part_up, part_weight, p.rows, F);
        weight_linear(t, y->x + p.row * w->down->out, (rows_of){act, NULL}, w->down, p.groups);
    }
    tape_return(t, act);
    if (recompute) tape_return(t, gate), tape_return(t, up), gate = up = NULL;
    RECORD(t, y, experts_backward, (struct saved){*w, x, y, pair_weights, recompute, gate, up, row_weight, row, groups});
    if (w->gate) tape_use(t, w->gate);
    tape_use(t, w->up), tape_use(t, w->down);
}

tensor *experts(tape *t, tensor *x, const mlp_weights *w, const moe_plan *p, const routing *r, bool recompute) {
    ptrdiff_t D = w->down->out;
    tensor *y = tape_keep(t, sizeof *y);
    *y = (tensor){.x = tape_borrow(t, p->rows * D), .rows = p->rows, .cols = D}; /* combine reads it once and returns it */
    real *row_weight = tape_keep(t, sizeof(real) * (size_t)p->rows);
    for (ptrdiff_t i = 0; i < p->rows; i++) row_weight[i] = r->weights->x[p->pair[i]];
    run(t, y, x, w, r->fixed ? NULL : r->weights, row_weight, p->row, (row_groups){p->experts, p->start, 0}, recompute);
    return y;
}

tensor *dense_mlp(tape *t, tensor *x, const mlp_weights *w) {
    tensor *y = tape_tensor(t, x->rows, w->down->out);
    ptrdiff_t *start = tape_keep(t, 2 * sizeof *start);
    start[0] = 0, start[1] = x->rows;
    run(t, y, x, w, NULL, NULL, NULL, (row_groups){1, start, 0}, false);
    return y;
}
