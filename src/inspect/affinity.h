/* What an expert likes: for every value of a feature, how much of it the expert receives beside its share of everything.
 *
 * The lift of a value is its share of the expert's pairs divided by its share of all pairs. Lift alone crowns what was seen once, so the list is
 * ranked by n log(lift): the value's part in what the expert's choice says about the feature (its pointwise contribution to mutual information).
 *
 * Whether a lift could be chance is tested with windows as the sample, for the tokens of one window are no independent witnesses: with a of the
 * value among the b pairs that the expert takes in a window, and q the value's share of all pairs,
 *     z = sum (a - q b) / sqrt(sum (a - q b)^2)
 * is near standard normal when the expert does not care, and never exceeds the root of the number of windows. */
#ifndef AFFINITY_H
#define AFFINITY_H

#include "inspect/features.h"

typedef struct {
    int32_t value;
    int64_t count;
    double share, lift, rank, z; /* share: of the expert's pairs */
} affinity;

struct affinity_cell;

typedef struct {
    const routed_text *r;       /* borrowed */
    const feature *f;           /* borrowed */
    int64_t *everywhere;        /* (values) pairs */
    ptrdiff_t seen;             /* values that occur */
    affinity *liked;            /* (n) of the expert last asked for: every value it received, by rank */
    ptrdiff_t n;
    struct affinity_cell *cell; /* (values) scratch */
} affinities;

int affinities_open(affinities *a, const routed_text *r, const feature *f);
void affinities_close(affinities *a);
void affinities_ask(affinities *a, int expert); /* fills liked */

/* How large z must be when `tests` are made and all together may mislead once in a hundred times (Bonferroni). */
double affinity_threshold(double tests);

#endif
