#include "models/model.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "ops/ops.h"

int model_open(model *m, const model_config *config) {
    *m = (model){.config = *config, .backbone = model_backbone(config)};
    int status = m->backbone->declare(m);
    if (status < 0) model_close(m);
    return status;
}

void model_close(model *m) {
    weights_release(&m->weights);
    memory_free(m->parts);
    *m = (model){0};
}

const double *model_loss(tape *t, const model *m, const token_batch *batch, state *s, moe_trace *trace) {
    tensor *x = m->backbone->forward(t, m, batch, s, trace);
    const ptrdiff_t samples = m->config.softmax_samples;
    if (t->training && samples > 0) return head_loss_sampled(t, x, m->head, batch->target, samples);
    return head_loss(t, x, m->head, batch->target);
}

tensor *model_logits(tape *t, const model *m, const token_batch *batch, state *s, bool last_only, moe_trace *trace) {
    tensor *x = m->backbone->forward(t, m, batch, s, trace);
    if (last_only) {
        tensor *last = tape_tensor(t, batch->n_sequences, x->cols);
        int32_t *row = tape_keep(t, sizeof *row * (size_t)batch->n_sequences);
        for (int i = 0; i < batch->n_sequences; i++) row[i] = (int32_t)(batch->sequence_start[i + 1] - 1);
        t->k->gather(last->x, x->x, row, batch->n_sequences, x->cols);
        x = last;
    }
    return linear(t, x, m->head);
}

int model_state_open(state *s, const model *m, ptrdiff_t capacity, int sequences) {
    int status = LAMP_OK;
    TRY_TO(done, state_open(s, (int)m->config.num_hidden_layers));
    m->backbone->declare_state(s, m);
    TRY_TO(done, state_allocate(s, capacity, sequences));
done:
    if (status < 0) state_close(s);
    return status;
}

int model_trace_open(moe_trace *trace, const model *m) {
    *trace = (moe_trace){0};
    return m->config.moe.experts > 1 ? moe_trace_open(trace, (int)m->config.num_hidden_layers, (int)m->config.moe.experts) : LAMP_OK;
}

void model_balance(model *m, const moe_trace *trace) {
    double rate = m->config.moe.bias_rate;
    for (int i = 0; i < m->weights.n && rate > 0; i++) {
        weight *w = m->weights.row[i];
        if (w->role == ROLE_STATE) balance_move_bias(w, trace->chosen + (ptrdiff_t)w->layer * trace->experts, rate);
    }
}

int64_t model_active_values(const model *m, const weight *w) {
    const moe_config *c = &m->config.moe;
    if (model_looks_up(m, w)) return w->in;
    if (w->groups > 1) return weight_size(w) / w->groups * c->top_k;
    bool of_groups = w->role == ROLE_ROUTER && c->router->needs_groups && w->out == c->experts;
    return of_groups ? weight_size(w) / c->groups * c->top_groups : weight_size(w);
}

double model_score_flops(const model *m, const weight *w, int64_t context) {
    const model_config *c = &m->config;
    if (strcmp(w->kind, "attention.output") && strcmp(w->kind, "cross.output")) return 0;
    return 2.0 * (double)model_layer_sees(c, w->layer, context) * (double)(c->num_attention_heads * c->head_dim + w->in);
}

/* Of the head, what a token in training does not meet where the softmax is sampled. */
static int64_t unsampled_values(const model *m) {
    const int64_t met = m->config.softmax_samples > 0 ? m->config.softmax_samples + 1 : m->head->out;
    return (m->head->out - met) * m->head->in;
}

model_costs model_count(const model *m, int64_t context) {
    model_costs c = {0};
    double scores = 0;
    for (int i = 0; i < m->weights.n; i++) {
        const weight *w = m->weights.row[i];
        int64_t active = model_active_values(m, w);
        c.parameters += weight_size(w), c.active_parameters += active;
        if (!model_looks_up(m, w) && !weight_is_vector(w)) c.active_matrix_parameters += active;
        scores += model_score_flops(m, w, context);
    }
    c.flops_per_token = 6.0 * (double)(c.active_matrix_parameters - unsampled_values(m)) + 3 * scores;
    return c;
}
