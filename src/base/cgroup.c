/* A line of the membership file is HIERARCHY:CONTROLLERS:/PATH. Version 2 has one hierarchy, without controllers, and its limits are in
 * ROOT/PATH/memory.max; version 1's are in ROOT/memory/PATH/memory.limit_in_bytes. In a container ROOT may already be the group itself and
 * PATH lead nowhere: what is not there has no limit, and the walk up ends at ROOT. */
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* "max" is no number, and no limit. */
static size_t read_limit(const char *folder, const char *name) {
    char path[PATH_BYTES], text[32] = "", *end;
    FILE *file = file_join(path, folder, name) >= 0 ? fopen(path, "re") : NULL;
    if (!file) return SIZE_MAX;
    char *line = fgets(text, sizeof text, file);
    fclose(file);
    size_t limit = strtoull(text, &end, 10);
    return line && end > text ? limit : SIZE_MAX;
}

static size_t limit_up_to(const char *root, char *path, const char *name) {
    size_t least = SIZE_MAX;
    for (char *slash;; *slash = 0) {
        char folder[PATH_BYTES];
        size_t limit = file_join(folder, root, path) >= 0 ? read_limit(folder, name) : SIZE_MAX;
        if (limit < least) least = limit;
        if (!(slash = strrchr(path, '/'))) return least;
    }
}

size_t cgroup_memory_limit(const char *membership, const char *root) {
    char line[PATH_BYTES], version_1[PATH_BYTES];
    size_t least = SIZE_MAX;
    FILE *file = file_join(version_1, root, "memory") >= 0 ? fopen(membership, "re") : NULL;
    if (!file) return SIZE_MAX;
    while (fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        bool is_version_2 = !controllers[1];
        if (!is_version_2 && !strstr(controllers, "memory")) continue;
        size_t limit = is_version_2 ? limit_up_to(root, path, "memory.max") : limit_up_to(version_1, path, "memory.limit_in_bytes");
        if (limit < least) least = limit;
    }
    fclose(file);
    return least;
}
