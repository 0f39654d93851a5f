#include "data/unpacked_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/error.h"
#include "base/memory.h"

enum { BLOCK_BYTES = 128 << 10 };

/* One way of packing; a row of packings[]. */
typedef struct {
    const char *suffix, *unit; /* unit: what such a file is a series of */
    int (*begin)(unpacked_file *file);
    /* Unpacks some of what is left of the block, and says whether it is inside a unit. */
    int (*unpack)(unpacked_file *file, size_t *n, void *bytes, size_t capacity);
    void (*end)(unpacked_file *file);
} packing;

struct unpacked_file {
    const char *called; /* borrowed */
    int fd;
    const packing *packing; /* NULL: the bytes are the text */
    bool is_inside;         /* a unit has begun and is not whole yet */
    uint64_t bytes_read, bytes_unpacked;
    size_t at, length; /* of block: what was unpacked, what was read */
    unsigned char block[BLOCK_BYTES];
    z_stream gzip;
    ZSTD_DStream *zstd;
};

/* ---- gzip ----------------------------------------------------------------------------------------------------------------------- */

static int gzip_begin(unpacked_file *file) {
    enum { GZIP_ONLY = 16 };
    if (inflateInit2(&file->gzip, MAX_WBITS + GZIP_ONLY) != Z_OK) FAIL(LAMP_NO_MEMORY, "%s: no memory to unpack gzip", file->called);
    return LAMP_OK;
}

static void gzip_end(unpacked_file *file) { inflateEnd(&file->gzip); }

static int gzip_unpack(unpacked_file *file, size_t *n, void *bytes, size_t capacity) {
    z_stream *z = &file->gzip;
    if (!file->is_inside) inflateReset(z);
    z->next_in = file->block + file->at, z->avail_in = (uInt)(file->length - file->at);
    z->next_out = bytes, z->avail_out = (uInt)capacity;
    int found = inflate(z, Z_NO_FLUSH);
    *n = capacity - z->avail_out;
    file->at = file->length - z->avail_in;
    file->is_inside = found != Z_STREAM_END;
    if (found == Z_MEM_ERROR) FAIL(LAMP_NO_MEMORY, "%s: no memory to unpack gzip", file->called);
    if (found != Z_OK && found != Z_STREAM_END && found != Z_BUF_ERROR) /* Z_BUF_ERROR: it needs more */
        FAIL(LAMP_MALFORMED, "%s: not sound gzip after %llu unpacked bytes: %s; test it with gzip -t, and fetch or pack it again", file->called,
             (unsigned long long)file->bytes_unpacked + *n, z->msg ? z->msg : "unknown reason");
    return LAMP_OK;
}

/* ---- zstd ----------------------------------------------------------------------------------------------------------------------- */

static int zstd_begin(unpacked_file *file) {
    file->zstd = ZSTD_createDStream();
    if (!file->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(file->zstd, ZSTD_d_windowLogMax, UNPACKED_WINDOW_LOG)))
        FAIL(LAMP_NO_MEMORY, "%s: no memory to unpack zstd", file->called);
    return LAMP_OK;
}

static void zstd_end(unpacked_file *file) { ZSTD_freeDStream(file->zstd); }

static int zstd_fail(const unpacked_file *file, size_t found) {
    switch (ZSTD_getErrorCode(found)) {
    case ZSTD_error_memory_allocation: FAIL(LAMP_NO_MEMORY, "%s: no memory to unpack zstd", file->called);
    case ZSTD_error_frameParameter_windowTooLarge:
        FAIL(LAMP_UNSUPPORTED, "%s: expected a zstd window of at most %d MiB, found a larger one; pack it again with --long=%d", file->called,
             1 << (UNPACKED_WINDOW_LOG - 20), UNPACKED_WINDOW_LOG);
    case ZSTD_error_dictionary_wrong:
        FAIL(LAMP_UNSUPPORTED, "%s: expected zstd without a dictionary, found a frame that needs one; unpack it first with zstd -D", file->called);
    case ZSTD_error_frameParameter_unsupported:
    case ZSTD_error_version_unsupported:
        FAIL(LAMP_UNSUPPORTED, "%s: this kind of zstd is not supported: %s; unpack it first", file->called, ZSTD_getErrorName(found));
    default:
        FAIL(LAMP_MALFORMED, "%s: not sound zstd after %llu unpacked bytes: %s; test it with zstd -t, and fetch or pack it again", file->called,
             (unsigned long long)file->bytes_unpacked, ZSTD_getErrorName(found));
    }
}

