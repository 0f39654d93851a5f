/* Every way that values which lie apart from their scales, turned or in turns, can be wrong, by name. A sound model's header is changed in place. */
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "base/log.h"
#include "formats/placed_values.h"
#include "formats/safetensors.h"
#include "infer/loaded_model.h"
#include "lamp.h"

static const struct {
    const char *class, *model, *sound, *broken; /* broken is as long */
    int code;
    const char *text;
} rows[] = {
    {"no blocks", "gpt_oss_mxfp4", "0.mlp.experts.gate_up_proj_blocks", "0.mlp.experts.gate_up_proj_blockz", LAMP_MALFORMED,
     "model.layers.0.mlp.experts.gate_up_proj: expected [5, 64, 64], found nothing"},
    {"no scales", "gpt_oss_mxfp4", "1.mlp.experts.down_proj_scales", "1.mlp.experts.down_proj_scalez", LAMP_MALFORMED,
     "model.layers.1.mlp.experts.down_proj_scales: expected [5, 64, 1], found nothing"},
    {"blocks turned", "gpt_oss_mxfp4", "[5,64,2,16]", "[5,64,16,2]", LAMP_MALFORMED,
     "gate_up_proj_blocks: expected [5, 64, 2, 16], found [5, 64, 16, 2]"},
    {"blocks without experts", "gpt_oss_mxfp4", "[5,64,1,16]", "[320,1,16] ", LAMP_MALFORMED,
     "down_proj_blocks: expected [5, 64, 1, 16], found [320, 1, 16]"},
    {"scales of another shape", "gpt_oss_mxfp4", "[5,64,2]", "[5,32,4]", LAMP_MALFORMED,
     "gate_up_proj_scales: expected [5, 64, 2], found [5, 32, 4]"},
    {"blocks of another type", "gpt_oss_mxfp4", "\"U8\",\"shape\":[5,64,2,16]", "\"I8\",\"shape\":[5,64,2,16]", LAMP_MALFORMED,
     "config.json describes 84306 parameters, but the safetensors files hold 67666"},
    {"scales of another type", "gpt_oss_mxfp4", "\"U8\",\"shape\":[5,64,1]", "\"I8\",\"shape\":[5,64,1]", LAMP_UNSUPPORTED,
     "down_proj_blocks: expected blocks and scales of U8, found U8 and I8"},
    {"squares without scales", "deepseek_v3_fp8", "0.mlp.up_proj.weight_scale_inv", "0.mlp.up_proj.weight_scale_inw", LAMP_MALFORMED,
     "model.layers.0.mlp.up_proj.weight_scale_inv: expected [2, 2], found nothing"},
    {"an expert without scales", "deepseek_v3_fp8", "experts.5.down_proj.weight_scale_inv", "experts.6.down_proj.weight_scale_inv", LAMP_MALFORMED,
     "model.layers.1.mlp.experts.5.down_proj.weight_scale_inv: expected [2, 1], found nothing"},
    {"scales of too few squares", "deepseek_v3_fp8", "\"shape\":[2,2]", "\"shape\":[4,1]", LAMP_MALFORMED,
     "model.layers.0.mlp.gate_proj.weight_scale_inv: expected [2, 2], found [4, 1]"},
    {"scales of squares in a row", "deepseek_v3_fp8", "\"shape\":[2,2]", "\"shape\":[4]  ", LAMP_MALFORMED,
     "model.layers.0.mlp.gate_proj.weight_scale_inv: expected [2, 2], found [4]"},
    {"scales turned", "deepseek_v3_fp8", "\"shape\":[2,1]", "\"shape\":[1,2]", LAMP_MALFORMED,
     "self_attn.o_proj.weight_scale_inv: expected [2, 1], found [1, 2]"},
    {"scales that are integers", "deepseek_v3_fp8", "\"F32\",\"shape\":[2,2]", "\"I32\",\"shape\":[2,2]", LAMP_UNSUPPORTED,
     "_proj.weight_scale_inv: expected values of F32, F16, BF16 or F64, found I32"},
    {"a matrix in squares turned", "deepseek_v3_fp8", "\"shape\":[144,140]", "\"shape\":[140,144]", LAMP_MALFORMED,
     "model.layers.0.mlp.down_proj.weight: expected [144, 140], found [140, 144]"},
    {"eight bits of another kind", "deepseek_v3_fp8", "F8_E4M3\",\"shape\":[144,140]", "F8_E5M2\",\"shape\":[144,140]", LAMP_UNSUPPORTED,
     "model.layers.0.mlp.down_proj.weight: expected values of F32, F16, BF16 or F64, found F8_E5M2"},
    {"latent attention without its row", "deepseek_v3_fp8", "1.self_attn.kv_a_layernorm", "1.self_attn.kv_b_layernorm", LAMP_MALFORMED,
     "model.layers.1.self_attn.kv_a_layernorm.weight: expected [10], found nothing"},
    {"a row without what turns", "deepseek_v2", "\"shape\":[16,30]", "\"shape\":[30,16]", LAMP_MALFORMED,
     "kv_a_proj_with_mqa.weight: expected [16, 30], found [30, 16]"},
    {"keys without values", "deepseek_v2", "\"shape\":[39,10]", "\"shape\":[13,30]", LAMP_MALFORMED,
     "kv_b_proj.weight: expected [39, 10], found [13, 30]"},
    {"no bias of what is chosen", "deepseek_v3", "mlp.gate.e_score_correction_bias", "mlp.gate.e_score_correction_bios", LAMP_MALFORMED,
     "mlp.gate.e_score_correction_bias: expected [6], found nothing"},
    {"experts not transposed", "gpt_oss", "[5,30,26]", "[5,26,30]", LAMP_MALFORMED, "gate_up_proj: expected [5, 30, 26], found [5, 26, 30]"},
    {"biases of one expert", "gpt_oss", "\"shape\":[5,26]", "\"shape\":[130] ", LAMP_MALFORMED, "gate_up_proj_bias: expected [5, 26], found [130]"},
    {"biases turned", "gpt_oss", "\"shape\":[5,30]", "\"shape\":[30,5]", LAMP_MALFORMED, "expected [5, 30], found [30, 5]"},
    {"sinks missing", "gpt_oss", "0.self_attn.sinks", "0.self_attn.links", LAMP_MALFORMED, "self_attn.sinks: expected [3], found nothing"},
};

