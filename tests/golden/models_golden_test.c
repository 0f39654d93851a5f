/* Our models against those of transformers, per family: tiny random ones that transformers made (tools/golden_models.py), with their logits, the
 * tokens that follow when the most probable one is taken, and every decision of their routers; and tiny ones that we trained and transformers loaded
 * (tools/golden_trained.sh), with their logits. Those of GGUF are random ones in a file that the package gguf wrote (tools/golden_gguf.py). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "infer/loaded_model.h"
#include "infer/session.h"
#include "lamp.h"

enum { MAX_IDS = 128, MAX_VOCABULARY = 512, MAX_CHOICES = MAX_IDS * 64 };

static const char *const names[] = {
    "models/llama",
    "models/llama_full",
    "models/qwen2",
    "models/qwen2_full",
    "models/qwen3",
    "models/qwen3_full",
    "models/olmoe",
    "models/olmoe_full",
    "models/mixtral",
    "models/mixtral_full",
    "models/mixtral_fused",
    "models/qwen2_moe",
    "models/qwen2_moe_full",
    "models/qwen2_moe_sharded",
    "models/qwen3_moe",
    "models/qwen3_moe_full",
    "models/gpt_oss",
    "models/gpt_oss_full",
    "models/gpt_oss_mxfp4",
    "models/llama4",
    "models/llama4_full",
    "models/deepseek_v2",
    "models/deepseek_v2_full",
    "models/deepseek_v3",
    "models/deepseek_v3_full",
    "models/deepseek_v3_fp8",
    "trained/llama",
    "trained/qwen2",
    "trained/qwen3",
    "trained/olmoe",
    "trained/mixtral",
    "trained/qwen2_moe",
    "trained/qwen3_moe",
    "trained/gpt_oss",
    "trained/llama4_text",
    "trained/deepseek_v2",
    "trained/deepseek_v3",
    "gguf/llama",
    "gguf/llama_tied",
    "gguf/mixtral",
    "gguf/olmoe",
    "gguf/qwen2",
    "gguf/qwen2moe",
    "gguf/qwen3",
    "gguf/qwen3moe",
    "gguf/llama3",
    "gguf/qwen2_yarn",
    "gguf/gpt_oss",
    "gguf/llama4",
    "gguf/deepseek_v2",
    "gguf/deepseek_v3",
};

/* What transformers says: of the first T tokens logits (T, V); and of models that it made, the tokens that follow, and which experts (L, T + G - 1,
 * K) all tokens but the last took in the layers that have any. */
typedef struct {
    int32_t token[MAX_IDS];
    ptrdiff_t T, G, V, L, K;
    real logits[MAX_IDS * MAX_VOCABULARY], experts[MAX_CHOICES];
} answer;

typedef struct {
    answer said;
    loaded_model m;
} subject;

static ptrdiff_t read_id_lines(int32_t *ids, const char *path) {
    mapped_file map;
    ptrdiff_t n = 0;
    EXPECT_OK(file_map(&map, path));
    const char *p = (const char *)map.bytes, *end = p ? p + map.length : p;
    while (p < end && n < MAX_IDS) {
        ids[n++] = (int32_t)strtol(p, NULL, 10);
        while (p < end && *p++ != '\n') {
        }
    }
    file_unmap(&map);
    return n;
}

static ptrdiff_t read_array(real *values, const safetensors_entry *array, ptrdiff_t room) {
    EXPECT(array->size <= room, "%s: %lld values", array->name, (long long)array->size);
    EXPECT_OK(safetensors_read(values, array, 0, array->size <= room ? array->size : 0));
    return array->shape[array->rank - 1];
}

static void read_answer(answer *said, const char *folder) {
    char path[PATH_BYTES];
    safetensors *file = NULL;
    *said = (answer){0};
    EXPECT_OK(file_join(path, folder, "ids.txt"));
    said->T = read_id_lines(said->token, path);
    EXPECT_OK(file_join(path, folder, "greedy.txt"));
    if (file_exists(path)) said->G = read_id_lines(said->token + said->T, path);
    EXPECT_OK(file_join(path, folder, "logits.safetensors"));
    EXPECT_OK(safetensors_open(&file, path));
    const safetensors_entry *logits = file ? safetensors_find(file, "logits") : NULL, *experts = file ? safetensors_find(file, "experts") : NULL;
    EXPECT(logits && logits->rank == 2 && logits->shape[0] == said->T, "logits");
    EXPECT(!experts || (experts->rank == 3 && experts->shape[1] == said->T + said->G - 1), "experts");
    if (logits) said->V = read_array(said->logits, logits, MAX_IDS * MAX_VOCABULARY);
    if (experts) said->L = experts->shape[0], said->K = read_array(said->experts, experts, MAX_CHOICES);
    safetensors_close(file);
}

