#include "models/model.h"

#include "base/error.h"
#include "base/memory.h"
#include "ops/ops.h"

int model_open(model *m, const model_config *config) {
    *m = (model){.config = *config, .backbone = &transformer_backbone};
    int status = m->backbone->declare(m);
    if (status < 0) model_close(m);
    return status;
}

void model_close(model *m) {
    weights_release(&m->weights);
    memory_free(m->parts);
    *m = (model){0};
}

const double *model_loss(tape *t, const model *m, const token_batch *batch, moe_trace *trace) {
    tensor *x = m->backbone->forward(t, m, batch, NULL, trace);
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

int model_state_open(state *s, const model *m, ptrdiff_t capacity) {
    return state_open(s, (int)m->config.num_hidden_layers, capacity, m->config.num_key_value_heads * m->config.head_dim);
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

model_costs model_count(const model *m, int64_t context) {
    model_costs c = {0};
    const model_config *config = &m->config;
    for (int i = 0; i < m->weights.n; i++) {
        const weight *w = m->weights.row[i];
        int64_t size = weight_size(w), active = w->role == ROLE_EXPERT ? size / w->groups * config->moe.top_k : size;
        c.parameters += size;
        bool head = w == m->head, rows_only = w->role == ROLE_EMBEDDING && !head;
        c.active_parameters += rows_only ? w->in : active;
        if (!rows_only && !weight_is_vector(w)) c.active_matrix_parameters += active;
    }
    c.flops_per_token = 6.0 * (double)c.active_matrix_parameters +
                        12.0 * (double)(config->num_hidden_layers * context * config->num_attention_heads * config->head_dim);
    return c;
}
