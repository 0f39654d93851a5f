/* tokenizer.json of Hugging Face's tokenizers, for byte-level byte-pair encodings (GPT-2, Llama 3, Qwen's form without a normalizer, and
 * what Lamplighter trains) and for vocabularies of words:
 *
 *     added_tokens    [{"id", "content", "special", ...}]           never looked for inside text here: a caller adds their ids
 *     normalizer      null
 *     pre_tokenizer   ByteLevel (the GPT-2 pattern), or a Sequence of Split, Digits ..., and ByteLevel; for words Whitespace and its like
 *     post_processor  ignored: a caller adds the ids of special tokens
 *     decoder         ByteLevel, or none
 *     model           BPE: "vocab" {token: id}, "merges" ["a b"] or [["a", "b"]] in the order of their ranks, "ignore_merges"
 *                     WordLevel: "vocab", "unk_token"
 *
 * A vocabulary of bytes is spelt in an alphabet of its own (text/byte_alphabet.h). What the reader cannot honour is LAMP_UNSUPPORTED; what is
 * broken, LAMP_MALFORMED. What was read is written as it was, to the byte. */
#ifndef TOKENIZER_JSON_H
#define TOKENIZER_JSON_H

#include "text/tokenizer.h"

int tokenizer_json_read(tokenizer **t, const char *path);
int tokenizer_json_write(const tokenizer *t, const char *path);

#endif
