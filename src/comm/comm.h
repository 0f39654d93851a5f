/* Ranks and what they say to each other, behind one interface; this build has the serial one, a world of one rank. Every function is
 * collective: all ranks call it in the same order, and none returns before all have called. */
#ifndef COMM_H
#define COMM_H

#include <stddef.h>
#include <stdint.h>

int comm_rank(void); /* not collective */
int comm_size(void); /* not collective */

/* values[i] becomes the sum over ranks of values[i]. */
void comm_all_reduce(double *values, ptrdiff_t n);

/* Rank p receives at received + receive_start[p] what this rank holds for it at sent + send_start[p]; starts have size + 1 entries, in
 * bytes. */
void comm_all_to_all(void *received, const ptrdiff_t *receive_start, const void *sent, const ptrdiff_t *send_start);

/* Everybody has what rank `from` had. */
void comm_broadcast(void *bytes, size_t length, int from);

/* The worst status of all ranks: a failure of one becomes everyone's here, so that nobody waits for the dead. */
int comm_agree(int status);

#endif
