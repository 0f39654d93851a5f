#include "train/evaluate.h"

#include <math.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"

double score_loss(const score *s) { return s->tokens > 0 ? s->nats / (double)s->tokens : NAN; }
double score_perplexity(const score *s) { return exp(score_loss(s)); }
double score_bits_per_byte(const score *s) { return s->bytes > 0 && s->unknown == 0 ? s->nats / (M_LN2 * (double)s->bytes) : NAN; }

int evaluation_open(evaluation *e, const model *m, int B, int T) {
    *e = (evaluation){0};
    int status = LAMP_OK;
    TRY_TO(done, batch_init(&e->batch, B, T));
    TRY_TO(done, memory_new(&e->sequence_start, (size_t)B + 1, sizeof *e->sequence_start, "sequence starts"));
    for (int i = 0; i <= B; i++) e->sequence_start[i] = (ptrdiff_t)i * T;
    TRY_TO(done, model_trace_open(&e->trace, m));
    e->trace.examine = EXAMINED_TOKENS;
done:
    if (status < 0) evaluation_close(e);
    return status;
}

void evaluation_close(evaluation *e) {
    batch_release(&e->batch);
    memory_free(e->sequence_start);
    moe_trace_close(&e->trace);
    *e = (evaluation){0};
}

static void begin(evaluation *e) {
    e->total = (score){0}, e->n_domains = 0, e->tokens_before = 0;
    moe_trace_clear(&e->trace);
}

/* Adds B sequences of the batch to the last domain. */
static void score_batch(evaluation *e, tape *t, const model *m, const tokenizer *words, int B) {
    ptrdiff_t N = (ptrdiff_t)B * e->batch.T;
    score *s = &e->domain[e->n_domains - 1].score;
    tape_reset(t);
    t->training = false, t->random.first_token = (uint64_t)e->tokens_before;
    token_batch tokens = {N, e->batch.token, e->batch.target, B, e->sequence_start};
    const double *loss = model_loss(t, m, &tokens, e->trace.load ? &e->trace : NULL);
    for (ptrdiff_t n = 0; n < N; n++) {
        if (e->batch.target[n] < 0) continue;
        size_t bytes = 0;
        tokenizer_token_bytes(words, e->batch.target[n], &bytes);
        s->nats += loss[n], s->tokens++, s->bytes += (int64_t)bytes;
        s->unknown += e->batch.target[n] == tokenizer_unknown(words);
    }
    if (e->watch) e->watch(e->watch_context, e, loss);
    e->tokens_before += N;
    tape_reset(t);
}

static void add_up(evaluation *e) {
    for (int i = 0; i < e->n_domains; i++) {
        const score *s = &e->domain[i].score;
        e->total.nats += s->nats, e->total.tokens += s->tokens, e->total.bytes += s->bytes;
        e->total.unknown += s->unknown;
    }
}

int evaluate_dataset(evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens) {
    begin(e);
    int T = e->batch.T, most = e->batch.B, status = LAMP_OK;
    for (int i = 0; i < d->n_domains; i++) {
        int64_t windows = window_count(&d->domain[i].validation, T), wanted = (tokens + T - 1) / T;
        if (wanted < windows) windows = wanted;
        if (windows == 0) continue;
        e->domain[e->n_domains].name = d->domain[i].summary.name;
        e->domain[e->n_domains++].score = (score){0};
        for (int64_t first = 0; first < windows && status >= 0; first += most) {
            e->batch.B = windows - first < most ? (int)(windows - first) : most;
            status = interrupt_check("evaluating");
            if (status >= 0) status = validation_read(&e->batch, d, i, first);
            if (status >= 0) score_batch(e, t, m, d->tokenizer, e->batch.B);
        }
        e->batch.B = most;
    }
    add_up(e);
    return status;
}

int evaluate_tokens(evaluation *e, tape *t, const model *m, const tokenizer *words, const char *name, const int32_t *ids, int64_t n) {
    begin(e);
    int T = e->batch.T;
    e->domain[0].name = name, e->domain[0].score = (score){0}, e->n_domains = 1;
    for (int64_t first = 0; first < n - 1; first += (int64_t)e->batch.B * T) {
        TRY(interrupt_check("evaluating"));
        int64_t left = n - 1 - first, size = (int64_t)e->batch.B * T, here = left < size ? left : size;
        for (int64_t i = 0; i < size; i++) {
            e->batch.token[i] = i < here ? ids[first + i] : 0;
            e->batch.target[i] = i < here ? ids[first + i + 1] : -1;
        }
        score_batch(e, t, m, words, (int)((here + T - 1) / T));
    }
    add_up(e);
    return LAMP_OK;
}
