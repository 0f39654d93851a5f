/* A model of the size of OLMoE (Muennighoff et al. 2024: 6.9 billion parameters, 64 experts, 8 a token) that has learned nothing, to measure how fast
 * such a model runs, in any stored type. */
#ifndef RANDOM_MODEL_H
#define RANDOM_MODEL_H

#include "kernels/stored.h"

/* Writes path, NAME.gguf, whole or not at all. Its weights are a million normal numbers, in every matrix from another place on. */
int random_model_write(const char *path, stored_type type);

#endif
