/* How many assignments of tokens to experts change when the router's products are rounded to bf16. */
#ifndef FLIPS_H
#define FLIPS_H

#include "train/evaluate.h"

/* share (layers): of the pairs that exact routers choose, those that rounded ones do not. The first layer shows rounding alone; later ones
 * also see what the flips before them did. e keeps the exact scores. LAMP_UNSUPPORTED where the machine has no bf16 products. */
int flips_measure(double *share, evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens);

#endif
