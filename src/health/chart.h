/* The patient's chart: what is remembered of a run, in a few numbers per layer and expert. */
#ifndef CHART_H
#define CHART_H

#include "health/doctor.h"

enum { EXAMINE_EVERY = 10 /* steps */, PAIRS_IN_WINDOW = 1000 /* the window's loads count thousandths of pairs */, UNUSED_STEPS = 80 };

/* Where balance is driven too hard: losses beyond their floor, as a share of the loss; and the range of biases, whose scores lie in [0, 1]. */
static const double BALANCE_TOO_HEAVY = 0.1, BIASES_TOO_WIDE = 2;

typedef struct {
    double early_norm;      /* of logits: mean of the first EARLY records */
    double most_even;       /* the least CV of loads that the window ever had, once it was full */
    double swing, least_swing; /* the CV of loads of single records, decayed, where the window only sees their mean; and its least */
    double churn, turned;   /* of the last probe; negative: not known */
    double similarity, bias_range;
    int32_t alike[2];
    int captured;                        /* the domain whose K busiest experts have the largest share of its pairs */
    double captured_share, others_share; /* that share, and the mean of it over the other domains */
} layer_chart;

typedef struct {
    patient patient;
    int64_t step, tokens;
    step_vitals vitals; /* of the last step */
    loss_course course;
    double excess_balance; /* what balance losses add to the loss beyond their least, as a share of it; decayed */
    int64_t bad_step, spike_step; /* the last of them; -1: none */
    double spike;                 /* its z */
    int64_t bad_steps;
    int64_t records, probe_step;
    moe_trace window;   /* loads that fade by a fifth with every record */
    moe_summary *now;   /* (layers) of the window */
    int64_t *last_seen; /* (layers, experts) the step in which an expert last had a token; 0: never */
    layer_chart *layer;
} chart;

int chart_open(chart *c, const patient *p);
void chart_close(chart *c);

void chart_add_step(chart *c, const step_vitals *v);
void chart_add_routing(chart *c, int64_t step, const moe_trace *trace);
void chart_add_probe(chart *c, const probe_reading *r);

/* No token for UNUSED_STEPS, of the steps that were seen. */
bool chart_says_dead(const chart *c, int layer, int expert);

#endif
