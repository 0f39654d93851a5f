/* Streams arrays into a safetensors file (its layout: formats/safetensors.h), with no second copy in memory: declare every array, as F32, F16 or
 * BF16, then write the values of all in the same order, in runs of any length: reals into F32, or bytes as they are stored.
 *
 * finish syncs the file and tells its size and the hash of what was meant to be written, so that reading back proves something; and
 * tensors that of each array alone, so that damage has a place. */
#ifndef SAFETENSORS_WRITER_H
#define SAFETENSORS_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/real.h"
#include "kernels/stored.h"

typedef struct safetensors_writer safetensors_writer;

int safetensors_writer_new(safetensors_writer **writer, const char *path);
void safetensors_writer_free(safetensors_writer *writer);                                                     /* does not finish */
int safetensors_writer_declare(safetensors_writer *writer, const char *name, int rank, const int64_t *shape); /* as F32 */
int safetensors_writer_declare_as(safetensors_writer *writer, stored_type type, const char *name, int rank, const int64_t *shape);
int safetensors_writer_write(safetensors_writer *writer, const real *values, int64_t n);
int safetensors_writer_write_bytes(safetensors_writer *writer, const void *bytes, int64_t n);
int safetensors_writer_finish(safetensors_writer *writer, hash128 *hash, int64_t *bytes);

typedef struct {
    char *name;
    int64_t end; /* in the data */
    hash128 hash;
} safetensors_written;

/* (n), as they were declared; borrowed from the writer, after finish. */
const safetensors_written *safetensors_writer_tensors(size_t *n, const safetensors_writer *writer);

#endif