/* The largest difference over the largest logit. */
static double apart(const real *found, const real *expected, ptrdiff_t n) {
    double worst = 0, scale = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)(found[i] - expected[i])));
        scale = fmax(scale, fabs((double)expected[i]));
    }
    return worst / scale;
}

static tensor *logits_of(tape *t, const subject *s, ptrdiff_t n, moe_trace *trace) {
    ptrdiff_t start[] = {0, n};
    tape_reset(t);
    return model_logits(t, &s->m.model, &(token_batch){n, s->said.token, NULL, 1, start}, NULL, false, trace);
}

static void check_logits(const subject *s, const char *name) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int i = 0; i < n; i++) {
        tape t;
        EXPECT_OK(tape_open(&t, tables[i]));
        double found = apart(logits_of(&t, s, s->said.T, NULL)->x, s->said.logits, s->said.T * s->said.V);
        EXPECT(found <= 1e-5, "%s with %s: logits differ by %.2e", name, tables[i]->name, found);
        tape_close(&t);
    }
}

typedef struct {
    const answer *said;
    int layer, seen, wrong; /* of the layers with experts: the last one that was seen, and how many */
} choices;

static int ascending(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

static void compare_choices(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weights_of) {
    choices *c = context;
    const ptrdiff_t K = c->said->K, N = pairs / K;
    (void)token, (void)weights_of;
    if (layer != c->layer) c->layer = layer, c->seen++;
    for (ptrdiff_t n = 0; n < N && c->seen <= c->said->L; n++) {
        int32_t chosen[64];
        memcpy(chosen, expert + n * K, sizeof *chosen * (size_t)K);
        qsort(chosen, (size_t)K, sizeof *chosen, ascending);
        for (ptrdiff_t k = 0; k < K; k++) c->wrong += chosen[k] != (int32_t)c->said->experts[((c->seen - 1) * N + n) * K + k];
    }
}

/* All tokens but the last, in one pass: whom each went to; and the same logits token by token, whose largest is the next token. */
static void check_decoding(const subject *s, const char *name) {
    const answer *said = &s->said;
    const ptrdiff_t n = said->T + (said->G ? said->G - 1 : 0);
    static real whole[MAX_IDS * MAX_VOCABULARY];
    const struct kernels *k;
    session decoding;
    tape t;
    moe_trace trace;
    choices found = {.said = said, .layer = -1};
    double worst = 0;
    const real *row;
    int other = 0;
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&t, k));
    EXPECT_OK(model_trace_open(&trace, &s->m.model));
    if (said->K) trace.watch = compare_choices, trace.watch_context = &found;
    memcpy(whole, logits_of(&t, s, n, trace.load ? &trace : NULL)->x, sizeof(real) * (size_t)(n * said->V));
    EXPECT(found.seen == said->L && found.wrong == 0, "%s: %d choices differ, in %d layers of %d", name, found.wrong, found.seen, (int)said->L);
    EXPECT_OK(session_open(&decoding, &s->m.model, n));
    decoding.tape.products = &k->products; /* rows as they are: what they lose in eight bits is not what is tested here */
    EXPECT_OK(session_feed(&decoding, &row, said->token, said->G ? said->T : said->T / 2));
    for (ptrdiff_t i = decoding.state.length;; i++) {
        worst = fmax(worst, apart(row, whole + (i - 1) * said->V, said->V));
        if (said->G) other += sample_token(&(sampling){0}, row, (int32_t)said->V, 0, NULL) != said->token[i];
        if (i == n) break;
        EXPECT_OK(session_feed(&decoding, &row, said->token + i, 1));
    }
    EXPECT(worst <= 1e-5, "%s: token by token, logits differ by %.2e", name, worst);
    EXPECT(other == 0, "%s: %d of %d greedy tokens differ", name, other, (int)said->G);
    session_close(&decoding), moe_trace_close(&trace), tape_close(&t);
}

static void models_agree(void) {
    static subject s;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[PATH_BYTES], file[PATH_BYTES];
        test_row(names[i]);
        EXPECT_OK(file_join(folder, "tests/golden", names[i]));
        EXPECT_OK(file_join(file, folder, "model.gguf"));
        read_answer(&s.said, folder);
        EXPECT_OK(loaded_model_open(&s.m, file_exists(file) ? file : folder, VALUES_STORED));
        EXPECT(s.m.source && s.m.model.config.vocab_size == s.said.V, "%s does not load", names[i]);
        if (!s.m.source) continue;
        check_logits(&s, names[i]);
        check_decoding(&s, names[i]);
        loaded_model_close(&s.m);
    }
}

static const test_case cases[] = {{"models agree", models_agree}};

int main(void) { return test_run("models against transformers", cases, sizeof cases / sizeof *cases); }
