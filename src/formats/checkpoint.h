/* Checkpoints. A checkpoint is a Hugging Face folder with the training state beside it:
 *
 *     RUN/checkpoints/step-00001200/   config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json
 *                                      optimizer.safetensors (moments: "first_moment.layers.3.moe.gate", shape (groups, out, in))
 *                                      memory.safetensors (of a model that carries on what it has read: "cell.layers.0", shape (sequences, width))
 *                                      trainer.json (the trainer's state) manifest.json (sizes and hashes of all of them)
 *     RUN/checkpoints/latest           a symbolic link to the newest
 *     RUN/checkpoints/.partial         one being written; left by a crash, it goes when the run goes on
 *
 * Saving never endangers what is there: everything is written and synced beside, read back and compared with what was meant, and only
 * then renamed; `latest` moves after that, and old checkpoints go last. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/file.h"
#include "formats/stored_group.h"
#include "models/model_config.h"
#include "tensor/state.h"
#include "tensor/weights.h"
#include "text/tokenizer.h"

typedef struct {
    const model_config *config;
    const weights *weights;
    const tokenizer *tokenizer; /* may be NULL */
    int n_moments;
    const weight_moment *moments;
    const state *memory; /* may be NULL, or hold nothing that is carried on */
    const char *state; /* JSON text; may be NULL */
    const stored_group *groups; /* where values lie, if the weights are only declared: of all their groups, in order; NULL: in the weights */
    const stored_type *type;    /* (weights) that a file then has, f32, f16 or bf16 */
    const char *tokenizer_from; /* a folder whose tokenizer's files are copied as they are, in place of `tokenizer`; may be NULL */
    const char *interruptible;  /* what this is called while it is done ("writing"): LAMP_INTERRUPTED may end it. NULL: a save that must be made */
} checkpoint;

/* Keeps this one and the keep - 1 before it. If the step was saved before and is whole, that stays and nothing is written. */
int checkpoint_save(const char *run, int64_t step, const checkpoint *contents, int keep);

/* Finishes what a save of this step was killed over once it was the latest: what is older than keep, or half-written, goes. */
int checkpoint_tidy(const char *run, int64_t step, int keep);

/* What a MODEL argument means: a file, or a folder with config.json, is itself; of a run, its latest checkpoint, or with a warning the newest
 * that is whole. LAMP_IO or LAMP_CHECKPOINT says what was looked for. */
int checkpoint_resolve(char path[PATH_BYTES], const char *model);

/* Compares every byte with the manifest; LAMP_CHECKPOINT names the file that differs, and where. A folder without a manifest passes. */
int checkpoint_verify(const char *folder);

/* Fills n moments. */
int checkpoint_load_moments(const char *folder, int n, const weight_moment *moments);

/* Fills what memory carries on; where that is nothing, no file is looked for. */
int checkpoint_load_memory(const char *folder, state *memory);

/* Appends the text of trainer.json. */
int checkpoint_load_state(buffer *text, const char *folder);

#endif
