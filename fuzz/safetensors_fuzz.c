/* Whatever opens as safetensors can be read to its last value, and every entry is found by its name. */
#include "base/error.h"
#include "formats/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    enum { VALUES = 256 };
    safetensors *file = NULL;
    real values[VALUES];
    stored_type type;
    if (safetensors_open(&file, fuzz_file("input.safetensors", bytes, length)) < 0) return 0;
    for (size_t i = 0; i < file->n; i++) {
        const safetensors_entry *entry = &file->entry[i];
        int64_t n = entry->size < VALUES ? entry->size : VALUES;
        CHECK(safetensors_find(file, entry->name) == entry, "%s is not found", entry->name);
        CHECK(entry->begin >= 0 && (size_t)entry->end <= length, "%s lies outside", entry->name);
        safetensors_read(values, entry, 0, n);
        safetensors_read(values, entry, entry->size - n, n);
        safetensors_borrow(&type, entry, entry->size);
    }
    safetensors_close(file);
    return 0;
}
