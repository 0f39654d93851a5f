/* Each row through its expert's SwiGLU (Shazeer 2020):  g = x G^T,  u = x U^T,  a = w silu(g) u,  y = a D^T;  or, where there is no G, through
 * two matrices with a ReLU between them (2017, appendix C):  a = w max(0, u). Each product may have a bias of its expert; y's is weighed too.
 *
 * The pair's weight w multiplies the activation instead of the output, which is the same sum, so outputs need not be kept: with
 * da = dy D (dy the token's gradient, read through the plan),
 *     dw = <da, silu(g) u>,   dD += dy^T a,   dg, du as in the kernel,   dG += dg^T x,   dU += du^T x,   dx = dg G + du U
 * and of biases  db_y += w dy,   dw += <dy, b_y>,   db_g += dg,   db_u += du, summed over an expert's rows.
 * Kept per row are g and u, 2 F values (F without G); a is made again from them. Or nothing is kept, and they are made again too. Where products round
 * their factors to bf16, a, g and u and their gradients are rounded as they are made, which halves what is kept and what moves: only silu(g) u forward
 * is of what g and u were before. They stay real where something else reads them: biases, whose gradients are their sums, and updates that take
 * factors. The use of each weight ends with its own d-weight, the last to need it: where an update takes gradients as they are produced, there is one
 * of them at a time.
 *
 * Many experts go through this in parts, a few neighbours at a time, each part from its first product to its update by one thread: what it reads
 * and writes, weights above all, stays in that thread's caches. Where rows are many, a part that all threads work on is cut into slices, some rows
 * of one expert or all of a few neighbours, each of which goes by one thread through all that concerns its rows alone: what lies between two
 * products stays in that thread's caches. Parts and slices are the same whatever the number of threads. */
#include <omp.h>

#include "moe/moe.h"

struct saved {
    mlp_weights w;
    tensor *x, *y, *weights; /* weights: of the pairs; NULL when dense or fixed */
    bool recompute, rounded;
    bool adds;              /* backward: to what x's gradient is already */
    inner_rows kept;        /* gate and up, which backward turns into their gradients; of ReLU no gate. None: recompute */
    const real *row_weight; /* (rows); NULL when dense */
    const int32_t *row;     /* of each pair */
    row_groups groups;
};

enum {
    MANY_EXPERTS = 64,
    PART_BYTES = 1 << 20,   /* of one matrix of a part's experts: a fraction of a thread's caches, */
    SHARED_BYTES = 1 << 23, /* or where experts are few and all threads work on a part, of theirs together */
    PART_EXPERTS = 64,
    ROWS_AT_ONCE = 1 << 12, /* of a part of several experts, about, where memory is short */
    SLICE_BYTES = 1 << 20,  /* of gate, up and activation together: half of a thread's second cache */
    SLICES = 32,            /* of all rows, at least, */
    SLICE_ROWS = 64,        /* each of so many: with fewer, or with wide experts of which no more fit, there are none */
    UNPACKED_ROWS = 256,    /* of one expert, at least: each piece packs its weights anew where no packed copy is kept */
    SLICE_STEP = 32         /* where one expert's rows are cut: a panel of products */
};

/* Neighbouring experts; their rows are a batch of its own, which begins at row `row` of the whole. */
typedef struct {
    ptrdiff_t row, rows;
    row_groups groups;
    bool few; /* rows of every expert */
    ptrdiff_t start[PART_EXPERTS + 1];
} part;

/* How all experts are cut: into parts of so many, which so many workers take. Or one worker takes them, and cuts each into slices of so many rows. */
typedef struct {
    ptrdiff_t experts, parts, room; /* room: rows of the largest part. Of several, rounded up, so that the same memory does from step to step */
    int workers;
    ptrdiff_t slice, piece; /* piece: most rows of one expert in a slice, about. slice 0: none */
} cut;

static ptrdiff_t experts_in_part(const weight *w) {
    ptrdiff_t fit = (w->groups >= MANY_EXPERTS ? PART_BYTES : SHARED_BYTES) / (w->out * w->in * (ptrdiff_t)sizeof(real));
    return fit >= w->groups ? w->groups : fit < 1 ? 1 : fit > PART_EXPERTS ? PART_EXPERTS : fit;
}

