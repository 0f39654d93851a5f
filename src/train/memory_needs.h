/* How much memory a run will take, known before it takes any: so that what cannot fit is refused at once, and not after an hour or by the
 * kernel. Blocks are exact; activations follow from the shapes of what a backbone keeps (models/, moe/): tests/train holds the
 * total to a fifth. */
#ifndef MEMORY_NEEDS_H
#define MEMORY_NEEDS_H

#include "base/buffer.h"
#include "models/model.h"
#include "train/recipe.h"

typedef struct {
    int64_t weights, packed, gradients, moments, activations; /* bytes */
} memory_needs;

/* m's weights are declared, their gradients that pass are marked; nothing need be allocated. r is resolved. */
memory_needs memory_needs_of(const recipe *r, const model *m, const struct products *products);

int64_t memory_needs_total(const memory_needs *n);

/* LAMP_NO_MEMORY, with what takes how much and what to try, if a machine of so many bytes cannot hold it. */
int memory_needs_check(const memory_needs *n, int64_t machine_bytes);

#endif
