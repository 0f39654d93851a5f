/* A model in a GGUF file, open for reading through formats/model_source.h. */
#ifndef GGUF_MODEL_H
#define GGUF_MODEL_H

#include "formats/stored_group.h"
#include "models/model_config.h"
#include "tensor/weights.h"
#include "text/tokenizer.h"

typedef struct gguf_model gguf_model;

/* Maps the file and reads the config; one that asks for more parameters than it holds is refused. */
int gguf_model_open(gguf_model **m, const char *path);
void gguf_model_close(gguf_model *m);

const model_config *gguf_model_config(const gguf_model *m);

/* As model_folder_find. */
int gguf_model_find(stored_group *groups, gguf_model *m, const weights *table);

int gguf_model_tokenizer(tokenizer **t, const gguf_model *m); /* NULL if it has none */

#endif
