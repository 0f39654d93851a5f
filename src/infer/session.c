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

/* Whole characters, as they come. */
typedef struct {
    decoder decoder;
    buffer text;
    session_piece *piece;
    void *context;
} writing;

static int pass_on(writing *w) {
    if (w->text.length == 0) return LAMP_OK;
    int status = w->piece(w->context, w->text.bytes, w->text.length);
    buffer_clear(&w->text);
    return status;
}

static int write_token(writing *w, int32_t id) {
    if (id >= tokenizer_vocabulary_size(w->decoder.t)) return LAMP_OK; /* a row of the head that the tokenizer has no token for */
    TRY(decoder_add(&w->decoder, &w->text, id));
    return pass_on(w);
}

static bool has_text(const tokenizer *words, const int32_t *ids, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (ids[i] < tokenizer_vocabulary_size(words) && !tokenizer_is_special(words, ids[i])) return true;
    return false;
}

static int generate(session *s, writing *w, const sampling *how, const real *logits, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        TRY(interrupt_check("generating"));
        TRY(check_finite(s, logits));
        int32_t next = sample_token(how, logits, (int32_t)s->model->config.vocab_size, (uint64_t)s->state.length, s->candidates);
        if (next == tokenizer_end_of_text(w->decoder.t)) break;
        TRY(write_token(w, next));
        if (i + 1 == n || state_room(&s->state) == 0) break;
        TRY(session_feed(s, &logits, &next, 1));
    }
    TRY(decoder_end(&w->decoder, &w->text));
    return pass_on(w);
}

int session_generate(session *s, const tokenizer *words, const sampling *how, const int32_t *prompt, ptrdiff_t n_prompt, ptrdiff_t n,
                     session_piece *piece, void *context) {
    int32_t end = tokenizer_end_of_text(words);
    const real *logits;
    writing w = {.piece = piece, .context = context};
    if (n_prompt == 0 && end < 0) FAIL(LAMP_INVALID, "the prompt is empty and this tokenizer has no token to begin a text with");
    TRY(session_feed(s, &logits, n_prompt ? prompt : &end, n_prompt ? n_prompt : 1));
    decoder_begin(&w.decoder, words, !has_text(words, prompt, n_prompt), false);
    int status = generate(s, &w, how, logits, n);
    buffer_release(&w.text);
    return status;
}
