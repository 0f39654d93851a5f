/* Files as the rest of the program uses them: mapped whole for reading, written whole and atomically, folders walked in name order. */
#ifndef FILE_H
#define FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* A whole file, mapped read-only. bytes is NULL when the file is empty. If it is cut short while it is mapped, touching what is gone raises
 * SIGBUS (cli/cut_short.h). */
typedef struct {
    const unsigned char *bytes;
    size_t length;
} mapped_file;

int file_map(mapped_file *map, const char *path);
void file_unmap(mapped_file *map);

/* A small file of any kind, a pipe too, appended to content; LAMP_UNSUPPORTED above `most` bytes. */
int file_read(buffer *content, const char *path, size_t most);

bool file_exists(const char *path);
bool file_is_folder(const char *path);

/* Whether path, which need not be there, is folder or lies in it, whatever links and .. lead there. */
bool file_is_inside(const char *path, const char *folder);

int file_size(int64_t *bytes, const char *path);

/* Creates the folder and its parents, and syncs what holds them; fine if it is there. */
int file_make_folder(const char *path);

/* Deletes a folder and everything in it; fine if it is absent. */
int file_remove_folder(const char *path);

/* Old or new, never half: writes beside path, syncs, renames, syncs the folder. */
int file_write_whole(const char *path, const void *bytes, size_t length);

/* What comes from a descriptor up to its end, which messages call `called`: appended to content, or copied to a new file. */
int file_read_stream(buffer *content, int from, size_t most, const char *called); /* LAMP_UNSUPPORTED above `most` bytes */
int file_write_stream(const char *path, int from, const char *called);

/* Flushes a file or folder's contents to the disk. */
int file_sync(const char *path);

/* from becomes to, atomically, and both parents are synced. */
int file_rename(const char *from, const char *to);

/* For a folder that is made whole or not at all: its name without slashes at the end, and the name beside it that it has until then. */
enum { PATH_BYTES = 4096 };
int file_name_partial(char path[PATH_BYTES], char partial[PATH_BYTES], const char *given);

/* "folder/name" into a fixed buffer; fails if it does not fit. */
int file_join(char path[PATH_BYTES], const char *folder, const char *name);

/* Calls visit for every regular file at or under path, in byte order of names (so that the order is the same everywhere); hidden names,
 * symbolic links, pipes and devices inside folders are passed over, but a path that is itself a pipe or a device is LAMP_IO. Stops at the
 * first negative result and returns it. */
typedef int file_visitor(void *context, const char *path);
int file_walk(const char *path, file_visitor *visit, void *context);

/* Takes a lock that no other process holds, until *lock is closed (file_unlock) or the process ends; LAMP_FAILURE if one holds it. */
int file_lock(int *lock, const char *path);
void file_unlock(int *lock); /* -1 is fine; becomes -1 */

/* The last component of a path, without trailing slashes' effect: "a/b/" gives "b/". Borrowed from path. */
const char *file_name(const char *path);

#endif