static int workers_of(const weight *w) { return w->groups >= MANY_EXPERTS && experts_in_part(w) < w->groups ? omp_get_max_threads() : 1; }

bool experts_are_rounded(const struct products *products, bool biases, bool takes_factors) { return products->rounds && !biases && !takes_factors; }

ptrdiff_t experts_gradient_values(const weight *w) { return experts_in_part(w) * workers_of(w) * w->out * w->in; }

/* Weights that are not real are made real by each product anew: not for a few rows. */
static ptrdiff_t rows_in_slice(const weight *w, ptrdiff_t rows) {
    const ptrdiff_t fit = SLICE_BYTES / (3 * w->in * (ptrdiff_t)sizeof(real)), each = rows / SLICES < fit ? rows / SLICES : fit;
    return w->type == STORED_REAL && each >= SLICE_ROWS ? each : 0;
}

static cut cut_experts(const weight *w, row_groups all, bool in_parts, bool recompute) {
    cut c = {.experts = all.groups, .parts = 1, .workers = 1};
    if (in_parts) c.experts = experts_in_part(w), c.workers = workers_of(w);
    while (in_parts && recompute && c.experts > 1 && all.start[all.groups] / all.groups * c.experts > ROWS_AT_ONCE) c.experts--;
    c.parts = (all.groups + c.experts - 1) / c.experts;
    for (ptrdiff_t e = 0; e < all.groups; e += c.experts) {
        ptrdiff_t end = e + c.experts < all.groups ? e + c.experts : all.groups, rows = all.start[end] - all.start[e];
        if (rows > c.room) c.room = rows;
    }
    ptrdiff_t step = 1;
    while (8 * step < c.room) step *= 2;
    if (c.parts > 1) c.room = (c.room + step - 1) / step * step;
    if (c.workers == 1) c.slice = rows_in_slice(w, all.start[all.groups]);
    c.piece = w->packed || c.slice > UNPACKED_ROWS ? c.slice : UNPACKED_ROWS;
    return c;
}

static void part_make(part *p, row_groups all, const cut *c, ptrdiff_t i) {
    const ptrdiff_t first = i * c->experts, left = all.groups - first, n = left < c->experts ? left : c->experts;
    p->row = all.start[first], p->rows = all.start[first + n] - p->row;
    p->groups = n == all.groups ? all : (row_groups){(int)n, p->start, first};
    p->few = true;
    for (ptrdiff_t e = 0; e <= n && n < all.groups; e++) p->start[e] = all.start[first + e] - p->row;
    for (ptrdiff_t e = first; e < first + n; e++) p->few &= all.start[e + 1] - all.start[e] <= PRODUCT_ROWS;
}

/* Where piece i begins of an expert's rows, which are cut into so many. */
static ptrdiff_t piece_start(ptrdiff_t rows, ptrdiff_t i, ptrdiff_t pieces) {
    return i == pieces ? rows : rows * i / pieces / SLICE_STEP * SLICE_STEP;
}

/* The slice of p that follows this one; a first one follows from {.row = p->row, .groups.first = p->groups.first}. */
static bool next_slice(part *slice, const part *p, const cut *c) {
    const ptrdiff_t *start = p->groups.start, row = slice->row + slice->rows - p->row;
    ptrdiff_t e = slice->groups.first - p->groups.first, end;
    if (row == p->rows) return false;
    while (start[e + 1] <= row) e++;
    const ptrdiff_t rows = start[e + 1] - start[e], pieces = (rows + c->piece - 1) / c->piece;
    ptrdiff_t i = 1, n = 1;
    while (start[e] + piece_start(rows, i, pieces) <= row) i++;
    end = start[e] + piece_start(rows, i, pieces);
    while (pieces == 1 && n < PART_EXPERTS && e + n < p->groups.groups && start[e + n + 1] - row <= c->slice) end = start[e + ++n];
    *slice = (part){.row = p->row + row, .rows = end - row, .groups = {(int)n, NULL, p->groups.first + e}};
    for (ptrdiff_t k = 1; k <= n; k++) slice->start[k] = (start[e + k] < end ? start[e + k] : end) - row;
    return true;
}

