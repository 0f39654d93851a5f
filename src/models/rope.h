/* Frequencies of rotary positions: theta^(-2 i / dim) of pair i, and what is done to them so that a model reads longer texts than it was first
 * trained on. The formulas stand in rope.c. */
#ifndef ROPE_H
#define ROPE_H

#include "models/model_config.h"

/* The words of rope.type, which are also config.json's. */
#define ROPE_KINDS "default|linear|dynamic|llama3|yarn"

/* What is usual where nothing is said: default, and of the numbers those that YaRN's authors took. */
extern const rope_scaling rope_usual;

/* (dim / 2), of the dim columns that turn. */
void rope_frequencies(double *frequency, const model_config *c, int64_t dim);

/* How much longer the turned queries and keys become, each. */
double rope_length(const rope_scaling *s);

/* What latent attention multiplies its scores with (DeepSeek: the square of YaRN's factor for mscale_all_dim). */
double rope_score_factor(const rope_scaling *s);

/* Fills what may be left open; LAMP_MALFORMED if the numbers do not go together. */
int rope_complete(model_config *c, const char *where);

#endif
