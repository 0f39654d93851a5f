/* Routing as JSON: what routing.jsonl, `lamp eval` and `lamp inspect` say of a trace, and how it is read again.
 *
 *     {"version": 1, "step": 120, "kind": "step", "layers": [
 *         {"load_max_over_mean": 1.2, "load_cv": 0.1, "importance_cv": 0.1, "entropy": 0.99, "effective_experts": 7.9, "dead": 0, "starved": 0,
 *          "dropped": 0.01, "logit_norm": 1.1, "logit_spread": 1.0, "z": 4.2, "top1": 0.4, "margin": 0.1, "uncertainty": 0.8,
 *          "pairs": 2048, "dropped_pairs": 20,
 *          "load": [E integers], "importance": [E sums of weights]}, ...]}
 *     {"version": 1, "step": 200, "kind": "probe", "since": 100, "layers": [
 *         {"churn": 0.04, "turned": 0.2, "bias_range": 0.0, "similarity": 0.1, "alike": [2, 5], "weight_norm": [E], "update_norm": [E]}, ...],
 *      "domains": {NAME: [[E integers], ...], ...}}
 *
 * logit_norm is the root mean square of a token's logits, logit_spread their deviation, z their squared log-sum, top1 and margin its largest
 * probability and the distance to the second, uncertainty the entropy of its probabilities over that of even ones; of the hierarchical router
 * they are those of the experts in the groups it chose. All are means over the tokens examined, and absent where none were. */
#ifndef TELEMETRY_H
#define TELEMETRY_H

#include "base/json.h"
#include "health/probe.h"

/* What is said of a layer in numbers, in the order of a line; NAN: its router was not examined. */
enum { FIRST_OF_ROUTER = 8, LAYER_NUMBERS = 14 };
extern const char *const layer_number_names[LAYER_NUMBERS];
void layer_numbers(double x[LAYER_NUMBERS], const moe_summary *s);

/* "layers" */
void json_put_routing(json_writer *w, const moe_trace *trace, bool with_loads);

/* The trace of a line with loads; it must be open, and of as many layers and experts. LAMP_MALFORMED says where. */
int json_get_routing(moe_trace *trace, const json_t *line, const char *where);

/* "since", "layers", "domains" */
void json_put_probe(json_writer *w, const probe_reading *r);
int json_get_probe(probe_reading *r, const json_t *line, const char *where);

/* How many layers and experts a line speaks of. */
int json_get_layers(int *layers, int *experts, const json_t *line, const char *where);

#endif
