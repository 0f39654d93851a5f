/* The names under which GGUF files speak of the patterns that cut text (tokenizer.ggml.pre); the files do not hold the patterns themselves. */
#ifndef GGUF_PATTERNS_H
#define GGUF_PATTERNS_H

#include "text/tokenizer_parts.h"

/* Gives t the steps of this name. begins: whether its texts begin with a token where the file does not say. LAMP_UNSUPPORTED with the name and all
 * that are known. */
int gguf_patterns_add(tokenizer *t, bool *begins, const char *name, const char *where);

/* The name of t's steps. LAMP_UNSUPPORTED if there is none. */
int gguf_patterns_name(const char **name, const tokenizer *t);

#endif
