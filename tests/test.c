#include "test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "lamp.h"

static int failures_in_case;
static const char *row_of_case;
static long allocations;
static size_t largest_allocation;
static bool refuses;

void test_fail(const char *file, int line, const char *condition, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("    %s:%d: %s: ", file, line, condition);
    if (row_of_case) printf("[%s] ", row_of_case);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    failures_in_case++;
}

void test_expect_error(int status, int code, const char *text, const char *file, int line, const char *call) {
    if (status != code) test_fail(file, line, call, "returned %d, expected %d (%s)", status, code, status < 0 ? lamp_error_message() : "");
    else if (!strstr(lamp_error_message(), text)) test_fail(file, line, call, "\"%s\" does not contain \"%s\"", lamp_error_message(), text);
}

void test_row(const char *name) { row_of_case = name; }

static char folder[PATH_BYTES];

static void remove_folder(void) { file_remove_folder(folder); }

const char *test_folder(void) {
    if (!*folder) {
        const char *parent = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/lamp-test-%ld", parent ? parent : "/tmp", (long)getpid());
        if (file_make_folder(folder) < 0) printf("%s\n", lamp_error_message()), exit(1);
        atexit(remove_folder);
    }
    return folder;
}

const char *test_path(const char *name) {
    static char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), name));
    return path;
}

void test_write(const char *name, const char *bytes, size_t length) {
    char path[PATH_BYTES], inside[PATH_BYTES];
    strcpy(path, test_path(name)), strcpy(inside, path);
    *strrchr(inside, '/') = 0;
    EXPECT_OK(file_make_folder(inside));
    remove(path);
    FILE *file = fopen(path, "wb");
    EXPECT(file && fwrite(bytes, 1, length, file) == length && !fclose(file), "%s cannot be written", path);
}

void test_write_text(const char *name, const char *text) { test_write(name, text, strlen(text)); }

int test_run(const char *suite, const test_case *cases, size_t n) {
    int passed = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < n; i++) {
        failures_in_case = 0;
        test_row(NULL);
        cases[i].run();
        if (failures_in_case) printf("FAILED %s: %s\n", suite, cases[i].name), failed++;
        else passed++;
    }
    printf("%s: %d passed, %d failed\n", suite, passed, failed);
    return failed > 0;
}

long test_allocations(void) { return allocations; }

size_t test_largest_allocation(void) { return __atomic_exchange_n(&largest_allocation, 0, __ATOMIC_RELAXED); }

void test_refuse_memory(bool refuse) { refuses = refuse; }

static void count_allocation(size_t count, size_t size) {
    size_t bytes, largest = __atomic_load_n(&largest_allocation, __ATOMIC_RELAXED);
    if (__builtin_mul_overflow(count, size, &bytes)) bytes = (size_t)-1;
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    while (bytes > largest && !__atomic_compare_exchange_n(&largest_allocation, &largest, bytes, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_reallocarray(void *block, size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_reallocarray(void *block, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes) { return count_allocation(1, bytes), __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return count_allocation(count, bytes), __real_calloc(count, bytes); }
void *__wrap_realloc(void *block, size_t bytes) { return count_allocation(1, bytes), __real_realloc(block, bytes); }
void *__wrap_reallocarray(void *block, size_t count, size_t bytes) {
    return count_allocation(count, bytes), __real_reallocarray(block, count, bytes);
}
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return count_allocation(1, bytes), refuses ? NULL : __real_aligned_alloc(alignment, bytes);
}
