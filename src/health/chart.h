/* The patient's chart: what is remembered of a run, in a few numbers per layer and expert. */
#ifndef CHART_H
#define CHART_H

#include "health/doctor.h"

enum { EXAMINE_EVERY = 10 /* steps */, PAIRS_IN_WINDOW = 1000 /* the window's loads count thousandths of pairs */ };

typedef struct {
    double early_norm;      /* of logits: mean of the first EARLY records */
    double most_even;       /* the least CV of loads that the window ever had, once it was full */
    double swing, least_swing; /* the CV of loads of single records, decayed, where the window only sees their mean; and its least */
    double churn, turned;   /* of the last probe; negative: not known */
    double similarity, bias_range;
    int32_t alike[2];
    int captured;           /* the domain whose pairs are on the fewest experts, and how many of them are on its K busiest */
    double captured_share, even_share; /* the second: the mean of the same share in the other domains */
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

#endif
