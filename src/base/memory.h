/* Heap memory that names its purpose. Every allocation of the library goes through here, so that a failure says what was asked for
 * and why, and so that tests can count them. Memory is zeroed, unless it says otherwise. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

/* *pointer becomes count elements of the given size, zeroed; NULL for a count of 0.  TRY(memory_new(&ids, n, sizeof *ids, "token ids")); */
int memory_new(void *pointer, size_t count, size_t size, const char *purpose);

/* The same for what is streamed through again and again: aligned to cache lines, or if it is large, to large pages. */
int memory_new_block(void *pointer, size_t count, size_t size, const char *purpose);

/* The same, not zeroed: what is never written takes no memory, but for the rest of a large page. */
int memory_new_room(void *pointer, size_t count, size_t size, const char *purpose);

/* Zeroes, and a copy; by all threads, if it is large. */
void memory_clear(void *block, size_t bytes);
void memory_copy(void *to, const void *from, size_t bytes);

/* Keeps the contents; what grows is not zeroed. On failure *pointer is unchanged. */
int memory_resize(void *pointer, size_t count, size_t size, const char *purpose);

/* Room for at least `needed` elements: doubles *capacity as required. */
int memory_reserve(void *pointer, size_t *capacity, size_t needed, size_t size, const char *purpose);

/* A copy of text, NUL-terminated. */
int memory_copy_text(char **copy, const char *text, const char *purpose);

void memory_free(void *pointer);

#endif
