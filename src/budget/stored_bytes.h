/* What a model's files hold, by part and type, and what of it a decoded token reads. No value is looked at: it is the time of opening the files. */
#ifndef STORED_BYTES_H
#define STORED_BYTES_H

#include "budget/price.h"

typedef struct {
    price_part part;
    const char *form;     /* as the files call the type; a constant */
    double held, touched; /* bytes there */
} stored_share;

enum { MOST_FORMS = 48 /* more than all formats know */, STORED_SHARES = PRICE_PARTS * MOST_FORMS };

typedef struct {
    stored_share share[STORED_SHARES]; /* part by part */
    int n;
    double held, touched; /* of all */
} stored_bytes;

/* m's weights are declared. */
int stored_bytes_count(stored_bytes *s, const model *m, const char *path);

#endif
