#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"

int file_map(mapped_file *map, const char *path) {
    *map = (mapped_file){0};
    int status = LAMP_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) FAIL(LAMP_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) < 0) FAIL_TO(done, LAMP_IO, "%s: cannot read its size: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) FAIL_TO(done, LAMP_IO, "%s: expected a file, found a %s", path, S_ISDIR(info.st_mode) ? "folder" : "device");
    if (info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) FAIL_TO(done, LAMP_IO, "%s: cannot map %lld bytes: %s", path, (long long)info.st_size, strerror(errno));
        *map = (mapped_file){bytes, (size_t)info.st_size};
    }
done:
    close(fd);
    return status;
}

void file_unmap(mapped_file *map) {
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->length);
    *map = (mapped_file){0};
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

bool file_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool file_is_inside(const char *path, const char *folder) {
    char outer[PATH_BYTES], inner[PATH_BYTES], there[PATH_BYTES];
    if (!realpath(folder, outer) || strlen(path) >= sizeof there) return false;
    strcpy(there, path);
    while (!realpath(there, inner)) {
        char *slash = strrchr(there, '/');
        if (!slash && !strcmp(there, ".")) return false;
        if (!slash) strcpy(there, ".");
        else slash[slash == there] = 0;
    }
    size_t length = strlen(outer);
    return !strncmp(inner, outer, length) && (outer[length - 1] == '/' || inner[length] == '/' || !inner[length]);
}

int file_size(int64_t *bytes, const char *path) {
    struct stat info;
    if (stat(path, &info) < 0) FAIL(LAMP_IO, "%s: cannot read its size: %s", path, strerror(errno));
    *bytes = (int64_t)info.st_size;
    return LAMP_OK;
}

int file_sync(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) FAIL(LAMP_IO, "%s: cannot open to sync: %s", path, strerror(errno));
    int failed = fsync(fd), reason = errno;
    close(fd);
    if (failed) FAIL(LAMP_IO, "%s: cannot sync: %s", path, strerror(reason));
    return LAMP_OK;
}