static rows_of rows_from(rows_of x, ptrdiff_t row, ptrdiff_t width) {
    return x.row ? (rows_of){.x = x.x, .row = x.row + row} : (rows_of){.x = x.x + row * width};
}

/* What a part needs for a moment, of one worker; what of it no d-weight reads, of one slice. */
typedef struct {
    inner_rows inner;
    real *dact;        /* (room, F) */
    real *gradient;    /* of a part of one weight, where gradients come in parts; else NULL */
    real *drow_weight; /* (rows) of all parts; NULL: not wanted */
    struct {
        real *gate, *up, *down;
    } dbias; /* of all experts; NULL: no such bias */
} scratch;

static real *gradient_of(tape *t, const weight *bias) { return bias ? tape_weight_gradient(t, bias) : NULL; }

/* Rows of what one thread has for itself; a piece of an expert may have SLICE_STEP more than it was meant to have. */
static ptrdiff_t own_room(const cut *c) { return c->slice ? c->piece + SLICE_STEP : c->room; }

static scratch scratch_borrow(tape *t, const struct saved *s, const cut *c, bool backward, bool in_parts) {
    const ptrdiff_t F = s->w.down->in, own = (c->slice ? omp_get_max_threads() : c->workers) * own_room(c) * F;
    const ptrdiff_t size = backward ? c->workers * c->room * F : own;
    scratch all = {.dact = backward ? tape_borrow(t, own) : NULL};
    if (s->rounded) all.inner.bf16.act = tape_borrow_bf16(t, size);
    else all.inner.act = tape_borrow(t, size);
    if (s->recompute || (s->rounded && !backward)) {
        if (s->w.gate) all.inner.gate = tape_borrow(t, s->rounded ? own : size);
        all.inner.up = tape_borrow(t, s->rounded ? own : size);
    }
    if (s->recompute && s->rounded && backward) {
        if (s->w.gate) all.inner.bf16.gate = tape_borrow_bf16(t, size);
        all.inner.bf16.up = tape_borrow_bf16(t, size);
    }
    if (in_parts) all.gradient = tape_borrow(t, experts_gradient_values(s->w.down));
    if (backward && s->weights) all.drow_weight = tape_borrow(t, s->x->rows);
    if (backward)
        all.dbias.gate = gradient_of(t, s->w.gate_bias), all.dbias.up = gradient_of(t, s->w.up_bias), all.dbias.down = gradient_of(t, s->w.down_bias);
    return all;
}

static void scratch_return(tape *t, const scratch *all) {
    tape_return(t, all->inner.act), tape_return(t, all->inner.gate), tape_return(t, all->inner.up);
    tape_return_bf16(t, all->inner.bf16.act), tape_return_bf16(t, all->inner.bf16.gate), tape_return_bf16(t, all->inner.bf16.up);
    tape_return(t, all->dact), tape_return(t, all->gradient), tape_return(t, all->drow_weight);
}

static real *further(real *x, ptrdiff_t n) { return x ? x + n : NULL; }
static uint16_t *further_bf16(uint16_t *x, ptrdiff_t n) { return x ? x + n : NULL; }

/* That of the worker who asks, for part p; what is kept of all rows lies where p's rows do. */
static scratch scratch_of(const scratch *all, const struct saved *s, const cut *c, const part *p) {
    const ptrdiff_t F = s->w.down->in, there = p->row * F, own = omp_get_thread_num() * c->room * F;
    const inner_rows *kept = &s->kept, *borrowed = &all->inner;
    scratch mine = {.dact = further(all->dact, own), .dbias = all->dbias};
    mine.inner.act = further(borrowed->act, own), mine.inner.bf16.act = further_bf16(borrowed->bf16.act, own);
    mine.inner.gate = kept->gate ? kept->gate + there : further(borrowed->gate, own);
    mine.inner.up = kept->up ? kept->up + there : further(borrowed->up, own);
    mine.inner.bf16.gate = kept->bf16.gate ? kept->bf16.gate + there : further_bf16(borrowed->bf16.gate, own);
    mine.inner.bf16.up = kept->bf16.up ? kept->bf16.up + there : further_bf16(borrowed->bf16.up, own);
    mine.gradient = further(all->gradient, omp_get_thread_num() * c->experts * s->w.down->out * F);
    mine.drow_weight = further(all->drow_weight, p->row);
    return mine;
}

