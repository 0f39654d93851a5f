/* Unicode as tokenizers use it: what is white space or part of a word, lower case, and the normal forms. As Hugging Face's tokenizers has them:
 * its normal forms know the characters of 2016 (Unicode 9), and younger ones stay as they are. */
#ifndef UNICODE_H
#define UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

bool unicode_is_space(uint32_t point);
bool unicode_is_word(uint32_t point); /* letters, marks, digits and what joins them */

/* Both append what text, valid UTF-8, becomes. */
int unicode_lower(buffer *out, const char *text, size_t length);

typedef enum { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD } unicode_form;
int unicode_normalize(buffer *out, const char *text, size_t length, unicode_form form);

/* Bytes at the beginning of any text, valid or not, that a form leaves alone; often all of them. */
size_t unicode_normal_prefix(const char *text, size_t length, unicode_form form);

#endif
