/* Learning merges. The most frequent pair of neighbouring ids in all pieces is merged again and again (Sennrich et al. 2016, algorithm 1).
 * Each pair knows the pieces that may hold it, so a merge visits only those. A heap proposes the next pair: a pair's count grows only while
 * the merge that made one of its ids runs, and is pushed after it; a count that has shrunk since is pushed again, corrected. */
#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "text/heap.h"
#include "text/piece_counts.h"
#include "text/tokenizer_parts.h"

enum { MERGES_PER_CHECK = 64, FIRST_BYTE_ID = 1, FIRST_MERGE_ID = 257 };

const pretokenizer_step merge_step = {.kind = STEP_SPLIT, .text = PRETOKENIZER_QWEN2, .is_regex = true};

typedef struct {
    int32_t left, right;
    int64_t count; /* over all pieces, overlaps included: "aaa" holds (a, a) twice */
    size_t *piece; /* pieces that held it once, in ascending order */
    size_t n, capacity;
} pair;

typedef struct {
    int32_t *symbols;      /* the ids of every piece */
    counted_piece *pieces; /* (n), whose start and length are in symbols */
    size_t n;
    pair *pairs; /* (n_pairs) */
    size_t n_pairs, pair_capacity;
    index_map index_of_pair; /* pair_key(left, right) -> index in pairs */
    heap candidates;         /* (INT64_MAX - count, pair_key): most frequent first, then smallest ids */
} merging;

static void merging_release(merging *m) {
    heap_release(&m->candidates);
    index_map_release(&m->index_of_pair);
    for (size_t i = 0; i < m->n_pairs; i++) memory_free(m->pairs[i].piece);
    memory_free(m->pairs);
    memory_free(m->pieces);
    memory_free(m->symbols);
}

static int push_pair(merging *m, const pair *p) {
    return heap_push(&m->candidates, (heap_entry){(uint64_t)(INT64_MAX - p->count), pair_key(p->left, p->right)});
}

/* Adds (sign 1) or takes away (sign -1) the pairs of one piece. Those from first_new on did not exist before this merge and gather their
 * pieces; an older pair can only lose pieces. */
static int count_pairs(merging *m, size_t piece_index, int sign, size_t first_new) {
    counted_piece p = m->pieces[piece_index];
    for (size_t i = p.start; i + 1 < p.start + p.length; i++) {
        uint64_t key = pair_key(m->symbols[i], m->symbols[i + 1]);
        int64_t index = index_map_find(&m->index_of_pair, key);
        if (index < 0) {
            TRY(memory_reserve(&m->pairs, &m->pair_capacity, m->n_pairs + 1, sizeof *m->pairs, "pairs of tokens"));
            TRY(index_map_set(&m->index_of_pair, key, index = (int64_t)m->n_pairs));
            m->pairs[m->n_pairs++] = (pair){.left = m->symbols[i], .right = m->symbols[i + 1]};
        }
        pair *found = &m->pairs[index];
        found->count += sign * p.count;
        if ((size_t)index < first_new || (found->n > 0 && found->piece[found->n - 1] == piece_index)) continue;
        TRY(memory_reserve(&found->piece, &found->capacity, found->n + 1, sizeof *found->piece, "pairs of tokens"));
        found->piece[found->n++] = piece_index;
    }
    return LAMP_OK;
}

static void merge_in_piece(int32_t *symbols, counted_piece *p, int32_t left, int32_t right, int32_t result) {
    int32_t *from = symbols + p->start, *end = from + p->length, *to = from;
    while (from < end) {
        bool merged = from + 1 < end && from[0] == left && from[1] == right;
        *to++ = merged ? result : *from;
        from += merged ? 2 : 1;
    }
    p->length = (size_t)(to - (symbols + p->start));
}

