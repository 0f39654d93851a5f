/* Where a thread packs what it multiplies: memory of its own, a large page of it, that lasts as long as the thread. Stacks are as large as somebody
 * else decided (OMP_STACKSIZE, ulimit -s, or who made the thread in which the library is used), often less than this. */
#ifndef THREAD_ROOM_H
#define THREAD_ROOM_H

#include "base/real.h"

enum { THREAD_ROOM_BYTES = REAL_BYTES << 19 };

/* The calling thread's, aligned to cache lines, with whatever it was left with; one at a time. Never NULL: threads for which there is no memory take
 * turns at one that is always there, so whoever has a room must not wait at a barrier. */
void *thread_room_take(void);

void thread_room_return(void *room);

#endif
