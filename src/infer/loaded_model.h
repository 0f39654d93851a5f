/* A MODEL argument, ready to run: its files mapped, its weights borrowed from the map, its tokenizer. */
#ifndef LOADED_MODEL_H
#define LOADED_MODEL_H

#include "base/file.h"
#include "formats/model_source.h"
#include "models/model.h"
#include "text/tokenizer.h"

typedef struct {
    char path[PATH_BYTES]; /* of the folder or file that MODEL stands for */
    model_source *source;
    model model;
    tokenizer *tokenizer;               /* NULL if it came without, or with one of a kind that we lack: */
    char tokenizer_problem[PATH_BYTES]; /* then this says what it is */
} loaded_model;

/* name: a Hugging Face folder, a GGUF file, or a run (its latest checkpoint). wanted: VALUES_STORED to run it, VALUES_REAL to look at its weights. */
int loaded_model_open(loaded_model *m, const char *name, values_wanted wanted);
void loaded_model_close(loaded_model *m);

/* LAMP_CHECKPOINT or LAMP_UNSUPPORTED unless there is a tokenizer. */
int loaded_model_need_tokenizer(const loaded_model *m);

#endif
