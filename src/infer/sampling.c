#include "infer/sampling.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

sampling sampling_defaults(void) { return (sampling){.temperature = 0.8, .top_k = 40, .top_p = 0.95, .seed = 0}; }

static int by_probability(const void *a, const void *b) {
    const sampling_candidate *x = a, *y = b;
    if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

int32_t sample_token(const sampling *s, const real *logits, int32_t V, uint64_t position, sampling_candidate *room) {
    int32_t best = 0;
    for (int32_t i = 1; i < V; i++)
        if (logits[i] > logits[best]) best = i;
    if (s->temperature <= 0) return best;
    for (int32_t i = 0; i < V; i++) room[i] = (sampling_candidate){exp(((double)logits[i] - (double)logits[best]) / s->temperature), i};
    int32_t n = V;
    double sum = 0, kept = 0;
    if ((s->top_k > 0 && s->top_k < V) || s->top_p < 1) qsort(room, (size_t)V, sizeof *room, by_probability);
    if (s->top_k > 0 && s->top_k < V) n = (int32_t)s->top_k;
    for (int32_t i = 0; i < n; i++) sum += room[i].probability;
    if (s->top_p < 1) {
        int32_t i = 0;
        do kept += room[i++].probability;
        while (i < n && kept < s->top_p * sum);
        n = i, sum = kept;
    }
    double drawn = random_uniform(random_key_make(s->seed, RANDOM_SAMPLE, 0, 0), position) * sum;
    for (int32_t i = 0; i < n; i++)
        if ((drawn -= room[i].probability) < 0) return room[i].id;
    return room[n - 1].id;
}
