/* The softmax top-k router: p = softmax(x W_r^T) over all experts, and each token takes its K most probable ones, ties to the lower
 * index. Their weights are the probabilities themselves (OLMoE, Switch) or, normalised, p_k / sum of the chosen (Mixtral, Qwen3). */
#include "moe/moe.h"
#include "ops/ops.h"

struct saved {
    tensor *probabilities, *weights;
    const int32_t *expert;
    int K;
    bool normalize;
};

/* Not normalised, w_k = p_k:                    dp_k += dw_k
 * Normalised, w_k = p_k / s with s = sum_j p_j:  dp_k += (dw_k - sum_j w_j dw_j) / s */
static void choose_backward(tape *t, void *saved) {
    struct saved *s = saved;
    ptrdiff_t N = s->probabilities->rows, E = s->probabilities->cols, K = s->K;
    real *dp = tape_gradient(t, s->probabilities);
    for (ptrdiff_t n = 0; n < N; n++) {
        const real *p = s->probabilities->x + n * E, *w = s->weights->x + n * K, *dw = s->weights->dx + n * K;
        const int32_t *expert = s->expert + n * K;
        real sum = 1, mean = 0;
        if (s->normalize) {
            sum = 0;
            for (ptrdiff_t k = 0; k < K; k++) sum += p[expert[k]], mean += w[k] * dw[k];
        }
        for (ptrdiff_t k = 0; k < K; k++) dp[n * E + expert[k]] += (dw[k] - mean) / sum;
    }
}

/* expert (K) = the K largest of p (E), largest first */
static void choose_best(int32_t *expert, const real *p, ptrdiff_t E, ptrdiff_t K) {
    for (ptrdiff_t k = 0; k < K; k++) {
        int32_t best = -1;
        for (int32_t e = 0; e < E; e++) {
            if (best >= 0 && !(p[e] > p[best])) continue;
            bool taken = false;
            for (ptrdiff_t j = 0; j < k; j++) taken |= expert[j] == e;
            if (!taken) best = e;
        }
        expert[k] = best;
    }
}

routing route_softmax(tape *t, tensor *x, const weight *router, const moe_config *c) {
    ptrdiff_t N = x->rows, E = c->experts, K = c->top_k, P = N * K;
    tensor *logits = linear(t, x, router), *p = softmax(t, logits), *chosen = tape_tensor(t, P, 1);
    int32_t *expert = tape_keep(t, sizeof *expert * (size_t)P), *token = tape_keep(t, sizeof *token * (size_t)P);
    ptrdiff_t *token_start = tape_keep(t, sizeof *token_start * (size_t)(N + 1));
#pragma omp parallel for schedule(static) if (N * E > 4096)
    for (ptrdiff_t n = 0; n < N; n++) {
        const real *row = p->x + n * E;
        real sum = 0;
        choose_best(expert + n * K, row, E, K);
        for (ptrdiff_t k = 0; k < K; k++) sum += row[expert[n * K + k]];
        for (ptrdiff_t k = 0; k < K; k++) {
            chosen->x[n * K + k] = row[expert[n * K + k]] / (c->normalize ? sum : 1);
            token[n * K + k] = (int32_t)n;
        }
        token_start[n + 1] = (n + 1) * K;
    }
    token_start[0] = 0;
    RECORD(t, chosen, choose_backward, (struct saved){p, chosen, expert, c->top_k, c->normalize});
    return (routing){logits, p, chosen, expert, token, token_start, P};
}
