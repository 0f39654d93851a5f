#include "base/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "base/error.h"

static volatile sig_atomic_t requested;

static void on_signal(int number) {
    if (requested) _exit(128 + number);
    requested = 1;
}

void interrupt_install(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupt_requested(void) { return requested; }

int interrupt_check(const char *doing) {
    if (requested) FAIL(LAMP_INTERRUPTED, "interrupted while %s", doing);
    return LAMP_OK;
}
