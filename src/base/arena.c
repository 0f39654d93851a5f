#include "base/arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"

int arena_reserve(arena *a, const char *name, size_t bytes) {
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) FAIL(LAMP_NO_MEMORY, "no address space for %s: %zu bytes: %s", name, bytes, strerror(errno));
    madvise(base, bytes, MADV_HUGEPAGE); /* a wish; without it all works, slower */
    *a = (arena){name, base, 0, 0, bytes};
    return LAMP_OK;
}

void arena_release(arena *a) {
    if (a->base) munmap(a->base, a->reserved);
    *a = (arena){0};
}

void *arena_take(arena *a, size_t bytes) {
    bytes = (bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    CHECK(bytes <= a->reserved - a->used, "%s: %zu bytes asked for, %zu of %zu in use", a->name, bytes, a->used, a->reserved);
    void *taken = a->base + a->used;
    a->used += bytes;
    if (a->used > a->peak) a->peak = a->used;
    return taken;
}

void arena_rewind(arena *a, size_t used) {
    CHECK(used <= a->used, "%s: rewound to %zu, past %zu", a->name, used, a->used);
    a->used = used;
}

size_t arena_machine_bytes(void) { return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE); }

size_t arena_reservable_bytes(void) {
    enum { SHARES = 8 };
    const size_t machine = arena_machine_bytes();
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return machine;
    return limit.rlim_cur / SHARES < machine ? limit.rlim_cur / SHARES : machine;
}
