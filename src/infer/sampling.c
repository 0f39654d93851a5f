#include "infer/sampling.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/random.h"

sampling sampling_defaults(void) { return (sampling){.temperature = 0.8, .top_k = 40, .top_p = 0.95, .seed = 0}; }

static int by_score(const void *a, const void *b) {
    const sampling_candidate *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* heap[at] may be better than one of the two below it; then it changes places with the worst, and so on down. */
static void sink(sampling_candidate *heap, int32_t n, int32_t at) {
    for (int32_t worst = at;; at = worst) {
        for (int32_t below = 2 * at + 1; below <= 2 * at + 2 && below < n; below++)
            if (by_score(&heap[below], &heap[worst]) > 0) worst = below;
        if (worst == at) return;
        sampling_candidate moved = heap[at];
        heap[at] = heap[worst], heap[worst] = moved;
    }
}

/* best (n) = the n largest logits, largest first, ties to the lower id. Nearly all of the vocabulary is only compared with the worst of them. */
static void find_best(sampling_candidate *best, int32_t n, const real *logits, int32_t V) {
    for (int32_t i = 0; i < n; i++) best[i] = (sampling_candidate){(double)logits[i], i};
    for (int32_t i = n / 2 - 1; i >= 0; i--) sink(best, n, i);
    for (int32_t i = n; i < V; i++)
        if ((double)logits[i] > best[0].score) {
            best[0] = (sampling_candidate){(double)logits[i], i};
            sink(best, n, 0);
        }
    qsort(best, (size_t)n, sizeof *best, by_score);
}

static double weight_of(double logit, double largest, const sampling *s) { return exp((logit - largest) / s->temperature); }

/* How many of the n best make up the share top_p of the weight `all`; n, if they do not. */
static int32_t count_of_share(const sampling_candidate *best, int32_t n, double all, const sampling *s) {
    double kept = 0;
    for (int32_t i = 0; i < n; i++)
        if ((kept += weight_of(best[i].score, best[0].score, s)) >= s->top_p * all) return i + 1;
    return n;
}

/* Those that a draw is between, with their logits as scores; returns how many. Of a whole vocabulary few make up top_p: how few is guessed. */
static int32_t find_candidates(sampling_candidate *room, const sampling *s, const real *logits, int32_t V, double largest) {
    enum { GUESS = 128, NEXT_GUESS = 8 };
    const bool limited = s->top_k > 0 && s->top_k < V;
    const int32_t most = limited ? (int32_t)s->top_k : V;
    double all = 0;
    for (int32_t i = 0; i < V && !limited; i++) room[i] = (sampling_candidate){(double)logits[i], i}, all += weight_of((double)logits[i], largest, s);
    if (!limited && s->top_p >= 1) return V;
    for (int32_t n = limited || most < GUESS ? most : GUESS;; n = n < most / NEXT_GUESS ? n * NEXT_GUESS : most) {
        find_best(room, n, logits, V);
        for (int32_t i = 0; i < n && limited; i++) all += weight_of(room[i].score, largest, s);
        const int32_t share = count_of_share(room, n, all, s);
        if (share < n || n == most) return share;
    }
}

int32_t sample_token(const sampling *s, const real *logits, int32_t V, uint64_t position, sampling_candidate *room) {
    int32_t best = 0;
    for (int32_t i = 1; i < V; i++)
        if (logits[i] > logits[best]) best = i;
    if (s->temperature <= 0) return best;
    const int32_t n = find_candidates(room, s, logits, V, (double)logits[best]);
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += room[i].score = weight_of(room[i].score, (double)logits[best], s);
    double drawn = random_uniform(random_key_make(s->seed, RANDOM_SAMPLE, 0, 0), position) * sum;
    for (int32_t i = 0; i < n; i++)
        if ((drawn -= room[i].score) < 0) return room[i].id;
    return room[n - 1].id;
}
