#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int memory_new(void *pointer, size_t count, size_t size, const char *purpose) {
    void *block = NULL;
    if (count > 0 && size > 0 && !(block = calloc(count, size)))
        FAIL(LAMP_NO_MEMORY, "no memory for %s: %zu x %zu bytes", purpose, count, size);
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
