/* What each expert of a layer is good for: the change of loss when it is silent, for everything and for each domain. The router still sends it
 * its tokens and gives no other expert more weight; they only receive nothing back, as with a down projection of zeros.
 *
 * Both losses are of the same windows, so their differences d are compared, window by window: the change is their mean, and its interval of 95 %
 * is mean +- t sqrt(sum (d - mean)^2 / (n (n - 1))), Student's t of n - 1 degrees of freedom. Neighbouring windows of one document are not quite
 * independent, and one interval in twenty misses: an interval that just excludes zero proves little. */
#ifndef ABLATION_H
#define ABLATION_H

#include "train/evaluate.h"

typedef struct {
    double mean, low, high; /* nats per token; low and high are NaN for fewer than three windows */
    ptrdiff_t windows;
} loss_change;

typedef struct {
    int experts, n_domains;
    loss_change *change; /* (E, 1 + n_domains): all, then each domain of the evaluation */
} ablation;

/* Evaluates once and then once for each expert that is used. m's weights are the same afterwards, whatever happens. e keeps scores and trace of
 * the whole model. LAMP_INTERRUPTED after Ctrl-C. */
int ablation_measure(ablation *a, evaluation *e, tape *t, model *m, int layer, const dataset *d, int64_t tokens);
void ablation_release(ablation *a);

loss_change loss_change_of(const double *difference, ptrdiff_t n);

static inline const loss_change *ablation_of(const ablation *a, int expert) { return a->change + (ptrdiff_t)expert * (1 + a->n_domains); }

#endif
