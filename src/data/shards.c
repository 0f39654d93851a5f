#include "data/shards.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

typedef struct {
    char magic[8];
    uint32_t version, token_bytes;
    uint64_t n, zero;
} shard_header;

static const char magic[8] = {'L', 'A', 'M', 'P', 'T', 'O', 'K', 'S'};
enum { VERSION = 1 };

_Static_assert(sizeof(shard_header) == SHARD_HEADER_BYTES, "the header is packed");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ids are read where they are mapped");

int shard_token_bytes(int vocabulary_size) { return vocabulary_size <= UINT16_MAX + 1 ? 2 : 4; }

static int check_header(const shard *s) {
    shard_header h;
    if (s->map.length < sizeof h)
        FAIL(LAMP_MALFORMED, "%s: expected a header of %zu bytes, found %zu bytes", s->path, sizeof h, s->map.length);
    memcpy(&h, s->map.bytes, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic)) FAIL(LAMP_MALFORMED, "%s: not a file of tokens: it does not begin with LAMPTOKS", s->path);
    if (h.version != VERSION) FAIL(LAMP_UNSUPPORTED, "%s: version %u; this program reads version %d", s->path, h.version, VERSION);
    if (h.token_bytes != (uint32_t)s->token_bytes)
        FAIL(LAMP_MALFORMED, "%s: expected %d bytes a token for a vocabulary of %d, found %u", s->path, s->token_bytes, s->vocabulary_size, h.token_bytes);
    uint64_t ids_bytes = s->map.length - sizeof h;
    if (ids_bytes % h.token_bytes != 0 || ids_bytes / h.token_bytes != h.n)
        FAIL(LAMP_MALFORMED, "%s: the header says %llu tokens of %u bytes, the file holds %llu bytes of them", s->path, (unsigned long long)h.n,
             h.token_bytes, (unsigned long long)ids_bytes);
    return LAMP_OK;
}

int shard_open(shard *s, const char *path, int vocabulary_size) {
    int status = LAMP_OK;
    *s = (shard){.vocabulary_size = vocabulary_size, .token_bytes = shard_token_bytes(vocabulary_size)};
    TRY_TO(done, memory_copy_text(&s->path, path, "a path"));
    TRY_TO(done, file_map(&s->map, path));
    TRY_TO(done, check_header(s));
    s->n = (int64_t)(s->map.length - SHARD_HEADER_BYTES) / s->token_bytes;
done:
    if (status < 0) shard_release(s);
    return status;
}

void shard_release(shard *s) {
    file_unmap(&s->map);
    memory_free(s->path);
    *s = (shard){0};
}

int shard_read(int32_t *ids, const shard *s, int64_t start, int64_t n) {
    CHECK(start >= 0 && n >= 0 && start <= s->n - n, "%s: tokens %lld + %lld of %lld", s->path, (long long)start, (long long)n, (long long)s->n);
    const void *from = s->map.bytes + SHARD_HEADER_BYTES + start * s->token_bytes;
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t id = s->token_bytes == 2 ? ((const uint16_t *)from)[i] : ((const uint32_t *)from)[i];
        if (id > largest) largest = id;
        ids[i] = (int32_t)id;
    }
    if (n > 0 && largest >= (uint32_t)s->vocabulary_size)
        FAIL(LAMP_MALFORMED, "%s: tokens %lld to %lld: id %u is outside the vocabulary of %d; build the dataset again", s->path, (long long)start,
             (long long)(start + n - 1), largest, s->vocabulary_size);
    return LAMP_OK;
}

static int write_bytes(shard_writer *w, const void *bytes, size_t size, size_t n) {
    if (n > 0 && fwrite(bytes, size, n, w->file) != n) FAIL(LAMP_IO, "%s: cannot write: %s", w->path, strerror(errno));
    return LAMP_OK;
}

static int write_header(shard_writer *w) {
    shard_header h = {.version = VERSION, .token_bytes = (uint32_t)w->token_bytes, .n = (uint64_t)w->n};
    memcpy(h.magic, magic, sizeof magic);
    return write_bytes(w, &h, sizeof h, 1);
}

int shard_writer_open(shard_writer *w, const char *path, int token_bytes) {
    *w = (shard_writer){.token_bytes = token_bytes};
    TRY(memory_copy_text(&w->path, path, "a path"));
    if (!(w->file = fopen(path, "wbe"))) FAIL(LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    return write_header(w);
}

int shard_writer_append(shard_writer *w, const int32_t *ids, size_t n) {
    w->n += (int64_t)n;
    if (w->token_bytes == 4) return write_bytes(w, ids, sizeof *ids, n);
    uint16_t narrow[2048];
    for (size_t done = 0; done < n;) {
        size_t some = 0;
        while (some < sizeof narrow / sizeof *narrow && done < n) narrow[some++] = (uint16_t)ids[done++];
        TRY(write_bytes(w, narrow, sizeof *narrow, some));
    }
    return LAMP_OK;
}

int shard_writer_finish(shard_writer *w) {
    rewind(w->file);
    TRY(write_header(w));
    if (fflush(w->file)) FAIL(LAMP_IO, "%s: cannot write: %s", w->path, strerror(errno));
    return file_sync(w->path);
}

void shard_writer_release(shard_writer *w) {
    if (w->file) fclose(w->file);
    memory_free(w->path);
    *w = (shard_writer){0};
}
