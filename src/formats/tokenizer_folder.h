/* The tokenizer in a folder: tokenizer.json (formats/tokenizer_json.h) and, beside it, what tokenizer_config.json says of it:
 *
 *     eos_token                      what ends a text: a name, or {"content": name}
 *     add_bos_token, add_eos_token   true: bos_token stands before a text, eos_token behind it, unless tokenizer.json has a template that says what does */
#ifndef TOKENIZER_FOLDER_H
#define TOKENIZER_FOLDER_H

#include "text/tokenizer.h"

bool tokenizer_folder_has_one(const char *folder);
int tokenizer_folder_read(tokenizer **t, const char *folder);

/* name: a tokenizer.json, a folder with one (a model, a dataset), a GGUF file, or a run. */
int tokenizer_open(tokenizer **t, const char *name);

/* Both files; the second only if there was one. */
int tokenizer_folder_write(const tokenizer *t, const char *folder);

#endif