/* That of the thread who asks, for a slice of p. */
static scratch scratch_of_slice(const scratch *of_part, const struct saved *s, const cut *c, const part *p, const part *slice) {
    const ptrdiff_t F = s->w.down->in, there = (slice->row - p->row) * F, own = omp_get_thread_num() * own_room(c) * F;
    const bool backward = of_part->dact;
    const ptrdiff_t at_act = backward ? there : own, at_inner = s->kept.up || (backward && !s->rounded) ? there : own;
    const inner_rows *all = &of_part->inner;
    scratch mine = *of_part;
    mine.inner.act = further(all->act, at_act), mine.inner.bf16.act = further_bf16(all->bf16.act, at_act);
    mine.inner.gate = further(all->gate, at_inner), mine.inner.up = further(all->up, at_inner);
    mine.inner.bf16.gate = further_bf16(all->bf16.gate, there), mine.inner.bf16.up = further_bf16(all->bf16.up, there);
    mine.dact = further(of_part->dact, own);
    mine.drow_weight = further(of_part->drow_weight, slice->row - p->row);
    return mine;
}

typedef void work(tape *t, const struct saved *s, const cut *c, const part *p, const scratch *m);

static void work_on_part(tape *t, const struct saved *s, const cut *c, const scratch *all, work *do_part, ptrdiff_t i) {
    part p;
    part_make(&p, s->groups, c, i);
    const scratch mine = scratch_of(all, s, c, &p);
    do_part(t, s, c, &p, &mine);
}

