/* One file of token ids, NAME.train.tokens or NAME.validation.tokens. Little-endian throughout:
 *
 *     offset  bytes
 *          0      8   magic "LAMPTOKS"
 *          8      4   version, 1
 *         12      4   bytes per token, 2 or 4
 *         16      8   n, the number of tokens
 *         24      8   zero
 *         32      n * bytes per token: the ids; each document is followed by the end-of-text id
 *
 * A shard is mapped and read in place. Ids are checked against the vocabulary as they are read, so opening one costs nothing. */
#ifndef SHARDS_H
#define SHARDS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/file.h"

enum { SHARD_HEADER_BYTES = 32 };

typedef struct {
    char *path;
    mapped_file map;
    int vocabulary_size, token_bytes;
    int64_t n; /* tokens */
} shard;

int shard_open(shard *s, const char *path, int vocabulary_size);
void shard_release(shard *s);

/* ids[i] = token start + i, for i < n. An id outside the vocabulary is LAMP_MALFORMED. */
int shard_read(int32_t *ids, const shard *s, int64_t start, int64_t n);

/* Bytes per token that a vocabulary needs. */
int shard_token_bytes(int vocabulary_size);

/* Writing: open, append..., finish; release in any case. Zero-initialise it. */
typedef struct {
    FILE *file;
    char *path;
    int token_bytes;
    int64_t n;
} shard_writer;

int shard_writer_open(shard_writer *w, const char *path, int token_bytes);
int shard_writer_append(shard_writer *w, const int32_t *ids, size_t n);
int shard_writer_finish(shard_writer *w); /* the header, then a sync */
void shard_writer_release(shard_writer *w);

#endif
