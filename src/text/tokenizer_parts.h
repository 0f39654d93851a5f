/* A tokenizer from inside: for what builds one (trainers, readers of files), uses its parts (encoder, decoder) or writes it. One is built in
 * this order: new, steps that cut text, tokens in the order of their ids, merges in the order of their ranks, complete. */
#ifndef TOKENIZER_PARTS_H
#define TOKENIZER_PARTS_H

#include "text/index_map.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

/* Added tokens stand beside the vocabulary and are written as they are; special ones stand for no text. */
typedef enum { TOKEN_TEXT, TOKEN_ADDED, TOKEN_SPECIAL } token_kind;

typedef struct {
    size_t start, length; /* as the vocabulary spells it (a special token's name): text[start] .. text[start + length - 1] */
    token_kind kind;
} token;

typedef struct {
    int32_t left, right, result; /* ids */
} merge;

struct tokenizer {
    vocabulary_kind kind;
    char **texts; /* of steps */
    pretokenizer_step *steps;
    size_t n_texts, text_capacity, n_steps, step_capacity;
    buffer text;
    token *tokens; /* (size) */
    merge *merges; /* (n_merges), the index is the rank */
    int size, n_merges;
    size_t token_capacity, merge_capacity;
    index_map id_of_hash;    /* hash of a token's bytes -> id */
    index_map merge_of_pair; /* pair_key(left, right) -> rank << 32 | result */
    int32_t byte_id[256];
    int32_t end_of_text, unknown; /* ids, or -1 */
    buffer source;                /* the file it was read from, to be written as it was; empty: none */
    bool ignore_merges;           /* a piece that is itself a token is that token, whatever the merges say */
};

int tokenizer_new(tokenizer **t, vocabulary_kind kind);
int tokenizer_add_step(tokenizer *t, const pretokenizer_step *step); /* copies it */
int tokenizer_add_token(tokenizer *t, const char *bytes, size_t length, token_kind kind);
int tokenizer_add_merge(tokenizer *t, int32_t left, int32_t right); /* LAMP_MALFORMED if their bytes, joined, are no token */
int tokenizer_complete(tokenizer *t);                               /* LAMP_UNSUPPORTED if some text would have no tokens */

int32_t tokenizer_find(const tokenizer *t, const char *bytes, size_t length); /* the id of these bytes, or -1 */

static inline uint64_t pair_key(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

extern const char END_OF_TEXT[14]; /* what trainers call the token between documents */

#endif
