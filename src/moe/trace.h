/* What the routers did, counted exactly: tokens per expert and weight per expert, layer by layer, over as many batches as one likes. A layer
 * that routed nothing is dense. */
#ifndef TRACE_H
#define TRACE_H

#include "moe/route.h"

/* Called for every routed batch: N tokens, P pairs; pair i sends token[i] to expert[i] with weight[i]. */
typedef void moe_watcher(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weight);

/* Sums over the tokens that were examined: how a router spoke of the experts it looked at, beside what it chose. A router without logits leaves
 * them zero. */
typedef struct {
    double tokens;
    double logit_square; /* mean of the squared logits of a token */
    double spread;       /* their standard deviation: what a softmax sees of them */
    double z;            /* squared log-sum of its logits' exponentials (Zoph et al. 2022, equation 5) */
    double top1, margin; /* its largest probability, and how far the second is behind */
    double entropy;      /* of its probabilities, divided by the logarithm of their number */
} router_sums;

enum { EXAMINED_TOKENS = 256 /* of a batch: enough for two digits of a mean */ };

typedef struct {
    int layers, experts;
    int examine;        /* at most so many tokens of each batch have their logits examined, evenly spread over it; 0: none */
    int64_t *load;      /* (layers, experts): pairs each expert received */
    double *importance; /* (layers, experts): sum of their weights (2017, equation 6) */
    int64_t *pairs;     /* (layers): pairs that were chosen */
    int64_t *dropped;   /* (layers): of them, those that found no room */
    router_sums *router; /* (layers) */
    int64_t *chosen;    /* (layers, experts): what balance counts, over all ranks: routing.chosen */
    moe_watcher *watch; /* may be NULL */
    void *watch_context;
} moe_trace;

/* A layer in numbers. CV is the standard deviation over experts divided by the mean. */
typedef struct {
    double load_max_over_mean, load_cv, importance_cv;
    double entropy;           /* of the share of pairs per expert, divided by ln E: 1 is uniform, 0 is one expert */
    double effective_experts; /* exp of the entropy itself: so many equally loaded experts would have it */
    int dead, starved;        /* experts without a single token, and others with less than a tenth of the mean; 0 if nothing was routed */
    double dropped;           /* share of pairs */
    router_sums router;       /* means over the tokens examined; tokens counts them, and with 0 there are none */
} moe_summary;

int moe_trace_open(moe_trace *trace, int layers, int experts);
void moe_trace_close(moe_trace *trace);
void moe_trace_clear(moe_trace *trace);
void moe_trace_add(moe_trace *trace, const moe_trace *other);

/* Adds what a router chose and what of it found room; padding does not count. Returns the layer's `chosen` so far, (experts). */
int64_t *moe_trace_record(moe_trace *trace, int layer, const routing *chosen, const routing *kept, const token_batch *batch);

/* Every pair that was chosen was kept or dropped, in every layer: otherwise LAMP_FAILURE, with the counts. */
int moe_trace_check(const moe_trace *trace);

moe_summary moe_trace_summarize(const moe_trace *trace, int layer);

#endif
