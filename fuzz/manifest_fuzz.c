/* The bytes are the manifest.json of a checkpoint whose files are sound: what vouches for them vouches for all that makes a model. */
#include "base/error.h"
#include "formats/manifest.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    fuzz_file("config.json", "lamp", 4);
    fuzz_file("model.safetensors", "light", 5);
    fuzz_file("manifest.json", bytes, length);
    int whole = manifest_check(fuzz_folder(), true), there = manifest_check(fuzz_folder(), false);
    CHECK(whole < 0 || there == LAMP_OK, "%s", lamp_error_message());
    if (whole < 0) return 0;
    fuzz_file("model.safetensors", "night", 5);
    CHECK(manifest_check(fuzz_folder(), true) == LAMP_CHECKPOINT, "other bytes passed");
    return 0;
}
