#include "moe/trace.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

static const double STARVED = 0.1; /* of the mean load */

int moe_trace_open(moe_trace *trace, int layers, int experts) {
    *trace = (moe_trace){.layers = layers, .experts = experts};
    size_t cells = (size_t)layers * (size_t)experts;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&trace->load, cells, sizeof *trace->load, "expert loads"));
    TRY_TO(done, memory_new(&trace->importance, cells, sizeof *trace->importance, "expert importances"));
    TRY_TO(done, memory_new(&trace->pairs, (size_t)layers, sizeof *trace->pairs, "chosen pairs"));
    TRY_TO(done, memory_new(&trace->router, (size_t)layers, sizeof *trace->router, "sums of logits"));
    TRY_TO(done, memory_new(&trace->dropped, (size_t)layers, sizeof *trace->dropped, "dropped pairs"));
    TRY_TO(done, memory_new(&trace->chosen, cells, sizeof *trace->chosen, "choices of experts"));
done:
    if (status < 0) moe_trace_close(trace);
    return status;
}

void moe_trace_close(moe_trace *trace) {
    memory_free(trace->load);
    memory_free(trace->importance);
    memory_free(trace->pairs);
    memory_free(trace->dropped);
    memory_free(trace->router);
    memory_free(trace->chosen);
    *trace = (moe_trace){0};
}

void moe_trace_clear(moe_trace *trace) {
    size_t cells = (size_t)trace->layers * (size_t)trace->experts;
    if (cells == 0) return;
    memset(trace->load, 0, cells * sizeof *trace->load);
    memset(trace->importance, 0, cells * sizeof *trace->importance);
    memset(trace->pairs, 0, (size_t)trace->layers * sizeof *trace->pairs);
    memset(trace->dropped, 0, (size_t)trace->layers * sizeof *trace->dropped);
    memset(trace->router, 0, (size_t)trace->layers * sizeof *trace->router);
    memset(trace->chosen, 0, cells * sizeof *trace->chosen);
}

static void add_router_sums(router_sums *to, const router_sums *s, double factor) {
    to->tokens += s->tokens, to->logit_square += factor * s->logit_square, to->spread += factor * s->spread, to->z += factor * s->z;
    to->top1 += factor * s->top1, to->margin += factor * s->margin, to->entropy += factor * s->entropy;
}

void moe_trace_add(moe_trace *trace, const moe_trace *other) {
    for (int i = 0; i < trace->layers * trace->experts; i++) {
        trace->load[i] += other->load[i], trace->importance[i] += other->importance[i];
        trace->chosen[i] += other->chosen[i];
    }
    for (int l = 0; l < trace->layers; l++) {
        trace->pairs[l] += other->pairs[l], trace->dropped[l] += other->dropped[l];
        add_router_sums(&trace->router[l], &other->router[l], 1);
    }
}

/* Of the M experts that the router looked at; a logit may be minus infinity, where it never chooses. */
static router_sums examine_token(const real *logit, const real *probability, ptrdiff_t M) {
    router_sums s = {.tokens = 1};
    double largest = -INFINITY, sum = 0, second = 0, mean = 0;
    for (ptrdiff_t e = 0; e < M; e++) largest = fmax(largest, (double)logit[e]);
    for (ptrdiff_t e = 0; e < M; e++) {
        double l = (double)logit[e], p = (double)probability[e];
        sum += exp(l - largest);
        if (isfinite(l)) s.logit_square += l * l / (double)M, mean += l / (double)M;
        if (p > 0) s.entropy -= p * log(p);
        if (p > s.top1) second = s.top1, s.top1 = p;
        else if (p > second) second = p;
    }
    s.spread = sqrt(fmax(0, s.logit_square - mean * mean));
    s.margin = s.top1 - second;
    s.entropy /= M > 1 ? log((double)M) : 1;
    s.z = (largest + log(sum)) * (largest + log(sum));
    return s;
}

static void examine_router(router_sums *sums, const routing *r, const token_batch *batch, int tokens) {
    if (tokens == 0 || !r->logits || !r->probabilities) return;
    ptrdiff_t M = r->logits->cols, stride = (r->tokens + tokens - 1) / tokens;
    for (ptrdiff_t n = 0; n < r->tokens; n += stride) {
        if (!token_counts(batch, n)) continue;
        router_sums s = examine_token(r->logits->x + n * M, r->probabilities->x + n * M, M);
        add_router_sums(sums, &s, 1);
    }
}

/* Pairs, loads and drops are counted each from another part of the two routings, so that moe_trace_check compares something. */
int64_t *moe_trace_record(moe_trace *trace, int layer, const routing *chosen, const routing *kept, const token_batch *batch) {
    ptrdiff_t first = (ptrdiff_t)layer * trace->experts;
    for (ptrdiff_t i = 0; i < chosen->pairs; i++) trace->pairs[layer] += token_counts(batch, chosen->token[i]);
    for (ptrdiff_t n = 0; n < chosen->tokens; n++)
        if (token_counts(batch, n))
            trace->dropped[layer] += (chosen->token_start[n + 1] - chosen->token_start[n]) - (kept->token_start[n + 1] - kept->token_start[n]);
    for (ptrdiff_t i = 0; i < kept->pairs; i++) {
        if (!token_counts(batch, kept->token[i])) continue;
        trace->load[first + kept->expert[i]]++;
        trace->importance[first + kept->expert[i]] += (double)kept->weights->x[i];
    }
    for (int e = 0; e < trace->experts; e++) trace->chosen[first + e] += chosen->chosen[e];
    examine_router(&trace->router[layer], chosen, batch, trace->examine);
    if (trace->watch) trace->watch(trace->watch_context, layer, kept->pairs, kept->token, kept->expert, kept->weights->x);
    return trace->chosen + first;
}

int moe_trace_check(const moe_trace *trace) {
    for (int l = 0; l < trace->layers; l++) {
        int64_t kept = 0;
        for (int e = 0; e < trace->experts; e++) kept += trace->load[(ptrdiff_t)l * trace->experts + e];
        if (kept + trace->dropped[l] != trace->pairs[l])
            FAIL(LAMP_FAILURE, "layer %d: expected kept and dropped pairs to be the %lld chosen, found %lld and %lld: a fault of this program", l,
                 (long long)trace->pairs[l], (long long)kept, (long long)trace->dropped[l]);
    }
    return LAMP_OK;
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
    if (total == 0) return (moe_summary){0};
    for (int e = 0; e < E; e++) s.starved += load[e] > 0 && (double)load[e] * E < STARVED * total;
    for (int e = 0; e < E; e++) {
        double share = (double)load[e] / total, difference = share - 1.0 / E;
        if (share > 0) entropy -= share * log(share);
        spread += difference * difference / E;
    }
    s.load_max_over_mean = most * E / total;
    s.load_cv = sqrt(spread) * E;
    s.importance_cv = coefficient_of_variation(trace->importance + (ptrdiff_t)layer * E, E);
    s.entropy = E > 1 ? entropy / log(E) : 1;
    s.effective_experts = exp(entropy);
    s.dropped = (double)trace->dropped[layer] / (double)trace->pairs[layer];
    if (trace->router[layer].tokens > 0) add_router_sums(&s.router, &trace->router[layer], 1 / trace->router[layer].tokens);
    return s;
}
