#include "infer/session.h"

#include <math.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"

int session_open(session *s, const model *m, ptrdiff_t capacity) {
    *s = (session){.model = m};
    int status = LAMP_OK;
    const struct kernels *k;
    TRY_TO(done, kernels_choose(&k));
    TRY_TO(done, tape_open(&s->tape, k));
    s->tape.products = &k->products_int8;
    TRY_TO(done, model_state_open(&s->state, m, capacity, 1));
    TRY_TO(done, memory_new(&s->candidates, (size_t)m->config.vocab_size, sizeof *s->candidates, "sampling"));
done:
    if (status < 0) session_close(s);
    return status;
}

void session_close(session *s) {
    if (s->tape.k) tape_close(&s->tape);
    state_close(&s->state);
    memory_free(s->candidates);
    *s = (session){0};
}

void session_clear(session *s) { state_clear(&s->state); }

int session_feed(session *s, const real **logits, const int32_t *ids, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->model->config.vocab_size)
            FAIL(LAMP_INVALID, "token %td: expected an id from 0 to %lld, found %d", i, (long long)s->model->config.vocab_size - 1, ids[i]);
    if (n < 1 || n > state_room(&s->state))
        FAIL(LAMP_INVALID, "%td tokens after %td do not fit: this session has room for %td", n, s->state.length, s->state.capacity);
    tape_reset(&s->tape);
    s->tape.random.first_token = (uint64_t)s->state.length;
    ptrdiff_t start[] = {0, n};
    *logits = model_logits(&s->tape, s->model, &(token_batch){n, ids, NULL, 1, start}, &s->state, true, NULL)->x;
    return LAMP_OK;
}

static int check_finite(const session *s, const real *logits) {
    for (int64_t i = 0; i < s->model->config.vocab_size; i++)
        if (!isfinite(logits[i]))
            FAIL(LAMP_MALFORMED, "token %td: expected finite logits, found %g: the weights are damaged; lamp eval names the tensor", s->state.length,
                 (double)logits[i]);
    return LAMP_OK;
}

int session_generate(session *s, const tokenizer *words, const sampling *how, const int32_t *prompt, ptrdiff_t n_prompt, ptrdiff_t n, session_piece *piece,
                     void *context) {
    int32_t end = tokenizer_end_of_text(words), next = end;
    const real *logits;
    if (n_prompt == 0 && end < 0) FAIL(LAMP_INVALID, "the prompt is empty and this tokenizer has no token to begin a text with");
    TRY(session_feed(s, &logits, n_prompt ? prompt : &next, n_prompt ? n_prompt : 1));
    for (ptrdiff_t i = 0; i < n; i++) {
        TRY(interrupt_check("generating"));
        TRY(check_finite(s, logits));
        next = sample_token(how, logits, (int32_t)s->model->config.vocab_size, (uint64_t)s->state.length, s->candidates);
        if (next == end) break;
        if (next < tokenizer_vocabulary_size(words)) {
            size_t length;
            const char *bytes = tokenizer_token_bytes(words, next, &length);
            TRY(piece(context, bytes, length));
        }
        if (i + 1 == n || state_room(&s->state) == 0) break;
        TRY(session_feed(s, &logits, &next, 1));
    }
    return LAMP_OK;
}
