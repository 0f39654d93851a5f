/* What training does to a few fixed tokens and to the experts themselves, looked at every hundred steps or so:
 *
 *     churn         of the first validation windows of every domain, the share of tokens whose experts have changed since the last look
 *     domains       to which experts each domain's tokens went
 *     norms         of each expert's weights, and of how far they have moved since the last look
 *     similarity    the cosine of the two experts of a layer that are most alike
 *     turned        the angle, in radians, by which a layer's router has turned since the last look: decay alone shortens it, and turns nothing;
 *                   from zeros, where some routers begin, to anything else is a right angle
 *     bias range    between the largest and the smallest bias of loss-free balancing
 *
 * Movement and similarity come from a sketch of each expert: SKETCH sums of its weights with random signs, the same ones for all experts of
 * a layer. Inner products of sketches are those of the weights, give or take 1 / sqrt(SKETCH) (Charikar, Chen, Farach-Colton 2002, "Finding
 * frequent items in data streams", section 3; Achlioptas 2003). So nothing as large as the model is ever kept. */
#ifndef PROBE_H
#define PROBE_H

#include "data/loader.h"
#include "models/model.h"

enum { SKETCH = 64 };

/* What was seen. A layer without experts leaves its values zero. */
typedef struct {
    int layers, experts, domains;
    int64_t step, since;                       /* since: of the look before; -1: there was none, and churn and movement are zero */
    double *churn, *turned, *bias_range;       /* (layers) */
    double *weight_norm, *update_norm;         /* (layers, experts) */
    double *similarity;                        /* (layers) */
    int32_t *alike;                            /* (layers, 2) the two experts */
    int64_t *domain_load;                      /* (domains, layers, experts) pairs */
    const char *domain_name[DATASET_DOMAINS];  /* borrowed */
} probe_reading;

int probe_reading_open(probe_reading *r, int layers, int experts, int domains);
void probe_reading_close(probe_reading *r);

typedef struct {
    probe_reading reading;
    batch batch;
    ptrdiff_t *sequence_start;
    moe_trace trace;
    uint64_t *choice, *last_choice; /* (layers, tokens): a fingerprint of the set of experts */
    float *sketch, *last_sketch;    /* (layers, experts + 1, SKETCH): of the experts, and of the router */
    uint64_t *signs;                /* of one matrix, a bit an element */
    int64_t tokens;
} probe;

/* Windows of at most T tokens, about `tokens` over all domains and at least one of each. A dense model has nothing to look at: reading.layers is 0. */
int probe_open(probe *p, const model *m, const dataset *d, int T, int64_t tokens);
void probe_close(probe *p);

/* Looks, and fills p->reading. m's weights are only read; t is used and reset. */
int probe_take(probe *p, tape *t, const model *m, const dataset *d, int64_t step);

#endif
