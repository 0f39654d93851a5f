/* The bytes of a file one block after another, unpacked on the way if its name ends in .gz or .zst. However much it unpacks to, no more
 * than a block and the packing's window (of zstd, 128 MiB at most) is in memory.
 *
 * Members of gzip and frames of zstd may follow one another; skippable frames are passed over. A file that is cut off, does not begin as
 * its name says or fails its checksum is LAMP_MALFORMED; one that needs a larger window or a dictionary, or unpacks to more than
 * UNPACKED_RATIO times its size beyond the first UNPACKED_FREE_BYTES, which no text does, is LAMP_UNSUPPORTED. */
#ifndef UNPACKED_FILE_H
#define UNPACKED_FILE_H

#include <stddef.h>

enum { UNPACKED_RATIO = 500, UNPACKED_FREE_BYTES = 256 << 20, UNPACKED_WINDOW_LOG = 27 };

typedef struct unpacked_file unpacked_file;

/* Messages call the file `called`, which is borrowed. What is not a regular file is LAMP_IO. */
int unpacked_open(unpacked_file **file, const char *path, const char *called);
void unpacked_close(unpacked_file *file);

/* *n is how many bytes came, 0 only at the end. */
int unpacked_read(unpacked_file *file, size_t *n, void *bytes, size_t capacity);

/* The length of a path without .gz or .zst at its end. */
size_t unpacked_path_length(const char *path);

#endif
