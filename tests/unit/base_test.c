#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../test.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/cgroup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "base/random.h"

/* Known answers of Philox 4x32-10 published with Random123: counter and key of all zeros and all ones. */
static void philox_matches_known_answers(void) {
    random_key zero = {0, 0}, ones = {~0ull, ~0ull};
    EXPECT(random_bits(zero, 0) == 0xe169c58d6627e8d5ull, "found %llx", (unsigned long long)random_bits(zero, 0));
    EXPECT(random_bits(ones, ~0ull) == 0x41c83b0e408f276dull, "found %llx", (unsigned long long)random_bits(ones, ~0ull));
}

static void normal_numbers_have_mean_0_and_variance_1(void) {
    random_key key = random_key_make(7, RANDOM_INITIAL, 0, 3);
    double sum = 0, square = 0;
    enum { N = 100000 };
    for (uint64_t i = 0; i < N; i++) {
        double x = random_normal(key, i);
        sum += x, square += x * x;
    }
    EXPECT(fabs(sum / N) < 0.02 && fabs(square / N - 1) < 0.02, "mean %g, second moment %g", sum / N, square / N);
}

static void permutation_is_a_bijection(void) {
    random_key key = random_key_make(1, RANDOM_ORDER, 0, 0);
    for (uint64_t n = 1; n < 300; n += 13) {
        bool seen[300] = {false};
        int fixed = 0;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t j = random_permute(key, i, n);
            EXPECT(j < n && !seen[j], "n %d, i %d, j %d", (int)n, (int)i, (int)j);
            if (j < n) seen[j] = true;
            fixed += j == i;
        }
        EXPECT(n < 50 || fixed < (int)n / 4, "n %d: %d elements stayed", (int)n, fixed);
    }
}

typedef struct {
    int64_t steps;
    double rate;
    bool tied;
    char kind[OPTION_TEXT_BYTES];
    option_map mixture;
} fields;

static const option rows[] = {
    {"train", "steps", OPTION_INTEGER, offsetof(fields, steps), "100", 0, 1e6, SCALE_LOG, "", "", "how long"},
    {"optim", "rate", OPTION_NUMBER, offsetof(fields, rate), "0.003", 0, 1, SCALE_LOG, "", "", "how fast"},
    {"model", "tied", OPTION_BOOL, offsetof(fields, tied), "false", 0, 0, SCALE_LINEAR, "", "", "one matrix for both"},
    {"model", "kind", OPTION_CHOICE, offsetof(fields, kind), "cosine", 0, 0, SCALE_LINEAR, "cosine|wsd", "", "which"},
    {"data", "mixture", OPTION_MAP, offsetof(fields, mixture), NULL, 0, 1e9, SCALE_LINEAR, "", "", "weights"},
};
static const option_table table = {rows, sizeof rows / sizeof *rows};

static void options_survive_writing_and_reading(void) {
    fields f, g;
    char path[PATH_BYTES];
    buffer text = {0}, difference = {0};
    memset(&f, 0, sizeof f), memset(&g, 0, sizeof g);
    options_set_defaults(&table, &f), options_set_defaults(&table, &g);
    EXPECT(f.steps == 100 && f.rate == 0.003 && !f.tied && !strcmp(f.kind, "cosine"), "defaults");
    EXPECT_OK(options_set(&table, &f, "optim.rate", "0.1", "test"));
    EXPECT_OK(options_set(&table, &f, "data.mixture.code", "2.5", "test"));
    EXPECT_OK(options_set(&table, &f, "model.kind", "wsd", "test"));
    EXPECT_OK(options_write(&table, &f, &text));
    EXPECT_OK(file_join(path, test_folder(), "options.ini"));
    EXPECT_OK(file_write_whole(path, text.bytes, text.length));
    EXPECT_OK(options_read_file(&table, &g, path));
    EXPECT(options_difference(&table, &f, &g, &difference) == 0, "%s", difference.bytes);
    g.steps = 7;
    EXPECT(options_difference(&table, &f, &g, &difference) == 1 && strstr(difference.bytes, "train.steps: 100 -> 7"), "%s", difference.bytes);
    buffer_release(&text), buffer_release(&difference);
}

