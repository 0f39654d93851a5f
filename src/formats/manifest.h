/* manifest.json: what a checkpoint holds, so that a damaged or half-written one is told from a whole one.
 *
 *     {"format": "lamplighter checkpoint", "version": 2, "step": 1200,
 *      "files": [{"name": "model.safetensors", "bytes": 4096, "hash": "32 hexadecimal digits of XXH3-128",
 *                 "tensors": {"model.norm.weight": "the hash of its bytes", ...}}, ...],
 *      "hash": "that of all that stands before the comma that this line follows"}
 *
 * The hash of a file says whether it is whole; those of its tensors are only asked which of them is damaged. Version 1 had neither these nor
 * the hash of the manifest itself. It is written last: a folder without it is not a checkpoint of ours, or an unfinished one. */
#ifndef MANIFEST_H
#define MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "base/json.h"
#include "formats/safetensors_writer.h"

typedef struct {
    buffer text;
    json_writer json;
} manifest;

/* m must not move until manifest_release: its writer points into it. */
void manifest_begin(manifest *m, int64_t step);

/* tensors: the writer that has finished this file; NULL of other files. */
void manifest_add(manifest *m, const char *name, int64_t bytes, hash128 hash, const safetensors_writer *tensors);
int manifest_write(manifest *m, const char *folder);
void manifest_release(manifest *m);

bool manifest_exists(const char *folder);

/* LAMP_CHECKPOINT naming the first file that is absent or of another size; with hashes, also one whose bytes differ, and of its tensors
 * the first whose do. */
int manifest_check(const char *folder, bool hashes);

/* The same, and LAMP_CHECKPOINT if what was saved is not this step. */
int manifest_check_step(const char *folder, int64_t step, bool hashes);

#endif
