#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 4096 };

static _Thread_local char message[MESSAGE_BYTES];

/* Messages quote what files say; a control character there would let a file write on a terminal. Lists have line ends. */
static void disarm(char *text) {
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\n') || *text == 0x7F) *text = '?';
}

int error_set(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    disarm(message);
    return code;
}

int error_add_context(int code, const char *format, ...) {
    char context[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context - 2, format, arguments);
    va_end(arguments);
    strcat(context, ": ");
    size_t before = strlen(context), after = strlen(message), room = MESSAGE_BYTES - 1 - before;
    if (after > room) after = room;
    memmove(message + before, message, after);
    memcpy(message, context, before);
    message[before + after] = 0;
    return code;
}

const char *lamp_error_message(void) { return message; }

const char *lamp_version(void) { return "0.1.0"; }

void error_abort(const char *file, int line, const char *condition, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: CHECK(%s) failed: ", file, line, condition);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}
