/* Sizes for a dataset alone: `lamp train DATASET`. What this machine can compute in the budget decides the active parameters, what the
 * text can teach caps them, and what is left of memory buys experts. Every choice comes with its reason. */
#ifndef AUTO_SIZES_H
#define AUTO_SIZES_H

#include "train/recipe.h"

/* Fills the sizes of r that no setting ("section.key=value") names, for r's budget (minutes) and dataset; appends a line per choice. */
int auto_sizes_choose(recipe *r, const char *const *settings, int n_settings, buffer *reasons);

#endif
