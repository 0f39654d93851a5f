#include "tensor/weight_products.h"

#include "base/error.h"

/* The router's products have a precision of their own: rounding there changes which experts are chosen. */
static const struct products *products_of(const tape *t, const weight *w) { return w->role == ROLE_ROUTER ? t->router_products : t->products; }

static matrices matrices_of(const struct products *p, const weight *w, row_groups g) {
    return (matrices){w->value + g.first, w->packed ? w->packed + g.first * p->packed_size(w->in, w->out) : NULL};
}

void weight_linear(const tape *t, real *y, rows_of x, const weight *w, row_groups g) {
    const struct products *p = products_of(t, w);
    const matrices m = matrices_of(p, w, g);
    p->linear(y, x, &m, g, w->in, w->out);
}

void weight_linear_dx(const tape *t, real *dx, rows_of dy, const weight *w, row_groups g, bool accumulate) {
    const struct products *p = products_of(t, w);
    const matrices m = matrices_of(p, w, g);
    p->linear_dx(dx, dy, &m, g, w->in, w->out, accumulate);
}

void weight_linear_dw(tape *t, const weight *w, rows_of dy, rows_of x, row_groups g) {
    weight_step *s = w->step;
    CHECK(g.first == s->first && g.groups == s->groups, "groups %td to %td of a gradient of %td to %td", g.first, g.first + g.groups, s->first,
          s->first + s->groups);
    real *squares = s->squares ? s->squares + g.first * s->squares_size : NULL;
    products_of(t, w)->linear_dw(tape_weight_gradient_place(t, w), squares, dy, x, g, w->in, w->out, s->written, s->passing);
    s->squared = s->squares && (s->squared || !s->written);
    s->written = true;
    for (int e = 0; e < g.groups; e++) s->rows[g.first + e] += g.start[e + 1] - g.start[e];
}