static int merge_pair(merging *m, int64_t index, int32_t result) {
    pair merged = m->pairs[index]; /* a copy: the array may move */
    size_t first_new = m->n_pairs;
    for (size_t i = 0; i < merged.n; i++) {
        TRY(count_pairs(m, merged.piece[i], -1, first_new));
        merge_in_piece(m->symbols, &m->pieces[merged.piece[i]], merged.left, merged.right, result);
        TRY(count_pairs(m, merged.piece[i], 1, first_new));
    }
    for (size_t i = first_new; i < m->n_pairs; i++) TRY(push_pair(m, &m->pairs[i]));
    return LAMP_OK;
}

static int merging_begin(merging *m, const piece_counts *c) {
    m->n = c->n;
    TRY(memory_new(&m->symbols, c->text.length, sizeof *m->symbols, "the symbols of pieces"));
    TRY(memory_new(&m->pieces, m->n, sizeof *m->pieces, "counted pieces"));
    for (size_t i = 0; i < c->text.length; i++) m->symbols[i] = FIRST_BYTE_ID + (unsigned char)c->text.bytes[i];
    for (size_t i = 0; i < m->n; i++) {
        m->pieces[i] = c->pieces[i];
        TRY(count_pairs(m, i, 1, 0));
    }
    for (size_t i = 0; i < m->n_pairs; i++) TRY(push_pair(m, &m->pairs[i]));
    return LAMP_OK;
}

/* The joined bytes are new: merging treats equal bytes alike wherever they stand, so no string is reached by two different pairs. */
static int add_joined_token(tokenizer *t, int32_t left, int32_t right) {
    int status = LAMP_OK;
    buffer joined = {0};
    TRY_TO(done, tokenizer_decode(t, &joined, (int32_t[]){left, right}, 2));
    TRY_TO(done, tokenizer_add_token(t, joined.bytes, joined.length, TOKEN_TEXT, 0));
    TRY_TO(done, tokenizer_add_merge(t, left, right));
done:
    buffer_release(&joined);
    return status;
}

static int merge_frequent_pairs(tokenizer *t, merging *m, int vocabulary_size) {
    heap_entry best;
    while (t->size < vocabulary_size && heap_pop(&best, &m->candidates)) {
        int64_t index = index_map_find(&m->index_of_pair, best.minor);
        const pair *p = &m->pairs[index];
        if (p->count < 2) continue;
        if ((uint64_t)(INT64_MAX - p->count) != best.major) {
            TRY(push_pair(m, p));
            continue;
        }
        TRY(add_joined_token(t, p->left, p->right));
        TRY(merge_pair(m, index, t->size - 1));
        if (t->size % MERGES_PER_CHECK > 0) continue;
        TRY(interrupt_check("training a tokenizer"));
        log_progress("tokenizer: %d of %d tokens", t->size, vocabulary_size);
    }
    return LAMP_OK;
}

int merges_learn(tokenizer **result, const piece_counts *c, int vocabulary_size) {
    int status = LAMP_OK;
    tokenizer *t = NULL;
    merging m = {0};
    if (vocabulary_size < FIRST_MERGE_ID)
        FAIL(LAMP_INVALID, "vocabulary size: expected at least %d (every byte and %s), found %d", FIRST_MERGE_ID, END_OF_TEXT, vocabulary_size);
    TRY_TO(done, tokenizer_new(&t, VOCABULARY_OF_BYTES));
    TRY_TO(done, tokenizer_add_step(t, &merge_step));
    TRY_TO(done, tokenizer_add_token(t, END_OF_TEXT, sizeof END_OF_TEXT - 1, TOKEN_SPECIAL, 0));
    for (int byte = 0; byte < 256; byte++) TRY_TO(done, tokenizer_add_token(t, &(char){(char)byte}, 1, TOKEN_TEXT, 0));
    TRY_TO(done, merging_begin(&m, c));
    TRY_TO(done, merge_frequent_pairs(t, &m, vocabulary_size));
    TRY_TO(done, tokenizer_complete(t));
    *result = t;
    t = NULL;
done:
    merging_release(&m);
    tokenizer_free(t);
    return status;
}
