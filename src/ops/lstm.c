/* The step and its derivation stand above the kernel (kernels/cpu/lstm_step.c). Of what goes into the gates, x W_x^T is one product over all tokens;
 * only h W_h^T waits for the step before, and is one product over all sequences that are still being read.
 *
 * Rows of time: step after step, in each of them the sequences that last so long, the longest first. So the first rows of a step are those of
 * the next, and each step reads and writes rows that lie together. h and c are (n + N, ...): before the rows of time there is one for each of
 * the n sequences, with which it begins.
 *
 * With the gradient da of the gates, through time from the last step to the first:
 *     dh += dy, and of the step before += da W_h;   ds = dh (or dh W_p)
 * and when all of it is known:   dx += da W_x,   dW_x += da^T x,   dW_h += da^T h',   db += sum da,   dW_p += dh^T s */
#include <string.h>

#include "ops/ops.h"

typedef struct {
    ptrdiff_t steps, sequences, rows;
    ptrdiff_t *start;  /* (steps + 1) */
    int32_t *sequence; /* (n) longest first */
    int32_t *last;     /* (n) of these, the row in h and c with which it ends */
    int32_t *token;    /* (N) of each row */
    int32_t *row;      /* (N) of each token */
    int32_t *before;   /* (N) of each row, that of the step before in h and c */
} time_order;

struct saved {
    lstm_weights w;
    tensor *x, *y;
    time_order o;
    real *gates, *h, *c, *said; /* (N, 4U), (n + N, D), (n + N, U), (N, U) */
};

static ptrdiff_t length_of(const token_batch *b, ptrdiff_t s) { return b->sequence_start[s + 1] - b->sequence_start[s]; }

static ptrdiff_t first_before(const time_order *o, ptrdiff_t step) { return step > 0 ? o->sequences + o->start[step - 1] : 0; }

static time_order time_order_make(tape *t, const token_batch *b) {
    time_order o = {.sequences = b->n_sequences, .rows = b->n_tokens};
    for (ptrdiff_t s = 0; s < o.sequences; s++) o.steps = length_of(b, s) > o.steps ? length_of(b, s) : o.steps;
    const size_t of_steps = sizeof(ptrdiff_t) * (size_t)(o.steps + 1), of_sequences = sizeof(int32_t) * (size_t)o.sequences,
                 of_rows = sizeof(int32_t) * (size_t)o.rows;
    ptrdiff_t *longer = memset(tape_keep(t, of_steps), 0, of_steps); /* sequences of more tokens than this */
    o.start = memset(tape_keep(t, of_steps), 0, of_steps);
    o.sequence = tape_keep(t, of_sequences), o.last = tape_keep(t, of_sequences);
    o.token = tape_keep(t, of_rows), o.row = tape_keep(t, of_rows), o.before = tape_keep(t, of_rows);
    for (ptrdiff_t s = 0; s < o.sequences; s++)
        for (ptrdiff_t i = 0; i < length_of(b, s); i++) longer[i]++;
    for (ptrdiff_t i = 0; i < o.steps; i++) o.start[i + 1] = o.start[i] + longer[i];
    for (ptrdiff_t s = 0; s < o.sequences; s++) {
        const ptrdiff_t length = length_of(b, s), place = longer[length]++;
        o.sequence[place] = (int32_t)s;
        for (ptrdiff_t i = 0; i < length; i++) {
            const ptrdiff_t row = o.start[i] + place;
            o.token[row] = (int32_t)(b->sequence_start[s] + i), o.row[o.token[row]] = (int32_t)row;
            o.before[row] = (int32_t)(first_before(&o, i) + place);
        }
        o.last[place] = (int32_t)(length > 0 ? o.sequences + o.start[length - 1] + place : place);
    }
    return o;
}

/* What sequences begin with; NULL: zero. */
static void begin_with(tape *t, real *x, const real *from, const time_order *o, ptrdiff_t width) {
    if (from) t->k->gather(x, from, o->sequence, o->sequences, width);
    else memset(x, 0, sizeof(real) * (size_t)(o->sequences * width));
}

static void end_with(real *to, const real *x, const time_order *o, ptrdiff_t width) {
    for (ptrdiff_t i = 0; to && i < o->sequences; i++) memcpy(to + o->sequence[i] * width, x + o->last[i] * width, sizeof(real) * (size_t)width);
}

