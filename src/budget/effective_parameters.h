/* Is a mixture as good as the parameters that a token meets, or as all it has? Over models that saw the same tokens,
 *
 *     loss = a - b log(active^(1 - s) total^s),
 *
 * by least squares, s between 0 (what counts is active) and 1 (it is the total). Linear in log(active) and log(total); where s would leave its
 * range, the better of its ends. */
#ifndef EFFECTIVE_PARAMETERS_H
#define EFFECTIVE_PARAMETERS_H

#include <stdbool.h>

typedef struct {
    double active, total, loss;
} sized_loss;

typedef struct {
    double a, b, share_of_total; /* s */
    double error;                /* root of the mean square of what is left */
} effective_fit;

/* False where the models do not tell: fewer than three totals, active parameters that are all alike or follow from the total, or a loss that does
 * not fall. */
bool effective_parameters_fit(effective_fit *f, const sized_loss *x, int n);

#endif
