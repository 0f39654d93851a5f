/* Distinct pieces of text and how often each occurs: what a vocabulary is made from. Zero-initialise it. */
#ifndef PIECE_COUNTS_H
#define PIECE_COUNTS_H

#include "base/buffer.h"
#include "text/index_map.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

typedef struct {
    size_t start, length; /* its bytes in text */
    int64_t count;
} counted_piece;

typedef struct {
    buffer text;           /* distinct pieces, one after another */
    counted_piece *pieces; /* (n), in the order of their first appearance */
    size_t n, capacity;
    index_map piece_of_hash; /* two pieces of equal hash would be counted as one: improbable and harmless */
    int64_t documents;
} piece_counts;

int piece_counts_add(piece_counts *c, const char *bytes, size_t length);
void piece_counts_release(piece_counts *c);

/* How text is cut for a vocabulary, and the vocabulary of at most so many tokens: bytes and what their most frequent neighbours are merged
 * to, or the most frequent words. */
extern const pretokenizer_step merge_step, word_step;
int merges_learn(tokenizer **t, const piece_counts *c, int vocabulary_size);
int words_choose(tokenizer **t, const piece_counts *c, int vocabulary_size);

#endif
