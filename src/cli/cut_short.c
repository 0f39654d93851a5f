#include "cli/cut_short.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"

static const char *beginning; /* of an error's line */

/* Below here only what is safe in the handler of a signal. */

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return; /* nobody listens: the exit code remains */
}

static uintptr_t read_hexadecimal(const char **text) {
    uintptr_t value = 0;
    for (;; ++*text) {
        char c = **text;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return value;
        value = value << 4 | (uintptr_t)digit;
    }
}

/* "BEGIN-END rights offset device inode /PATH"; NULL if address is not in it, or it is not of a file. */
static const char *path_if_mapped(const char *line, uintptr_t address) {
    uintptr_t begin = read_hexadecimal(&line);
    line++;
    uintptr_t end = read_hexadecimal(&line);
    return address >= begin && address < end ? strchr(line, '/') : NULL;
}

/* The kernel keeps the list of what is mapped where: one of ours could be changed just when it is needed. */
static const char *find_path(uintptr_t address) {
    static char line[PATH_BYTES + 256], block[PATH_BYTES];
    size_t length = 0;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t n; maps >= 0 && (n = read(maps, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < n; i++) {
            if (block[i] != '\n') {
                if (length < sizeof line - 1) line[length++] = block[i];
                continue;
            }
            line[length] = 0, length = 0;
            const char *path = path_if_mapped(line, address);
            if (path) return path;
        }
    return NULL;
}

/* One that has nothing to do with a file is a bug: it is raised again, without this handler. */
static void on_bus_error(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    const char *path = find_path((uintptr_t)info->si_addr);
    if (!path) return;
    say(beginning), say(path), say(": cannot be read any more: cut short while it was in use, or its disk fails\n");
    _exit(-LAMP_IO);
}

void cut_short_install(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    beginning = cli_is_terminal(stderr) ? "\r\033[Kerror: " : "error: ";
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
