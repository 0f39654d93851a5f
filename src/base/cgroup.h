/* The memory that Linux lets this process's control groups have: containers, batch systems and systemd limit it below the machine's. */
#ifndef CGROUP_H
#define CGROUP_H

#include <stddef.h>

/* The least limit of its groups and all above them, SIZE_MAX if none has one. membership is /proc/self/cgroup, root /sys/fs/cgroup. */
size_t cgroup_memory_limit(const char *membership, const char *root);

#endif
