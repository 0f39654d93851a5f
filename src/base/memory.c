#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

enum { LARGE = 1 << 22, PAGE = 4096 };

/* Blocks that are streamed through again and again: fewer and larger pages. A wish; without it all works, slower. */
static void wish_large_pages(void *block, size_t bytes) {
    uintptr_t first = ((uintptr_t)block + PAGE - 1) & ~(uintptr_t)(PAGE - 1), end = ((uintptr_t)block + bytes) & ~(uintptr_t)(PAGE - 1);
    madvise((void *)first, end - first, MADV_HUGEPAGE);
}

int memory_new(void *pointer, size_t count, size_t size, const char *purpose) {
    void *block = NULL;
    if (count > 0 && size > 0 && !(block = calloc(count, size))) FAIL(LAMP_NO_MEMORY, "no memory for %s: %zu x %zu bytes", purpose, count, size);
    if (count > 0 && size > LARGE / count) wish_large_pages(block, count * size);
    memcpy(pointer, &block, sizeof block);
    return LAMP_OK;
}

int memory_resize(void *pointer, size_t count, size_t size, const char *purpose) {
    void *block;
    memcpy(&block, pointer, sizeof block);
    void *grown = reallocarray(block, count ? count : 1, size);
    if (!grown) FAIL(LAMP_NO_MEMORY, "no memory for %s: %zu x %zu bytes", purpose, count, size);
    memcpy(pointer, &grown, sizeof grown);
    return LAMP_OK;
}

int memory_reserve(void *pointer, size_t *capacity, size_t needed, size_t size, const char *purpose) {
    if (needed <= *capacity) return LAMP_OK;
    size_t grown = *capacity < 16 ? 16 : *capacity;
    while (grown < needed) grown = grown > (size_t)-1 / 2 ? needed : grown * 2;
    TRY(memory_resize(pointer, grown, size, purpose));
    *capacity = grown;
    return LAMP_OK;
}

int memory_copy_text(char **copy, const char *text, const char *purpose) {
    size_t bytes = strlen(text) + 1;
    TRY(memory_new(copy, bytes, 1, purpose));
    memcpy(*copy, text, bytes);
    return LAMP_OK;
}

void memory_free(void *pointer) { free(pointer); }
