/* 128-bit content hashes (XXH3): to recognise equal documents and to notice changed bytes. Not a defence against an adversary. */
#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t low, high;
} hash128;

enum { HASH_TEXT_BYTES = 33 };

hash128 hash_bytes(const void *bytes, size_t length);
void hash_to_text(char text[HASH_TEXT_BYTES], hash128 hash); /* 32 hexadecimal digits */

#endif