/* Where all threads work on a part there must be no region around it, not even of one thread: products inside would start new threads each time. */
static void work_on_parts(tape *t, const struct saved *s, const cut *c, const scratch *all, work *do_part) {
    if (c->workers == 1) {
        for (ptrdiff_t i = 0; i < c->parts; i++) work_on_part(t, s, c, all, do_part, i);
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (ptrdiff_t i = 0; i < c->parts; i++) work_on_part(t, s, c, all, do_part, i);
}

/* What concerns rows alone: each thread takes the slice that follows the last one taken. */
static void work_on_slices(tape *t, const struct saved *s, const cut *c, const part *p, const scratch *m, work *do_slice) {
    if (!c->slice) {
        do_slice(t, s, c, p, m);
        return;
    }
    part last = {.row = p->row, .groups.first = p->groups.first};
#pragma omp parallel
    for (part slice;;) {
        bool more;
#pragma omp critical(slices)
        {
            more = next_slice(&last, p, c);
            slice = last;
        }
        if (!more) break;
        slice.groups.start = slice.start;
        const scratch mine = scratch_of_slice(m, s, c, p, &slice);
        do_slice(t, s, c, &slice, &mine);
    }
}

/* dW += dy^T x, the last use of W. Where only few rows reached each expert, an update can do without dW itself. */
static void add_to_weight(tape *t, weight *w, rows_of dy, rows_of x, const part *p, real *gradient) {
    if (!gradient) {
        weight_linear_dw(t, w, dy, x, p->groups);
        tape_end_use(t, w);
    } else if (p->few && t->takes_factors) {
        tape_hand_over(t, w, &(gradient_part){.first = p->groups.first, .groups = p->groups.groups, .dy = dy, .x = x, .rows = p->groups});
    } else {
        const gradient_part made = weight_linear_dw_part(t, w, gradient, dy, x, p->groups);
        tape_hand_over(t, w, &made);
    }
}

/* y[r] += row_weight[r] times the bias of its expert; b NULL: nothing */
static void add_bias_of(tape *t, real *y, const weight *b, const real *row_weight, row_groups groups) {
    if (b) t->k->add_bias(y, b->value + groups.first, row_weight, groups, b->in);
}

/* gradient and drow_weight += */
static void add_to_bias(tape *t, real *gradient, const weight *b, rows_of dy, real *drow_weight, const real *row_weight, row_groups groups) {
    if (b) t->k->add_bias_backward(gradient + groups.first * b->in, drow_weight, dy, b->value + groups.first, row_weight, groups, b->in);
}

/* g and u; gate NULL: ReLU */
static void inner(tape *t, real *gate, real *up, rows_of x, const mlp_weights *w, row_groups groups) {
    weight_linear_each(t, (real *[]){up, gate}, x, (const weight *[]){w->up, w->gate}, gate ? 2 : 1, groups);
    if (gate) add_bias_of(t, gate, w->gate_bias, NULL, groups);
    add_bias_of(t, up, w->up_bias, NULL, groups);
}

static void activate(tape *t, const inner_rows *inner, const real *row_weight, ptrdiff_t rows, const mlp_weights *w) {
    const ptrdiff_t F = w->down->in;
    if (!w->gate) t->k->relu(inner, row_weight, rows, F);
    else if (w->bounds.limit > 0) t->k->swiglu_bounded(inner, row_weight, rows, F, w->bounds);
    else t->k->swiglu(inner, row_weight, rows, F);
}

/* gate and up become their gradients. */
static void activate_backward(tape *t, const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows,
                              const mlp_weights *w) {
    const ptrdiff_t F = w->down->in;
    if (!w->gate) t->k->relu_backward(inner, drow_weight, dact, row_weight, rows, F);
    else if (w->bounds.limit > 0) t->k->swiglu_bounded_backward(inner, drow_weight, dact, row_weight, rows, F, w->bounds);
    else t->k->swiglu_backward(inner, drow_weight, dact, row_weight, rows, F);
}

static rows_of gradient_rows(const struct saved *s, const part *p) { return rows_from(tensor_gradient_rows(s->y), p->row, s->w.down->out); }

/* Gate and up, made again if need be, become their gradients, and rows' weights get theirs. */
static void inner_backward(tape *t, const struct saved *s, const part *p, const scratch *m) {
    const real *row_weight = s->row_weight ? s->row_weight + p->row : NULL;
    const inner_rows rounded = {.bf16 = m->inner.bf16};
    if (s->recompute) inner(t, m->inner.gate, m->inner.up, rows_from(tensor_rows(s->x), p->row, s->x->cols), &s->w, p->groups);
    if (s->recompute && s->rounded) activate(t, &m->inner, row_weight, p->rows, &s->w); /* which rounds them */
    weight_linear_dx(t, m->dact, gradient_rows(s, p), s->w.down, p->groups, false);
    activate_backward(t, s->rounded ? &rounded : &m->inner, m->drow_weight, m->dact, row_weight, p->rows, &s->w);
}

static rows_of act_of(const scratch *m) { return (rows_of){.x = m->inner.act, .bf16 = m->inner.bf16.act}; }
static rows_of gate_of(const scratch *m) { return (rows_of){.x = m->inner.gate, .bf16 = m->inner.bf16.gate}; }
static rows_of up_of(const scratch *m) { return (rows_of){.x = m->inner.up, .bf16 = m->inner.bf16.up}; }

static real *input_gradient(const struct saved *s, const part *p) { return s->x->dx + p->row * s->x->cols; }

/* dx += that through gate's weight, if there is one. Through up's is added after it. */
static void add_through_gate(tape *t, const struct saved *s, const part *p, const scratch *m) {
    if (s->w.gate) weight_linear_dx(t, input_gradient(s, p), gate_of(m), s->w.gate, p->groups, s->adds);
}

static void add_through_up(tape *t, const struct saved *s, const part *p, const scratch *m) {
    weight_linear_dx(t, input_gradient(s, p), up_of(m), s->w.up, p->groups, s->adds || s->w.gate);
}

static void slice_backward(tape *t, const struct saved *s, const cut *c, const part *slice, const scratch *m) {
    (void)c;
    inner_backward(t, s, slice, m);
    add_through_gate(t, s, slice, m);
    add_through_up(t, s, slice, m);
}

/* dx += , the gradients of a part's weights, and of its rows' weights. Without slices a weight's d-input is followed by its d-weight: it is near. */
static void part_backward(tape *t, const struct saved *s, const cut *c, const part *p, const scratch *m) {
    const rows_of x = rows_from(tensor_rows(s->x), p->row, s->x->cols), dy = gradient_rows(s, p);
    if (c->slice) work_on_slices(t, s, c, p, m, slice_backward);
    else inner_backward(t, s, p, m);
    add_to_bias(t, m->dbias.down, s->w.down_bias, dy, m->drow_weight, s->row_weight ? s->row_weight + p->row : NULL, p->groups);
    add_to_bias(t, m->dbias.gate, s->w.gate_bias, gate_of(m), NULL, NULL, p->groups);
    add_to_bias(t, m->dbias.up, s->w.up_bias, up_of(m), NULL, NULL, p->groups);
    add_to_weight(t, s->w.down, dy, act_of(m), p, m->gradient);
    if (!c->slice) add_through_gate(t, s, p, m);
    if (s->w.gate) add_to_weight(t, s->w.gate, gate_of(m), x, p, m->gradient);
    if (!c->slice) add_through_up(t, s, p, m);
    add_to_weight(t, s->w.up, up_of(m), x, p, m->gradient);
}

static void experts_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const bool in_parts = tape_takes_parts(t, s->w.down);
    const cut c = cut_experts(s->w.down, s->groups, in_parts, s->recompute);
    const scratch all = scratch_borrow(t, s, &c, true, in_parts);
    tape_gradient_place(t, s->x, &s->adds); /* is there before threads write to it */
    work_on_parts(t, s, &c, &all, part_backward);
    if (in_parts) {
        tape_end_use_in_parts(t, s->w.down), tape_end_use_in_parts(t, s->w.up);
        if (s->w.gate) tape_end_use_in_parts(t, s->w.gate);
    }
    if (s->weights) {
        real *dweights = tape_gradient(t, s->weights);
        for (ptrdiff_t i = 0; i < s->x->rows; i++) dweights[i] += all.drow_weight[s->row[i]];
    }
    scratch_return(t, &all);
}

