/* A model's memory over time while it generates: the keys and values of the tokens it has read, per layer. A model declares its size. */
#ifndef STATE_H
#define STATE_H

#include <stddef.h>

#include "base/real.h"

typedef struct {
    int layers;
    ptrdiff_t capacity, width; /* tokens; kv_heads * head_dim */
    ptrdiff_t length;          /* tokens held so far */
    real **key, **value;       /* (layers) pointers to (capacity, width) */
} state;

int state_open(state *s, int layers, ptrdiff_t capacity, ptrdiff_t width);
void state_close(state *s);

/* Copies n rows behind the `length` already held; the caller moves length once all layers have appended. */
void state_append(state *s, int layer, const real *key, const real *value, ptrdiff_t n);

#endif
