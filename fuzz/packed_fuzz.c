/* The bytes as .gz and as .zst: what comes out does not depend on how much is asked for at a time. */
#include <stdbool.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "data/unpacked_file.h"
#include "fuzz.h"

/* What a bomb unpacks to is of no interest beyond the first of it. */
enum { MOST_BYTES = 1 << 20 };

static int unpack(buffer *text, const char *path, size_t at_a_time) {
    static char block[1 << 16];
    unpacked_file *file;
    int status = unpacked_open(&file, path, "input");
    if (status < 0) return status;
    for (size_t n = 1; n > 0 && text->length < MOST_BYTES;) {
        if ((status = unpacked_read(file, &n, block, at_a_time)) < 0) break;
        CHECK(n <= at_a_time, "%zu bytes for %zu", n, at_a_time);
        buffer_append(text, block, n);
    }
    unpacked_close(file);
    return status;
}

static void try_packing(const char *path) {
    buffer large = {0}, small = {0};
    int status = unpack(&large, path, 1 << 16), again = unpack(&small, path, 999);
    if (large.length < MOST_BYTES) {
        CHECK(status == again, "%d and %d: %s", status, again, lamp_error_message());
        bool same = large.length == small.length && (!large.length || !memcmp(large.bytes, small.bytes, large.length));
        CHECK(status < 0 || same, "%zu and %zu bytes", large.length, small.length);
    }
    buffer_release(&small), buffer_release(&large);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    try_packing(fuzz_file("input.gz", bytes, length));
    try_packing(fuzz_file("input.zst", bytes, length));
    return 0;
}
