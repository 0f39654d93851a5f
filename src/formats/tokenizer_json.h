/* tokenizer.json of Hugging Face's tokenizers, for byte-level byte-pair encodings (GPT-2, Llama 3, Qwen's form without a normalizer, and
 * what Lamplighter trains):
 *
 *     added_tokens    [{"id", "content", "special", ...}]           never looked for inside text here: a caller adds their ids
 *     normalizer      null
 *     pre_tokenizer   ByteLevel (the GPT-2 pattern), or Sequence [Split by a regular expression, ByteLevel without one]
 *     post_processor  ignored: a caller adds the ids of special tokens
 *     decoder         ByteLevel, or none
 *     model           BPE: "vocab" {token: id}, "merges" ["a b"] or [["a", "b"]] in the order of their ranks, "ignore_merges"
 *
 * In vocab and merges each byte of a token is written as one character: itself if it prints (33-126, 161-172, 174-255), else U+0100
 * and up in byte order, so that a space is U+0120. What the reader cannot honour is LAMP_UNSUPPORTED; what is broken, LAMP_MALFORMED. */
#ifndef TOKENIZER_JSON_H
#define TOKENIZER_JSON_H

#include "text/tokenizer.h"

int tokenizer_json_read(tokenizer **t, const char *path);
int tokenizer_json_write(const tokenizer *t, const char *path);

#endif
