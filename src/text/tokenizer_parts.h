/* A tokenizer from inside: for what builds one (trainers, readers of files), uses its parts (encoder, decoder) or writes it. One is built in
 * this order:
 *
 *     tokenizer_new                  by the kind of its vocabulary
 *     settings                       the fields marked so below, and steps (tokenizer_add_step, tokenizer_add_normalization)
 *     tokenizer_add_token            in the order of the ids
 *     tokenizer_add_merge            in the order of the ranks, or tokenizer_merge_by_scores
 *     begin, end                     what stands around a whole text
 *     tokenizer_complete             checks, and makes what encoding needs
 *
 * A vocabulary of bytes holds bytes (text/byte_alphabet.h reads what files hold in their place). One of characters holds what it is made
 * from: U+2581 where text has a space, <0x0A> for the byte 10. */
#ifndef TOKENIZER_PARTS_H
#define TOKENIZER_PARTS_H

#include "text/added_tokens.h"
#include "text/index_map.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

/* Added tokens are found in text before it is cut; special ones stand for no text. */
typedef enum { TOKEN_TEXT, TOKEN_ADDED, TOKEN_SPECIAL } token_kind;

enum {
    TRAIT_LEFT = 1,       /* an added token takes the white space to its left along */
    TRAIT_RIGHT = 2,      /* to its right */
    TRAIT_WORD = 4,       /* is found only where no word goes on at its ends */
    TRAIT_NORMALIZED = 8, /* is found in normalised text */
    TRAIT_OUTSIDE = 16,   /* does not belong to the vocabulary, whose pieces and merges know nothing of it */
    TRAIT_SPECIAL = 32    /* of added_token only */
};

typedef struct {
    uint32_t start, length;       /* as the vocabulary spells it (a special token's name): bytes of `text` */
    uint32_t shown, shown_length; /* what it stands for inside a text, likewise */
    token_kind kind;
    unsigned traits;
} token;

typedef struct {
    int32_t left, right, result; /* ids */
} merge;

/* How tokens become text. */
typedef struct {
    const char *mark;       /* stands for a space (U+2581), or NULL */
    bool reads_bytes;       /* <0x0A> is the byte 10 */
    const char *between;    /* stands between tokens, or NULL */
    int stripped;           /* spaces that the beginning of a text loses */
    bool first_loses_marks; /* the first token of a text loses all its marks */
} token_showing;

struct tokenizer {
    vocabulary_kind kind;
    char **texts; /* of the steps and settings; owned */
    size_t n_texts, text_capacity;
    normalizer_step *normalizations;
    pretokenizer_step *steps;
    size_t n_normalizations, normalization_capacity, n_steps, step_capacity;
    buffer text;
    token *tokens; /* (size) */
    merge *merges; /* (n_merges) */
    int size, n_merges;
    size_t token_capacity, merge_capacity;
    index_map id_of_hash;    /* hash of a token's bytes -> id */
    index_map merge_of_pair; /* pair_key(left, right) -> rank << 32 | result */
    int32_t byte_id[256];    /* -1: no token */
    added_tokens added, added_normalized;
    token_list begin, end;        /* what stands around a text whose template is asked for */
    buffer source, config_source; /* the files it was read from, to be written as they were; empty: none */

    /* settings */
    token_showing showing;
    int32_t end_of_text, unknown; /* ids, or -1; the end of text is looked for by its usual names if it is not set */
    bool ignore_merges;           /* a piece that is itself a token is that token, whatever the merges say */
    bool byte_fallback;           /* characters without a token become bytes */
    bool fuse_unknown;            /* neighbouring unknown characters are one token */

    bool joins_no_words; /* no merge joins a space mark to what stands before it: words, each from its marks on, can be merged one by one */
};

int tokenizer_new(tokenizer **t, vocabulary_kind kind);
int tokenizer_add_normalization(tokenizer *t, const normalizer_step *step); /* copies it */
int tokenizer_add_step(tokenizer *t, const pretokenizer_step *step);        /* copies it */
int tokenizer_keep_text(const char **copy, tokenizer *t, const char *text); /* for settings; NULL stays NULL */
int tokenizer_add_token(tokenizer *t, const char *bytes, size_t length, token_kind kind, unsigned traits);
int tokenizer_add_merge(tokenizer *t, int32_t left, int32_t right); /* LAMP_MALFORMED if their bytes, joined, are no token */
int tokenizer_set_merge(tokenizer *t, merge m, int64_t rank);       /* as it says; merges of one rank go by their places */
int tokenizer_merge_by_scores(tokenizer *t, const float *scores);   /* (size) the pair whose joined bytes have the highest score is merged first */
int tokenizer_complete(tokenizer *t);                               /* LAMP_UNSUPPORTED if some text would have no tokens */
int tokenizer_show_tokens(tokenizer *t);                            /* the part of it that decoding needs */

int32_t tokenizer_find(const tokenizer *t, const char *bytes, size_t length); /* the id of these bytes in the vocabulary, or -1 */
int32_t tokenizer_find_name(const tokenizer *t, const char *name);            /* likewise, and of added tokens */

/* Whether scores may make a token of it and another. */
static inline bool tokenizer_can_merge(const tokenizer *t, int32_t id) { return id >= 0 && t->tokens[id].kind == TOKEN_TEXT && id != t->unknown; }

static inline uint64_t pair_key(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

extern const char SPACE_MARK[4];   /* U+2581, with which vocabularies of characters spell spaces */
extern const char END_OF_TEXT[14]; /* what trainers call the token between documents */

#endif
