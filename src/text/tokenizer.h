/* From text to token ids and back, with one of these vocabularies:
 *
 *     of bytes        byte-level byte-pair encoding, as GPT-2 and most since: decode(encode(x)) == x for arbitrary bytes, unless a normalizer
 *                     changes x
 *     of characters   byte-pair encoding of characters, as SentencePiece does it: what has no token becomes bytes
 *     of words        whole words of text that is cut at white space and signs; the rare ones are all one token, whose spelling is lost
 *
 * Added tokens are found in text first, what lies between them is normalised and cut into pieces by patterns. Of a piece, the symbols are
 * merged pair by pair, lowest rank first (leftmost on ties), until no merge applies (Sennrich et al. 2016). Reading and writing tokenizer.json
 * is formats/tokenizer_json.h; how to build one from parts, text/tokenizer_parts.h. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

typedef enum { VOCABULARY_OF_BYTES, VOCABULARY_OF_CHARACTERS, VOCABULARY_OF_WORDS } vocabulary_kind;

typedef struct tokenizer tokenizer;

/* A growing list of token ids; zero-initialise it, release it with token_list_release. */
typedef struct {
    int32_t *id;
    size_t length, capacity;
} token_list;

int token_list_append(token_list *list, int32_t id);
void token_list_release(token_list *list);

void tokenizer_free(tokenizer *t);

int tokenizer_vocabulary_size(const tokenizer *t); /* ids are 0 .. size - 1 */
int32_t tokenizer_end_of_text(const tokenizer *t); /* separates documents; -1 if the vocabulary has none */
int32_t tokenizer_unknown(const tokenizer *t);     /* stands for text that has no token of its own; -1 if all text has */
bool tokenizer_equals(const tokenizer *a, const tokenizer *b); /* all text has the same tokens in both */
bool tokenizer_is_special(const tokenizer *t, int32_t id);

/* The bytes an id stands for inside a text, borrowed; a special token stands for none (*length 0). A word comes with a space before it. */
const char *tokenizer_token_bytes(const tokenizer *t, int32_t id, size_t *length);

/* Appends the ids of bytes to list. Any bytes are valid: those that are no UTF-8 are not touched by patterns and normalizers, and text on both
 * sides of them is cut as if it were alone. Safe from several threads, each with its own encoder. */
typedef struct encoder encoder;
int encoder_new(encoder **e, const tokenizer *t); /* holds a cache of pieces; t is borrowed */
void encoder_free(encoder *e);

/* Text is data: what looks like a special token in it is text like any other, and nothing is put around it. */
int encoder_encode(encoder *e, token_list *list, const char *bytes, size_t length);

enum {
    ENCODE_SPECIALS = 1, /* the names of special tokens in the text are those tokens */
    ENCODE_BEGIN = 2,    /* what the tokenizer's template puts before a text comes first */
    ENCODE_END = 4,      /* and what it puts behind, last */
    ENCODE_PROMPT = ENCODE_SPECIALS | ENCODE_BEGIN
};
int encoder_encode_as(encoder *e, token_list *list, const char *bytes, size_t length, unsigned how);

/* Appends the bytes of n ids to out; LAMP_MALFORMED names the first id outside the vocabulary. Special tokens are left out. */
int tokenizer_decode(const tokenizer *t, buffer *out, const int32_t *ids, size_t n);

/* The same, id by id: each appends the characters that are whole by now, and the end what is left. begins_text: nothing stands before it;
 * some tokenizers then drop a space. */
typedef struct {
    const tokenizer *t; /* borrowed */
    bool shows_specials, is_first;
    int to_strip;
    char held[4]; /* the beginning of a character */
    size_t n_held;
} decoder;
void decoder_begin(decoder *d, const tokenizer *t, bool begins_text, bool shows_specials);
int decoder_add(decoder *d, buffer *out, int32_t id);
int decoder_end(decoder *d, buffer *out);

/* ---- training ---------------------------------------------------------------------------------------------------------------- */

/* Counts pieces of the text it is fed, then makes a vocabulary of the size asked for, or smaller if the text has too little. Of bytes: the most
 * frequent pair is merged first; ties go to the pair with the smaller (left, right) ids. Of words: the most frequent ones, the most frequent
 * first. The result is a function of the text alone. */
typedef struct tokenizer_trainer tokenizer_trainer;
int tokenizer_trainer_new(tokenizer_trainer **trainer, vocabulary_kind kind);
void tokenizer_trainer_free(tokenizer_trainer *trainer);
int tokenizer_trainer_feed(tokenizer_trainer *trainer, const char *bytes, size_t length); /* one document */
int tokenizer_trainer_finish(tokenizer **t, tokenizer_trainer *trainer, int vocabulary_size);

#endif
