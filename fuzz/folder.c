#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "data/shards.h"
#include "fuzz.h"

static char folder[PATH_BYTES];

static void remove_folder(void) { file_remove_folder(folder); }

const char *fuzz_folder(void) {
    if (*folder) return folder;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/lamp-fuzz-%ld", parent ? parent : "/tmp", (long)getpid());
    CHECK(file_make_folder(folder) == LAMP_OK, "%s", lamp_error_message());
    atexit(remove_folder);
    return folder;
}

/* Not through file_write_whole: it syncs, and there are thousands a second. */
const char *fuzz_file(const char *name, const void *bytes, size_t length) {
    static char path[PATH_BYTES];
    CHECK(file_join(path, fuzz_folder(), name) == LAMP_OK, "%s", lamp_error_message());
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, length, file) == length, "cannot write %s", path);
    fclose(file);
    return path;
}

static void write_shard(const char *name, uint64_t n) {
    unsigned char bytes[SHARD_HEADER_BYTES + 2 * 40] = "LAMPTOKS\1\0\0\0\2";
    memcpy(bytes + 16, &n, sizeof n);
    fuzz_file(name, bytes, SHARD_HEADER_BYTES + 2 * n);
}

void fuzz_dataset(void) {
    static const char *const copied[][2] = {{"tokenizer.json", "tests/golden/tokenizer/gpt2.json"}, {"manifest.json", "fuzz/corpus/dataset/sound"}};
    for (int i = 0; i < 2; i++) {
        mapped_file map;
        CHECK(file_map(&map, copied[i][1]) == LAMP_OK, "%s", lamp_error_message());
        fuzz_file(copied[i][0], map.bytes, map.length);
        file_unmap(&map);
    }
    write_shard("lamp.train.tokens", 40);
    write_shard("lamp.validation.tokens", 10);
}
