/* One group of a weight as a file holds it: rows in some stored type (kernels/stored.h), borrowed from the mapped file, or what its format alone
 * can read. */
#ifndef STORED_GROUP_H
#define STORED_GROUP_H

#include <stdint.h>

#include "tensor/weights.h"

typedef struct stored_group stored_group;
struct stored_group {
    const char *tensor;  /* where it lies; borrowed, as is all here */
    int64_t first;       /* its first value there */
    const void *bytes;   /* of that value; NULL: kernels cannot read it, and read must */
    stored_type type;    /* of bytes, or of what copy makes */
    ptrdiff_t pair_head; /* rows of a head that stand by pairs: rows i and i + pair_head / 2 are its rows 2i and 2i + 1; 0: none do */
    /* Values first .. first + n of the group, whole blocks, as they stand. */
    int (*read)(real *values, const stored_group *g, int64_t first, int64_t n);
    /* Rows first .. first + n of `in` values as `type` has them, where they do not lie so; NULL: they do, or nobody can. */
    int (*copy)(void *rows, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in);
    const void *from;   /* what read and copy know it by */
    const char *form;   /* what the file calls the type of its values, a constant; */
    double value_bytes; /* and what each of them takes there, with its share of scales */
};

/* Which of its rows, as they stand, is row r, and the reverse. */
ptrdiff_t stored_group_row(ptrdiff_t pair_head, ptrdiff_t r);
ptrdiff_t stored_group_row_back(ptrdiff_t pair_head, ptrdiff_t r);

/* The rows of a group of w: of a vector each value is one. */
static inline ptrdiff_t stored_group_rows(const weight *w) { return weight_is_vector(w) ? w->in : w->out; }
static inline ptrdiff_t stored_group_width(const weight *w) { return weight_is_vector(w) ? 1 : w->in; }

/* Rows first .. first + n, of `in` values each, as reals. */
int stored_group_read(real *values, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in);

/* The same as they are stored, each in its place. There are bytes, or a copy of its own. */
int stored_group_copy(void *rows, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in);

#endif
