#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
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
