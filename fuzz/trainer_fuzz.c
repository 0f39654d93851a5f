/* The bytes are the trainer.json of a checkpoint that is sound: from whatever a run resumes, it goes on. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "fuzz.h"
#include "train/trainer.h"

static void ignore(void *context, log_level level, const char *text) { (void)context, (void)level, (void)text; }

/* With a checkpoint of it in the folder of this process; its experts count their own steps, so that there is all the state that can be. */
static void open_trainer(trainer *tr, const dataset *d) {
    recipe r;
    char path[PATH_BYTES];
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    r.model.hidden_size = 2, r.model.intermediate_size = r.model.num_hidden_layers = r.model.num_attention_heads = 1;
    r.model.max_position_embeddings = r.batch_tokens = 2, r.steps = 9, r.threads = 1, r.checkpoint_every = 0;
    r.model.moe.experts = 2, r.model.moe.top_k = 1, r.optimizer.lazy_experts = true;
    CHECK(trainer_open(tr, &r, d) == LAMP_OK, "%s", lamp_error_message());
    CHECK(trainer_save(tr, fuzz_folder()) == LAMP_OK, "%s", lamp_error_message());
    CHECK(file_join(path, fuzz_folder(), "checkpoints/step-00000000/manifest.json") == LAMP_OK && !remove(path), "the manifest stays");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static trainer tr;
    static dataset *d;
    step_report report;
    char checkpoint[PATH_BYTES];
    if (!d) {
        log_set_sink(ignore, NULL);
        fuzz_dataset();
        CHECK(dataset_open(&d, fuzz_folder()) == LAMP_OK, "%s", lamp_error_message());
        strcpy(d->hash, "what seeds know"); /* of a manifest that may change */
        open_trainer(&tr, d);
    }
    fuzz_file("checkpoints/step-00000000/trainer.json", bytes, length);
    CHECK(file_join(checkpoint, fuzz_folder(), "checkpoints/step-00000000") == LAMP_OK, "%s", lamp_error_message());
    if (trainer_resume(&tr, checkpoint) < 0) return 0;
    CHECK(trainer_step(&tr, &report) == LAMP_OK, "%s", lamp_error_message());
    return 0;
}
