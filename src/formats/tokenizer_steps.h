/* The parts of a tokenizer.json that say how text is cut, and what is said of them in return. */
#ifndef TOKENIZER_STEPS_H
#define TOKENIZER_STEPS_H

#include "base/json.h"
#include "text/tokenizer_parts.h"

/* The steps of root's "pre_tokenizer" become those of t. ByteLevel makes its vocabulary one of bytes. */
int tokenizer_steps_read(tokenizer *t, const json_t *root, const char *path);
int tokenizer_steps_write(json_writer *w, const tokenizer *t);

/* The settings matter to a pre-tokenizer alone, and false is the plain one; decoders always have true. */
void tokenizer_write_byte_level(json_writer *w, const char *key, bool setting);

/* A setting that may be absent; LAMP_MALFORMED if it is there and no boolean. */
int tokenizer_flag(bool *flag, const json_t *object, const char *key, bool otherwise, const char *path);
bool tokenizer_lacks(const json_t *value); /* absent, or null */

#endif