static void copy_to_folder(const char *name, const char *from_model) {
    char from[PATH_BYTES], to[PATH_BYTES], folder[PATH_BYTES];
    mapped_file map;
    EXPECT_OK(file_join(folder, "tests/golden/models", from_model));
    EXPECT_OK(file_join(from, folder, name));
    EXPECT_OK(file_join(to, test_folder(), name));
    EXPECT_OK(file_map(&map, from));
    EXPECT_OK(file_write_whole(to, map.bytes, map.length));
    file_unmap(&map);
}

static char *find(char *bytes, size_t length, const char *text) {
    for (char *p = bytes; p + strlen(text) <= bytes + length; p++)
        if (!memcmp(p, text, strlen(text))) return p;
    return NULL;
}

/* All of the places in the header. */
static void change_header(const char *sound, const char *broken) {
    char path[PATH_BYTES];
    mapped_file map;
    uint64_t header;
    EXPECT(strlen(sound) == strlen(broken), "%s", sound);
    EXPECT_OK(file_join(path, test_folder(), "model.safetensors"));
    EXPECT_OK(file_map(&map, path));
    size_t length = map.length;
    char *bytes = malloc(length), *at;
    memcpy(bytes, map.bytes, length);
    file_unmap(&map);
    memcpy(&header, bytes, sizeof header);
    EXPECT(find(bytes + sizeof header, header, sound), "no %s in the header", sound);
    while ((at = find(bytes + sizeof header, header, sound))) memcpy(at, broken, strlen(broken));
    EXPECT_OK(file_write_whole(path, bytes, length));
    free(bytes);
}

static void ignore(void *context, log_level level, const char *text) { (void)context, (void)level, (void)text; }

