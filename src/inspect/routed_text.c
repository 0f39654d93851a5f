#include "inspect/routed_text.h"

#include "base/error.h"
#include "base/memory.h"

void routed_text_release(routed_text *r) {
    memory_free(r->token);
    memory_free(r->pair);
    memory_free(r->of_expert);
    memory_free(r->expert_start);
    *r = (routed_text){0};
}

static int make_room(routed_text *r, ptrdiff_t tokens, ptrdiff_t pairs) {
    TRY(memory_reserve(&r->token, &r->token_room, (size_t)(r->tokens + tokens + 1), sizeof *r->token, "routed tokens"));
    return memory_reserve(&r->pair, &r->pair_room, (size_t)(r->pairs + pairs), sizeof *r->pair, "routed pairs");
}

static void collect(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weight_of) {
    routed_text *r = context;
    const batch *b = &r->e->batch;
    ptrdiff_t N = (ptrdiff_t)b->B * b->T, i = 0;
    if (layer != r->layer || r->status < 0) return;
    if ((r->status = make_room(r, N, pairs)) < 0) return;
    for (ptrdiff_t n = 0; n < N; n++) {
        bool counts = b->target[n] >= 0;
        if (counts) r->token[r->tokens] = (routed_token){b->token[n], r->e->n_domains - 1, r->pairs};
        for (; i < pairs && token[i] == n; i++)
            if (counts) r->pair[r->pairs++] = (routed_pair){expert[i], weight_of[i], r->tokens};
        r->tokens += counts;
    }
}

/* A counting sort. */
int routed_text_sort(routed_text *r) {
    TRY(make_room(r, 0, 0));
    r->token[r->tokens] = (routed_token){.first = r->pairs};
    TRY(memory_new(&r->of_expert, (size_t)r->pairs, sizeof *r->of_expert, "pairs of each expert"));
    TRY(memory_new(&r->expert_start, (size_t)r->experts + 2, sizeof *r->expert_start, "pairs of each expert"));
    ptrdiff_t *next = r->expert_start + 1; /* while sorting: where the expert's next pair goes; afterwards: where the one behind it begins */
    for (ptrdiff_t i = 0; i < r->pairs; i++) next[r->pair[i].expert + 1]++;
    for (int e = 0; e < r->experts; e++) next[e + 1] += next[e];
    for (ptrdiff_t i = 0; i < r->pairs; i++) r->of_expert[next[r->pair[i].expert]++] = i;
    return LAMP_OK;
}

static void begin(routed_text *r, evaluation *e, int layer) {
    *r = (routed_text){.layer = layer, .experts = e->trace.experts, .T = e->batch.T, .e = e};
    e->trace.watch = collect, e->trace.watch_context = r;
}

static int end(routed_text *r, evaluation *e, int status) {
    e->trace.watch = NULL;
    if (status >= 0) status = r->status;
    if (status >= 0) status = routed_text_sort(r);
    if (status < 0) routed_text_release(r);
    return status;
}

int routed_text_of_dataset(routed_text *r, evaluation *e, tape *t, const model *m, int layer, const dataset *d, int64_t tokens) {
    begin(r, e, layer);
    return end(r, e, evaluate_dataset(e, t, m, d, tokens));
}

int routed_text_of_ids(routed_text *r, evaluation *e, tape *t, const model *m, int layer, const tokenizer *words, const int32_t *ids, int64_t n) {
    begin(r, e, layer);
    return end(r, e, evaluate_tokens(e, t, m, words, "text", ids, n));
}
