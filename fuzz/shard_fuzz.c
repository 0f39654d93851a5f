/* Whatever opens as a file of tokens gives each of its ids, all within the vocabulary, or refuses to. */
#include "base/error.h"
#include "data/shards.h"
#include "fuzz.h"

static void try_vocabulary(const char *path, size_t length, int vocabulary_size) {
    enum { AT_ONCE = 7 };
    int32_t id[AT_ONCE];
    shard s;
    if (shard_open(&s, path, vocabulary_size) < 0) return;
    CHECK((size_t)s.n * (size_t)s.token_bytes + SHARD_HEADER_BYTES == length, "%lld tokens in %zu bytes", (long long)s.n, length);
    for (int64_t start = 0; start < s.n; start += AT_ONCE) {
        int64_t n = s.n - start < AT_ONCE ? s.n - start : AT_ONCE;
        if (shard_read(id, &s, start, n) < 0) continue;
        for (int64_t i = 0; i < n; i++) CHECK(id[i] >= 0 && id[i] < vocabulary_size, "id %d of %d", id[i], vocabulary_size);
    }
    shard_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    const char *path = fuzz_file("input.tokens", bytes, length);
    try_vocabulary(path, length, 300);
    try_vocabulary(path, length, 70000);
    return 0;
}
