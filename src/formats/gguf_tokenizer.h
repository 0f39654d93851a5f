/* The tokenizer in a GGUF file <-> ours:
 *
 *     tokenizer.ggml.model       "gpt2": byte-level byte-pair encoding; "llama": that of characters, as SentencePiece has it; "none": there is none
 *     tokenizer.ggml.pre         gpt2: the name of the patterns that cut text (formats/gguf_patterns.h)
 *     tokenizer.ggml.tokens      [text]; gpt2: spelt in the byte-level alphabet, but added tokens as they are; llama: U+2581 for a space, <0x0A> for
 *                                a byte
 *     tokenizer.ggml.token_type  [i32]: 1 of the vocabulary, 2 the unknown one, 3 control (special), 4 added, 6 a byte, 5 unused: those at the end
 *                                are not tokens of ours
 *     tokenizer.ggml.merges      gpt2: [text] "left right", in the order of their ranks
 *     tokenizer.ggml.scores      llama: [f32], of the neighbours that make a token the highest is merged first
 *     tokenizer.ggml.add_space_prefix             llama: a text begins with a space (true)
 *     tokenizer.ggml.add_bos_token, bos_token_id  whether this token stands before a text (false; llama and llama-bpe: true)
 *     tokenizer.ggml.add_eos_token, eos_token_id  and this behind it (false)
 *     tokenizer.ggml.eot_token_id ...             ids below the number of tokens
 *     tokenizer.lamplighter.composes_characters   gpt2: text is put into Unicode's normal form C first (false); others do not know it */
#ifndef GGUF_TOKENIZER_H
#define GGUF_TOKENIZER_H

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "text/tokenizer.h"

#define GGUF_COMPOSES "tokenizer.lamplighter.composes_characters"

enum { GGUF_TOKEN_NORMAL = 1, GGUF_TOKEN_UNKNOWN, GGUF_TOKEN_CONTROL, GGUF_TOKEN_ADDED, GGUF_TOKEN_UNUSED, GGUF_TOKEN_BYTE };

/* NULL if there is none. What we cannot honour is LAMP_UNSUPPORTED by its name. */
int gguf_read_tokenizer(tokenizer **t, const gguf *file);
int gguf_read_tokenizer_of(tokenizer **t, const char *path);

/* LAMP_UNSUPPORTED if GGUF has no place for how it makes tokens. t may be NULL. Unused tokens fill the vocabulary up to that size; end_of_text is an
 * id, or -1. */
int gguf_write_tokenizer(gguf_writer *writer, const tokenizer *t, int64_t vocabulary_size, int64_t end_of_text);

#endif
