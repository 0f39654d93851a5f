#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

void buffer_release(buffer *b) {
    memory_free(b->bytes);
    *b = (buffer){0};
}

void buffer_clear(buffer *b) { b->length = 0, b->status = LAMP_OK; }

static int buffer_grow(buffer *b, size_t length) {
    if (b->status < 0) return b->status;
    return b->status = memory_reserve(&b->bytes, &b->capacity, b->length + length + 1, 1, "a text buffer");
}

int buffer_append(buffer *b, const void *bytes, size_t length) {
    TRY(buffer_grow(b, length));
    if (length > 0) memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
    b->bytes[b->length] = 0;
    return LAMP_OK;
}

int buffer_append_text(buffer *b, const char *text) { return buffer_append(b, text, strlen(text)); }

int buffer_append_byte(buffer *b, char byte) { return buffer_append(b, &byte, 1); }

int buffer_printf(buffer *b, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    int status = length < 0 ? LAMP_FAILURE : buffer_grow(b, (size_t)length);
    if (status >= 0) {
        vsnprintf(b->bytes + b->length, (size_t)length + 1, format, again);
        b->length += (size_t)length;
    }
    va_end(again);
    return status;
}
