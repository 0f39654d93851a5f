/* manifest.json: what a checkpoint holds, so that a damaged or half-written one is told from a whole one.
 *
 *     {"format": "lamplighter checkpoint", "version": 1, "step": 1200,
 *      "files": [{"name": "model.safetensors", "bytes": 4096, "hash": "32 hexadecimal digits of XXH3-128"}, ...]}
 *
 * It is written last: a folder without it is not a checkpoint of ours, or an unfinished one. */
#ifndef MANIFEST_H
#define MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "base/json.h"

typedef struct {
    buffer text;
    json_writer json;
} manifest;

/* m must not move until manifest_release: its writer points into it. */
void manifest_begin(manifest *m, int64_t step);
void manifest_add(manifest *m, const char *name, int64_t bytes, hash128 hash);
int manifest_write(manifest *m, const char *folder);
void manifest_release(manifest *m);

bool manifest_exists(const char *folder);

/* LAMP_CHECKPOINT naming the first file that is absent or of another size; with hashes, also one whose bytes differ. */
int manifest_check(const char *folder, bool hashes);

/* The same, and LAMP_CHECKPOINT if what was saved is not this step. */
int manifest_check_step(const char *folder, int64_t step, bool hashes);

#endif