static void slice_forward(tape *t, const struct saved *s, const cut *c, const part *slice, const scratch *m) {
    const rows_of x = rows_from(tensor_rows(s->x), slice->row, s->x->cols);
    const real *row_weight = s->row_weight ? s->row_weight + slice->row : NULL;
    (void)c;
    inner(t, m->inner.gate, m->inner.up, x, &s->w, slice->groups);
    activate(t, &m->inner, row_weight, slice->rows, &s->w);
    real *y = s->y->x + slice->row * s->w.down->out;
    weight_linear(t, y, act_of(m), s->w.down, slice->groups);
    add_bias_of(t, y, s->w.down_bias, row_weight, slice->groups);
}

static void part_forward(tape *t, const struct saved *s, const cut *c, const part *p, const scratch *m) {
    work_on_slices(t, s, c, p, m, slice_forward);
}

static void keep_inner(tape *t, struct saved *s) {
    const size_t n = (size_t)(s->x->rows * s->w.down->in);
    if (s->recompute) return;
    if (s->rounded && s->w.gate) s->kept.bf16.gate = tape_keep(t, sizeof(uint16_t) * n);
    if (s->rounded) s->kept.bf16.up = tape_keep(t, sizeof(uint16_t) * n);
    if (s->rounded) return;
    if (s->w.gate) s->kept.gate = tape_keep(t, sizeof(real) * n);
    s->kept.up = tape_keep(t, sizeof(real) * n);
}

static void run(tape *t, tensor *y, tensor *x, const mlp_weights *w, tensor *pair_weights, const real *row_weight, const int32_t *row,
                row_groups groups, bool recompute) {
    struct saved s = {.w = *w, .x = x, .y = y, .weights = pair_weights, .row_weight = row_weight, .row = row, .groups = groups};
    s.recompute = recompute || !t->training, s.rounded = t->training && experts_are_rounded(t->products, w->up_bias, t->takes_factors);
    keep_inner(t, &s);
    const cut c = cut_experts(w->down, groups, t->training && w->down->step->passing, recompute);
    const scratch all = scratch_borrow(t, &s, &c, false, false);
    work_on_parts(t, &s, &c, &all, part_forward);
    scratch_return(t, &all);
    RECORD(t, y, experts_backward, s);
    if (w->gate) tape_use(t, w->gate);
    tape_use(t, w->up), tape_use(t, w->down);
    if (w->gate_bias) tape_use(t, w->gate_bias);
    if (w->up_bias) tape_use(t, w->up_bias), tape_use(t, w->down_bias);
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
