/* Whatever reads as config.json, and runs, is written as one that reads as the same. */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "fuzz.h"
#include "models/families/family.h"

static void ignore(void *context, log_level level, const char *text) { (void)context, (void)level, (void)text; }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    model_config config, again;
    buffer text = {0}, same = {0};
    log_set_sink(ignore, NULL);
    if (family_read_config(&config, fuzz_file("config.json", bytes, length)) < 0 || family_check_runs(&config, "it") < 0) return 0;
    CHECK(family_write_config(&config, &text) == LAMP_OK, "%s", lamp_error_message());
    CHECK(family_read_config(&again, fuzz_file("config.json", text.bytes, text.length)) == LAMP_OK, "%s\n%s", lamp_error_message(), text.bytes);
    CHECK(family_write_config(&again, &same) == LAMP_OK, "%s", lamp_error_message());
    CHECK(!strcmp(text.bytes, same.bytes), "%s\nbecame\n%s", text.bytes, same.bytes);
    buffer_release(&same), buffer_release(&text);
    return 0;
}
