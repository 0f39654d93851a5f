/* A hash table from 64-bit keys to indices: merges and pairs by their two ids, tokens and pieces by the hash of their bytes.
 * Open addressing with linear probing, at most half full. Zero-initialise it. */
#ifndef INDEX_MAP_H
#define INDEX_MAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t key;
    int64_t index_plus_1; /* 0: an empty slot */
} index_slot;

typedef struct {
    index_slot *slots;
    size_t capacity, n; /* capacity is a power of two, or 0 */
} index_map;

void index_map_release(index_map *map);
int64_t index_map_find(const index_map *map, uint64_t key); /* -1 if absent */
int index_map_set(index_map *map, uint64_t key, int64_t index);

#endif
