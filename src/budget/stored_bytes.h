/* What a model's files hold, by part and type, and what of it a decoded token reads. No value is looked at: it is the time of opening the files. */
#ifndef STORED_BYTES_H
#define STORED_BYTES_H

#include "budget/price.h"
#include "kernels/stored.h"

typedef struct {
    double held, touched; /* bytes */
} stored_share;

typedef struct {
    stored_share share[PRICE_PARTS][STORED_TYPES]; /* what no kernel reads as it lies counts as the f32 that it becomes */
    stored_share all;
} stored_bytes;

/* m's weights are declared. */
int stored_bytes_count(stored_bytes *s, const model *m, const char *path);

#endif
