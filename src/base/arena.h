/* A region of address space that is reserved once and used from the bottom up. Pages get memory when they are first touched and keep it,
 * so nothing is allocated after the first pass through a loop, and pointers never move.
 *
 *     base |#### used ####|-- touched before: peak --|............ reserved, no memory yet ............| base + reserved */
#ifndef ARENA_H
#define ARENA_H

#include <stddef.h>

enum { ARENA_ALIGNMENT = 64 };

typedef struct {
    const char *name;
    char *base;
    size_t used, peak, reserved;
} arena;

int arena_reserve(arena *a, const char *name, size_t bytes);
void arena_release(arena *a);

/* Aligned to 64 bytes, not zeroed. Running past the reservation is a bug (CHECK): reserve what the machine has. */
void *arena_take(arena *a, size_t bytes);

/* Everything taken since arena.used had this value is given back. */
void arena_rewind(arena *a, size_t used);

/* Bytes of memory this process may have: the machine's, or what its control groups (containers) or ulimit -v leave it. */
size_t arena_machine_bytes(void);

/* What an arena may reserve: that memory, but of a limit on address space (ulimit -v) an eighth, since there are a few of them. */
size_t arena_reservable_bytes(void);

#endif
