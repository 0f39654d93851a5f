/* A model as Hugging Face lays it out, open for reading:
 *
 *     config.json                        sizes and family
 *     model.safetensors                  the weights; or model-00001-of-00003.safetensors ... and
 *     model.safetensors.index.json       {"weight_map": {TENSOR: FILE, ...}}
 *
 * Weights are found by their family's names, one tensor per expert, or fused as transformers 5 holds them. */
#ifndef MODEL_FOLDER_H
#define MODEL_FOLDER_H

#include <stdbool.h>

#include "models/model_config.h"
#include "tensor/weights.h"

typedef struct model_folder model_folder;

/* Reads the config and maps the files; a config that asks for more parameters than they hold is refused. */
int model_folder_open(model_folder **folder, const char *path);
void model_folder_close(model_folder *folder);

const model_config *model_folder_config(const model_folder *folder);

typedef enum {
    VALUES_COPIED, /* into the block that weights_allocate_values made */
    VALUES_REAL,   /* value[] points into the mapped files where they hold reals, and into memory of the folder where they had to be converted */
    VALUES_STORED, /* the same, but what kernels can read in place (tensor/weights.h) is not converted: the model is there to be run */
} values_wanted;

/* Gives every weight of the table its values; all that is missing or of another shape is reported together. Unless they are copied, the folder
 * must outlive the table. Once per folder. */
int model_folder_load(model_folder *folder, weights *table, values_wanted wanted);

/* LAMP_MALFORMED, with the tensor's name, if a loaded weight is not a finite number. Copied weights were checked when they were loaded; of
 * mapped ones it would read every page, so who finds that a result is not finite asks then. */
int model_folder_check_finite(const model_folder *folder, const weights *table);

#endif
