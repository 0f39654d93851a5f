/* The bytes are the logs of a run, metrics.jsonl up to the first blank line and routing.jsonl from there: a doctor can always be asked. */
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "train/checkup.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char recipe_of_run[] = "[model]\nnum_hidden_layers = 1\nvocab_size = 9\n[router]\nexperts = 2\n[train]\nsteps = 2\n";
    size_t metrics = 0;
    while (metrics < length && (metrics == 0 || memcmp(bytes + metrics - 1, "\n\n", 2) != 0)) metrics++;
    size_t rest = metrics < length ? metrics + 1 : length;
    doctor *d;
    fuzz_file("recipe.ini", recipe_of_run, sizeof recipe_of_run - 1);
    fuzz_file("metrics.jsonl", bytes, metrics);
    fuzz_file("routing.jsonl", bytes + rest, length - rest);
    if (checkup_run(&d, fuzz_folder(), INT64_MAX) < 0) return 0;
    doctor_examine(d);
    doctor_free(d);
    return 0;
}
