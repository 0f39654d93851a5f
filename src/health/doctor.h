/* The doctor: watches a run and names what is wrong with it. It is fed what a run says of itself, while it trains or later from its logs,
 * and holds no more than a few numbers per layer and expert. A condition (conditions.c) is a name, a test, a threshold, and what to do. One
 * that its test finds at several examinations in a row becomes a finding: what, where, since when, with the evidence. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "health/loss_course.h"
#include "health/probe.h"

/* What is known of a run before it begins. */
typedef struct {
    int layers, experts, top_k, domains; /* a dense model has no layers here */
    int64_t batch_tokens, vocabulary;
    double budget_tokens;     /* all of the run's; 0: not known */
    double expert_parameters; /* of one expert in one layer */
    double highest_rate;      /* of learning */
    bool learns;              /* the router has weights that are learned */
    char domain_name[DATASET_DOMAINS][DOMAIN_NAME_BYTES];
} patient;

typedef struct {
    int64_t step, tokens;
    double loss, loss_z, gradient_norm, learning_rate;
    double balance_loss, balance_floor; /* what balance losses add to the loss, and what they would if loads were equal */
    bool finite;                        /* loss and gradient */
} step_vitals;

typedef struct doctor doctor;

enum { FINDING_BYTES = 400 }; /* six experts by number, and since when they are dead: 330 at most */

typedef struct {
    const char *name; /* "dead experts" */
    const char *code; /* "dead_experts" */
    const char *why, *remedy;
    int layer;                    /* -1: the whole run */
    int64_t since, until;         /* steps; until is -1 while it lasts */
    char evidence[FINDING_BYTES]; /* as last seen */
} finding;

int doctor_new(doctor **d, const patient *p);
void doctor_free(doctor *d);

/* In the order of steps; of one step first these vitals, then its routing, then the probe. The trace's loads are of that step alone. */
void doctor_see_step(doctor *d, const step_vitals *v);
void doctor_see_routing(doctor *d, int64_t step, const moe_trace *trace);
void doctor_see_probe(doctor *d, const probe_reading *r);
void doctor_see_budget(doctor *d, double tokens); /* if it became known only later */

/* After everything of a step was seen: every tenth, the first, and one that was not applied. */
bool doctor_is_due(const doctor *d);
void doctor_examine(doctor *d);

/* Calls visit for every finding so far, in the order of conditions.c and of layers, also for those that have passed; news_only: for those that
 * began or passed at the last examination. */
void doctor_each(const doctor *d, bool news_only, void (*visit)(void *context, const finding *f), void *context);

/* As the condition of dead experts has it. */
bool doctor_says_dead(const doctor *d, int layer, int expert);

/* Whether any lasts. */
bool doctor_finds_illness(const doctor *d);

loss_verdict doctor_verdict(const doctor *d);

#endif
