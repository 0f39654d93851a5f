#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

int memory_new(void *pointer, size_t count, size_t size, const char *purpose) {
    void *block = NULL;
    if (count > 0 && size > 0 && !(block = calloc(count, size))) FAIL(LAMP_NO_MEMORY, "no memory for %s: %zu x %zu bytes", purpose, count, size);
    memcpy(pointer, &block, sizeof block);
    return LAMP_OK;
}

enum { PIECE = 1 << 20 };

void memory_clear(void *block, size_t bytes) {
    char *begin = block;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memset(begin + at, 0, bytes - at < PIECE ? bytes - at : PIECE);
}

void memory_copy(void *to, const void *from, size_t bytes) {
    char *begin = to;
    const char *source = from;
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memcpy(begin + at, source + at, bytes - at < PIECE ? bytes - at : PIECE);
}

int memory_new_room(void *pointer, size_t count, size_t size, const char *purpose) {
    enum { LINE = 64, LARGE_PAGE = 1 << 21 };
    size_t alignment = count > 0 && size >= LARGE_PAGE / count ? LARGE_PAGE : LINE, bytes;
    char *block = NULL;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - alignment) bytes = SIZE_MAX - alignment;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (bytes > 0 && !(block = aligned_alloc(alignment, bytes))) FAIL(LAMP_NO_MEMORY, "no memory for %s: %zu x %zu bytes", purpose, count, size);
    if (alignment == LARGE_PAGE) madvise(block, bytes, MADV_HUGEPAGE); /* a wish; without it all works, slower */
    memcpy(pointer, &block, sizeof block);
    return LAMP_OK;
}

int memory_new_block(void *pointer, size_t count, size_t size, const char *purpose) {
    void *block = NULL;
    TRY(memory_new_room(&block, count, size, purpose));
    memory_clear(block, count * size);
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
