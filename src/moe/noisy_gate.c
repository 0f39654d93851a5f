#include "moe/noisy_gate.h"

#include <string.h>

#include "ops/ops.h"

struct noisy_saved {
    tensor *clean, *noise, *noisy;
    const real *draw;
};

/* h = c + d softplus(a) (2017, equation 4):   dc += dh,   da += d sigmoid(a) dh */
static void noisy_backward(tape *t, void *saved) {
    struct noisy_saved *s = saved;
    real *dclean = tape_gradient(t, s->clean), *dnoise = tape_gradient(t, s->noise);
    t->k->noisy_backward(dclean, dnoise, s->noisy->dx, s->noise->x, s->draw, s->noisy->rows * s->noisy->cols);
}

tensor *noisy_logits(tape *t, tensor *clean, tensor *noise, random_key key, const uint64_t *first) {
    ptrdiff_t R = clean->rows, M = clean->cols;
    tensor *h = tape_tensor(t, R, M);
    real *draw = tape_keep(t, sizeof *draw * (size_t)(R * M));
    t->k->normals(draw, key, first, R, M);
    t->k->noisy(h->x, clean->x, noise->x, draw, R * M);
    RECORD(t, h, noisy_backward, (struct noisy_saved){clean, noise, h, draw});
    return h;
}

struct load_saved {
    tensor *clean, *noise, *noisy, *load;
    ptrdiff_t K;
    const int32_t *bin, *best; /* best (rows, K + 1): the largest noisy logits */
    const real *row_weight;
};

static void load_backward(tape *t, void *saved) {
    struct load_saved *s = saved;
    if (s->K == s->clean->cols) return; /* where all are chosen it is a count, and has no gradient */
    real *dclean = tape_gradient(t, s->clean), *dnoise = tape_gradient(t, s->noise), *dnoisy = tape_gradient(t, s->noisy);
    t->k->chances_backward(dclean, dnoise, dnoisy, s->load->dx, s->bin, s->clean->x, s->noise->x, s->noisy->x, s->best, s->K, s->row_weight,
                           s->clean->rows, s->clean->cols);
}

/* P_i = Phi((c_i - h_rival) / softplus(a_i)) (2017, equation 9). */
tensor *expected_load(tape *t, tensor *clean, tensor *noise, tensor *noisy, ptrdiff_t K, const int32_t *bin, ptrdiff_t bins, const real *row_weight) {
    ptrdiff_t R = clean->rows, M = clean->cols;
    tensor *load = tape_tensor(t, bins, M);
    int32_t *best = tape_keep(t, sizeof *best * (size_t)(R * (K + 1)));
    real *p = tape_borrow(t, R * M);
    if (K < M) {
        t->k->choose(best, noisy->x, R, M, K + 1);
        t->k->chances(p, clean->x, noise->x, noisy->x, best, K, row_weight, R, M);
    } else {
        for (ptrdiff_t i = 0; i < R * M; i++) p[i] = row_weight[i / M];
    }
    memset(load->x, 0, sizeof(real) * (size_t)(bins * M));
    t->k->scatter_add(load->x, p, bin, R, M);
    tape_return(t, p);
    RECORD(t, load, load_backward, (struct load_saved){clean, noise, noisy, load, K, bin, best, row_weight});
    return load;
}

noisy_gate noisy_gate_open(tape *t, tensor *clean, tensor *noise, random_key key, const uint64_t *first) {
    tensor *h = noise ? noisy_logits(t, clean, noise, key, first) : clean;
    return (noisy_gate){clean, noise, h, softmax(t, h)};
}

noisy_gate noisy_gate_of_tokens(tape *t, tensor *x, const weight *router, const weight *noise, random_use use, int layer) {
    ptrdiff_t N = x->rows;
    uint64_t *first = tape_keep(t, sizeof *first * (size_t)N);
    for (ptrdiff_t n = 0; n < N; n++) first[n] = tape_random_index(t, n, router->out);
    tensor *clean = linear(t, x, router);
    return noisy_gate_open(t, clean, t->training ? linear(t, x, noise) : NULL, tape_random_key(t, use, layer), first);
}

tensor *noisy_gate_load_of_tokens(tape *t, const noisy_gate *g, ptrdiff_t K, const token_batch *batch) {
    ptrdiff_t N = g->clean->rows;
    int32_t *bin = tape_keep(t, sizeof *bin * (size_t)N);
    real *counts = tape_keep(t, sizeof *counts * (size_t)N);
    for (ptrdiff_t n = 0; n < N; n++) bin[n] = 0, counts[n] = token_counts(batch, n);
    return expected_load(t, g->clean, g->noise, g->noisy, K, bin, 1, counts);
}
