/* Gives a harness every file of its corpus, and each of them cut short: what fuzzing once looked at stays looked at, without clang. */
#include <stdio.h>
#include <string.h>

#include "../tests/test.h"
#include "base/file.h"
#include "fuzz.h"
#include "lamp.h"

static char corpus[PATH_BYTES];

static int replay(void *context, const char *path) {
    enum { CUTS = 16 };
    mapped_file map;
    ++*(int *)context;
    int status = file_map(&map, path);
    if (status < 0) return status;
    for (size_t cut = 0; cut <= CUTS; cut++) LLVMFuzzerTestOneInput(map.bytes ? map.bytes : (const uint8_t *)"", map.length * cut / CUTS);
    file_unmap(&map);
    return 0;
}

static void the_corpus_does_no_harm(void) {
    int n = 0;
    EXPECT_OK(file_walk(corpus, replay, &n));
    EXPECT(n > 0, "%s is empty", corpus);
}

static const test_case cases[] = {{"the corpus does no harm", the_corpus_does_no_harm}};

/* The program is called as its harness: recipe_test replays fuzz/corpus/recipe. */
int main(int n_arguments, char **arguments) {
    const char *name = n_arguments > 0 ? file_name(arguments[0]) : "";
    snprintf(corpus, sizeof corpus, "fuzz/corpus/%.*s", (int)(strlen(name) - strlen("_test")), name);
    return test_run(corpus, cases, sizeof cases / sizeof *cases);
}
