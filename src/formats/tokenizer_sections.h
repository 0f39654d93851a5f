/* The sections of a tokenizer.json around its vocabulary: parts of named types, or sequences of these. */
#ifndef TOKENIZER_SECTIONS_H
#define TOKENIZER_SECTIONS_H

#include "base/json.h"
#include "text/tokenizer_parts.h"

/* A tokenizer being read. Fields of types that we have fill it; a type that we lack is LAMP_UNSUPPORTED, by name. The pre-tokenizer comes first:
 * ByteLevel makes the vocabulary one of bytes. The template needs the tokens. */
int tokenizer_read_pretokenizer(tokenizer *t, const json_t *root, const char *path);
int tokenizer_read_normalizer(tokenizer *t, const json_t *root, const char *path);
int tokenizer_read_decoder(tokenizer *t, const json_t *root, const char *path);
int tokenizer_read_template(tokenizer *t, const json_t *root, const char *path);

void tokenizer_write_normalizer(json_writer *w, const tokenizer *t);
int tokenizer_write_pretokenizer(json_writer *w, const tokenizer *t);
int tokenizer_write_template(json_writer *w, const tokenizer *t);
void tokenizer_write_decoder(json_writer *w, const tokenizer *t);

/* ---- for these alone --------------------------------------------------------------------------------------------------------------- */

typedef struct {
    tokenizer *t;
    const char *path, *section;
    int depth; /* of sequences */
} section_reader;

typedef struct section_kind {
    const char *type;
    int (*read)(section_reader *r, const json_t *part); /* NULL: a sequence */
} section_kind;

/* One part: of the kinds up to one without a type. `members`: what a sequence calls its parts. */
int section_read(section_reader *r, const section_kind *kinds, const char *members, const json_t *part);

/* Parses a file, and appends its bytes to source. */
int section_read_source(json_t **root, buffer *source, const char *path);

bool section_lacks(const json_t *value); /* absent, or null */

/* A setting that may be absent; LAMP_MALFORMED if it is there and no boolean. */
int section_flag(bool *flag, const json_t *object, const char *key, bool otherwise, const char *path);

/* part["pattern"]: {"Regex"} or {"String"}. */
int section_pattern(const char **text, bool *is_regex, const section_reader *r, const json_t *part);

/* part["replacement"], one character, and whether "prepend_scheme" (always, first, never) or its forerunner put it before text. */
typedef enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend_scheme;
int section_metaspace(const char **replacement, prepend_scheme *scheme, const section_reader *r, const json_t *part);

void section_write_pattern(json_writer *w, const char *text, bool is_regex);

/* The settings matter to a pre-tokenizer alone, and false is the plain one; decoders always have true. */
void section_write_byte_level(json_writer *w, const char *key, bool setting);

#endif
