#include "data/dedup.h"

#include "base/error.h"
#include "base/memory.h"

static bool is_empty(hash128 hash) { return hash.low == 0 && hash.high == 0; }

static hash128 *find(const dedup_set *set, hash128 hash) {
    size_t i = hash.low & (set->capacity - 1);
    while (!is_empty(set->slot[i]) && (set->slot[i].low != hash.low || set->slot[i].high != hash.high)) i = (i + 1) & (set->capacity - 1);
    return &set->slot[i];
}

static int grow(dedup_set *set) {
    dedup_set larger = {.n = set->n, .capacity = set->capacity ? 2 * set->capacity : 1024};
    TRY(memory_new(&larger.slot, larger.capacity, sizeof *larger.slot, "content hashes"));
    for (size_t i = 0; i < set->capacity; i++)
        if (!is_empty(set->slot[i])) *find(&larger, set->slot[i]) = set->slot[i];
    dedup_release(set);
    *set = larger;
    return LAMP_OK;
}

int dedup_add(dedup_set *set, hash128 hash, bool *is_new) {
    if (2 * (set->n + 1) > set->capacity) TRY(grow(set));
    if (is_empty(hash)) hash.low = 1;
    hash128 *slot = find(set, hash);
    *is_new = is_empty(*slot);
    set->n += *is_new;
    *slot = hash;
    return LAMP_OK;
}

void dedup_release(dedup_set *set) {
    memory_free(set->slot);
    *set = (dedup_set){0};
}
