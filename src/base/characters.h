/* UTF-8. */
#ifndef CHARACTERS_H
#define CHARACTERS_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid character at bytes, which `point` (may be NULL) becomes; 0 if there is none. length > 0. */
size_t character_length(const char *bytes, size_t length, uint32_t *point);

/* Writes the character of a code point; returns its bytes, at most 4. */
size_t character_write(char *bytes, uint32_t point);

/* Bytes of the valid character that ends at bytes + length; 0 if there is none. */
size_t character_before(const char *bytes, size_t length, uint32_t *point);

/* Bytes at the beginning that are valid UTF-8, or that belong to no valid character. */
size_t characters_valid(const char *bytes, size_t length);
size_t characters_broken(const char *bytes, size_t length);

/* Bytes at the end that could be the beginning of a character. */
size_t characters_unfinished(const char *bytes, size_t length);

#endif
