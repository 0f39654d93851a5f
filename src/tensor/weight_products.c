#include "tensor/weight_products.h"

/* The router's products have a precision of their own: rounding there changes which experts are chosen. */
static const struct products *products_of(const tape *t, const weight *w) { return w->role == ROLE_ROUTER ? t->router_products : t->products; }

/* As many matrices as there are groups of rows, each of the rows that weight_part_out says; gone when the tape next rewinds. */
static matrices matrices_of(tape *t, const weight *w, row_groups g) {
    const ptrdiff_t parts = g.groups / w->groups, size = weight_part_out(w, g) * w->in;
    if (parts == 1) return (matrices){w->value, w->packed};
    real **value = tape_keep(t, sizeof *value * (size_t)g.groups);
    for (ptrdiff_t e = 0; e < g.groups; e++) value[e] = w->value[e / parts] + e % parts * size;
    return (matrices){value, NULL};
}

void weight_linear(tape *t, real *y, rows_of x, const weight *w, row_groups g) {
    matrices m = matrices_of(t, w, g);
    products_of(t, w)->linear(y, x, &m, g, w->in, weight_part_out(w, g));
}

void weight_linear_dx(tape *t, real *dx, rows_of dy, const weight *w, row_groups g, bool accumulate) {
    matrices m = matrices_of(t, w, g);
    products_of(t, w)->linear_dx(dx, dy, &m, g, w->in, weight_part_out(w, g), accumulate);
}

void weight_linear_dw(tape *t, const weight *w, rows_of dy, rows_of x, row_groups g) {
    weight_step *s = w->step;
    products_of(t, w)->linear_dw(tape_weight_gradient_place(t, w), s->squares, dy, x, g, w->in, weight_part_out(w, g), s->written);
    s->squared = s->squares && (s->squared || !s->written);
    s->written = true;
    for (ptrdiff_t e = 0; e < g.groups; e++) s->rows[e * w->groups / g.groups] += g.start[e + 1] - g.start[e];
}
