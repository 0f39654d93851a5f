/* The bytes are a model.safetensors.index.json beside a sound config.json and two sound files. */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "formats/model_source.h"
#include "fuzz.h"

static const char config[] = "{\"model_type\": \"llama\", \"vocab_size\": 1, \"hidden_size\": 2, \"intermediate_size\": 1, \"num_hidden_layers\": 1, "
                             "\"num_attention_heads\": 1, \"max_position_embeddings\": 1}";

static void write_shard(const char *name, const char *header, size_t data_bytes) {
    uint8_t file[512] = {0};
    uint64_t length = strlen(header);
    memcpy(file, &length, sizeof length);
    memcpy(file + sizeof length, header, length);
    fuzz_file(name, file, sizeof length + length + data_bytes);
}

static void ignore(void *context, log_level level, const char *text) { (void)context, (void)level, (void)text; }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static bool is_ready;
    if (!is_ready) {
        log_set_sink(ignore, NULL);
        fuzz_file("config.json", config, strlen(config));
        write_shard("a", "{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
        write_shard("b",
                    "{\"lm_head.weight\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]},"
                    "\"spare\":{\"dtype\":\"U8\",\"shape\":[99],\"data_offsets\":[4,103]}}",
                    103);
        is_ready = true;
    }
    model_source *folder = NULL;
    weights table = {0};
    weight *norm, *head;
    fuzz_file("model.safetensors.index.json", bytes, length);
    if (model_source_open(&folder, fuzz_folder()) < 0) return 0;
    CHECK(weights_declare(&norm, &table, "norm", -1, ROLE_NORM, 1, 1, 2, 0) == LAMP_OK, "%s", lamp_error_message());
    CHECK(weights_declare(&head, &table, "head", -1, ROLE_MATRIX, 1, 1, 2, 0) == LAMP_OK, "%s", lamp_error_message());
    if (model_source_load(folder, &table, VALUES_REAL) == LAMP_OK)
        CHECK(norm->value[0][1] == 0 && head->value[0][1] == 0, "other values than the file's");
    weights_release(&table);
    model_source_close(folder);
    return 0;
}