static int sync_parent(const char *path) {
    char parent[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    if (!slash) return file_sync(".");
    if (slash == path) return file_sync("/");
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    return file_sync(parent);
}

int file_make_folder(const char *path) {
    char partial[PATH_BYTES];
    if (strlen(path) >= sizeof partial) FAIL(LAMP_IO, "%.60s...: path is longer than %d bytes", path, PATH_BYTES - 1);
    strcpy(partial, path);
    for (char *p = partial + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char kept = *p;
        *p = 0;
        if (mkdir(partial, 0777) == 0) TRY(sync_parent(partial));
        else if (errno != EEXIST || !file_is_folder(partial)) FAIL(LAMP_IO, "%s: cannot make this folder: %s", partial, strerror(errno));
        if (!kept) return LAMP_OK;
        *p = kept;
    }
}

int file_join(char path[PATH_BYTES], const char *folder, const char *name) {
    int length = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    if (length < 0 || length >= PATH_BYTES) FAIL(LAMP_IO, "%.60s.../%.60s: path is longer than %d bytes", folder, name, PATH_BYTES - 1);
    return LAMP_OK;
}

int file_name_partial(char path[PATH_BYTES], char partial[PATH_BYTES], const char *given) {
    static const char suffix[] = ".partial";
    size_t length = strlen(given);
    while (length > 1 && given[length - 1] == '/') length--;
    if (length + sizeof suffix > PATH_BYTES) FAIL(LAMP_INVALID, "%.60s...: path is longer than %d bytes", given, PATH_BYTES - (int)sizeof suffix);
    snprintf(path, PATH_BYTES, "%.*s", (int)length, given);
    snprintf(partial, PATH_BYTES, "%.*s%s", (int)length, given, suffix);
    return LAMP_OK;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void names_free(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) memory_free(names[i]);
    memory_free(names);
}

/* The entries of a folder but . and .., sorted. */
static int folder_names(char ***names, size_t *n_names, const char *path) {
    int status = LAMP_OK;
    size_t capacity = 0;
    *names = NULL, *n_names = 0;
    DIR *folder = opendir(path);
    if (!folder) FAIL(LAMP_IO, "%s: cannot open this folder: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        TRY_TO(done, memory_reserve(names, &capacity, *n_names + 1, sizeof **names, "file names"));
        TRY_TO(done, memory_copy_text(&(*names)[*n_names], entry->d_name, "a file name"));
        ++*n_names;
    }
    if (*n_names) qsort(*names, *n_names, sizeof **names, compare_names);
done:
    closedir(folder);
    if (status < 0) names_free(*names, *n_names), *names = NULL, *n_names = 0;
    return status;
}

int file_remove_folder(const char *path) {
    struct stat info;
    if (lstat(path, &info) < 0) return LAMP_OK;
    int status = LAMP_OK;
    char **names = NULL;
    size_t n = 0;
    if (S_ISDIR(info.st_mode)) {
        TRY(folder_names(&names, &n, path));
        for (size_t i = 0; i < n; i++) {
            char child[PATH_BYTES];
            TRY_TO(done, file_join(child, path, names[i]));
            TRY_TO(done, file_remove_folder(child));
        }
    }
    if (remove(path) < 0) FAIL_TO(done, LAMP_IO, "%s: cannot remove: %s", path, strerror(errno));
done:
    names_free(names, n);
    return status;
}

static int walk(const char *path, int depth, file_visitor *visit, void *context) {
    enum { MAX_DEPTH = 64 };
    struct stat info;
    if ((depth ? lstat : stat)(path, &info) < 0) FAIL(LAMP_IO, "%s: cannot open: %s", path, strerror(errno));
    if (S_ISREG(info.st_mode)) return visit(context, path);
    if (!S_ISDIR(info.st_mode) && depth == 0)
        FAIL(LAMP_IO, "%s: expected a file or a folder, found a pipe or a device; copy what it holds to a file", path);
    if (!S_ISDIR(info.st_mode)) return LAMP_OK;
    if (depth == MAX_DEPTH) FAIL(LAMP_IO, "%s: folders are nested more than %d deep", path, MAX_DEPTH);
    int status = LAMP_OK;
    char **names;
    size_t n;
    TRY(folder_names(&names, &n, path));
    for (size_t i = 0; i < n; i++) {
        char child[PATH_BYTES];
        if (names[i][0] == '.') continue;
        TRY_TO(done, file_join(child, path, names[i]));
        TRY_TO(done, walk(child, depth + 1, visit, context));
    }
done:
    names_free(names, n);
    return status;
}

int file_walk(const char *path, file_visitor *visit, void *context) { return walk(path, 0, visit, context); }

int file_rename(const char *from, const char *to) {
    if (rename(from, to) < 0) FAIL(LAMP_IO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    TRY(sync_parent(to));
    return sync_parent(from);
}

int file_write_whole(const char *path, const void *bytes, size_t length) {
    char beside[PATH_BYTES];
    if (snprintf(beside, sizeof beside, "%s.partial", path) >= (int)sizeof beside)
        FAIL(LAMP_IO, "%.60s...: path is longer than %d bytes", path, PATH_BYTES - 1);
    int status = LAMP_OK;
    FILE *file = fopen(beside, "wbe");
    if (!file) FAIL(LAMP_IO, "%s: cannot create: %s", beside, strerror(errno));
    if (length > 0 && fwrite(bytes, 1, length, file) != length)
        FAIL_TO(done, LAMP_IO, "%s: cannot write %zu bytes: %s", beside, length, strerror(errno));
    if (fflush(file) || fsync(fileno(file))) FAIL_TO(done, LAMP_IO, "%s: cannot write: %s", beside, strerror(errno));
done:
    if (fclose(file) && status == LAMP_OK) status = error_set(LAMP_IO, "%s: cannot close: %s", beside, strerror(errno));
    if (status == LAMP_OK) status = file_rename(beside, path);
    if (status < 0) remove(beside);
    return status;
}

/* A read begins again after a signal; waiting for what there is to read does not, so that Ctrl-C ends it, if a second late. */
static int read_some(size_t *n, int from, void *to, size_t bytes, const char *called) {
    for (;;) {
        int ready = poll(&(struct pollfd){.fd = from, .events = POLLIN}, 1, 1000 /* milliseconds */);
        TRY(interrupt_check("reading"));
        if (ready == 0) continue;
        ssize_t found = read(from, to, bytes);
        if (found >= 0) return *n = (size_t)found, LAMP_OK;
        if (errno != EINTR) FAIL(LAMP_IO, "%s: cannot read: %s", called, strerror(errno));
    }
}

int file_read_stream(buffer *content, int from, size_t most, const char *called) {
    char block[1 << 14];
    for (;;) {
        size_t n = 0;
        TRY(read_some(&n, from, block, sizeof block, called));
        if (n > most - content->length) FAIL(LAMP_UNSUPPORTED, "%s: expected at most %zu bytes, found more", called, most);
        TRY(buffer_append(content, block, n));
        if (n == 0) return LAMP_OK;
    }
}

int file_read(buffer *content, const char *path, size_t most) {
    if (file_is_folder(path)) FAIL(LAMP_IO, "%s: expected a file, found a folder", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) FAIL(LAMP_IO, "%s: cannot open: %s", path, strerror(errno));
    int status = file_read_stream(content, fd, most, path);
    close(fd);
    return status;
}

int file_write_stream(const char *path, int from, const char *called) {
    char block[1 << 16];
    int status = LAMP_OK;
    FILE *file = fopen(path, "wbe");
    if (!file) FAIL(LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    for (;;) {
        size_t n = 0;
        TRY_TO(done, read_some(&n, from, block, sizeof block, called));
        if (n == 0) break;
        if (fwrite(block, 1, n, file) != n) FAIL_TO(done, LAMP_IO, "%s: cannot write: %s", path, strerror(errno));
    }
done:
    if (fclose(file) && status == LAMP_OK) status = error_set(LAMP_IO, "%s: cannot close: %s", path, strerror(errno));
    return status;
}

int file_lock(int *lock, const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) FAIL(LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int reason = errno;
        close(fd);
        if (reason == EWOULDBLOCK) FAIL(LAMP_FAILURE, "%s: held by another process", path);
        FAIL(LAMP_IO, "%s: cannot lock: %s", path, strerror(reason));
    }
    *lock = fd;
    return LAMP_OK;
}

void file_unlock(int *lock) {
    if (*lock >= 0) close(*lock);
    *lock = -1;
}

const char *file_name(const char *path) {
    const char *name = path;
    for (const char *p = path; *p; p++)
        if (p[0] == '/' && p[1] && p[1] != '/') name = p + 1;
    return name;
}
