/* Encoding: pieces of text become ids. Most pieces are words seen before, so a table remembers the ids of recent short pieces. New short
 * pieces are merged by scanning for the lowest rank; long ones by a linked list and a heap of candidate merges, in O(n log n). */
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "text/heap.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_internal.h"

enum { CACHE_SLOTS = 1 << 15, CACHED_BYTES = 30, CACHED_IDS = 8, SCANNED_BYTES = 64 };

/* One cache line. A piece has one possible slot, where the newest stays. */
typedef struct {
    uint8_t length, n_ids; /* length 0: an empty slot */
    char bytes[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
} cache_slot;

typedef struct {
    int32_t id; /* SWALLOWED: merged into a symbol to its left */
    size_t previous, next;
} symbol;

struct encoder {
    const tokenizer *t; /* borrowed */
    pretokenizer *pretokenizer;
    cache_slot *cache; /* (CACHE_SLOTS) */
    symbol *symbols;   /* of the long piece at hand */
    size_t symbol_capacity;
    heap candidates; /* (rank, position of the left symbol); some are out of date */
};

static const int32_t SWALLOWED = -1;
static const uint64_t NO_MERGE = UINT64_MAX;

int encoder_new(encoder **result, const tokenizer *t) {
    int status = LAMP_OK;
    encoder *e = NULL;
    TRY_TO(done, memory_new(&e, 1, sizeof *e, "an encoder"));
    e->t = t;
    TRY_TO(done, pretokenizer_new(&e->pretokenizer, t->pattern));
    TRY_TO(done, memory_new(&e->cache, CACHE_SLOTS, sizeof *e->cache, "an encoder's cache"));
    *result = e;
    e = NULL;
done:
    encoder_free(e);
    return status;
}

void encoder_free(encoder *e) {
    if (!e) return;
    heap_release(&e->candidates);
    memory_free(e->symbols);
    memory_free(e->cache);
    pretokenizer_free(e->pretokenizer);
    memory_free(e);
}

static int append_ids(token_list *list, const int32_t *ids, size_t n) {
    TRY(memory_reserve(&list->id, &list->capacity, list->length + n, sizeof *ids, "token ids"));
    memcpy(list->id + list->length, ids, n * sizeof *ids);
    list->length += n;
    return LAMP_OK;
}

static uint64_t rank_of(const tokenizer *t, int32_t left, int32_t right) {
    return (uint64_t)index_map_find(&t->rank_of_pair, merge_key(left, right)); /* absent: -1, which is NO_MERGE */
}

/* Returns how many ids the piece has. */
static size_t encode_short(const tokenizer *t, int32_t ids[SCANNED_BYTES], piece p) {
    uint64_t rank[SCANNED_BYTES]; /* of merging ids[i] with ids[i + 1] */
    size_t n = p.length;
    for (size_t i = 0; i < n; i++) ids[i] = t->byte_id[(unsigned char)p.bytes[i]];
    for (size_t i = 0; i + 1 < n; i++) rank[i] = rank_of(t, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_MERGE) break;
        ids[best] = t->merges[rank[best]].result;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(rank + best, rank + best + 1, (n - best) * sizeof *rank);
        if (best > 0) rank[best - 1] = rank_of(t, ids[best - 1], ids[best]);
        if (best + 1 < n) rank[best] = rank_of(t, ids[best], ids[best + 1]);
    }
    return n;
}

/* Offers the merge of the symbol at left with its right neighbour, if there is one. n stands for no neighbour. */
static int add_candidate(encoder *e, size_t left, size_t n) {
    if (left == n || e->symbols[left].next == n) return LAMP_OK;
    uint64_t rank = rank_of(e->t, e->symbols[left].id, e->symbols[e->symbols[left].next].id);
    return rank == NO_MERGE ? LAMP_OK : heap_push(&e->candidates, (heap_entry){rank, left});
}

static int encode_long(encoder *e, token_list *list, piece p) {
    const tokenizer *t = e->t;
    size_t n = p.length;
    heap_entry best;
    e->candidates.n = 0;
    TRY(memory_reserve(&e->symbols, &e->symbol_capacity, n, sizeof *e->symbols, "the symbols of a long piece"));
    symbol *symbols = e->symbols;
    for (size_t i = 0; i < n; i++) symbols[i] = (symbol){t->byte_id[(unsigned char)p.bytes[i]], i > 0 ? i - 1 : n, i + 1};
    for (size_t i = 0; i < n; i++) TRY(add_candidate(e, i, n));
    while (heap_pop(&best, &e->candidates)) {
        symbol *left = &symbols[best.minor];
        if (left->next == n || rank_of(t, left->id, symbols[left->next].id) != best.major) continue; /* a neighbour has changed since */
        symbols[left->next].id = SWALLOWED;
        left->id = t->merges[best.major].result;
        left->next = symbols[left->next].next;
        if (left->next < n) symbols[left->next].previous = best.minor;
        TRY(add_candidate(e, left->previous, n));
        TRY(add_candidate(e, best.minor, n));
    }
    for (size_t i = 0; i < n; i = symbols[i].next) TRY(token_list_append(list, symbols[i].id));
    return LAMP_OK;
}

static int encode_piece(encoder *e, token_list *list, piece p) {
    int32_t ids[SCANNED_BYTES];
    size_t n = 1;
    if (e->t->ignore_merges) {
        ids[0] = tokenizer_find(e->t, p.bytes, p.length);
        if (ids[0] >= 0 && !tokenizer_is_special(e->t, ids[0])) return append_ids(list, ids, n);
    }
    if (p.length > SCANNED_BYTES) return encode_long(e, list, p);
    n = encode_short(e->t, ids, p);
    return append_ids(list, ids, n);
}

int encoder_encode(encoder *e, token_list *list, const char *bytes, size_t length) {
    enum { PIECES_PER_CHECK = 1 << 16 };
    size_t n_pieces = 0;
    piece p;
    int more;
    pretokenizer_begin(e->pretokenizer, bytes, length);
    while ((more = pretokenizer_next(e->pretokenizer, &p)) > 0) {
        if (++n_pieces % PIECES_PER_CHECK == 0) TRY(interrupt_check("tokenising"));
        size_t start = list->length;
        cache_slot *slot = &e->cache[hash_bytes(p.bytes, p.length).low % CACHE_SLOTS];
        if (slot->length == p.length && memcmp(slot->bytes, p.bytes, p.length) == 0) {
            TRY(append_ids(list, slot->ids, slot->n_ids));
            continue;
        }
        TRY(encode_piece(e, list, p));
        size_t n = list->length - start;
        if (p.length > CACHED_BYTES || n > CACHED_IDS) continue;
        slot->length = (uint8_t)p.length, slot->n_ids = (uint8_t)n;
        memcpy(slot->bytes, p.bytes, p.length);
        memcpy(slot->ids, list->id + start, n * sizeof *slot->ids);
    }
    return more;
}
