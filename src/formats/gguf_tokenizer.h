/* The tokenizer in a GGUF file <-> ours:
 *
 *     tokenizer.ggml.model       "gpt2": byte-level byte-pair encoding; "none": there is no tokenizer
 *     tokenizer.ggml.pre         the name of the patterns that cut text, which the file itself does not hold
 *     tokenizer.ggml.tokens      [text], spelt in the byte-level alphabet, but added tokens as they are
 *     tokenizer.ggml.token_type  [i32]: 1 of the vocabulary, 3 control (special), 4 added, 5 unused: those at the end are not tokens of ours
 *     tokenizer.ggml.merges      [text] "left right", in the order of their ranks
 *     tokenizer.ggml.eos_token_id, bos_token_id, ...  ids below the number of tokens */
#ifndef GGUF_TOKENIZER_H
#define GGUF_TOKENIZER_H

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "text/tokenizer.h"

/* NULL if there is none. What we cannot honour is LAMP_UNSUPPORTED by its name. */
int gguf_read_tokenizer(tokenizer **t, const gguf *file);
int gguf_read_tokenizer_of(tokenizer **t, const char *path);

/* LAMP_UNSUPPORTED if GGUF has no name for how it cuts text. t may be NULL. Unused tokens fill the vocabulary up to that size; end_of_text is an id,
 * or -1. */
int gguf_write_tokenizer(gguf_writer *writer, const tokenizer *t, int64_t vocabulary_size, int64_t end_of_text);

#endif
