/* A world of one rank: what it sends itself it already has. */
#include <string.h>

#include "comm/comm.h"

int comm_rank(void) { return 0; }
int comm_size(void) { return 1; }

void comm_all_reduce(double *values, ptrdiff_t n) { (void)values, (void)n; }

void comm_all_to_all(void *received, const ptrdiff_t *receive_start, const void *sent, const ptrdiff_t *send_start) {
    memcpy((char *)received + receive_start[0], (const char *)sent + send_start[0], (size_t)(send_start[1] - send_start[0]));
}

void comm_broadcast(void *bytes, size_t length, int from) { (void)bytes, (void)length, (void)from; }

int comm_agree(int status) { return status; }
