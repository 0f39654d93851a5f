#include "kernels/thread_room.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/memory.h"

static pthread_key_t own;
static bool has_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static char shared[THREAD_ROOM_BYTES] __attribute__((aligned(64)));
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void make_key(void) { has_key = !pthread_key_create(&own, memory_free); }

void *thread_room_take(void) {
    void *room;
    pthread_once(&once, make_key);
    if (has_key && (room = pthread_getspecific(own))) return room;
    if (has_key && memory_new_room(&room, 1, THREAD_ROOM_BYTES, "what a thread packs") == LAMP_OK) {
        if (!pthread_setspecific(own, room)) return room;
        memory_free(room);
    }
    pthread_mutex_lock(&turn);
    return shared;
}

void thread_room_return(void *room) {
    if (room == shared) pthread_mutex_unlock(&turn);
}