static void malformed_values_are_refused_by_name(void) {
    static const values_wanted ways[] = {VALUES_STORED, VALUES_REAL};
    log_set_sink(ignore, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        loaded_model m;
        test_row(rows[i].class);
        copy_to_folder("config.json", rows[i].model), copy_to_folder("model.safetensors", rows[i].model);
        for (int way = 0; way < 2; way++) {
            EXPECT_OK(loaded_model_open(&m, test_folder(), ways[way]));
            loaded_model_close(&m);
        }
        change_header(rows[i].sound, rows[i].broken);
        for (int way = 0; way < 2; way++) EXPECT_ERROR(loaded_model_open(&m, test_folder(), ways[way]), rows[i].code, rows[i].text);
    }
    log_set_sink(NULL, NULL);
}

/* Eight bits that are no number, such a scale, and the one scale of MXFP4 that is none. */
static void what_is_no_number_is_found(void) {
    static const struct {
        const char *model, *tensor;
        size_t at;
        const char *bytes;
        size_t length;
        const char *text;
    } values[] = {
        {"deepseek_v3_fp8", "model.layers.1.mlp.experts.2.up_proj.weight", 1151, "\x7F", 1,
         "experts.2.up_proj.weight: expected finite numbers, found nan at place 1151"},
        {"deepseek_v3_fp8", "model.layers.0.self_attn.o_proj.weight_scale_inv", 4, "\0\0\x80\x7F", 4,
         "self_attn.o_proj.weight: expected finite numbers, found inf at place 1920"},
        {"gpt_oss_mxfp4", "model.layers.1.mlp.experts.down_proj_scales", 319, "\xFF", 1,
         "experts.down_proj_blocks: expected finite numbers, found -inf at place 10208"},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char path[PATH_BYTES];
        safetensors *file = NULL;
        buffer bytes = {0};
        loaded_model m;
        test_row(values[i].tensor);
        copy_to_folder("config.json", values[i].model), copy_to_folder("model.safetensors", values[i].model);
        EXPECT_OK(file_join(path, test_folder(), "model.safetensors"));
        EXPECT_OK(file_read(&bytes, path, 1 << 20));
        EXPECT_OK(safetensors_open(&file, path));
        const size_t place = (size_t)(safetensors_find(file, values[i].tensor)->bytes - (const unsigned char *)file->map.bytes);
        safetensors_close(file);
        memcpy(bytes.bytes + place + values[i].at, values[i].bytes, values[i].length);
        EXPECT_OK(file_write_whole(path, bytes.bytes, bytes.length));
        EXPECT_OK(loaded_model_open(&m, test_folder(), VALUES_STORED));
        EXPECT_ERROR(model_source_check_finite(m.source, &m.model.weights), LAMP_MALFORMED, values[i].text);
        loaded_model_close(&m);
        buffer_release(&bytes);
    }
}

/* No folder has such a width whose other tensors fit. */
static void rows_of_blocks_are_whole(void) {
    safetensors *file = NULL;
    real values[80];
    EXPECT_OK(safetensors_open(&file, "tests/golden/models/gpt_oss_mxfp4/model.safetensors"));
    const placed_values v = {.entry = safetensors_find(file, "model.layers.0.mlp.experts.down_proj_blocks"),
                             .scales = safetensors_find(file, "model.layers.0.mlp.experts.down_proj_scales"),
                             .row_step = 40,
                             .column_step = 1,
                             .in = 40};
    const stored_group g = placed_group(&v);
    EXPECT_ERROR(stored_group_read(values, &g, 0, 2, 40), LAMP_MALFORMED, "down_proj_blocks: expected rows of whole blocks of 32 values, found 40");
    EXPECT_ERROR(stored_group_copy(values, &g, 0, 2, 40), LAMP_MALFORMED, "down_proj_blocks: expected rows of whole blocks of 32 values, found 40");
    safetensors_close(file);
}

static const test_case cases[] = {
    {"malformed values are refused by name", malformed_values_are_refused_by_name},
    {"what is no number is found", what_is_no_number_is_found},
    {"rows of blocks are whole", rows_of_blocks_are_whole},
};

int main(void) { return test_run("malformed values with scales", cases, sizeof cases / sizeof *cases); }
