/* How often each domain is drawn from: weights, as a recipe names them, become probabilities that sum to 1.
 *
 * Without weights a domain's weight is the square root of its training tokens, halfway between reading every token equally often (a
 * small domain hardly appears) and every domain equally often (a small domain is repeated until it is memorised). A recipe that
 * gives weights gives all of them: a domain it does not name is not trained on. */
#ifndef MIXTURE_H
#define MIXTURE_H

#include "data/dataset.h"

/* A domain with fewer than `shortest` training tokens gets probability 0 and a warning. A name the dataset does not have, a negative
 * weight, or no domain left is LAMP_INVALID. */
int mixture_resolve(double probability[DATASET_DOMAINS], const option_map *weights, const dataset *d, int64_t shortest);

#endif
