/* The bytes are the header of a golden model's file, whose tensors lie with scales, turned, in turns or beside others; the first one says of which.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "fuzz.h"
#include "infer/loaded_model.h"

enum { MODELS = 4, MOST_BYTES = 1 << 18 };

static const char *const models[MODELS] = {"gpt_oss_mxfp4", "deepseek_v3_fp8", "gpt_oss_full", "llama4_full"};

/* Of each: what stands behind its header, and its config. */
static mapped_file files[MODELS], configs[MODELS];

static void ignore(void *context, log_level level, const char *text) { (void)context, (void)level, (void)text; }

static void map(mapped_file *file, const char *folder, const char *name) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "tests/golden/models/%s/%s", folder, name);
    CHECK(file_map(file, path) == LAMP_OK, "%s", lamp_error_message());
}

static void prepare(void) {
    log_set_sink(ignore, NULL);
    for (int i = 0; i < MODELS; i++) map(&files[i], models[i], "model.safetensors"), map(&configs[i], models[i], "config.json");
}

static size_t data_begins(const mapped_file *file) {
    uint64_t header;
    memcpy(&header, file->bytes, sizeof header);
    return sizeof header + header;
}

/* Whatever opens can be read to the last value. */
static void open_and_read(values_wanted wanted) {
    loaded_model m;
    if (loaded_model_open(&m, fuzz_folder(), wanted) < 0) return;
    int status = model_source_check_finite(m.source, &m.model.weights);
    CHECK(status == LAMP_OK || status == LAMP_MALFORMED, "%s", lamp_error_message());
    loaded_model_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static char file[MOST_BYTES];
    if (!files[0].bytes) prepare();
    if (length < 1) return 0;
    const int i = *bytes % MODELS;
    const uint64_t header = length - 1;
    const size_t begin = data_begins(&files[i]), data = files[i].length - begin;
    if (sizeof header + header + data > sizeof file) return 0;
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, bytes + 1, header);
    memcpy(file + sizeof header + header, (const char *)files[i].bytes + begin, data);
    fuzz_file("config.json", configs[i].bytes, configs[i].length);
    fuzz_file("model.safetensors", file, sizeof header + header + data);
    open_and_read(VALUES_STORED), open_and_read(VALUES_REAL);
    return 0;
}
