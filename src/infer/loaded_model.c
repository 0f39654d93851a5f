#include "infer/loaded_model.h"

#include "base/error.h"
#include "formats/checkpoint.h"
#include "formats/tokenizer_json.h"

int loaded_model_open(loaded_model *m, const char *name, values_wanted wanted) {
    *m = (loaded_model){0};
    int status = LAMP_OK;
    char path[PATH_BYTES];
    TRY_TO(done, checkpoint_resolve(m->path, name));
    TRY_TO(done, model_folder_open(&m->folder, m->path));
    TRY_TO(done, model_open(&m->model, model_folder_config(m->folder)));
    TRY_TO(done, model_folder_load(m->folder, &m->model.weights, wanted));
    TRY_TO(done, file_join(path, m->path, "tokenizer.json"));
    if (file_exists(path)) TRY_TO(done, tokenizer_json_read(&m->tokenizer, path));
    int64_t V = m->model.config.vocab_size;
    if (m->tokenizer && tokenizer_vocabulary_size(m->tokenizer) > V)
        FAIL_TO(done, LAMP_MALFORMED, "%s: expected at most %lld tokens, the model's vocab_size, found %d: of another model?", path, (long long)V,
                tokenizer_vocabulary_size(m->tokenizer));
done:
    if (status < 0) loaded_model_close(m);
    return status;
}

void loaded_model_close(loaded_model *m) {
    tokenizer_free(m->tokenizer);
    model_close(&m->model);
    model_folder_close(m->folder);
    *m = (loaded_model){0};
}

int loaded_model_need_tokenizer(const loaded_model *m) {
    if (!m->tokenizer) FAIL(LAMP_CHECKPOINT, "%s: expected tokenizer.json, found none; without it text cannot become tokens", m->path);
    return LAMP_OK;
}
