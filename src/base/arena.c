#include "base/arena.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cgroup.h"
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

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static size_t address_space_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : SIZE_MAX;
}

size_t arena_machine_bytes(void) {
    size_t physical = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return smaller(smaller(physical, address_space_limit()), cgroup_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup"));
}

size_t arena_reservable_bytes(void) {
    enum { SHARES = 8 };
    return smaller(arena_machine_bytes(), address_space_limit() / SHARES);
}
