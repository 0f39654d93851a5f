#include <string.h>

#include "../test.h"
#include "comm/comm.h"
#include "lamp.h"

static void a_world_of_one_keeps_what_it_has(void) {
    double values[] = {1.5, -2};
    int word = 7;
    EXPECT(comm_rank() == 0 && comm_size() == 1, "rank %d of %d", comm_rank(), comm_size());
    comm_all_reduce(values, 2);
    comm_broadcast(&word, sizeof word, 0);
    EXPECT(values[0] == 1.5 && values[1] == -2 && word == 7, "%g, %g, %d", values[0], values[1], word);
    EXPECT(comm_agree(LAMP_IO) == LAMP_IO && comm_agree(LAMP_OK) == LAMP_OK, "a status was lost");
}

static void all_to_all_is_a_copy_between_starts(void) {
    const char sent[] = "..abcd";
    char received[] = "-----";
    ptrdiff_t send_start[] = {2, 6}, receive_start[] = {1, 5};
    comm_all_to_all(received, receive_start, sent, send_start);
    EXPECT(!strcmp(received, "-abcd"), "%s", received);
}

static const test_case cases[] = {
    {"a world of one keeps what it has", a_world_of_one_keeps_what_it_has},
    {"all to all is a copy between starts", all_to_all_is_a_copy_between_starts},
};

int main(void) { return test_run("comm", cases, sizeof cases / sizeof *cases); }
