/* A model's memory over time, declared by its backbone layer by layer as weights are: rows that grow by one for each token that was read (keys
 * and values, or the narrow row both are made from), and rows that are replaced as a sequence is read on (an LSTM's h and c).
 *
 * A new one is opened, its rows are declared, and then it is allocated. */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

typedef enum { STATE_KEY, STATE_VALUE, STATE_HIDDEN, STATE_CELL, STATE_KINDS } state_kind;

static inline bool state_grows(state_kind kind) { return kind == STATE_KEY || kind == STATE_VALUE; }

typedef struct {
    ptrdiff_t width; /* 0: the layer has none of this kind */
    real *x;         /* (capacity, width) if it grows, else (sequences, width) */
} state_rows;

typedef struct {
    int layers, sequences;
    ptrdiff_t capacity; /* tokens */
    ptrdiff_t length;   /* tokens held so far */
    int first;          /* where the sequences of a batch are only some of them, its first one: of what is replaced */
    state_rows *rows;   /* (layers, STATE_KINDS) */
} state;

int state_open(state *s, int layers);
void state_declare(state *s, int layer, state_kind kind, ptrdiff_t width);
int state_allocate(state *s, ptrdiff_t capacity, int sequences);
void state_close(state *s);

/* As if nothing had been read: by any sequence, or by one. */
void state_clear(state *s);
void state_forget(state *s, int sequence);

static inline real *state_of(const state *s, int layer, state_kind kind) {
    const state_rows *r = &s->rows[layer * STATE_KINDS + kind];
    return state_grows(kind) ? r->x : r->x + s->first * r->width;
}

/* Something is replaced: a sequence can be read on, piece by piece, without end. */
bool state_carries(const state *s);

/* What is replaced, row by row: state_rows i of layers * STATE_KINDS; "cell". */
bool state_is_replaced(const state *s, int i);
const char *state_kind_name(int i);

/* How many more tokens fit: without end, if nothing grows. */
ptrdiff_t state_room(const state *s);

/* Copies n rows behind the `length` already held; the caller moves length once all layers have appended. */
void state_append(state *s, int layer, state_kind kind, const real *rows, ptrdiff_t n);
/* The same of columns first .. first + cols. */
void state_append_columns(state *s, int layer, state_kind kind, ptrdiff_t first, ptrdiff_t cols, const real *rows, ptrdiff_t n);

/* Of what grows, for one token of all layers. */
size_t state_bytes_per_token(const state *s);

#endif
