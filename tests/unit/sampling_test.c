/* Sampling against the plain way: sort the whole vocabulary, cut, and draw. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "infer/sampling.h"

enum { V = 3000 };

static double weight[V];

static int by_weight(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (weight[x] != weight[y]) return weight[x] < weight[y] ? 1 : -1;
    return x < y ? -1 : x > y;
}

static int32_t plainly(const sampling *s, const real *logits, int32_t n_words, uint64_t position) {
    static int32_t order[V];
    double largest = -INFINITY, sum = 0, kept = 0;
    for (int32_t i = 0; i < n_words; i++) largest = fmax(largest, (double)logits[i]);
    for (int32_t i = 0; i < n_words; i++) weight[i] = exp(((double)logits[i] - largest) / s->temperature), order[i] = i;
    const bool all = s->top_k == 0 || s->top_k >= n_words;
    int32_t n = all ? n_words : (int32_t)s->top_k;
    if (!all || s->top_p < 1) qsort(order, (size_t)n_words, sizeof *order, by_weight);
    for (int32_t i = 0; i < n; i++) sum += weight[order[i]];
    for (int32_t i = 0; i < n && s->top_p < 1; i++)
        if ((kept += weight[order[i]]) >= s->top_p * sum) n = i + 1, sum = kept;
    double drawn = random_uniform(random_key_make(s->seed, RANDOM_SAMPLE, 0, 0), position) * sum;
    for (int32_t i = 0; i < n; i++)
        if ((drawn -= weight[order[i]]) < 0) return order[i];
    return order[n - 1];
}

static void draws_are_those_of_a_sorted_vocabulary(void) {
    static const double top_p[] = {1, 0.95, 0.5, 0.999999, 1e-9}, temperature[] = {0.3, 1, 20};
    static const int64_t top_k[] = {0, 1, 7, 40, 2999, 3000, 5000};
    static real logits[V];
    static sampling_candidate room[V];
    for (int shape = 0; shape < 3; shape++) {
        const int32_t n = shape == 2 ? 50 : V;
        for (int i = 0; i < V; i++) { /* noise, or many that are equal */
            const double x = 3 * random_normal((random_key){4, (uint64_t)shape}, (uint64_t)i);
            logits[i] = (real)(shape == 1 ? rint(x) : x);
        }
        for (size_t k = 0; k < sizeof top_k / sizeof *top_k; k++)
            for (size_t p = 0; p < sizeof top_p / sizeof *top_p; p++)
                for (size_t t = 0; t < sizeof temperature / sizeof *temperature; t++)
                    for (uint64_t position = 0; position < 20; position++) {
                        const sampling s = {temperature[t], top_k[k], top_p[p], 5};
                        const int32_t found = sample_token(&s, logits, n, position, room), expected = plainly(&s, logits, n, position);
                        EXPECT(found == expected, "top_k %lld, top_p %g, temperature %g, draw %llu: %d, expected %d", (long long)s.top_k, s.top_p,
                               s.temperature, (unsigned long long)position, found, expected);
                    }
    }
}

static void without_temperature_the_likeliest_is_taken(void) {
    const real logits[] = {1, 3, 2, 3};
    EXPECT(sample_token(&(sampling){0}, logits, 4, 0, NULL) == 1, "a later one of equals");
}

static const test_case cases[] = {
    {"draws are those of a sorted vocabulary", draws_are_those_of_a_sorted_vocabulary},
    {"without temperature the likeliest is taken", without_temperature_the_likeliest_is_taken},
};

int main(void) { return test_run("sampling", cases, sizeof cases / sizeof *cases); }
