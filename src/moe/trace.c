#include "moe/trace.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

int moe_trace_open(moe_trace *trace, int layers, int experts) {
    *trace = (moe_trace){.layers = layers, .experts = experts};
    size_t cells = (size_t)layers * (size_t)experts;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&trace->load, cells, sizeof *trace->load, "expert loads"));
    TRY_TO(done, memory_new(&trace->importance, cells, sizeof *trace->importance, "expert importances"));
    TRY_TO(done, memory_new(&trace->dropped, (size_t)layers, sizeof *trace->dropped, "dropped pairs"));
    TRY_TO(done, memory_new(&trace->chosen, cells, sizeof *trace->chosen, "choices of experts"));
done:
    if (status < 0) moe_trace_close(trace);
    return status;
}

void moe_trace_close(moe_trace *trace) {
    memory_free(trace->load);
    memory_free(trace->importance);
    memory_free(trace->dropped);
    memory_free(trace->chosen);
    *trace = (moe_trace){0};
}

void moe_trace_clear(moe_trace *trace) {
    size_t cells = (size_t)trace->layers * (size_t)trace->experts;
    if (cells == 0) return;
    memset(trace->load, 0, cells * sizeof *trace->load);
    memset(trace->importance, 0, cells * sizeof *trace->importance);
    memset(trace->dropped, 0, (size_t)trace->layers * sizeof *trace->dropped);
    memset(trace->chosen, 0, cells * sizeof *trace->chosen);
}

void moe_trace_add(moe_trace *trace, const moe_trace *other) {
    for (int i = 0; i < trace->layers * trace->experts; i++) {
        trace->load[i] += other->load[i], trace->importance[i] += other->importance[i];
        trace->chosen[i] += other->chosen[i];
    }
    for (int l = 0; l < trace->layers; l++) trace->dropped[l] += other->dropped[l];
}

int64_t *moe_trace_record(moe_trace *trace, int layer, const routing *chosen, const routing *kept, const token_batch *batch) {
    ptrdiff_t first = (ptrdiff_t)layer * trace->experts;
    for (ptrdiff_t i = 0; i < chosen->pairs; i++) trace->dropped[layer] += token_counts(batch, chosen->token[i]);
    for (ptrdiff_t i = 0; i < kept->pairs; i++) {
        if (!token_counts(batch, kept->token[i])) continue;
        trace->dropped[layer]--, trace->load[first + kept->expert[i]]++;
        trace->importance[first + kept->expert[i]] += (double)kept->weights->x[i];
    }
    for (int e = 0; e < trace->experts; e++) trace->chosen[first + e] += chosen->chosen[e];
    if (trace->watch) trace->watch(trace->watch_context, layer, kept->pairs, kept->token, kept->expert, kept->weights->x);
    return trace->chosen + first;
}

/* The variance is summed directly: its root has no finite slope at perfect balance, and differences of large squares cancel. */
static double coefficient_of_variation(const double *x, int n) {
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++) mean += x[i] / n;
    for (int i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / n;
    return mean > 0 ? sqrt(variance) / mean : 0;
}

moe_summary moe_trace_summarize(const moe_trace *trace, int layer) {
    int E = trace->experts;
    const int64_t *load = trace->load + (ptrdiff_t)layer * E;
    double total = 0, most = 0, entropy = 0, spread = 0;
    moe_summary s = {0};
    for (int e = 0; e < E; e++) {
        total += (double)load[e];
        if ((double)load[e] > most) most = (double)load[e];
        s.dead += load[e] == 0;
    }
    double pairs = total + (double)trace->dropped[layer];
    if (total == 0) return (moe_summary){0};
    for (int e = 0; e < E; e++) {
        double share = (double)load[e] / total, difference = share - 1.0 / E;
        if (share > 0) entropy -= share * log(share);
        spread += difference * difference / E;
    }
    s.load_max_over_mean = most * E / total;
    s.load_cv = sqrt(spread) * E;
    s.importance_cv = coefficient_of_variation(trace->importance + (ptrdiff_t)layer * E, E);
    s.entropy = E > 1 ? entropy / log(E) : 1;
    s.dropped = (double)trace->dropped[layer] / pairs;
    return s;
}
