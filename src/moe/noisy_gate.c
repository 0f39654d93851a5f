#include "moe/noisy_gate.h"

#include <math.h>
#include <string.h>

#include "moe/route.h"

static double softplus(double a) { return fmax(a, 0) + log1p(exp(-fabs(a))); }
static double logistic(double a) { return 1 / (1 + exp(-a)); }

struct noisy_saved {
    tensor *clean, *noise, *noisy;
    const real *draw;
};

/* h = c + d softplus(a) (2017, equation 4):   dc += dh,   da += d sigmoid(a) dh */
static void noisy_backward(tape *t, void *saved) {
    struct noisy_saved *s = saved;
    real *dclean = tape_gradient(t, s->clean), *dnoise = tape_gradient(t, s->noise);
    for (ptrdiff_t i = 0; i < s->noisy->rows * s->noisy->cols; i++) {
        dclean[i] += s->noisy->dx[i];
        dnoise[i] += s->draw[i] * (real)logistic((double)s->noise->x[i]) * s->noisy->dx[i];
    }
}

tensor *noisy_logits(tape *t, tensor *clean, tensor *noise, random_use use, int layer) {
    ptrdiff_t N = clean->rows, M = clean->cols;
    tensor *h = tape_tensor(t, N, M);
    real *draw = tape_keep(t, sizeof(real) * (size_t)(N * M));
    random_key key = tape_random_key(t, use, layer);
#pragma omp parallel for schedule(static) if (N * M > 4096)
    for (ptrdiff_t i = 0; i < N * M; i++) {
        draw[i] = (real)random_normal(key, tape_random_index(t, i / M, M) + (uint64_t)(i % M));
        h->x[i] = clean->x[i] + draw[i] * (real)softplus((double)noise->x[i]);
    }
    RECORD(t, h, noisy_backward, (struct noisy_saved){clean, noise, h, draw});
    return h;
}

struct load_saved {
    tensor *clean, *noise, *noisy, *load;
    ptrdiff_t K;
    const int32_t *bin, *best; /* best (rows, K + 1): the largest noisy logits */
    const real *bin_weight;
};

/* What i must exceed: the K-th largest of the others, which is the (K+1)-th of all if i itself is among the first K. */
static int32_t rival(const int32_t *best, ptrdiff_t K, ptrdiff_t i) {
    for (ptrdiff_t k = 0; k < K; k++)
        if (best[k] == i) return best[K];
    return best[K - 1];
}

/* P_i = Phi(z), z = (c_i - h_rival) / s, s = softplus(a_i) (2017, equation 9). With phi the normal density and g = dload_i phi(z) / s:
 *     dc_i += g,   ds = -g z, so da_i -= g z sigmoid(a_i),   dh_rival -= g */
static void load_backward(tape *t, void *saved) {
    struct load_saved *v = saved;
    ptrdiff_t M = v->clean->cols;
    if (v->K == M) return; /* where all are chosen it is a count, and has no gradient */
    real *dclean = tape_gradient(t, v->clean), *dnoise = tape_gradient(t, v->noise), *dnoisy = tape_gradient(t, v->noisy);
    for (ptrdiff_t r = 0; r < v->clean->rows; r++) {
        if (v->bin[r] < 0) continue;
        for (ptrdiff_t i = 0; i < M; i++) {
            ptrdiff_t at = r * M + i, other = r * M + rival(v->best + r * (v->K + 1), v->K, i);
            double a = (double)v->noise->x[at], s = softplus(a), z = ((double)v->clean->x[at] - (double)v->noisy->x[other]) / s;
            double dload = (double)(v->load->dx[v->bin[r] * M + i] * v->bin_weight[v->bin[r]]);
            double g = dload * exp(-0.5 * z * z) / sqrt(2 * M_PI) / s;
            dclean[at] += (real)g, dnoise[at] -= (real)(g * z * logistic(a)), dnoisy[other] -= (real)g;
        }
    }
}

tensor *expected_load(tape *t, tensor *clean, tensor *noise, tensor *noisy, ptrdiff_t K, const int32_t *bin, ptrdiff_t bins, const real *bin_weight) {
    ptrdiff_t R = clean->rows, M = clean->cols;
    tensor *load = tape_tensor(t, bins, M);
    int32_t *best = tape_keep(t, sizeof *best * (size_t)(R * (K + 1)));
    memset(load->x, 0, sizeof(real) * (size_t)(bins * M));
    for (ptrdiff_t r = 0; r < R; r++) {
        if (bin[r] < 0) continue;
        int32_t *row_best = best + r * (K + 1);
        if (K < M) choose_best(row_best, noisy->x + r * M, M, K + 1);
        for (ptrdiff_t i = 0; i < M; i++) {
            double p = 1;
            if (K < M) {
                double s = softplus((double)noise->x[r * M + i]), threshold = (double)noisy->x[r * M + rival(row_best, K, i)];
                p = 0.5 * (1 + erf(((double)clean->x[r * M + i] - threshold) / (s * M_SQRT2)));
            }
            load->x[bin[r] * M + i] += bin_weight[bin[r]] * (real)p;
        }
    }
    RECORD(t, load, load_backward, (struct load_saved){clean, noise, noisy, load, K, bin, best, bin_weight});
    return load;
}
