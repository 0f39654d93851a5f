#include "tensor/weight_products.h"

#include "base/error.h"

/* The router's products have a precision of their own: rounding there changes which experts are chosen. */
static const struct products *products_of(const tape *t, const weight *w) { return w->role == ROLE_ROUTER ? t->router_products : t->products; }

/* One for each group of rows. Those that are cut out of w's are gone when the tape next rewinds. */
static matrices matrices_of(tape *t, const struct products *p, const weight *w, row_groups g) {
    if (g.groups <= w->groups) return (matrices){w->value + g.first, w->packed ? w->packed + g.first * p->packed_size(w->in, w->out) : NULL};
    const ptrdiff_t cuts = g.groups / w->groups, size = weight_group_out(w, g) * w->in;
    real **value = tape_keep(t, sizeof *value * (size_t)g.groups);
    for (ptrdiff_t e = 0; e < g.groups; e++) value[e] = w->value[e / cuts] + e % cuts * size;
    return (matrices){value, NULL};
}

static stored_matrices stored_matrices_of(tape *t, const weight *w, row_groups g) {
    if (g.groups <= w->groups) return (stored_matrices){w->type, (const void *const *)w->stored + g.first};
    const ptrdiff_t cuts = g.groups / w->groups, bytes = weight_group_out(w, g) * stored_row_bytes(w->type, w->in);
    const void **group = tape_keep(t, sizeof *group * (size_t)g.groups);
    for (ptrdiff_t e = 0; e < g.groups; e++) group[e] = (const char *)w->stored[e / cuts] + e % cuts * bytes;
    return (stored_matrices){w->type, group};
}

static void check_real(const weight *w) {
    CHECK(w->type == STORED_REAL, "%s of layer %d is %s, as its file stores it", w->kind, w->layer, stored_formats[w->type].name);
}

weight weight_part(tape *t, const weight *w, ptrdiff_t pieces, ptrdiff_t first, ptrdiff_t rows) {
    weight part = *w;
    check_real(w);
    part.groups = pieces, part.out = rows, part.packed = NULL;
    part.value = tape_keep(t, sizeof *part.value * (size_t)pieces);
    for (ptrdiff_t p = 0; p < pieces; p++) part.value[p] = w->value[0] + (p * (w->out / pieces) + first) * w->in;
    return part;
}

void weight_rows(tape *t, real *y, const weight *w, const int32_t *row, ptrdiff_t rows) {
    if (w->type == STORED_REAL) t->k->gather(y, w->value[0], row, rows, w->in);
    else t->k->stored_rows(y, w->stored[0], w->type, row, rows, w->in);
}

void weight_linear_each(tape *t, real *const *y, rows_of x, const weight *const *w, int n, row_groups g) {
    enum { MOST = 4 };
    stored_product stored[MOST];
    int n_stored = 0;
    CHECK(n <= MOST, "%d weights at once", n);
    for (int i = 0; i < n; i++) {
        const ptrdiff_t out = weight_group_out(w[i], g);
        if (w[i]->type != STORED_REAL) {
            stored[n_stored++] = (stored_product){y[i], x, stored_matrices_of(t, w[i], g), g, w[i]->in, out};
            continue;
        }
        const matrices m = matrices_of(t, products_of(t, w[i]), w[i], g);
        products_of(t, w[i])->linear(y[i], x, &m, g, w[i]->in, out);
    }
    if (n_stored > 0) t->products->linear_stored(stored, n_stored);
}

void weight_linear(tape *t, real *y, rows_of x, const weight *w, row_groups g) { weight_linear_each(t, &y, x, &w, 1, g); }

void weight_linear_dx(tape *t, real *dx, rows_of dy, const weight *w, row_groups g, bool accumulate) {
    check_real(w);
    const struct products *p = products_of(t, w);
    const matrices m = matrices_of(t, p, w, g);
    p->linear_dx(dx, dy, &m, g, w->in, weight_group_out(w, g), accumulate);
}

void weight_linear_dw(tape *t, const weight *w, rows_of dy, rows_of x, row_groups g) {
    weight_step *s = w->step;
    check_real(w);
    const ptrdiff_t cuts = g.groups > w->groups ? g.groups / w->groups : 1;
    CHECK(g.first == 0 && g.groups == w->groups * cuts, "%d groups from %td of %td", g.groups, g.first, w->groups);
    products_of(t, w)->linear_dw(tape_weight_gradient_place(t, w), s->squares, dy, x, g, w->in, weight_group_out(w, g), s->written, s->passing);
    s->squared = s->squares && (s->squared || !s->written);
    s->written = true;
    for (ptrdiff_t e = 0; e < g.groups; e++) s->rows[e / cuts] += g.start[e + 1] - g.start[e];
}

gradient_part weight_linear_dw_part(tape *t, const weight *w, real *gradient, rows_of dy, rows_of x, row_groups g) {
    real *squares = w->step->squares ? w->step->squares + g.first * w->step->squares_size : NULL;
    check_real(w);
    products_of(t, w)->linear_dw(gradient, squares, dy, x, g, w->in, w->out, false, true);
    return (gradient_part){.first = g.first, .groups = g.groups, .gradient = gradient, .squares = squares, .rows = g};
}
