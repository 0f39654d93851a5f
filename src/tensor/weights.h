/* The weights table. A model declares each parameter once: what it is, its layer, role, shape and initial deviation. Allocation,
 * initialisation, decay, optimiser state, checkpoints, Hugging Face names and parameter counts all walk this table.
 *
 * A weight is not a tensor: it may have many groups (experts), each with a pointer of its own, because a group may lie in our block or
 * inside a mapped file, and there in another type than real: such a model runs, and is not trained. Vectors and routers are always reals.
 * Values, gradients and optimiser moments are one block each, in table order:
 *
 *     block:  | weight 0: group 0, group 1, ... | weight 1 | ...          weight.offset counts reals from the start of the values
 *
 * except the gradients that an update takes as they are produced: those pass through the tape's memory, one weight or some of its groups at a
 * time. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/stored.h"

/* A threshold is learned like a norm, from one and without decay; so is a bias, from zero. State is not learned: it has no gradient, and the
 * optimiser leaves it alone. */
typedef enum { ROLE_EMBEDDING, ROLE_MATRIX, ROLE_NORM, ROLE_ROUTER, ROLE_EXPERT, ROLE_THRESHOLD, ROLE_BIAS, ROLE_STATE } weight_role;

/* What of a weight's gradient is handed over at once: all of it, or that of a few neighbouring groups. */
typedef struct {
    ptrdiff_t first, groups;
    const real *gradient; /* (groups, out, in); NULL: it was not made, and of each group is the sum of dy[r]^T x[r] over its rows, at most PRODUCT_ROWS */
    const real *squares;  /* (groups, squares_size) as linear_dw leaves them; NULL: nobody made them */
    rows_of dy, x;
    row_groups rows; /* that reached each of these groups; start NULL where all is handed over, and weight_step.rows has the counts */
} gradient_part;

/* A weight's gradient, and what happened to it in this optimiser step. */
typedef struct {
    real *gradient; /* (groups, out, in), in the block; NULL unless training */
    bool passing;   /* it has no place in the block: the tape lends one from the first contribution until the gradient is ready */
    bool written;   /* false: the gradient is stale, and the first contribution overwrites it */
    bool ready;     /* nothing will be added to it any more */
    int uses;       /* by recorded operations whose backward is still to come */
    bool squared;   /* squares hold the sum of squares of every group */
    real *squares;  /* (groups, squares_size), left by linear_dw; NULL: nobody asked for them */
    ptrdiff_t squares_size;
    int64_t *rows; /* (groups) of the batch that reached each */
} weight_step;

typedef struct {
    const char *kind; /* "attention.query": the same word in every layer; borrowed, a constant */
    int layer;        /* -1 outside layers */
    weight_role role;
    ptrdiff_t groups, out, in; /* norms, thresholds and state are one group of (1, in), as biases are but of experts */
    double deviation;          /* of the initial normal distribution; norms and thresholds start at one */
    int index;                 /* of its row in the table */
    ptrdiff_t offset;          /* of group 0 in the values */
    real **value;              /* NULL while only declared; groups pointers to (out, in), row-major; borrowed from the block or from a mapped file */
    stored_type type;          /* STORED_REAL, or that of bytes in a mapped file, which only kernels look into: then value is NULL, and instead */
    const void **stored;       /* groups pointers to (out, in), rows of whole blocks; borrowed */
    real *packed;              /* the kernels' own copy of value, remade at every update; NULL: there is none */
    bool always_real;          /* what runs also multiplies with its transpose, which only reals have */
    weight_step *step;         /* owned */
} weight;

typedef struct {
    weight **row; /* owned; addresses are stable */
    int n;
    size_t capacity;
    ptrdiff_t total;          /* reals in values; the others have their own: */
    real *values, *gradients; /* the blocks; NULL until allocated */
    real *packed, *squares;   /* the same of weight.packed and weight_step.squares */
    ptrdiff_t total_gradients, total_packed, total_squares;
} weights;

/* What an optimiser remembers of a weight: values (groups, out, in), where out and in may be the weight's or 1. */
typedef struct {
    const char *name; /* "first_moment" */
    const weight *of;
    ptrdiff_t out, in;
    stored_type type; /* STORED_REAL or STORED_BF16 */
    void *values;
} weight_moment;

void weights_release(weights *table);

/* Adds a row. *w stays valid until weights_release. */
int weights_declare(weight **w, weights *table, const char *kind, int layer, weight_role role, ptrdiff_t groups, ptrdiff_t out, ptrdiff_t in,
                    double deviation);

/* The pointers value[] of every weight, or stored[] by its type, for values that are borrowed. A table that is only counted needs none. */
int weights_allocate_groups(weights *table);

/* The value block, and value[] pointing into it. Not for weights that stay in a mapped file. */
int weights_allocate_values(weights *table);
int weights_allocate_gradients(weights *table); /* of those that are not passing */

/* Every value from its deviation, as a function of (seed, row of the table, element). */
void weights_initialize(weights *table, uint64_t seed);

/* Which matrices and experts have packed copies: none, those that are worth it, or all. */
typedef struct {
    enum { PACK_NONE, PACK_WORTHY, PACK_ALL } which;
    double expert_rows; /* that an expert meets from one update to the next, on average */
} packing;

/* Room for packed copies, and for the squares of gradients of matrices and experts, in p's layout. */
int weights_allocate_packed(weights *table, const struct products *p, packing chosen);
ptrdiff_t weights_packed_values(const weights *table, const struct products *p, packing chosen);
ptrdiff_t weights_square_values(const weights *table, const struct products *p);
/* Makes every packed copy from the values: after initialisation, and after loading. */
void weights_pack(weights *table, const struct products *p);

/* A new step: all gradients are zero, that is stale until written or completed (tensor/tape.h). */
void weights_zero_gradients(weights *table);

/* Of all blocks together. */
size_t weights_bytes(const weights *table);

static inline bool weight_is_vector(const weight *w) {
    return w->role == ROLE_NORM || w->role == ROLE_THRESHOLD || w->role == ROLE_BIAS || w->role == ROLE_STATE;
}
static inline ptrdiff_t weight_size(const weight *w) { return w->groups * w->out * w->in; }
static inline ptrdiff_t moment_size(const weight_moment *m) { return m->of->groups * m->out * m->in; }
static inline size_t moment_row_bytes(const weight_moment *m) { return (size_t)stored_row_bytes(m->type, m->in); }
/* Row `row` of (groups out). */
static inline void *moment_row(const weight_moment *m, ptrdiff_t row) { return (char *)m->values + (size_t)row * moment_row_bytes(m); }

#endif