static void lstm_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const time_order *o = &s->o;
    const ptrdiff_t D = s->w.recurrent->in, U = s->w.recurrent->out / LSTM_GATES, n = o->sequences;
    real *dh = tape_borrow(t, o->rows * D), *dcell = tape_borrow(t, n * U), *dsaid = s->w.projection ? tape_borrow(t, n * U) : NULL;
    t->k->gather(dh, s->y->dx, o->token, o->rows, D);
    memset(dcell, 0, sizeof(real) * (size_t)(n * U));
    for (ptrdiff_t i = o->steps - 1; i >= 0; i--) {
        const ptrdiff_t first = o->start[i], rows[] = {0, o->start[i + 1] - first}, before = first_before(o, i);
        const row_groups step = {1, rows, 0};
        real *gates = s->gates + first * LSTM_GATES * U;
        if (dsaid) weight_linear_dx(t, dsaid, (rows_of){.x = dh + first * D}, s->w.projection, step, false);
        t->k->lstm_backward(gates, dcell, dsaid ? dsaid : dh + first * D, s->c + (n + first) * U, s->c + before * U, rows[1], U);
        if (i > 0) weight_linear_dx(t, dh + o->start[i - 1] * D, (rows_of){.x = gates}, s->w.recurrent, step, true);
    }
    const ptrdiff_t rows[] = {0, o->rows};
    const row_groups all = {1, rows, 0};
    const rows_of da = {.x = s->gates};
    bool adds;
    real *dx = tape_gradient_place(t, s->x, &adds);
    weight_linear_dx(t, dx, (rows_of){.x = s->gates, .row = o->row}, s->w.input, all, adds);
    weight_linear_dw(t, s->w.input, da, (rows_of){.x = s->x->x, .row = o->token}, all);
    weight_linear_dw(t, s->w.recurrent, da, (rows_of){.x = s->h, .row = o->before}, all);
    t->k->column_sums(tape_weight_gradient(t, s->w.bias), s->gates, o->rows, LSTM_GATES * U);
    if (dsaid) weight_linear_dw(t, s->w.projection, (rows_of){.x = dh}, (rows_of){.x = s->said}, all);
    tape_return(t, dh), tape_return(t, dcell), tape_return(t, dsaid);
}

tensor *lstm(tape *t, tensor *x, const lstm_weights *w, const token_batch *batch, real *hidden, real *cell) {
    const ptrdiff_t D = w->recurrent->in, U = w->recurrent->out / LSTM_GATES, N = x->rows, all[] = {0, N};
    const time_order o = time_order_make(t, batch);
    const ptrdiff_t n = o.sequences;
    tensor *y = tape_tensor(t, N, D);
    real *gates = tape_keep(t, sizeof(real) * (size_t)(N * LSTM_GATES * U)), *h = tape_keep(t, sizeof(real) * (size_t)((n + N) * D)),
         *c = tape_keep(t, sizeof(real) * (size_t)((n + N) * U));
    real *said = w->projection ? tape_keep(t, sizeof(real) * (size_t)(N * U)) : h + n * D, *recurrent = tape_borrow(t, n * LSTM_GATES * U);
    begin_with(t, h, hidden, &o, D), begin_with(t, c, cell, &o, U);
    weight_linear(t, gates, (rows_of){.x = x->x, .row = o.token}, w->input, (row_groups){1, all, 0});
    for (ptrdiff_t i = 0; i < o.steps; i++) {
        const ptrdiff_t first = o.start[i], rows[] = {0, o.start[i + 1] - first}, before = first_before(&o, i);
        const row_groups step = {1, rows, 0};
        weight_linear(t, recurrent, (rows_of){.x = h + before * D}, w->recurrent, step);
        t->k->lstm(gates + first * LSTM_GATES * U, c + (n + first) * U, said + first * U, recurrent, w->bias->value[0], c + before * U, rows[1], U);
        if (w->projection) weight_linear(t, h + (n + first) * D, (rows_of){.x = said + first * U}, w->projection, step);
    }
    tape_return(t, recurrent);
    end_with(hidden, h, &o, D), end_with(cell, c, &o, U);
    t->k->gather(y->x, h + n * D, o.row, N, D);
    RECORD(t, y, lstm_backward, (struct saved){*w, x, y, o, gates, h, c, said});
    tape_use(t, w->input), tape_use(t, w->recurrent), tape_use(t, w->bias);
    if (w->projection) tape_use(t, w->projection);
    return y;
}
