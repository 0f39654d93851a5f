/* GGUF files for tests, written in a small language of words, one after another:
 *
 *     GGUF     these letters            "key"    text: a u64 length and its letters      |       zeros up to a multiple of 32
 *     4:3      3 in four bytes          <key     its letters alone                       *32     32 bytes of data */
#ifndef GGUF_WORDS_H
#define GGUF_WORDS_H

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "formats/gguf.h"

static inline void put_number(buffer *b, const char *word) {
    char *end;
    size_t width = (size_t)strtol(word, &end, 10);
    uint64_t value = strtoull(end + 1, NULL, 0);
    buffer_append(b, &value, width);
}

static inline void put_word(buffer *b, const char *word, size_t length) {
    uint64_t text_length = length - 2;
    switch (*word) {
    case '"':
        buffer_append(b, &text_length, sizeof text_length);
        buffer_append(b, word + 1, text_length);
        break;
    case '<': buffer_append(b, word + 1, length - 1); break;
    case '|':
        while (b->length % GGUF_ALIGNMENT) buffer_append_byte(b, 0);
        break;
    case '*':
        for (long i = strtol(word + 1, NULL, 10); i > 0; i--) buffer_append_byte(b, (char)i);
        break;
    case 'G': buffer_append(b, word, length); break;
    default: put_number(b, word);
    }
}

static inline void assemble(buffer *b, const char *words) {
    while (*words) {
        size_t length = strcspn(words, " ");
        if (length > 0) put_word(b, words, length);
        words += length + strspn(words + length, " ");
    }
}

#endif
