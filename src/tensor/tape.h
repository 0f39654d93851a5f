/* Tensors and the tape. Operations run as they are called; a training tape also remembers how to undo them, and tape_backward calls the
 * recorded functions in reverse. An operation is a plain pair of functions: forward takes the tape and tensors and returns a tensor,
 * backward takes the struct that forward saved.
 *
 * Two areas of memory:
 *   kept      a stack: what forward makes and saves. Backward gives it back entry by entry.
 *   passing   a free list: gradients of tensors, taken at first touch, returned once the backward of the operation that made the tensor has
 *             run, or passed on to one of its inputs; and whatever forward needs only for a moment.
 *
 * Neither can fail: address space is reserved when the tape is made (base/arena.h).
 *
 * Gradients of weights. Every use of a weight by a recorded operation is counted in forward and uncounted in backward. At zero its gradient
 * is whole, and gradient_ready may take it: an update, or a reduction over ranks, need not wait for the rest of backward. A gradient that
 * is passing (tensor/weights.h) is lent from passing memory until then. One of many groups may come in parts, some groups at a time: an
 * update then meets their gradient in the caches, and the whole of it never exists. */
#ifndef TAPE_H
#define TAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/random.h"
#include "kernels/kernels.h"
#include "tensor/weights.h"

/* An activation, row-major. A view reads rows of another tensor in place: its row r is x[row[r]], its gradient's row r is dx[drow[r]]. */
typedef struct {
    real *x, *dx; /* (rows, cols); dx is NULL until first touched */
    ptrdiff_t rows, cols;
    const int32_t *row, *drow; /* NULL: in order */
} tensor;

static inline rows_of tensor_rows(const tensor *a) { return (rows_of){.x = a->x, .row = a->row}; }
static inline rows_of tensor_gradient_rows(const tensor *a) { return (rows_of){.x = a->dx, .row = a->drow}; }

typedef struct tape tape;
typedef void backward_function(tape *t, void *saved);

enum { TAPE_LOSSES = 16 };

typedef struct {
    backward_function *backward;
    void *saved;
    tensor *output;
    size_t kept_after;
    int first_use; /* its weights are use[first_use] and on, to those of the next entry */
} tape_entry;

/* A part of w's gradient is there, or all of it. These groups of w are not read again in this backward, so they may change. Parts may come from
 * several threads at once, each group in one of them. */
typedef void gradient_ready_function(void *context, const weight *w, const gradient_part *part);

typedef struct {
    char *bytes;
    size_t size;
    bool taken;
} passing_block;

struct tape {
    const struct kernels *k;
    const struct products *products;        /* of attention and of all weights but the router's; of a model that runs, products_int8 */
    const struct products *router_products; /* exact unless asked otherwise (weight_products.c) */
    bool training;                          /* forward records, and the layers see training-time behaviour */
    double loss_scale;                      /* 1 / predicted tokens of the whole step: what every summed loss is multiplied by */
    struct {                                /* what random numbers of this pass are functions of; first_token: how many tokens of the step came before */
        uint64_t seed, step, first_token;
    } random;
    int n_losses;                           /* the ledger: every loss by name, summed over what ran since tape_reset */
    struct {
        const char *name;
        double value;
    } loss[TAPE_LOSSES];
    /* Called once for each weight, or part of one, and step; NULL where more micro-batches will add to the gradients. */
    gradient_ready_function *gradient_ready;
    void *ready_context;
    bool takes_factors; /* gradient_ready also takes a gradient of few rows as its factors (gradient_part), which then stay real. Said before forward */

    arena kept, passing; /* private from here on */
    tape_entry *entry;
    int n_entries;
    const weight **use; /* NULL where it has ended */
    int n_uses;
    passing_block *block;
    int n_blocks;
};

int tape_open(tape *t, const struct kernels *k);
void tape_close(tape *t);
void tape_reset(tape *t); /* forgets everything; keeps the memory */

/* Random numbers of a layer: a key for each use, and in it the first index of token n when each token takes `width` numbers. What is random
 * without training too has the key of seed 0, step 0. */
random_key tape_random_key(const tape *t, random_use use, int layer);
static inline uint64_t tape_random_index(const tape *t, ptrdiff_t n, ptrdiff_t width) {
    return (t->random.first_token + (uint64_t)n) * (uint64_t)width;
}

/* From kept, 64-byte aligned, not zeroed. */
void *tape_keep(tape *t, size_t bytes);
tensor *tape_tensor(tape *t, ptrdiff_t rows, ptrdiff_t cols);

/* From passing. What is borrowed is returned by whoever knows that it is no longer read. */
real *tape_borrow(tape *t, ptrdiff_t n);
void tape_return(tape *t, const real *borrowed);
static inline uint16_t *tape_borrow_bf16(tape *t, ptrdiff_t n) {
    const ptrdiff_t in_real = (ptrdiff_t)(sizeof(real) / sizeof(uint16_t));
    return (uint16_t *)(void *)tape_borrow(t, (n + in_real - 1) / in_real);
}
static inline void tape_return_bf16(tape *t, const uint16_t *borrowed) { tape_return(t, (const real *)(const void *)borrowed); }

/* output: the tensor whose gradient this backward reads; without a gradient the entry is skipped. NULL: always called. */
void tape_record(tape *t, tensor *output, backward_function *backward, const void *saved, size_t bytes);
#define RECORD(t, output, backward, ...) tape_record(t, output, backward, &(__VA_ARGS__), sizeof(__VA_ARGS__))

/* a->dx, zeroed at first touch: backward functions add to it. */
real *tape_gradient(tape *t, tensor *a);
/* For one who writes all of a->dx: adds to it if *adds, else overwrites what nobody has touched. */
real *tape_gradient_place(tape *t, tensor *a, bool *adds);
/* a->dx += dy, of a's size */
void tape_add_gradient(tape *t, tensor *a, const real *dy);
/* The same of y->dx, for one who reads that no longer: a may take its memory. */
void tape_pass_gradient(tape *t, tensor *a, tensor *y);

/* The operation just recorded will add to w's gradient. Its use ends with its backward. */
void tape_use(tape *t, const weight *w);
/* For a backward that is done with w, but not with its other weights. */
void tape_end_use(tape *t, const weight *w);

/* Whether w's gradient may come in parts: it passes, is taken at once, and only the operation whose backward is running adds to it. Then every
 * group is handed over in one part, by any thread, and the use ends when all of them were. */
bool tape_takes_parts(const tape *t, const weight *w);
void tape_hand_over(tape *t, const weight *w, const gradient_part *part);
void tape_end_use_in_parts(tape *t, const weight *w);

/* w's gradient, zero or what was added to it so far; or, for one who overwrites it if it is not written, only the place. */
real *tape_weight_gradient(tape *t, const weight *w);
real *tape_weight_gradient_place(tape *t, const weight *w);

void tape_backward(tape *t);
/* After backward, the gradients that nothing was added to: they are zero, and ready. */
void tape_complete_gradients(tape *t, const weights *table);

void tape_add_loss(tape *t, const char *name, double value);
double tape_loss(const tape *t, const char *name); /* 0 if the ledger has no such line */

size_t tape_bytes(const tape *t); /* the most memory both areas held */

#endif
