/* A model that lies in files, open for reading: a Hugging Face folder (formats/model_folder.h) or a GGUF file (formats/gguf_model.h). Nothing
 * behind this header needs to know which. */
#ifndef MODEL_SOURCE_H
#define MODEL_SOURCE_H

#include <stdbool.h>

#include "formats/stored_group.h"
#include "models/model_config.h"
#include "tensor/weights.h"
#include "text/tokenizer.h"

typedef struct model_source model_source;

/* Reads the config and maps the files; a config that asks for more parameters than they hold is refused. */
int model_source_open(model_source **source, const char *path);
void model_source_close(model_source *source);

const model_config *model_source_config(const model_source *source);

/* Finds every group of every weight: all that is missing or of another shape is reported together. Once per source. The groups are its own,
 * in the order of the table. */
int model_source_find(model_source *source, const weights *table);
const stored_group *model_source_groups(const model_source *source);

typedef enum {
    VALUES_COPIED, /* into the block that weights_allocate_values made */
    VALUES_REAL,   /* value[] points into the mapped files where they hold reals, and into memory of the source where they had to be converted */
    VALUES_STORED, /* the same, but what kernels can read in place (tensor/weights.h) is not converted: the model is there to be run */
} values_wanted;

/* Finds, and gives every weight of the table its values. Unless they are copied, the source must outlive the table. */
int model_source_load(model_source *source, weights *table, values_wanted wanted);

/* LAMP_MALFORMED, with the tensor's name, if a loaded weight is not a finite number. Copied weights were checked when they were loaded; of
 * mapped ones it would read every page, so who finds that a result is not finite asks then. */
int model_source_check_finite(const model_source *source, const weights *table);

/* The tokenizer that came with it, or NULL if none did. */
int model_source_tokenizer(tokenizer **t, const model_source *source);

#endif
