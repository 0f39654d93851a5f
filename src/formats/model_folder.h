/* A model as Hugging Face lays it out, open for reading through formats/model_source.h:
 *
 *     config.json                        sizes and family
 *     model.safetensors                  the weights; or model-00001-of-00003.safetensors ... and
 *     model.safetensors.index.json       {"weight_map": {TENSOR: FILE, ...}}
 *
 * Weights are found by their family's names, one tensor per expert, or fused as transformers 5 holds them. */
#ifndef MODEL_FOLDER_H
#define MODEL_FOLDER_H

#include "formats/stored_group.h"
#include "models/model_config.h"
#include "tensor/weights.h"

typedef struct model_folder model_folder;

/* Reads the config and maps the files; a config that asks for more parameters than they hold is refused. */
int model_folder_open(model_folder **folder, const char *path);
void model_folder_close(model_folder *folder);

const model_config *model_folder_config(const model_folder *folder);

/* Where every group of every weight lies, (total groups) in the order of the table; all that is missing or of another shape is reported
 * together. */
int model_folder_find(stored_group *groups, model_folder *folder, const weights *table);

#endif
