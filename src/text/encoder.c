/* Encoding: pieces of text become ids. Most pieces are words seen before, so a table remembers the ids of recent short pieces. */
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "text/merging.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_parts.h"

enum { CACHE_SLOTS = 1 << 15, CACHED_BYTES = 30, CACHED_IDS = 8 };

/* One cache line. A piece has one possible slot, where the newest stays. */
typedef struct {
    uint8_t length, n_ids; /* length 0: an empty slot */
    char bytes[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
} cache_slot;

struct encoder {
    const tokenizer *t; /* borrowed */
    pretokenizer *pretokenizer;
    cache_slot *cache; /* (CACHE_SLOTS) */
    merging_room room;
};

int encoder_new(encoder **result, const tokenizer *t) {
    int status = LAMP_OK;
    encoder *e = NULL;
    TRY_TO(done, memory_new(&e, 1, sizeof *e, "an encoder"));
    e->t = t;
    TRY_TO(done, pretokenizer_new(&e->pretokenizer, t->steps, t->n_steps));
    TRY_TO(done, memory_new(&e->cache, CACHE_SLOTS, sizeof *e->cache, "an encoder's cache"));
    *result = e;
    e = NULL;
done:
    encoder_free(e);
    return status;
}

void encoder_free(encoder *e) {
    if (!e) return;
    merging_room_release(&e->room);
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

static int encode_by_merges(encoder *e, token_list *list, piece p) {
    size_t n = p.length;
    TRY(memory_reserve(&list->id, &list->capacity, list->length + n, sizeof *list->id, "token ids"));
    int32_t *ids = list->id + list->length;
    for (size_t i = 0; i < n; i++) ids[i] = e->t->byte_id[(unsigned char)p.bytes[i]];
    TRY(merge_symbols(ids, &n, e->t, &e->room));
    list->length += n;
    return LAMP_OK;
}

static int encode_piece(encoder *e, token_list *list, piece p) {
    const tokenizer *t = e->t;
    if (t->kind == VOCABULARY_OF_WORDS || t->ignore_merges) {
        int32_t id = tokenizer_find(t, p.bytes, p.length);
        if (id >= 0 && !tokenizer_is_special(t, id)) return token_list_append(list, id);
    }
    return t->kind == VOCABULARY_OF_WORDS ? token_list_append(list, t->unknown) : encode_by_merges(e, list, p);
}

int encoder_encode(encoder *e, token_list *list, const char *bytes, size_t length) {
    enum { PIECES_PER_CHECK = 1 << 16 };
    size_t n_pieces = 0;
    piece p;
    int more;
    TRY(pretokenizer_begin(e->pretokenizer, bytes, length, true));
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
