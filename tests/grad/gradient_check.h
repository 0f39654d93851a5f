/* Checks backward functions in double against central differences. A problem is a few leaf tensors, a table of weights and a forward
 * function; its loss is <y, c> with fixed random c, plus whatever the tape's ledger holds. The elements of every leaf and weight are
 * compared: relative error at most 1e-7, for every kernel table of this machine. */
#ifndef GRADIENT_CHECK_H
#define GRADIENT_CHECK_H

#include "tensor/tape.h"
#include "tensor/weights.h"

enum { MAX_LEAVES = 4 };

typedef struct problem problem;
struct problem {
    const char *name;
    tensor *(*forward)(tape *t, problem *p); /* may return NULL: the ledger is the loss */
    weights weights;
    weight *w[8];
    tensor leaf[MAX_LEAVES];
    int n_leaves;
    const void *context;
    int n_tables; /* kernel tables to check with, the portable one first; 0: all */
};

/* Random values in [-1, 1), the same every time. */
void problem_add_leaf(problem *p, ptrdiff_t rows, ptrdiff_t cols);
weight *problem_add_weight(problem *p, const char *kind, weight_role role, ptrdiff_t groups, ptrdiff_t out, ptrdiff_t in);
void problem_ready(problem *p); /* after the last weight: allocates and fills */
void problem_release(problem *p);
void problem_check(problem *p);

#endif
