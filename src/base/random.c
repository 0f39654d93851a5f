#include "base/random.h"

#include <math.h>

typedef struct {
    uint32_t word[4];
} philox_block;

static philox_block philox(philox_block c, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c.word[0], b = (uint64_t)0xCD9E8D57u * c.word[2];
        c = (philox_block){{(uint32_t)(b >> 32) ^ c.word[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c.word[3] ^ k1, (uint32_t)a}};
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return c;
}

static philox_block random_block(random_key key, uint64_t index) {
    philox_block counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)key.stream, (uint32_t)(key.stream >> 32)}};
    return philox(counter, (uint32_t)key.seed, (uint32_t)(key.seed >> 32));
}

random_key random_key_make(uint64_t seed, random_use use, uint64_t step, uint64_t layer) {
    return (random_key){seed, (step << 24) ^ (layer << 8) ^ (uint64_t)use};
}

static uint64_t block_bits(philox_block b, int half) { return (uint64_t)b.word[2 * half + 1] << 32 | b.word[2 * half]; }

uint64_t random_bits(random_key key, uint64_t index) { return block_bits(random_block(key, index), 0); }

double random_uniform(random_key key, uint64_t index) { return (double)(random_bits(key, index) >> 11) * 0x1p-53; }

double random_normal(random_key key, uint64_t index) {
    philox_block b = random_block(key, index);
    double u = ((double)(block_bits(b, 0) >> 11) + 1) * 0x1p-53; /* (0, 1]: its logarithm is finite */
    double v = (double)(block_bits(b, 1) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

uint64_t random_below(random_key key, uint64_t index, uint64_t bound) {
    return (uint64_t)(((unsigned __int128)random_bits(key, index) * bound) >> 64);
}

uint64_t random_permute(random_key key, uint64_t i, uint64_t n) {
    int half = 1;
    while (half < 32 && (1ull << (2 * half)) < n) half++;
    uint64_t mask = (1ull << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t mixed = left ^ (random_bits(key, round << 32 | right) & mask);
            left = right, right = mixed;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