static void options_refuse_what_is_wrong(void) {
    fields f;
    memset(&f, 0, sizeof f);
    options_set_defaults(&table, &f);
    EXPECT_ERROR(options_set(&table, &f, "optim.raet", "1", "--set"), LAMP_INVALID, "did you mean optim.rate?");
    EXPECT_ERROR(options_set(&table, &f, "model.rate", "1", "--set"), LAMP_INVALID, "did you mean optim.rate?");
    EXPECT_ERROR(options_set(&table, &f, "train.steps", "ten", "--set"), LAMP_INVALID, "expected an integer, found \"ten\"");
    EXPECT_ERROR(options_set(&table, &f, "train.steps", "-1", "--set"), LAMP_INVALID, "expected 0 to 1000000");
    EXPECT_ERROR(options_set(&table, &f, "optim.rate", "nan", "--set"), LAMP_INVALID, "expected a number");
    EXPECT_ERROR(options_set(&table, &f, "model.kind", "cos", "--set"), LAMP_INVALID, "expected one of cosine|wsd");
    char path[PATH_BYTES];
    const char text[] = "[train]\nsteps = x\n[optim]\nrat = 1\n";
    EXPECT_OK(file_join(path, test_folder(), "bad.ini"));
    EXPECT_OK(file_write_whole(path, text, sizeof text - 1));
    EXPECT_ERROR(options_read_file(&table, &f, path), LAMP_MALFORMED, "bad.ini: line 2: train.steps");
    EXPECT(strstr(lamp_error_message(), "bad.ini: line 4: unknown key optim.rat; did you mean optim.rate?"), "%s", lamp_error_message());
}

