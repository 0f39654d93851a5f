/* A growing run of bytes. `bytes` is never NULL once something was appended and always ends in a NUL that `length` does not count.
 * A failed append is remembered (status), so that a long series of appends needs one check at its end. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stddef.h>

typedef struct {
    char *bytes;
    size_t length, capacity;
    int status; /* LAMP_OK, or what the first failed append returned */
} buffer;

void buffer_release(buffer *b);
void buffer_clear(buffer *b); /* keeps the memory */
int buffer_append(buffer *b, const void *bytes, size_t length);
int buffer_append_text(buffer *b, const char *text);
int buffer_append_byte(buffer *b, char byte);
int buffer_printf(buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
