/* Which documents have been seen: a set of 128-bit content hashes, open addressing with linear probing, at most half full.
 * Equal hashes are taken for equal documents; among 10^12 documents the chance of one false match is about 10^-15. */
#ifndef DEDUP_H
#define DEDUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/hash.h"

/* Zero-initialise it. */
typedef struct {
    hash128 *slot; /* all zero: empty */
    size_t n, capacity;
} dedup_set;

void dedup_release(dedup_set *set);

/* *is_new: the hash was not in the set before. */
int dedup_add(dedup_set *set, hash128 hash, bool *is_new);

#endif
