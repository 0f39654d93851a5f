/* The tensors of a checkpoint's weights, on their way into a safetensors file. */
#ifndef CHECKPOINT_WEIGHTS_H
#define CHECKPOINT_WEIGHTS_H

#include "formats/checkpoint.h"
#include "formats/safetensors_writer.h"

/* Declares and writes all of them. Of what lies in another file there is never more in memory than a few rows, or one expert where several lie in
 * one tensor. LAMP_INTERRUPTED only if contents->interruptible. */
int checkpoint_write_weights(safetensors_writer *writer, const checkpoint *contents);

/* A tensor has one type: where weights of several would lie in it, all of them become reals. */
int checkpoint_join_types(stored_type *type, const weights *table, const model_config *config);

#endif
