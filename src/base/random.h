/* Counter-based random numbers: a value is a function of a key and an index, so it replays whatever the number of threads or ranks.
 * Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3). */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

typedef struct {
    uint64_t seed, stream;
} random_key;

/* What a stream of numbers is for; part of every key, so that no two uses share numbers. */
typedef enum {
    RANDOM_INITIAL,
    RANDOM_ORDER,
    RANDOM_MIXTURE,
    RANDOM_SAMPLE,
    RANDOM_GATE_NOISE,
    RANDOM_GROUP_NOISE,
    RANDOM_SECOND_CHOICE,
    RANDOM_JITTER,
    RANDOM_ROUTE,
    RANDOM_UPCYCLE,
    RANDOM_SHUFFLE,
    RANDOM_RESEED,
    RANDOM_DROPOUT,
    RANDOM_SOFTMAX,
    RANDOM_ROUNDING
} random_use;

random_key random_key_make(uint64_t seed, random_use use, uint64_t step, uint64_t layer);

uint64_t random_bits(random_key key, uint64_t index);
double random_uniform(random_key key, uint64_t index);                /* [0, 1) */
double random_normal(random_key key, uint64_t index);                 /* mean 0, variance 1 */
uint64_t random_below(random_key key, uint64_t index, uint64_t bound); /* [0, bound) */

/* Where element i of n stands in the shuffled order of this key: a bijection of [0, n) that needs no memory (a Feistel network of
 * four rounds on the smallest even-width power of two, walked until it lands inside). */
uint64_t random_permute(random_key key, uint64_t i, uint64_t n);

#endif
