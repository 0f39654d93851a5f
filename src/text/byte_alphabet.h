/* The alphabet in which byte-level vocabularies are written down (GPT-2's): each byte is one character, itself if it prints (33-126, 161-172,
 * 174-255), else U+0100 and up in the order of the bytes. So a space is U+0120, a line end U+010A. */
#ifndef BYTE_ALPHABET_H
#define BYTE_ALPHABET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

int byte_alphabet_spell(buffer *out, const char *bytes, size_t length); /* appends */

/* The bytes that a spelling (valid UTF-8) stands for replace what out held; false if a character is outside the alphabet. */
bool byte_alphabet_read(buffer *out, const char *spelling, size_t length);

#endif
