/* The test harness. A test file is a program: a table of cases and a main that runs them.
 *
 *     static void adds(void) { EXPECT(1 + 1 == 2, "found %d", 1 + 1); }
 *     static const test_case cases[] = {{"adds", adds}};
 *     int main(void) { return test_run("arithmetic", cases, sizeof cases / sizeof *cases); }
 *
 * A failed EXPECT is printed and counted; the case goes on, so later lines show too. */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name;
    void (*run)(void);
} test_case;

int test_run(const char *suite, const test_case *cases, size_t n);

void test_fail(const char *file, int line, const char *condition, const char *format, ...) __attribute__((format(printf, 4, 5)));

#define EXPECT(condition, ...) \
    do { \
        if (!(condition)) test_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

/* The call succeeds, or fails with this code and a message that contains text. */
#define EXPECT_OK(call) EXPECT((call) >= 0, "%s", lamp_error_message())
#define EXPECT_ERROR(call, code, text) test_expect_error((call), code, text, __FILE__, __LINE__, #call)
void test_expect_error(int status, int code, const char *text, const char *file, int line, const char *call);

/* Failures from here on name this row of the case's table; NULL, and the next case: no row. */
void test_row(const char *name);

/* A fresh folder for this process's files, removed at exit; ends without a slash. */
const char *test_folder(void);

/* The path of a file in it, valid until the next call; and the file itself, with the folders it needs. It is for thousands of small files:
 * none waits for the disk. */
const char *test_path(const char *name);
void test_write(const char *name, const char *bytes, size_t length);
void test_write_text(const char *name, const char *text);

/* Calls of malloc, calloc, realloc, reallocarray and aligned_alloc so far from the program's own objects. */
long test_allocations(void);

/* Bytes of the largest of those calls since this was last asked: what a file that lies about sizes could make the program take. */
size_t test_largest_allocation(void);

/* From here on blocks of aligned memory, as most of base/memory.h's are, are refused; or no longer. */
void test_refuse_memory(bool refuse);

#endif
