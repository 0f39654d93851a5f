#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

hash128 hash_bytes(const void *bytes, size_t length) {
    XXH128_hash_t hash = XXH3_128bits(bytes, length);
    return (hash128){hash.low64, hash.high64};
}

void hash_to_text(char text[HASH_TEXT_BYTES], hash128 hash) {
    snprintf(text, HASH_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}
