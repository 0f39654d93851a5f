/* The bytes are the manifest.json of a dataset whose other files are sound: whatever opens gives its tokens. */
#include "base/error.h"
#include "data/dataset.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static bool is_ready;
    dataset *d;
    int32_t id;
    if (!is_ready) fuzz_dataset(), is_ready = true;
    fuzz_file("manifest.json", bytes, length);
    if (dataset_open(&d, fuzz_folder()) < 0) return 0;
    for (int i = 0; i < d->n_domains; i++) {
        CHECK(dataset_find_domain(d, d->domain[i].summary.name) == i, "%s is not found", d->domain[i].summary.name);
        CHECK(shard_read(&id, &d->domain[i].train, d->domain[i].train.n - 1, 1) == LAMP_OK, "%s", lamp_error_message());
    }
    dataset_free(d);
    return 0;
}
