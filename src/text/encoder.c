/* Encoding: added tokens are found, the rest is normalised, cut into pieces, and these become ids. Most pieces are words seen before, so a table
 * remembers the ids of recent short pieces. */
#define _GNU_SOURCE /* memmem */
#include <string.h>

#include "base/characters.h"
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
    normalizer *normalizer;
    pretokenizer *pretokenizer;
    cache_slot *cache; /* (CACHE_SLOTS) */
    merging_room room;
    int64_t n_pieces;
};

int encoder_new(encoder **result, const tokenizer *t) {
    int status = LAMP_OK;
    encoder *e = NULL;
    TRY_TO(done, memory_new(&e, 1, sizeof *e, "an encoder"));
    e->t = t;
    TRY_TO(done, normalizer_new(&e->normalizer, t->normalizations, t->n_normalizations));
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
    normalizer_free(e->normalizer);
    memory_free(e);
}

/* ---- a piece --------------------------------------------------------------------------------------------------------------------- */

static size_t bytes_of_piece(int32_t *ids, const tokenizer *t, piece p) {
    for (size_t i = 0; i < p.length; i++) ids[i] = t->byte_id[(unsigned char)p.bytes[i]];
    return p.length;
}

static bool has_bytes(const tokenizer *t, const char *bytes, size_t length) {
    if (!t->byte_fallback) return false;
    for (size_t i = 0; i < length; i++)
        if (t->byte_id[(unsigned char)bytes[i]] < 0) return false;
    return true;
}

/* Characters, or what stands for those that have no token. As in Hugging Face's tokenizers, an unknown token comes after the bytes of
 * characters that follow it. */
static size_t characters_of_piece(int32_t *ids, const tokenizer *t, piece p) {
    size_t n = 0;
    bool owes_unknown = false;
    for (size_t at = 0, step; at < p.length; at += step) {
        step = character_length(p.bytes + at, p.length - at, NULL);
        if (!step) step = 1; /* a byte that is no character */
        int32_t id = tokenizer_find(t, p.bytes + at, step);
        if (id < 0 && has_bytes(t, p.bytes + at, step)) {
            for (size_t i = 0; i < step; i++) ids[n++] = t->byte_id[(unsigned char)p.bytes[at + i]];
        } else if (id < 0) {
            if (owes_unknown && !t->fuse_unknown) ids[n++] = t->unknown;
            owes_unknown = true;
        } else {
            if (owes_unknown) ids[n++] = t->unknown, owes_unknown = false;
            ids[n++] = id;
        }
    }
    if (owes_unknown) ids[n++] = t->unknown;
    return n;
}

static int encode_by_merges(encoder *e, token_list *list, piece p) {
    TRY(memory_reserve(&list->id, &list->capacity, list->length + p.length, sizeof *list->id, "token ids"));
    int32_t *ids = list->id + list->length;
    size_t n = e->t->kind == VOCABULARY_OF_BYTES ? bytes_of_piece(ids, e->t, p) : characters_of_piece(ids, e->t, p);
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

static int append_ids(token_list *list, const int32_t *ids, size_t n) {
    if (n == 0) return LAMP_OK;
    TRY(memory_reserve(&list->id, &list->capacity, list->length + n, sizeof *ids, "token ids"));
    memcpy(list->id + list->length, ids, n * sizeof *ids);
    list->length += n;
    return LAMP_OK;
}

static int encode_known_piece(encoder *e, token_list *list, piece p) {
    size_t start = list->length;
    cache_slot *slot = &e->cache[hash_bytes(p.bytes, p.length).low % CACHE_SLOTS];
    if (slot->length == p.length && memcmp(slot->bytes, p.bytes, p.length) == 0) return append_ids(list, slot->ids, slot->n_ids);
    TRY(encode_piece(e, list, p));
    size_t n = list->length - start;
    if (p.length > CACHED_BYTES || n > CACHED_IDS) return LAMP_OK;
    slot->length = (uint8_t)p.length, slot->n_ids = (uint8_t)n;
    memcpy(slot->bytes, p.bytes, p.length);
    memcpy(slot->ids, list->id + start, n * sizeof *slot->ids);
    return LAMP_OK;
}

/* A word with the marks before it, where words can be merged one by one: they are known, and a whole text is not. */
static size_t word_length(const tokenizer *t, piece p) {
    enum { MARK = sizeof SPACE_MARK - 1 };
    size_t at = 0;
    if (!t->joins_no_words) return p.length;
    while (p.length - at >= MARK && !memcmp(p.bytes + at, SPACE_MARK, MARK)) at += MARK;
    const char *next = memmem(p.bytes + at, p.length - at, SPACE_MARK, MARK);
    return next ? (size_t)(next - p.bytes) : p.length;
}

static int encode_words(encoder *e, token_list *list, piece p) {
    for (size_t n; p.length > 0; p.bytes += n, p.length -= n) {
        n = word_length(e->t, p);
        TRY(encode_known_piece(e, list, (piece){p.bytes, n}));
    }
    return LAMP_OK;
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------ */

static int encode_pieces(encoder *e, token_list *list, const char *bytes, size_t length, bool begins_text) {
    enum { PIECES_PER_CHECK = 1 << 16 };
    piece p;
    int more;
    TRY(pretokenizer_begin(e->pretokenizer, bytes, length, begins_text));
    while ((more = pretokenizer_next(e->pretokenizer, &p)) > 0) {
        if (++e->n_pieces % PIECES_PER_CHECK == 0) TRY(interrupt_check("tokenising"));
        TRY(encode_words(e, list, p));
    }
    return more;
}

/* Text between added tokens that are found before it is normalised. */
static int encode_segment(encoder *e, token_list *list, const char *bytes, size_t length, bool begins_text, bool specials) {
    added_scan scan;
    added_span span;
    TRY(normalizer_run(e->normalizer, &bytes, &length));
    added_scan_begin(&scan, &e->t->added_normalized, bytes, length, specials);
    while (added_scan_next(&scan, &span)) {
        if (span.id >= 0) TRY(token_list_append(list, span.id));
        else TRY(encode_pieces(e, list, bytes + span.start, span.end - span.start, begins_text && span.start == 0));
    }
    return LAMP_OK;
}

int encoder_encode_as(encoder *e, token_list *list, const char *bytes, size_t length, unsigned how) {
    added_scan scan;
    added_span span;
    bool specials = how & ENCODE_SPECIALS;
    if (how & ENCODE_BEGIN) TRY(append_ids(list, e->t->begin.id, e->t->begin.length));
    added_scan_begin(&scan, &e->t->added, bytes, length, specials);
    while (added_scan_next(&scan, &span)) {
        if (span.id >= 0) TRY(token_list_append(list, span.id));
        else TRY(encode_segment(e, list, bytes + span.start, span.end - span.start, span.start == 0, specials));
    }
    return how & ENCODE_END ? append_ids(list, e->t->end.id, e->t->end.length) : LAMP_OK;
}

int encoder_encode(encoder *e, token_list *list, const char *bytes, size_t length) { return encoder_encode_as(e, list, bytes, length, 0); }
