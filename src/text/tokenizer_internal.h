/* A tokenizer from inside: for the encoder, the trainer and formats/tokenizer_json. One is built by adding its tokens in the order of
 * their ids, then its merges in the order of their ranks, and completing it. */
#ifndef TOKENIZER_INTERNAL_H
#define TOKENIZER_INTERNAL_H

#include "text/index_map.h"
#include "text/tokenizer.h"

/* Added tokens stand beside the byte-pair vocabulary and are written as they are; special ones stand for no text. */
typedef enum { TOKEN_TEXT, TOKEN_ADDED, TOKEN_SPECIAL } token_kind;

typedef struct {
    size_t start; /* its bytes (a special token's name) are text[start] .. text[start + length - 1] */
    size_t length;
    token_kind kind;
} token;

typedef struct {
    int32_t left, right, result; /* ids */
} merge;

struct tokenizer {
    char *pattern; /* of the pre-tokenizer */
    buffer text;
    token *tokens; /* (size) */
    merge *merges; /* (n_merges), the index is the rank */
    int size, n_merges;
    size_t token_capacity, merge_capacity;
    index_map id_of_hash;   /* hash of a token's bytes -> id */
    index_map rank_of_pair; /* merge_key(left, right) -> rank */
    int32_t byte_id[256];
    int32_t end_of_text;
    bool ignore_merges; /* a piece that is itself a token is that token, whatever the merges say */
};

int tokenizer_new(tokenizer **t, const char *pattern);
int tokenizer_add_token(tokenizer *t, const char *bytes, size_t length, token_kind kind);
int tokenizer_add_merge(tokenizer *t, int32_t left, int32_t right); /* LAMP_MALFORMED if their bytes, joined, are no token */
int tokenizer_complete(tokenizer *t);                               /* LAMP_UNSUPPORTED if some byte has no token */

int32_t tokenizer_find(const tokenizer *t, const char *bytes, size_t length); /* the id of these bytes, or -1 */

static inline uint64_t merge_key(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

#endif
