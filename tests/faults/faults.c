/* Linked into a copy of lamp (build/faults/lamp), in whose objects every allocation and every call that touches files comes here first
 * (Makefile: --wrap). FAULT says which of them fails:
 *
 *     FAULT=memory:17        the 17th allocation returns NULL        FAULT=memory:17+   and so does every one after it
 *     FAULT=file:5:ENOSPC    the 5th call on files fails with this errno
 *     FAULT=file:5:KILL      the process ends there and then, as by kill -9
 *     FAULT=map:3            the 3rd file that is mapped is cut to nothing just after; 3+: and each one after it
 *     FAULT=file:5:INT       it gets SIGINT there (TERM: SIGTERM), as by Ctrl-C, and the call does its work; 5+: each one after it, too
 *
 * FAULT_COUNT names a file that receives, at the end, how many calls of each kind there were. jansson's allocations count too.
 * FAULT_RECORD names a file that receives every change the run makes below the folder it began in, for tests/faults/replay.c: lines of
 *
 *     KIND BYTES PATH OTHER     create, append (create unless it is there), write, flush, sync, rename, remove, mkdir, symlink; OTHER: where
 *                               a rename goes, what a link holds
 *
 * each followed by BYTES bytes of what was written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEMORY, FILES, MAPS, KINDS };

static const char *const kind_names[KINDS] = {"memory", "file", "map"};
static long calls[KINDS], fails_at[KINDS];
static bool fails_on;
static int failure = EIO, signal_sent;

static bool fails(int kind) {
    long now = __atomic_add_fetch(&calls[kind], 1, __ATOMIC_RELAXED);
    bool hit = fails_at[kind] > 0 && (now == fails_at[kind] || (fails_on && now > fails_at[kind]));
    if (hit && signal_sent) return raise(signal_sent), false;
    if (hit) errno = kind == MEMORY ? ENOMEM : failure;
    return hit;
}

static FILE *trace;
static char here[4096];

static void record(const char *kind, const char *path, const char *other, const void *bytes, size_t length);
static void record_open(const char *kind, int file, const void *bytes, size_t length);

/* type name(parameters): fails with result, or calls the real one. */
#define WRAP(kind, type, name, parameters, arguments, result) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters { return fails(kind) ? (result) : __real_##name arguments; }

/* The same for a call that changes files: what it did is recorded. */
#define WRAP_CHANGE(type, name, parameters, arguments, result, recorded) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters { \
        if (fails(FILES)) return (result); \
        type did = __real_##name arguments; \
        if (trace && did != (result)) recorded; \
        return did; \
    }

WRAP(MEMORY, void *, malloc, (size_t bytes), (bytes), NULL)
WRAP(MEMORY, void *, calloc, (size_t count, size_t bytes), (count, bytes), NULL)
WRAP(MEMORY, void *, realloc, (void *block, size_t bytes), (block, bytes), NULL)
WRAP(MEMORY, void *, reallocarray, (void *block, size_t count, size_t bytes), (block, count, bytes), NULL)
WRAP(MEMORY, void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes), NULL)
WRAP_CHANGE(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL,
            *mode == 'r' ? (void)0 : record(*mode == 'w' ? "create" : "append", path, "", NULL, 0))
WRAP_CHANGE(size_t, fwrite, (const void *from, size_t size, size_t count, FILE *to), (from, size, count, to), count / 2,
            record_open("write", fileno(to), from, size * did))
WRAP_CHANGE(int, fflush, (FILE *file), (file), EOF, record_open("flush", fileno(file), NULL, 0))
WRAP(FILES, ssize_t, read, (int file, void *to, size_t bytes), (file, to, bytes), -1)
WRAP_CHANGE(ssize_t, write, (int file, const void *from, size_t bytes), (file, from, bytes), -1,
            (record_open("write", file, from, (size_t)did), record_open("flush", file, NULL, 0)))