static void json_survives_writing_and_reading(void) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "name", "caf\xC3\xA9 \"x\"\n\x01");
    json_put_bytes(&w, "broken", "a\xFF\xC0\x80z", 5);
    json_put_number(&w, "third", 1.0 / 3);
    json_put_number(&w, "nothing", NAN);
    json_put_integer(&w, "big", INT64_MAX);
    json_begin_array(&w, "list");
    json_put_bool(&w, NULL, true);
    json_end_array(&w);
    json_end_object(&w);
    json_t *root = NULL;
    EXPECT_OK(json_read_bytes(&root, text.bytes, text.length, "text"));
    if (root) {
        const char *name = "", *broken = "";
        double third = 0;
        int64_t big = 0;
        EXPECT_OK(json_get_text(&name, root, "name", "text"));
        EXPECT_OK(json_get_text(&broken, root, "broken", "text"));
        EXPECT_OK(json_get_number(&third, root, "third", "text"));
        EXPECT_OK(json_get_integer(&big, root, "big", 0, INT64_MAX, "text"));
        EXPECT(!strcmp(name, "caf\xC3\xA9 \"x\"\n\x01") && third == 1.0 / 3 && big == INT64_MAX, "%s", text.bytes);
        EXPECT(!strcmp(broken, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz"), "%s", broken);
        EXPECT(json_is_null(json_object_get(root, "nothing")), "%s", text.bytes);
        EXPECT_ERROR(json_get_integer(&big, root, "third", 0, 1, "f.json"), LAMP_MALFORMED, "f.json: \"third\": expected an integer, found a number");
    }
    json_decref(root);
    EXPECT_ERROR(json_read_bytes(&root, "{\"a\": 1, \"a\": 2}", 16, "f.json"), LAMP_MALFORMED, "duplicate");
    EXPECT_ERROR(json_read_bytes(&root, "", 0, "f.json"), LAMP_MALFORMED, "f.json: line 1");
    buffer_release(&text);
}

static int collect(void *context, const char *path) { return buffer_printf(context, "%s,", file_name(path)); }

static void files_are_walked_in_name_order(void) {
    char folder[PATH_BYTES], path[PATH_BYTES];
    buffer names = {0};
    EXPECT_OK(file_join(folder, test_folder(), "walk/inner"));
    EXPECT_OK(file_make_folder(folder));
    const char *files[] = {"walk/b", "walk/a", "walk/.hidden", "walk/inner/c"};
    for (int i = 0; i < 4; i++) {
        EXPECT_OK(file_join(path, test_folder(), files[i]));
        EXPECT_OK(file_write_whole(path, "x", 1));
    }
    EXPECT_OK(file_join(folder, test_folder(), "walk"));
    EXPECT_OK(file_walk(folder, collect, &names));
    EXPECT(!strcmp(names.bytes, "a,b,c,"), "%s", names.bytes);
    EXPECT_OK(file_remove_folder(folder));
    EXPECT(!file_exists(folder), "%s is still there", folder);
    mapped_file map;
    EXPECT_ERROR(file_map(&map, folder), LAMP_IO, "cannot open");
    buffer_release(&names);
}

static void arenas_respect_a_limit_on_address_space(void) {
    struct rlimit before, limit;
    EXPECT(getrlimit(RLIMIT_AS, &before) == 0, "getrlimit fails");
    limit = before, limit.rlim_cur = (rlim_t)arena_machine_bytes();
    if (before.rlim_cur < limit.rlim_cur) return; /* this process may not raise it */
    EXPECT(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit fails");
    size_t under_limit = arena_reservable_bytes();
    EXPECT(setrlimit(RLIMIT_AS, &before) == 0, "setrlimit fails");
    EXPECT(under_limit == arena_machine_bytes() / 8, "%zu of %zu bytes", under_limit, arena_machine_bytes());
}

/* As the kernel spells them: version 1, version 2, both, a container that sees only its own group, and none. */
static void the_least_limit_of_control_groups_counts(void) {
    static const struct {
        const char *name, *membership;
        size_t limit;
    } groups[] = {
        {"version 2", "0::/user/job\n", 1000},
        {"version 2, the limit above it", "0::/user/job/step\n", 1000},
        {"version 2, a tighter limit above it", "0::/tight/job\n", 500},
        {"version 2 without a limit", "0::/free\n", SIZE_MAX},
        {"version 1", "9:name=systemd:/x\n4:memory:/batch/job\n1:cpu:/x\n0::/\n", 2000},
        {"version 1 with another controller", "4:cpu,memory:/batch/job\n", 2000},
        {"both, the tighter counts", "4:memory:/batch/job\n0::/user/job\n", 1000},
        {"a container's own group", "4:memory:/docker/0123/not/mounted\n", 4000},
        {"the root", "4:memory:/\n", 4000},
        {"a line that is none", "memory\n\n::\n", SIZE_MAX},
        {"empty", "", SIZE_MAX},
    };
    char root[PATH_BYTES], path[PATH_BYTES];
    snprintf(root, sizeof root, "%s", test_path("groups"));
    test_write_text("groups/user/memory.max", "max\n");
    test_write_text("groups/user/job/memory.max", "1000\n");
    test_write_text("groups/user/job/step/memory.max", "max\n");
    test_write_text("groups/tight/memory.max", "500\n");
    test_write_text("groups/tight/job/memory.max", "800\n");
    test_write_text("groups/free/memory.max", "max\n");
    test_write_text("groups/memory/memory.limit_in_bytes", "4000\n");
    test_write_text("groups/memory/batch/memory.limit_in_bytes", "9223372036854771712\n");
    test_write_text("groups/memory/batch/job/memory.limit_in_bytes", "2000\n");
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        test_row(groups[i].name);
        test_write_text("membership", groups[i].membership);
        snprintf(path, sizeof path, "%s", test_path("membership"));
        size_t limit = cgroup_memory_limit(path, root);
        EXPECT(limit == groups[i].limit, "%zu, expected %zu", limit, groups[i].limit);
    }
    EXPECT(cgroup_memory_limit(test_path("no such file"), root) == SIZE_MAX, "a limit of nothing");
}

static const test_case cases[] = {
    {"the least limit of control groups counts", the_least_limit_of_control_groups_counts},
    {"Philox matches its known answers", philox_matches_known_answers},
    {"normal numbers have mean 0 and variance 1", normal_numbers_have_mean_0_and_variance_1},
    {"a permutation is a bijection", permutation_is_a_bijection},
    {"options survive writing and reading", options_survive_writing_and_reading},
    {"options refuse what is wrong", options_refuse_what_is_wrong},
    {"JSON survives writing and reading", json_survives_writing_and_reading},
    {"files are walked in name order", files_are_walked_in_name_order},
    {"arenas respect a limit on address space", arenas_respect_a_limit_on_address_space},
};

int main(void) { return test_run("base", cases, sizeof cases / sizeof *cases); }
