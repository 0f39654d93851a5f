/* Where tables of Unicode differ in age. PCRE2 10.40 to 10.42 knows the characters of 2021 (Unicode 14), Hugging Face's tokenizers those of 2024
 * (16): the younger ones are letters, marks, digits or signs there, and nothing here. They stand in text as they are; a pattern is shown an
 * older character of the same kind and of as many bytes, which it cannot tell from them unless it names one or the other. */
#ifndef YOUNG_CHARACTERS_H
#define YOUNG_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* Who stands in for a character; itself if it is not young. */
uint32_t young_character_stand_in(uint32_t point);

/* If text, valid UTF-8, holds young characters, copy becomes text with others in their places, and *found is true. */
int young_characters_replace(buffer *copy, bool *found, const char *text, size_t length);

#endif
