/* What the program says of itself to others: the manual page lamp(1), and what completes its words in a shell. Both are made from the
 * tables that parse the command line and the recipe, so that they cannot say anything else. */
#ifndef MANUAL_H
#define MANUAL_H

int manual_write(void); /* lamp.1, in the macros of man(7), to standard output */

/* shell: bash, zsh or fish. */
int completion_write(const char *shell);

#endif
