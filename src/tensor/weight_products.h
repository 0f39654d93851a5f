/* The products of a weight in the tape's precision, for all groups in one call, and the gradient's bookkeeping. Rows of group e are
 * g.start[e] .. g.start[e + 1], and group e is the weight's group g.first + e: some neighbours may be asked for alone.
 * Where there are more groups than w has, its matrices are cut into as many pieces, of out / pieces rows each.
 *
 * A weight that is not real, but as its file stores it, can be multiplied with and looked up; it has no d-input and no gradient. */
#ifndef WEIGHT_PRODUCTS_H
#define WEIGHT_PRODUCTS_H

#include "tensor/tape.h"
#include "tensor/weights.h"

/* Rows of w that a group multiplies with. */
static inline ptrdiff_t weight_group_out(const weight *w, row_groups g) { return g.groups > w->groups ? w->out * w->groups / g.groups : w->out; }

/* w cut into pieces, and of each the rows first .. first + rows: a group each, to be multiplied with. w is real. */
weight weight_part(tape *t, const weight *w, ptrdiff_t pieces, ptrdiff_t first, ptrdiff_t rows);

/* y[r] = row row[r] of w, which has one group */
void weight_rows(tape *t, real *y, const weight *w, const int32_t *row, ptrdiff_t rows);
/* y (rows, out) = x w^T */
void weight_linear(tape *t, real *y, rows_of x, const weight *w, row_groups g);
/* y[i] = x w[i]^T, of weights that kernels may take together */
void weight_linear_each(tape *t, real *const *y, rows_of x, const weight *const *w, int n, row_groups g);
/* dx (rows, in) (+)= dy w */
void weight_linear_dx(tape *t, real *dx, rows_of dy, const weight *w, row_groups g, bool accumulate);
/* w's gradient += dy^T x, of all groups */
void weight_linear_dw(tape *t, const weight *w, rows_of dy, rows_of x, row_groups g);
/* That of some groups, (g.groups, out, in), to be handed over. */
gradient_part weight_linear_dw_part(tape *t, const weight *w, real *gradient, rows_of dy, rows_of x, row_groups g);

#endif
