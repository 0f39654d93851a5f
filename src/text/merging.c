/* Short pieces are scanned for the lowest rank again and again; long ones have a linked list and a heap of candidates, which takes
 * O(n log n). */
#include "text/merging.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "text/tokenizer_parts.h"

enum { SCANNED_SYMBOLS = 64 };

static const int32_t SWALLOWED = -1;
static const uint64_t NO_MERGE = UINT64_MAX;

/* A merge is its rank and its result in one number. */
static uint64_t merge_of(const tokenizer *t, int32_t left, int32_t right) {
    return (uint64_t)index_map_find(&t->merge_of_pair, pair_key(left, right)); /* absent: -1, which is NO_MERGE */
}
static uint64_t rank_of(uint64_t m) { return m >> 32; }
static int32_t result_of(uint64_t m) { return (int32_t)(uint32_t)m; }

void merging_room_release(merging_room *room) {
    heap_release(&room->candidates);
    memory_free(room->symbols);
    *room = (merging_room){0};
}

static size_t merge_few(int32_t *ids, size_t n, const tokenizer *t) {
    uint64_t merges[SCANNED_SYMBOLS]; /* of ids[i] with ids[i + 1] */
    for (size_t i = 0; i + 1 < n; i++) merges[i] = merge_of(t, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank_of(merges[i]) < rank_of(merges[best])) best = i;
        if (merges[best] == NO_MERGE) break;
        ids[best] = result_of(merges[best]);
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(merges + best, merges + best + 1, (n - best) * sizeof *merges);
        if (best > 0) merges[best - 1] = merge_of(t, ids[best - 1], ids[best]);
        if (best + 1 < n) merges[best] = merge_of(t, ids[best], ids[best + 1]);
    }
    return n;
}

/* Offers the merge of the symbol at left with its right neighbour, if there is one. n stands for no neighbour. */
static int add_candidate(merging_room *room, const tokenizer *t, size_t left, size_t n) {
    const symbol *symbols = room->symbols;
    if (left == n || symbols[left].next == n) return LAMP_OK;
    uint64_t m = merge_of(t, symbols[left].id, symbols[symbols[left].next].id);
    return m == NO_MERGE ? LAMP_OK : heap_push(&room->candidates, (heap_entry){rank_of(m), left});
}

static int merge_many(int32_t *ids, size_t *count, const tokenizer *t, merging_room *room) {
    size_t n = *count;
    heap_entry best;
    room->candidates.n = 0;
    TRY(memory_reserve(&room->symbols, &room->capacity, n, sizeof *room->symbols, "the symbols of a long piece"));
    symbol *symbols = room->symbols;
    for (size_t i = 0; i < n; i++) symbols[i] = (symbol){ids[i], i > 0 ? i - 1 : n, i + 1};
    for (size_t i = 0; i < n; i++) TRY(add_candidate(room, t, i, n));
    while (heap_pop(&best, &room->candidates)) {
        symbol *left = &symbols[best.minor];
        if (left->id == SWALLOWED || left->next == n) continue;
        uint64_t m = merge_of(t, left->id, symbols[left->next].id);
        if (rank_of(m) != best.major) continue; /* a neighbour has changed since */
        symbols[left->next].id = SWALLOWED;
        left->id = result_of(m);
        left->next = symbols[left->next].next;
        if (left->next < n) symbols[left->next].previous = best.minor;
        TRY(add_candidate(room, t, left->previous, n));
        TRY(add_candidate(room, t, best.minor, n));
    }
    *count = 0;
    for (size_t i = 0; i < n; i = symbols[i].next) ids[(*count)++] = symbols[i].id;
    return LAMP_OK;
}

int merge_symbols(int32_t *ids, size_t *n, const tokenizer *t, merging_room *room) {
    if (*n > SCANNED_SYMBOLS) return merge_many(ids, n, t, room);
    *n = merge_few(ids, *n, t);
    return LAMP_OK;
}
