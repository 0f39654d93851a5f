#include "tensor/weight_products.h"

/* The router's products have a precision of their own: rounding there changes which experts are chosen. */
static const struct products *products_of(const tape *t, const weight *w) { return w->role == ROLE_ROUTER ? t->router_products : t->products; }

static matrices matrices_of(const weight *w) { return (matrices){w->value, w->packed}; }

void weight_linear(const tape *t, real *y, rows_of x, const weight *w, row_groups g) {
    matrices m = matrices_of(w);
    products_of(t, w)->linear(y, x, &m, g, w->in, w->out);
}

void weight_linear_dx(const tape *t, real *dx, rows_of dy, const weight *w, row_groups g, bool accumulate) {
    matrices m = matrices_of(w);
    products_of(t, w)->linear_dx(dx, dy, &m, g, w->in, w->out, accumulate);
}

void weight_linear_dw(tape *t, const weight *w, rows_of dy, rows_of x, row_groups g) {
    weight_step *s = w->step;
    products_of(t, w)->linear_dw(tape_weight_gradient_place(t, w), s->squares, dy, x, g, w->in, w->out, s->written);
    s->squared = s->squares && (s->squared || !s->written);
    s->written = true;
    for (int e = 0; e < g.groups; e++) s->rows[e] += g.start[e + 1] - g.start[e];
}
