/* Whatever reads as a recipe is written as one that reads as the same. */
#include "base/error.h"
#include "fuzz.h"
#include "train/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    recipe r, again;
    buffer text = {0}, differences = {0};
    options_set_defaults(&recipe_options, &r);
    if (options_read_file(&recipe_options, &r, fuzz_file("recipe.ini", bytes, length)) < 0) return 0;
    CHECK(options_write(&recipe_options, &r, &text) == LAMP_OK, "%s", lamp_error_message());
    options_set_defaults(&recipe_options, &again);
    int status = options_read_file(&recipe_options, &again, fuzz_file("recipe.ini", text.bytes, text.length));
    CHECK(status == LAMP_OK, "%s\n%s", lamp_error_message(), text.bytes);
    CHECK(options_difference(&recipe_options, &r, &again, &differences) == 0, "%s", differences.bytes);
    r.model.vocab_size = 1000;
    recipe_resolve(&r, "recipe.ini");
    buffer_release(&differences), buffer_release(&text);
    return 0;
}
