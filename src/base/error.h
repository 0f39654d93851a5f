/* Three kinds of failure, three ways. A bug aborts (CHECK). The world (files, recipes, requests, memory) returns a negative lamp_status
 * and a sentence: what, where, expected, found, what to try. Arithmetic cannot fail.
 *
 *     TRY(file_map(&map, path));                                    forward a failure
 *     FAIL(LAMP_MALFORMED, "%s: line %d: ...", path, line);          report one
 *
 * A function that must release something on the way out declares `int status = LAMP_OK`, uses TRY_TO / FAIL_TO with its one label
 * (`done`), and returns status. */
#ifndef ERROR_H
#define ERROR_H

#include "lamp.h"

/* Records the sentence for this thread and returns code. */
int error_set(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "where: " before the sentence already recorded; returns code unchanged. */
int error_add_context(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

_Noreturn void error_abort(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define FAIL(code, ...) return error_set((code), __VA_ARGS__)
#define TRY(call) \
    do { \
        int try_status = (call); \
        if (try_status < 0) return try_status; \
    } while (0)

#define FAIL_TO(label, code, ...) \
    do { \
        status = error_set((code), __VA_ARGS__); \
        goto label; \
    } while (0)
#define TRY_TO(label, call) \
    do { \
        if ((status = (call)) < 0) goto label; \
    } while (0)

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) error_abort(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

#endif
