#include "text/index_map.h"

#include "base/error.h"
#include "base/memory.h"

void index_map_release(index_map *map) {
    memory_free(map->slots);
    *map = (index_map){0};
}

/* Where key is, or the empty slot where it would go. Pairs of small ids differ in few bits, hence the mixing. */
static index_slot *slot_of(const index_map *map, uint64_t key) {
    uint64_t mixed = (key ^ key >> 32) * 0x9E3779B97F4A7C15u;
    size_t i = (mixed ^ mixed >> 32) & (map->capacity - 1);
    while (map->slots[i].index_plus_1 && map->slots[i].key != key) i = (i + 1) & (map->capacity - 1);
    return &map->slots[i];
}

int64_t index_map_find(const index_map *map, uint64_t key) { return map->capacity ? slot_of(map, key)->index_plus_1 - 1 : -1; }

static int grow(index_map *map) {
    index_map grown = {.capacity = map->capacity ? map->capacity * 2 : 64, .n = map->n};
    TRY(memory_new(&grown.slots, grown.capacity, sizeof *grown.slots, "a hash table"));
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].index_plus_1) *slot_of(&grown, map->slots[i].key) = map->slots[i];
    memory_free(map->slots);
    *map = grown;
    return LAMP_OK;
}

int index_map_set(index_map *map, uint64_t key, int64_t index) {
    if (map->n * 2 >= map->capacity) TRY(grow(map));
    index_slot *slot = slot_of(map, key);
    map->n += slot->index_plus_1 == 0;
    *slot = (index_slot){key, index + 1};
    return LAMP_OK;
}
