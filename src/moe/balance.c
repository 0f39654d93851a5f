/* Losses that keep the router honest, and the bias that does so without one. Each loss is a mean over tokens that are not padding; the
 * tape's loss_scale (1 / tokens of the whole step) times those of this batch is the batch's share of the step, so micro-batches weigh as they
 * should. Losses of all layers are summed. Counts are those of the choices, before capacity drops any (Switch, T2T): dropped tokens must
 * still push away from the expert that had no room. */
#include <math.h>
#include <string.h>

#include "moe/moe.h"

static ptrdiff_t tokens_that_count(const token_batch *batch, ptrdiff_t first, ptrdiff_t end) {
    ptrdiff_t n_counted = 0;
    for (ptrdiff_t n = first; n < end; n++) n_counted += token_counts(batch, n);
    return n_counted;
}

double balance_factor(const tape *t, const token_batch *batch, double coefficient) {
    return coefficient * t->loss_scale * (double)tokens_that_count(batch, 0, batch->n_tokens);
}

struct shares_saved {
    tensor *probabilities;
    const token_batch *batch;
    const real *push; /* (sequences, E): what the gradient of each token that counts receives */
    bool by_sequence;
};

/* The Switch loss (Fedus et al. 2021, equations 4-6; over K choices as Megatron has it): E sum_e f_e P_e, with f_e the share of pairs
 * that went to e (counts have no gradient) and P_e the mean of p_ne over tokens; 1 when uniform.
 *   dp_ne += E f_e / N
 * f_e is of the whole step so far, over its micro-batches and ranks (Qwen, arXiv:2501.11873). The sequence loss of DeepSeek-V3 (equations
 * 17-20) is the same within each sequence, so that loads are even inside each text and not only on average. */
static void shares_backward(tape *t, void *saved) {
    struct shares_saved *s = saved;
    ptrdiff_t E = s->probabilities->cols;
    real *dp = tape_gradient(t, s->probabilities);
    for (int sequence = 0; sequence < s->batch->n_sequences; sequence++) {
        const real *push = s->push + (s->by_sequence ? sequence * E : 0);
        for (ptrdiff_t n = s->batch->sequence_start[sequence]; n < s->batch->sequence_start[sequence + 1]; n++)
            for (ptrdiff_t e = 0; e < E && token_counts(s->batch, n); e++) dp[n * E + e] += push[e];
    }
}

/* E sum_e f_e sum_n p_ne over tokens first .. end, f_e = chosen_e / their sum. push (E) = E f_e. */
static double shares_loss(real *push, const tensor *p, const token_batch *batch, const int64_t *chosen, ptrdiff_t first, ptrdiff_t end) {
    ptrdiff_t E = p->cols;
    double pairs = 0, loss = 0;
    for (ptrdiff_t e = 0; e < E; e++) pairs += (double)chosen[e];
    for (ptrdiff_t e = 0; e < E; e++) push[e] = (real)(pairs > 0 ? (double)E * (double)chosen[e] / pairs : 0);
    for (ptrdiff_t n = first; n < end; n++)
        for (ptrdiff_t e = 0; e < E && token_counts(batch, n); e++) loss += (double)push[e] * (double)p->x[n * E + e];
    return loss;
}

static void add_shares(tape *t, const routing *r, const token_batch *batch, const char *name, real *push, double sum, bool by_sequence,
                       double coefficient) {
    tape_add_loss(t, name, coefficient * t->loss_scale * sum);
    RECORD(t, NULL, shares_backward, (struct shares_saved){r->probabilities, batch, push, by_sequence});
}

static void balance_switch(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient) {
    ptrdiff_t E = r->probabilities->cols;
    real *push = tape_keep(t, sizeof(real) * (size_t)E);
    double sum = shares_loss(push, r->probabilities, batch, r->chosen, 0, r->tokens);
    for (ptrdiff_t e = 0; e < E; e++) push[e] *= (real)(coefficient * t->loss_scale);
    add_shares(t, r, batch, name, push, sum, false, coefficient);
}

static void balance_sequence(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient) {
    ptrdiff_t E = r->probabilities->cols, S = batch->n_sequences;
    real *push = tape_keep(t, sizeof(real) * (size_t)(S * E));
    int64_t *chosen = tape_keep(t, sizeof *chosen * (size_t)E);
    double sum = 0;
    for (ptrdiff_t s = 0; s < S; s++) {
        ptrdiff_t first = batch->sequence_start[s], end = batch->sequence_start[s + 1];
        memset(chosen, 0, sizeof *chosen * (size_t)E);
        for (ptrdiff_t i = r->token_start[first]; i < r->token_start[end]; i++) chosen[r->expert[i]] += token_counts(batch, r->token[i]);
        sum += shares_loss(push + s * E, r->probabilities, batch, chosen, first, end);
    }
    for (ptrdiff_t i = 0; i < S * E; i++) push[i] *= (real)(coefficient * t->loss_scale);
    add_shares(t, r, batch, name, push, sum, true, coefficient);
}

struct z_saved {
    tensor *logits;
    const token_batch *batch;
    const real *log_sum;
    double factor; /* of each token */
};

/* The router z-loss (Zoph et al. 2022, equation 5): mean of z_n^2, z_n = log sum_e exp(logit_ne), which keeps logits small.
 *   dlogit_ne += 2 z_n exp(logit_ne - z_n) / N */
static void z_backward(tape *t, void *saved) {
    struct z_saved *s = saved;
    ptrdiff_t E = s->logits->cols;
    real *dlogits = tape_gradient(t, s->logits);
#pragma omp parallel for schedule(static) if (s->logits->rows * E > 4096)
    for (ptrdiff_t n = 0; n < s->logits->rows; n++) {
        double z = (double)s->log_sum[n], push = 2 * s->factor * z;
        for (ptrdiff_t e = 0; e < E && token_counts(s->batch, n); e++) dlogits[n * E + e] += (real)(push * exp((double)s->logits->x[n * E + e] - z));
    }
}

static void balance_z(tape *t, const routing *r, const token_batch *batch, const char *name, double coefficient) {
    if (!r->logits) return;
    real *log_sum = tape_keep(t, sizeof(real) * (size_t)r->tokens);
    t->k->log_sum_exp(log_sum, r->logits->x, r->tokens, r->logits->cols);
    double loss = 0, factor = coefficient * t->loss_scale;
    for (ptrdiff_t n = 0; n < r->tokens; n++) loss += token_counts(batch, n) ? (double)log_sum[n] * (double)log_sum[n] : 0;
    tape_add_loss(t, name, loss * factor);
    RECORD(t, NULL, z_backward, (struct z_saved){r->logits, batch, log_sum, factor});
}

const struct balance_term balance_terms[BALANCE_LOSSES] = {
    [BALANCE_IMPORTANCE] = {"importance", balance_importance}, [BALANCE_LOAD] = {"load", balance_load}, [BALANCE_SWITCH] = {"switch", balance_switch},
    [BALANCE_SEQUENCE] = {"sequence", balance_sequence},       [BALANCE_Z] = {"z", balance_z},          [BALANCE_THRESHOLD] = {"threshold", NULL},
};

void balance_move_bias(weight *bias, const int64_t *chosen, double rate) {
    double mean = 0;
    for (ptrdiff_t e = 0; e < bias->in; e++) mean += (double)chosen[e] / (double)bias->in;
    for (ptrdiff_t e = 0; e < bias->in; e++) {
        double missing = mean - (double)chosen[e];
        if (missing != 0) bias->value[0][e] += (real)(missing > 0 ? rate : -rate);
    }
}
