/* The losses of 2017: the squared coefficient of variation over experts of a vector v (E),
 *
 *     CV^2 = variance / mean^2,  m = sum v / E,  s = sum (v - m)^2 / E,  d = m^2 + 1e-10:     dv_e += 2 (v_e - m) / (E d) - 2 m s / (E d^2)
 *
 * and never its root, whose slope at perfect balance is not finite. v is the importance, the weight that each expert receives (equation
 * 6), or the load, the tokens that each may expect (equation 10), which is smooth only where the choice is noisy: elsewhere v is the count
 * of choices, and the loss is shown but teaches nothing. Of the hierarchical router both are those of its appendix B. */
#include <string.h>

#include "moe/moe.h"

struct variation_saved {
    tensor *v;
    double factor, mean, variance;
};

static void variation_backward(tape *t, void *saved) {
    struct variation_saved *s = saved;
    double E = (double)s->v->cols, d = s->mean * s->mean + 1e-10;
    real *dv = tape_gradient(t, s->v);
    for (ptrdiff_t e = 0; e < s->v->cols; e++) dv[e] += (real)(s->factor * 2 / (E * d) * ((double)s->v->x[e] - s->mean - s->mean * s->variance / d));
}

static void add_variation(tape *t, tensor *v, bool smooth, const token_batch *batch, const char *name, double coefficient) {
    struct variation_saved s = {v, balance_factor(t, batch, coefficient), 0, 0};
    double E = (double)v->cols;
    for (ptrdiff_t e = 0; e < v->cols; e++) s.mean += (double)v->x[e] / E;
    for (ptrdiff_t e = 0; e < v->cols; e++) s.variance += ((double)v->x[e] - s.mean) * ((double)v->x[e] - s.mean) / E;
    tape_add_loss(t, name, s.factor * s.variance / (s.mean * s.mean + 1e-10));
    if (smooth) RECORD(t, NULL, variation_backward, s);
}

struct importance_saved {
    tensor *weights, *importance;
    const int32_t *expert, *token;
    const token_batch *batch;
};

/* v_e = sum of the weights of its pairs:   dweight_i += dv_expert(i) */
static void importance_backward(tape *t, void *saved) {
    struct importance_saved *s = saved;
    real *dweights = tape_gradient(t, s->weights);
    for (ptrdiff_t i = 0; i < s->weights->rows; i++)
        if (token_counts(s->batch, s->token[i])) dweights[i] += s->importance->dx[s->expert[i]];
}

static tensor *vector_of_experts(tape *t, ptrdiff_t experts) {
    tensor *v = tape_tensor(t, 1, experts);
    memset(v->x, 0, sizeof(real) * (size_t)experts);
    return v;
}

void balance_importance(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient) {
    if (r->fixed) return;
    tensor *v = vector_of_experts(t, r->experts);
    for (ptrdiff_t i = 0; i < r->pairs; i++)
        if (token_counts(batch, r->token[i])) v->x[r->expert[i]] += r->weights->x[i];
    RECORD(t, v, importance_backward, (struct importance_saved){r->weights, v, r->expert, r->token, batch});
    add_variation(t, v, true, batch, name, coefficient);
}

void balance_load(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient) {
    if (r->fixed) return;
    tensor *v = r->load;
    if (!v) {
        v = vector_of_experts(t, r->experts);
        for (ptrdiff_t e = 0; e < v->cols; e++) v->x[e] = (real)r->chosen[e];
    }
    add_variation(t, v, r->load != NULL, batch, name, coefficient);
}