WRAP_CHANGE(int, fsync, (int file), (file), -1, record_open("sync", file, NULL, 0))
WRAP_CHANGE(int, rename, (const char *from, const char *to), (from, to), -1, record("rename", from, to, NULL, 0))
WRAP_CHANGE(int, remove, (const char *path), (path), -1, record("remove", path, "", NULL, 0))
WRAP_CHANGE(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, record("mkdir", path, "", NULL, 0))
WRAP_CHANGE(int, symlink, (const char *target, const char *path), (target, path), -1, record("symlink", path, target, NULL, 0))
WRAP(FILES, int, stat, (const char *path, struct stat *info), (path, info), -1)
WRAP(FILES, int, lstat, (const char *path, struct stat *info), (path, info), -1)
WRAP(FILES, int, fstat, (int file, struct stat *info), (file, info), -1)
WRAP(FILES, int, flock, (int file, int operation), (file, operation), -1)
WRAP(FILES, DIR *, opendir, (const char *path), (path), NULL)
WRAP(FILES, struct dirent *, readdir, (DIR *folder), (folder), NULL)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (fails(FILES)) return -1;
    int file = __real_open(path, flags, mode);
    if (trace && file >= 0 && flags & O_CREAT) record(flags & O_TRUNC ? "create" : "append", path, "", NULL, 0);
    return file;
}

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int file, off_t from);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int file, off_t from);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int file, off_t from) {
    char path[64];
    if (fails(FILES)) return MAP_FAILED;
    void *mapped = __real_mmap(at, bytes, protection, flags, file, from);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (mapped != MAP_FAILED && file >= 0 && fails(MAPS) && truncate(path, 0)) _exit(1);
    return mapped;
}

/* The file is closed whether or not its last bytes could be written. */
int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file) {
    bool failed = fails(FILES);
    if (trace && !failed) record_open("flush", fileno(file), NULL, 0);
    int kept = errno, status = __real_fclose(file);
    if (failed) errno = kept;
    return failed ? EOF : status;
}

static void record(const char *kind, const char *path, const char *other, const void *bytes, size_t length) {
    int kept = errno;
    fprintf(trace, "%s %zu %s %s\n", kind, length, path, *other ? other : "-");
    if (__real_fwrite(bytes, 1, length, trace) != length) _exit(1);
    errno = kept;
}

/* The path is what the kernel knows an open file by; pipes and what lies elsewhere are not ours. */
static void record_open(const char *kind, int file, const void *bytes, size_t length) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    size_t shared = strlen(here);
    if (n < 0) return;
    path[n] = 0;
    if (!strcmp(path, here)) record(kind, ".", "", bytes, length);
    else if (!strncmp(path, here, shared) && path[shared] == '/') record(kind, path + shared + 1, "", bytes, length);
}

__attribute__((constructor)) static void open_trace(void) {
    const char *path = getenv("FAULT_RECORD");
    if (path && (!getcwd(here, sizeof here) || !(trace = __real_fopen(path, "we")))) _exit(1);
}

__attribute__((destructor)) static void close_trace(void) {
    if (trace && __real_fclose(trace)) _exit(1);
}

__attribute__((constructor)) static void read_fault(void) {
    static const struct {
        const char *name;
        int number, *target;
    } ways[] = {{"EIO", EIO, &failure},       {"ENOSPC", ENOSPC, &failure},       {"EINTR", EINTR, &failure},      {"EACCES", EACCES, &failure},
                {"EMFILE", EMFILE, &failure}, {"KILL", SIGKILL, &signal_sent}, {"INT", SIGINT, &signal_sent}, {"TERM", SIGTERM, &signal_sent}};
    const char *fault = getenv("FAULT");
    for (int kind = 0; fault && kind < KINDS; kind++) {
        size_t length = strlen(kind_names[kind]);
        char *rest;
        if (strncmp(fault, kind_names[kind], length) || fault[length] != ':') continue;
        fails_at[kind] = strtol(fault + length + 1, &rest, 10);
        if (*rest == '+') fails_on = true, rest++;
        for (size_t i = 0; *rest == ':' && i < sizeof ways / sizeof *ways; i++)
            if (!strcmp(rest + 1, ways[i].name)) *ways[i].target = ways[i].number;
    }
    json_set_alloc_funcs(__wrap_malloc, free);
}

__attribute__((destructor)) static void write_counts(void) {
    const char *path = getenv("FAULT_COUNT");
    char text[64];
    int file = path ? __real_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (file < 0) return;
    int length = snprintf(text, sizeof text, "%ld %ld %ld\n", calls[MEMORY], calls[FILES], calls[MAPS]);
    if (__real_write(file, text, (size_t)length) != length) _exit(1);
    close(file);
}