static int zstd_unpack(unpacked_file *file, size_t *n, void *bytes, size_t capacity) {
    ZSTD_inBuffer in = {file->block, file->length, file->at};
    ZSTD_outBuffer out = {bytes, capacity, 0};
    size_t found = ZSTD_decompressStream(file->zstd, &out, &in);
    if (ZSTD_isError(found)) return zstd_fail(file, found);
    file->at = in.pos, file->is_inside = found > 0;
    *n = out.pos;
    return LAMP_OK;
}

/* ---- both ----------------------------------------------------------------------------------------------------------------------- */

static const packing packings[] = {
    {".gz", "gzip member", gzip_begin, gzip_unpack, gzip_end},
    {".zst", "zstd frame", zstd_begin, zstd_unpack, zstd_end},
};

static const packing *packing_of(const char *path) {
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof packings / sizeof *packings; i++) {
        size_t suffix = strlen(packings[i].suffix);
        if (length > suffix && !strcmp(path + length - suffix, packings[i].suffix)) return &packings[i];
    }
    return NULL;
}

size_t unpacked_path_length(const char *path) {
    const packing *p = packing_of(path);
    return strlen(path) - (p ? strlen(p->suffix) : 0);
}

int unpacked_open(unpacked_file **result, const char *path, const char *called) {
    int status = LAMP_OK;
    struct stat info;
    unpacked_file *file;
    TRY(memory_new(&file, 1, sizeof *file, "a file to read"));
    file->called = called;
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe that took the file's place must not be waited for */
    if (file->fd < 0) FAIL_TO(done, LAMP_IO, "%s: cannot open: %s", called, strerror(errno));
    if (fstat(file->fd, &info) < 0 || !S_ISREG(info.st_mode)) FAIL_TO(done, LAMP_IO, "%s: expected a file, found something else", called);
    file->packing = packing_of(path);
    if (file->packing) TRY_TO(done, file->packing->begin(file));
    *result = file;
    file = NULL;
done:
    unpacked_close(file);
    return status;
}

void unpacked_close(unpacked_file *file) {
    if (!file) return;
    if (file->packing) file->packing->end(file);
    if (file->fd >= 0) close(file->fd);
    memory_free(file);
}

static int read_bytes(unpacked_file *file, size_t *n, void *bytes, size_t capacity) {
    ssize_t found;
    do found = read(file->fd, bytes, capacity);
    while (found < 0 && errno == EINTR);
    if (found < 0) FAIL(LAMP_IO, "%s: cannot read: %s", file->called, strerror(errno));
    *n = (size_t)found, file->bytes_read += (uint64_t)found;
    return LAMP_OK;
}

static int check_ratio(const unpacked_file *file) {
    if (file->bytes_unpacked <= UNPACKED_FREE_BYTES || file->bytes_unpacked / UNPACKED_RATIO <= file->bytes_read) return LAMP_OK;
    FAIL(LAMP_UNSUPPORTED, "%s: %llu bytes unpack to more than %llu, over %d times as much; if this is text, unpack it first", file->called,
         (unsigned long long)file->bytes_read, (unsigned long long)file->bytes_unpacked, UNPACKED_RATIO);
}

int unpacked_read(unpacked_file *file, size_t *n, void *bytes, size_t capacity) {
    enum { AT_A_TIME = 1 << 30 }; /* zlib counts in 32 bits */
    const packing *p = file->packing;
    if (capacity > AT_A_TIME) capacity = AT_A_TIME;
    if (!p) return read_bytes(file, n, bytes, capacity);
    for (*n = 0; *n == 0;) {
        bool has_ended = false;
        if (file->at == file->length) {
            TRY(read_bytes(file, &file->length, file->block, BLOCK_BYTES));
            file->at = 0, has_ended = file->length == 0;
        }
        if (file->bytes_read == 0) FAIL(LAMP_MALFORMED, "%s: expected a %s, found an empty file; fetch or pack it again", file->called, p->unit);
        if (has_ended && !file->is_inside) return LAMP_OK;
        TRY(p->unpack(file, n, bytes, capacity)); /* at the end of the file, what the last block still holds back */
        if (has_ended && *n == 0 && file->is_inside)
            FAIL(LAMP_MALFORMED, "%s: the file ends inside a %s, after %llu unpacked bytes: it is cut off; fetch or pack it again", file->called,
                 p->unit, (unsigned long long)file->bytes_unpacked);
        file->bytes_unpacked += *n;
        TRY(check_ratio(file));
    }
    return LAMP_OK;
}
