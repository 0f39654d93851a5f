/* Ctrl-C and SIGTERM ask long work to end well: it looks at interrupt_requested() at points where stopping is clean, and returns
 * LAMP_INTERRUPTED. A second signal ends the process at once. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <stdbool.h>

void interrupt_install(void);
bool interrupt_requested(void);

/* LAMP_OK, or LAMP_INTERRUPTED with a sentence naming what was being done. */
int interrupt_check(const char *doing);

#endif
