/* Our logits against those of transformers, per family: for tiny random models that transformers made (tools/golden_models.py), and for tiny
 * models that we trained and transformers loaded (tools/golden_trained.sh). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "infer/loaded_model.h"
#include "lamp.h"

enum { MAX_IDS = 64 };

static ptrdiff_t read_id_lines(int32_t *ids, const char *path) {
    mapped_file map;
    ptrdiff_t n = 0;
    EXPECT_OK(file_map(&map, path));
    const char *p = (const char *)map.bytes, *end = p ? p + map.length : p;
    while (p < end && n < MAX_IDS) {
        ids[n++] = (int32_t)strtol(p, NULL, 10);
        while (p < end && *p++ != '\n') {}
    }
    file_unmap(&map);
    return n;
}

static void compare(const char *name) {
    char folder[PATH_BYTES], path[PATH_BYTES];
    int32_t ids[MAX_IDS];
    static real expected[MAX_IDS * 512];
    loaded_model m = {0};
    safetensors *golden = NULL;
    const struct kernels *tables[4];
    EXPECT_OK(file_join(folder, "tests/golden", name));
    EXPECT_OK(file_join(path, folder, "ids.txt"));
    ptrdiff_t n = read_id_lines(ids, path), start[] = {0, n};
    EXPECT_OK(file_join(path, folder, "logits.safetensors"));
    EXPECT_OK(loaded_model_open(&m, folder, VALUES_STORED));
    EXPECT_OK(safetensors_open(&golden, path));
    const safetensors_entry *array = golden ? safetensors_find(golden, "logits") : NULL;
    EXPECT(array && array->rank == 2 && array->shape[0] == n && array->shape[1] == m.model.config.vocab_size, "%s: shape", name);
    if (!array || !m.folder) return;
    EXPECT_OK(safetensors_read(expected, array, 0, array->shape[0] * array->shape[1]));
    int n_tables = kernels_available(tables);
    for (int i = 0; i < n_tables; i++) {
        tape t;
        EXPECT_OK(tape_open(&t, tables[i]));
        tensor *logits = model_logits(&t, &m.model, &(token_batch){n, ids, NULL, 1, start}, NULL, false, NULL);
        double worst = 0, scale = 0;
        for (ptrdiff_t j = 0; j < n * array->shape[1]; j++) {
            worst = fmax(worst, fabs((double)(logits->x[j] - expected[j])));
            scale = fmax(scale, fabs((double)expected[j]));
        }
        EXPECT(worst <= 1e-5 * scale, "%s with %s: logits differ by %.2e of %.2e", name, tables[i]->name, worst, scale);
        tape_close(&t);
    }
    safetensors_close(golden);
    loaded_model_close(&m);
}

static void llama(void) { compare("models/llama"); }
static void qwen3(void) { compare("models/qwen3"); }
static void olmoe(void) { compare("models/olmoe"); }
static void mixtral(void) { compare("models/mixtral"); }
static void mixtral_fused(void) { compare("models/mixtral_fused"); }
static void qwen3_moe(void) { compare("models/qwen3_moe"); }
static void trained_llama(void) { compare("trained/llama"); }
static void trained_qwen3(void) { compare("trained/qwen3"); }
static void trained_olmoe(void) { compare("trained/olmoe"); }
static void trained_mixtral(void) { compare("trained/mixtral"); }
static void trained_qwen3_moe(void) { compare("trained/qwen3_moe"); }

static const test_case cases[] = {
    {"llama", llama},
    {"qwen3, tied", qwen3},
    {"olmoe", olmoe},
    {"mixtral", mixtral},
    {"mixtral, fused", mixtral_fused},
    {"qwen3_moe", qwen3_moe},
    {"trained llama", trained_llama},
    {"trained qwen3", trained_qwen3},
    {"trained olmoe", trained_olmoe},
    {"trained mixtral", trained_mixtral},
    {"trained qwen3_moe", trained_qwen3_moe},
};

int main(void) { return test_run("models against transformers", cases, sizeof cases / sizeof *cases); }
