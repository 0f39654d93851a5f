#include "inspect/affinity.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/error.h"

int affinity_open(affinity *a, int layer, int experts, int32_t vocabulary) {
    *a = (affinity){.layer = layer, .experts = experts, .vocabulary = vocabulary};
    return memory_new(&a->count, (size_t)experts * (size_t)vocabulary, sizeof *a->count, "token counts per expert");
}

void affinity_close(affinity *a) {
    memory_free(a->count);
    *a = (affinity){0};
}

static void watch(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weights_of) {
    affinity *a = context;
    (void)weights_of;
    if (layer != a->layer) return;
    for (ptrdiff_t i = 0; i < pairs; i++) a->count[(int64_t)expert[i] * a->vocabulary + a->batch->token[token[i]]]++;
}

int affinity_measure(affinity *a, evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens) {
    a->batch = &e->batch;
    e->trace.watch = watch, e->trace.watch_context = a;
    int status = evaluate_dataset(e, t, m, d, tokens);
    e->trace.watch = NULL;
    return status;
}

int affinity_top(const affinity *a, int expert, affinity_token *top, int n) {
    const int64_t *mine = a->count + (int64_t)expert * a->vocabulary;
    double all = 0, own = 0;
    int found = 0;
    for (int64_t i = 0; i < (int64_t)a->experts * a->vocabulary; i++) all += (double)a->count[i];
    for (int32_t v = 0; v < a->vocabulary; v++) own += (double)mine[v];
    for (int32_t v = 0; v < a->vocabulary; v++) {
        double everywhere = 0;
        if (mine[v] == 0) continue;
        for (int e = 0; e < a->experts; e++) everywhere += (double)a->count[(int64_t)e * a->vocabulary + v];
        double lift = (double)mine[v] / everywhere / (own / all);
        affinity_token candidate = {v, mine[v], lift, (double)mine[v] * log(lift)};
        if (candidate.rank <= 0) continue;
        int at = found < n ? found++ : n;
        for (; at > 0 && top[at - 1].rank < candidate.rank; at--)
            if (at < n) top[at] = top[at - 1];
        if (at < n) top[at] = candidate;
    }
    return found;
}
