/* UTF-8. */
#ifndef CHARACTERS_H
#define CHARACTERS_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid character at bytes, which `point` (may be NULL) becomes; 0 if there is none. length > 0. */
size_t character_length(const char *bytes, size_t length, uint32_t *point);

#endif
