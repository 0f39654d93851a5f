/* Losses that keep the router honest. Each is a mean over tokens; the tape's loss_scale (1 / tokens of the whole step) times the tokens of
 * this batch is the batch's share of the step, so micro-batches weigh as they should. Losses of all layers are summed. */
#include "moe/moe.h"

struct switch_saved {
    tensor *probabilities;
    const real *push; /* (E): what every token's gradient receives */
};

/* The Switch loss (Fedus et al. 2021, equations 4-6; over K choices as Megatron has it): E sum_e f_e P_e, with f_e the share of pairs
 * that went to e (counts have no gradient) and P_e the mean of p_ne over tokens; 1 when uniform.
 *   dp_ne += E f_e / N */
static void switch_backward(tape *t, void *saved) {
    struct switch_saved *s = saved;
    ptrdiff_t N = s->probabilities->rows, E = s->probabilities->cols;
    real *dp = tape_gradient(t, s->probabilities);
    for (ptrdiff_t n = 0; n < N; n++)
        for (ptrdiff_t e = 0; e < E; e++) dp[n * E + e] += s->push[e];
}

void balance_switch(tape *t, const routing *r, const moe_plan *p, double coefficient) {
    ptrdiff_t N = r->probabilities->rows, E = r->probabilities->cols;
    double *mean = tape_keep(t, sizeof *mean * (size_t)E), loss = 0, factor = coefficient * t->loss_scale * (double)N;
    real *push = tape_keep(t, sizeof *push * (size_t)E);
    for (ptrdiff_t e = 0; e < E; e++) mean[e] = 0;
    for (ptrdiff_t n = 0; n < N; n++)
        for (ptrdiff_t e = 0; e < E; e++) mean[e] += (double)r->probabilities->x[n * E + e] / (double)N;
    for (ptrdiff_t e = 0; e < E; e++) {
        double share = (double)(p->start[e + 1] - p->start[e]) / (double)r->pairs;
        loss += (double)E * share * mean[e];
        push[e] = (real)(factor * (double)E * share / (double)N);
    }
    tape_add_loss(t, "switch", loss * factor);
    RECORD(t, NULL, switch_backward, (struct switch_saved){r->probabilities, push});
}

struct z_saved {
    tensor *logits, *probabilities;
    const real *log_sum;
    double factor;
};

/* The router z-loss (Zoph et al. 2022, equation 5): mean of z_n^2, z_n = log sum_e exp(logit_ne).   dlogit_ne += 2 z_n p_ne / N */
static void z_backward(tape *t, void *saved) {
    struct z_saved *s = saved;
    ptrdiff_t N = s->logits->rows, E = s->logits->cols;
    real *dlogits = tape_gradient(t, s->logits);
    for (ptrdiff_t n = 0; n < N; n++) {
        real push = (real)(s->factor * 2 / (double)N) * s->log_sum[n];
        for (ptrdiff_t e = 0; e < E; e++) dlogits[n * E + e] += push * s->probabilities->x[n * E + e];
    }
}

void balance_z(tape *t, const routing *r, double coefficient) {
    ptrdiff_t N = r->logits->rows;
    real *log_sum = tape_keep(t, sizeof(real) * (size_t)N);
    t->k->log_sum_exp(log_sum, r->logits->x, N, r->logits->cols);
    double loss = 0, factor = coefficient * t->loss_scale * (double)N;
    for (ptrdiff_t n = 0; n < N; n++) loss += (double)log_sum[n] * (double)log_sum[n] / (double)N;
    tape_add_loss(t, "z", loss * factor);
    RECORD(t, NULL, z_backward, (struct z_saved){r->logits, r->probabilities, log_sum, factor});
}
