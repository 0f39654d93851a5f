#include "infer/loaded_model.h"

#include <stdio.h>

#include "base/error.h"
#include "formats/checkpoint.h"

/* One of a kind that we lack leaves a model that runs on ids. */
static int read_tokenizer(loaded_model *m) {
    int status = model_source_tokenizer(&m->tokenizer, m->source);
    if (status != LAMP_UNSUPPORTED) return status;
    snprintf(m->tokenizer_problem, sizeof m->tokenizer_problem, "%s", lamp_error_message());
    return LAMP_OK;
}

int loaded_model_open(loaded_model *m, const char *name, values_wanted wanted) {
    *m = (loaded_model){0};
    int status = LAMP_OK;
    TRY_TO(done, checkpoint_resolve(m->path, name));
    TRY_TO(done, model_source_open(&m->source, m->path));
    TRY_TO(done, model_open(&m->model, model_source_config(m->source)));
    TRY_TO(done, model_source_load(m->source, &m->model.weights, wanted));
    TRY_TO(done, read_tokenizer(m));
    int64_t V = m->model.config.vocab_size;
    if (m->tokenizer && tokenizer_vocabulary_size(m->tokenizer) > V)
        FAIL_TO(done, LAMP_MALFORMED, "%s: expected at most %lld tokens, the model's vocab_size, found %d: its tokenizer is of another model?",
                m->path, (long long)V, tokenizer_vocabulary_size(m->tokenizer));
done:
    if (status < 0) loaded_model_close(m);
    return status;
}

void loaded_model_close(loaded_model *m) {
    tokenizer_free(m->tokenizer);
    model_close(&m->model);
    model_source_close(m->source);
    *m = (loaded_model){0};
}

int loaded_model_need_tokenizer(const loaded_model *m) {
    if (*m->tokenizer_problem) FAIL(LAMP_UNSUPPORTED, "%s; the model takes ids (lamp logits)", m->tokenizer_problem);
    if (!m->tokenizer)
        FAIL(LAMP_CHECKPOINT, "%s: expected a tokenizer (of a folder, tokenizer.json), found none; without it text cannot become tokens", m->path);
    return LAMP_OK;
}
