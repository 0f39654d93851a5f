/* The safetensors format: named arrays in one file, mapped for reading.
 *
 *     offset 0     u64       N, the length of the header, at most 100,000,000
 *            8     N bytes   JSON, first byte '{', then spaces:
 *                            {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"k": "text"}}
 *          8 + N   the data  little-endian, row-major; offsets count from here
 *
 * The arrays cover the data exactly: no hole, no overlap, nothing after the last. A file that breaks any of this is refused whole. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/real.h"
#include "kernels/stored.h"

enum { SAFETENSORS_MAX_RANK = 8, SAFETENSORS_MAX_HEADER_BYTES = 100000000 };

typedef struct safetensors_type safetensors_type;

typedef struct {
    const char *name; /* borrowed from the file */
    const safetensors_type *type;
    int rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
    int64_t size; /* how many values: the product of shape */
    const unsigned char *bytes;
    int64_t begin, end; /* in the data */
} safetensors_entry;

typedef struct {
    char *path;
    mapped_file map;
    safetensors_entry *entry; /* (n), by name */
    size_t n;
    char *names; /* of all entries, one after the other */
} safetensors;

int safetensors_open(safetensors **file, const char *path);
void safetensors_close(safetensors *file);

/* NULL if there is none. */
const safetensors_entry *safetensors_find(const safetensors *file, const char *name);

const char *safetensors_type_name(const safetensors_entry *entry); /* "F32" */

/* Values first .. first + n - 1 as reals. LAMP_UNSUPPORTED unless they are stored as F32, F16, BF16 or F64. */
int safetensors_read(real *values, const safetensors_entry *entry, int64_t first, int64_t n);

/* The same values where they lie, and their type; NULL if kernels know no such type, or they are unaligned. */
const void *safetensors_borrow(stored_type *type, const safetensors_entry *entry, int64_t first);

/* "[2, 3]" */
enum { SHAPE_TEXT_BYTES = 24 * SAFETENSORS_MAX_RANK };
void safetensors_shape_to_text(char text[SHAPE_TEXT_BYTES], const int64_t *shape, int rank);

#endif
