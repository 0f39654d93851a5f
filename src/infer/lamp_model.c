/* The public face of a model: include/lamp.h in terms of loaded_model and session. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "infer/loaded_model.h"
#include "infer/session.h"
#include "lamp.h"

struct lamp_model {
    loaded_model loaded;
    session session;
};

lamp_generate_options lamp_generate_defaults(void) {
    sampling s = sampling_defaults();
    return (lamp_generate_options){.max_tokens = 128, .temperature = s.temperature, .top_k = (int)s.top_k, .top_p = s.top_p, .seed = s.seed};
}

int lamp_model_open(lamp_model **opened, const char *path) {
    lamp_model *m = NULL;
    int status = LAMP_OK;
    *opened = NULL;
    TRY(memory_new(&m, 1, sizeof *m, "a model"));
    TRY_TO(done, loaded_model_open(&m->loaded, path, VALUES_STORED));
    TRY_TO(done, session_open(&m->session, &m->loaded.model, m->loaded.model.config.max_position_embeddings));
    *opened = m;
done:
    if (status < 0) lamp_model_close(&m);
    return status;
}

void lamp_model_close(lamp_model **closed) {
    if (!*closed) return;
    session_close(&(*closed)->session);
    loaded_model_close(&(*closed)->loaded);
    memory_free(*closed);
    *closed = NULL;
}

int lamp_model_vocabulary_size(const lamp_model *m) { return (int)m->loaded.model.config.vocab_size; }
int lamp_model_context_length(const lamp_model *m) { return (int)m->loaded.model.config.max_position_embeddings; }

int lamp_tokenize(const lamp_model *m, int32_t *ids, size_t capacity, size_t *count, const char *text, size_t length) {
    token_list list = {0};
    encoder *e = NULL;
    int status;
    TRY_TO(done, loaded_model_need_tokenizer(&m->loaded));
    TRY_TO(done, encoder_new(&e, m->loaded.tokenizer));
    TRY_TO(done, encoder_encode_as(e, &list, text, length, ENCODE_PROMPT));
    *count = list.length;
    if (list.length > capacity) FAIL_TO(done, LAMP_INVALID, "room for %zu ids, the text has %zu", capacity, list.length);
    if (list.length) memcpy(ids, list.id, list.length * sizeof *ids);
done:
    encoder_free(e);
    token_list_release(&list);
    return status;
}

int lamp_logits(lamp_model *m, float *logits, const int32_t *ids, size_t count) {
    const real *row;
    session_clear(&m->session);
    TRY(session_feed(&m->session, &row, ids, (ptrdiff_t)count));
    for (int i = 0; i < lamp_model_vocabulary_size(m); i++) logits[i] = (float)row[i];
    return LAMP_OK;
}

int lamp_generate(lamp_model *m, const char *prompt, const lamp_generate_options *options, lamp_piece *piece, void *context) {
    token_list ids = {0};
    encoder *e = NULL;
    sampling how = {options->temperature, options->top_k, options->top_p, options->seed};
    int status;
    if (options->max_tokens < 1 || !(options->temperature >= 0) || !(options->top_p > 0 && options->top_p <= 1) || options->top_k < 0)
        FAIL(LAMP_INVALID, "max_tokens %d, temperature %g, top_k %d, top_p %g: expected at least 1, at least 0, at least 0, above 0 up to 1",
             options->max_tokens, options->temperature, options->top_k, options->top_p);
    TRY_TO(done, loaded_model_need_tokenizer(&m->loaded));
    TRY_TO(done, encoder_new(&e, m->loaded.tokenizer));
    TRY_TO(done, encoder_encode_as(e, &ids, prompt, strlen(prompt), ENCODE_PROMPT));
    session_clear(&m->session);
    TRY_TO(done, session_generate(&m->session, m->loaded.tokenizer, &how, ids.id, (ptrdiff_t)ids.length, options->max_tokens, piece, context));
done:
    encoder_free(e);
    token_list_release(&ids);
    return status;
}
