/* A binary heap that gives back the smallest entry first: by major, then by minor. Zero-initialise it. */
#ifndef HEAP_H
#define HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t major, minor;
} heap_entry;

typedef struct {
    heap_entry *entries; /* entries[i] is no larger than entries[2 * i + 1] and entries[2 * i + 2] */
    size_t n, capacity;
} heap;

void heap_release(heap *h);
int heap_push(heap *h, heap_entry entry);
bool heap_pop(heap_entry *smallest, heap *h); /* false: it is empty */

#endif
