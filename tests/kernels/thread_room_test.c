/* Rooms in which threads pack: each has its own, and without memory for them they take turns. */
#include "kernels/thread_room.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { GROUPS = 3, ROWS = 70, WIDTH = 96, THREADS = 4, TURNS = 500, SMALL_STACK = 1 << 19 };

static void a_thread_keeps_its_room(void) {
    void *first = thread_room_take();
    thread_room_return(first);
    const long before = test_allocations();
    void *again = thread_room_take();
    thread_room_return(again);
    EXPECT(again == first && test_allocations() == before, "the second is another");
}

static pthread_barrier_t all_have_one;

static void *take_beside_others(void *unused) {
    (void)unused;
    void *room = thread_room_take();
    pthread_barrier_wait(&all_have_one);
    thread_room_return(room);
    return room;
}

/* Runs work in threads that are new, and so have no room, on stacks that are smaller than a room. */
static void run_threads(void *(*work)(void *), void *argument[THREADS], void *result[THREADS]) {
    pthread_t thread[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SMALL_STACK);
    for (int i = 0; i < THREADS; i++) EXPECT(!pthread_create(&thread[i], &attributes, work, argument[i]), "thread %d does not start", i);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], &result[i]);
    pthread_attr_destroy(&attributes);
}

static void threads_have_rooms_of_their_own(void) {
    void *nothing[THREADS] = {0}, *room[THREADS];
    pthread_barrier_init(&all_have_one, NULL, THREADS);
    run_threads(take_beside_others, nothing, room);
    pthread_barrier_destroy(&all_have_one);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < i; j++) EXPECT(room[i] != room[j], "threads %d and %d have the same", i, j);
}

static void *count_in_the_room(void *unused) {
    (void)unused;
    int *count = NULL;
    for (int i = 0; i < TURNS; i++) {
        count = thread_room_take();
        ++*count;
        thread_room_return(count);
    }
    return count;
}

static void without_memory_they_take_turns(void) {
    void *nothing[THREADS] = {0}, *room[THREADS];
    test_refuse_memory(true);
    run_threads(count_in_the_room, nothing, room); /* in memory that the program began with: zeros */
    test_refuse_memory(false);
    for (int i = 1; i < THREADS; i++) EXPECT(room[i] == room[0], "thread %d found a room of its own", i);
    EXPECT(*(int *)room[0] == THREADS * TURNS, "%d turns, expected %d", *(int *)room[0], THREADS * TURNS);
}

/* Products of a few groups, and attention. */
typedef struct {
    const struct kernels *k;
    real y[GROUPS * ROWS * WIDTH], dx[GROUPS * ROWS * WIDTH], dw[GROUPS * WIDTH * WIDTH], seen[GROUPS * ROWS * WIDTH], log_sum[GROUPS * ROWS];
} results;

static real x[GROUPS * ROWS * WIDTH], w[GROUPS * WIDTH * WIDTH];

static void *multiply(void *to) {
    static const ptrdiff_t start[] = {0, ROWS, 2 * ROWS, 3 * ROWS};
    static const attention_shape one_head = {.heads = 1, .kv_heads = 1, .head_dim = WIDTH, .value_dim = WIDTH, .scale = 1};
    results *r = to;
    const struct products *p = &r->k->products;
    const row_groups groups = {GROUPS, start, 0};
    const matrices each = {(real *const[]){w, w + WIDTH * WIDTH, w + 2 * WIDTH * WIDTH}, NULL};
    const rows_of rows = {.x = x};
    const heads_of keys = {x, WIDTH, WIDTH};
    omp_set_num_threads(2);
    p->linear(r->y, rows, &each, groups, WIDTH, WIDTH);
    p->linear_dx(r->dx, rows, &each, groups, WIDTH, WIDTH, false);
    p->linear_dw(r->dw, NULL, rows, rows, groups, WIDTH, WIDTH, false, false);
    p->attention(r->seen, r->log_sum, &(attention_inputs){x, keys, keys, NULL}, (attention_span){GROUPS, start, start, start + 1}, one_head);
    return NULL;
}

static void stacks_may_be_small(void) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    void *found[THREADS], *nothing[THREADS];
    results *expected = calloc(1, sizeof *expected);
    for (ptrdiff_t i = 0; i < GROUPS * ROWS * WIDTH; i++) x[i] = (real)random_uniform((random_key){3, 1}, (uint64_t)i) - (real)0.5;
    for (ptrdiff_t i = 0; i < GROUPS * WIDTH * WIDTH; i++) w[i] = (real)random_uniform((random_key){3, 2}, (uint64_t)i) - (real)0.5;
    for (int t = 0; t < n; t++)
        for (int refused = 0; refused < 2; refused++) {
            expected->k = tables[t];
            multiply(expected);
            for (int i = 0; i < THREADS; i++) found[i] = calloc(1, sizeof(results)), ((results *)found[i])->k = tables[t];
            test_refuse_memory(refused);
            run_threads(multiply, found, nothing);
            test_refuse_memory(false);
            for (int i = 0; i < THREADS; i++) {
                EXPECT(!memcmp(found[i], expected, sizeof *expected), "%s: thread %d differs%s", tables[t]->name, i,
                       refused ? ", without memory" : "");
                free(found[i]);
            }
        }
    free(expected);
}

int main(void) {
    static const test_case cases[] = {
        {"a thread keeps its room", a_thread_keeps_its_room},
        {"threads have rooms of their own", threads_have_rooms_of_their_own},
        {"without memory they take turns", without_memory_they_take_turns},
        {"stacks may be small", stacks_may_be_small},
    };
    return test_run("thread room", cases, sizeof cases / sizeof *cases);
}
