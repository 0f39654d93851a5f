/* What each expert of one layer likes: how often every token of some text was sent to it.
 *
 * A token's liking for an expert is its lift: the share of the token's pairs that went there, divided by the expert's share of all pairs.
 * Lift alone crowns tokens that were seen once, so the list is ranked by n log(lift), the token's part in what the expert's choice of
 * tokens says about tokens (their pointwise contribution to mutual information). */
#ifndef AFFINITY_H
#define AFFINITY_H

#include "train/evaluate.h"

typedef struct {
    int layer, experts;
    int32_t vocabulary;
    int64_t *count;       /* (experts, vocabulary) pairs */
    const batch *batch;   /* being run; borrowed */
} affinity;

typedef struct {
    int32_t token;
    int64_t count;
    double lift, rank;
} affinity_token;

int affinity_open(affinity *a, int layer, int experts, int32_t vocabulary);
void affinity_close(affinity *a);

/* Runs up to `tokens` of each domain's validation text through the model. e is its evaluation, scores and all. */
int affinity_measure(affinity *a, evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens);

/* The n tokens an expert likes best; returns how many there are. */
int affinity_top(const affinity *a, int expert, affinity_token *top, int n);

#endif
