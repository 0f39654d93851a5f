/* rows[r] = x[token[r]]: not a copy but a view that is read through the plan.   dx[n] += sum of drows over the token's pairs */
#include "moe/moe.h"

struct saved {
    tensor *x, *rows;
    const int32_t *row;
    const ptrdiff_t *token_start;
};

static void dispatch_backward(tape *t, void *saved) {
    struct saved *s = saved;
    t->k->sum_rows(tape_gradient(t, s->x), s->rows->dx, s->row, s->token_start, s->x->rows, s->x->cols, true);
}

tensor *dispatch(tape *t, tensor *x, const moe_plan *p, const routing *r) {
    tensor *rows = tape_keep(t, sizeof *rows);
    *rows = (tensor){.x = x->x, .row = p->token, .rows = p->rows, .cols = x->cols};
    RECORD(t, rows, dispatch_backward, (struct saved){x, rows, p->row, r->token_start});
    return rows;
}
