/* y[n] = sum of the token's rows, already weighted (experts.c).   drows[r] = dy[token[r]]: dy itself, read through the plan. */
#include "moe/moe.h"

struct saved {
    tensor *rows, *y;
    const int32_t *token;
};

static void combine_backward(tape *t, void *saved) {
    struct saved *s = saved;
    (void)t;
    s->rows->dx = s->y->dx, s->rows->drow = s->token;
    s->y->dx = NULL; /* it now belongs to rows and is returned after their backward */
}

tensor *combine(tape *t, tensor *rows, const moe_plan *p, const routing *r) {
    ptrdiff_t N = r->tokens;
    tensor *y = tape_tensor(t, N, rows->cols);
    t->k->sum_rows(y->x, rows->x, p->row, r->token_start, N, rows->cols, false);
    tape_return(t, rows->x), rows->x = NULL;
    RECORD(t, y, combine_backward, (struct saved){rows, y, p->token});
    return y;
}
