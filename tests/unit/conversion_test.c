/* Models go from folders into GGUF files and back: what comes back is what went, bit for bit, and in between they compute the same. */
#include "formats/conversion.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/buffer.h"
#include "base/error.h"
#include "formats/gguf.h"
#include "formats/quantise.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "infer/loaded_model.h"

static conversion_request request(const char *from, const char *to, stored_type type) {
    conversion_request q = {.from = from, .to = to};
    for (int p = 0; p < SAVED_PARTS; p++) q.type[p] = type;
    return q;
}

static int convert(const char *from, const char *to, stored_type type) {
    conversion c = {0};
    const conversion_request q = request(from, to, type);
    int status = conversion_run(&c, &q);
    conversion_close(&c);
    return status;
}

/* A path in the folder of this test that stays. */
static const char *place(char path[PATH_BYTES], const char *name) { return strcpy(path, test_path(name)); }

/* To the bit, but for the signs of zeros, which blocks of four bits have and values made of them have not. */
static bool same_values(const safetensors_entry *x, const safetensors_entry *y) {
    const size_t bytes = (size_t)(x->end - x->begin);
    const float *a = (const float *)(const void *)x->bytes, *b = (const float *)(const void *)y->bytes;
    bool same = memcmp(a, b, bytes) == 0;
    if (same || strcmp(safetensors_type_name(x), "F32")) return same;
    for (size_t i = 0; i < bytes / sizeof *a; i++)
        if (!(a[i] == b[i] && (a[i] == 0 || signbit(a[i]) == signbit(b[i])))) return false;
    return true;
}

static void expect_same_tensors(const char *folder, const char *other) {
    char path[PATH_BYTES];
    safetensors *a = NULL, *b = NULL;
    EXPECT_OK(file_join(path, folder, "model.safetensors"));
    EXPECT_OK(safetensors_open(&a, path));
    EXPECT_OK(file_join(path, other, "model.safetensors"));
    EXPECT_OK(safetensors_open(&b, path));
    EXPECT(a && b && a->n == b->n, "%zu tensors, %zu after", a ? a->n : 0, b ? b->n : 0);
    for (size_t i = 0; a && b && i < a->n; i++) {
        const safetensors_entry *x = &a->entry[i], *y = safetensors_find(b, x->name);
        bool alike = y && y->type == x->type && y->rank == x->rank && !memcmp(x->shape, y->shape, sizeof *x->shape * (size_t)x->rank);
        EXPECT(alike && same_values(x, y), "tensor %s is another", x->name);
    }
    safetensors_close(a), safetensors_close(b);
}

/* Which of them GGUF can say, and which text of the refusal names what it cannot; windows: it is told when the model has none. */
static const struct {
    const char *name, *refusal;
    bool is_otherwise; /* than we write folders */
    bool windows;
} models[] = {
    {.name = "llama"},
    {.name = "llama_full"},
    {.name = "mixtral"},
    {.name = "mixtral_full", .windows = true},
    {.name = "mixtral_fused", .is_otherwise = true},
    {.name = "olmoe"},
    {.name = "olmoe_full", .refusal = "\"norm_topk_prob\": expected 0, which GGUF's architecture olmoe takes for granted, found 1"},
    {.name = "qwen2"},
    {.name = "qwen2_full", .windows = true},
    {.name = "qwen2_moe"},
    {.name = "qwen2_moe_full", .refusal = "which GGUF's architecture qwen2moe takes for granted"},
    {.name = "qwen2_moe_sharded", .is_otherwise = true},
    {.name = "qwen3"},
    {.name = "qwen3_full", .refusal = "\"attention_bias\": expected false, as GGUF's architecture qwen3 has no biases, found true", .windows = true},
    {.name = "qwen3_moe"},
    {.name = "qwen3_moe_full", .refusal = "which GGUF's architecture qwen3moe takes for granted"},
    {.name = "gpt_oss"},
    {.name = "gpt_oss_full", .refusal = "\"swiglu_limit\": expected 7, which GGUF's architecture gpt-oss takes for granted, found 0.6"},
    {.name = "gpt_oss_mxfp4", .is_otherwise = true},
    {.name = "llama4"},
    {.name = "llama4_full", .refusal = "which GGUF's architecture llama4 takes for granted"},
    {.name = "deepseek_v2"},
    {.name = "deepseek_v2_full"},
    {.name = "deepseek_v3"},
    {.name = "deepseek_v3_full", .refusal = "\"rope_interleave\": expected true, which GGUF's architecture deepseek2 takes for granted"},
};

static void replace_all(buffer *text, const char *word, const char *by) {
    buffer out = {0};
    const char *at = text->bytes;
    for (const char *next; (next = strstr(at, word)); at = next + strlen(word))
        buffer_append(&out, at, (size_t)(next - at)), buffer_append_text(&out, by);
    buffer_append_text(&out, at);
    buffer_release(text);
    *text = out;
}

static void copy_without_windows(const char *to, const char *from) {
    char path[PATH_BYTES];
    buffer text = {0};
    EXPECT_OK(file_make_folder(to));
    EXPECT_OK(file_join(path, from, "config.json"));
    EXPECT_OK(file_read(&text, path, 1 << 20));
    replace_all(&text, "\"sliding_window\": 9", "\"sliding_window\": null");
    replace_all(&text, "sliding_attention", "full_attention");
    EXPECT_OK(file_join(path, to, "config.json"));
    EXPECT_OK(file_write_whole(path, text.bytes, text.length));
    buffer_clear(&text);
    EXPECT_OK(file_join(path, from, "model.safetensors"));
    EXPECT_OK(file_read(&text, path, 1 << 20));
    EXPECT_OK(file_join(path, to, "model.safetensors"));
    EXPECT_OK(file_write_whole(path, text.bytes, text.length));
    buffer_release(&text);
}

/* The model, or a copy of it that has no windows. */
static void find_folder(char path[PATH_BYTES], size_t i) {
    char golden[PATH_BYTES], name[64];
    EXPECT_OK(file_join(path, "tests/golden/models", models[i].name));
    if (!models[i].windows) return;
    strcpy(golden, path);
    snprintf(name, sizeof name, "%s.plain", models[i].name), place(path, name);
    if (!file_exists(path)) copy_without_windows(path, golden);
}

static void what_comes_back_is_what_went(void) {
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char folder[PATH_BYTES], file[PATH_BYTES], back[PATH_BYTES], again[PATH_BYTES], name[64];
        test_row(models[i].name);
        EXPECT_OK(file_join(folder, "tests/golden/models", models[i].name));
        snprintf(name, sizeof name, "%s.gguf", models[i].name), place(file, name);
        snprintf(name, sizeof name, "%s.back", models[i].name), place(back, name);
        snprintf(name, sizeof name, "%s.again", models[i].name), place(again, name);
        if (models[i].windows) {
            EXPECT_ERROR(convert(folder, file, STORED_TYPES), LAMP_UNSUPPORTED, "\"sliding_window\": expected 0");
            find_folder(folder, i);
        }
        if (models[i].refusal) {
            EXPECT_ERROR(convert(folder, file, STORED_TYPES), LAMP_UNSUPPORTED, models[i].refusal);
            EXPECT(!file_exists(file), "%s was made", file);
            continue;
        }
        EXPECT_OK(convert(folder, file, STORED_TYPES));
        EXPECT_OK(convert(file, back, STORED_TYPES));
        EXPECT_OK(convert(folder, again, STORED_TYPES));
        expect_same_tensors(again, back); /* as we write the folder itself: one file, of an expert one tensor in f32, f16 or bf16 */
        if (!models[i].is_otherwise) expect_same_tensors(folder, back);
    }
}

/* ---- what they compute ----------------------------------------------------------------------------------------------------------- */

enum { T = 16, MOST_VOCABULARY = 512 };

static ptrdiff_t logits_of(real logits[T * MOST_VOCABULARY], const char *path) {
    const struct kernels *k;
    loaded_model m = {0};
    tape t = {0};
    int32_t ids[T];
    ptrdiff_t start[] = {0, T}, n = 0;
    for (int i = 0; i < T; i++) ids[i] = (i * 17 + 5) % 61;
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(loaded_model_open(&m, path, VALUES_STORED));
    EXPECT_OK(tape_open(&t, k));
    if (m.source) {
        tensor *y = model_logits(&t, &m.model, &(token_batch){T, ids, NULL, 1, start}, NULL, false, NULL);
        n = T * y->cols;
        memcpy(logits, y->x, sizeof *logits * (size_t)n);
    }
    tape_close(&t);
    loaded_model_close(&m);
    return n;
}

static void files_compute_what_folders_do(void) {
    static real a[T * MOST_VOCABULARY], b[T * MOST_VOCABULARY];
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char folder[PATH_BYTES], name[64];
        if (models[i].refusal) continue;
        test_row(models[i].name);
        find_folder(folder, i);
        snprintf(name, sizeof name, "%s.gguf", models[i].name);
        ptrdiff_t n = logits_of(a, folder);
        EXPECT(n > 0 && logits_of(b, test_path(name)) == n && !memcmp(a, b, sizeof *a * (size_t)n), "other logits, to the bit");
    }
}

/* ---- types ----------------------------------------------------------------------------------------------------------------------- */

/* A model whose rows are whole blocks, but those of down, which have 40. */
static const char source[] = "tests/golden/gguf/llama/model.gguf";

static const char *type_of(const gguf *file, const char *name) {
    const gguf_tensor *t = gguf_find_tensor(file, name);
    return t ? t->type->name : "none";
}

static void each_part_has_its_type(void) {
    char out[PATH_BYTES];
    conversion c;
    gguf *file = NULL;
    conversion_request q = {.from = "tests/golden/gguf/qwen2moe/model.gguf", .to = place(out, "parts.gguf")};
    q.type[SAVED_EXPERTS] = STORED_Q4_0, q.type[SAVED_SHARED] = STORED_Q8_0, q.type[SAVED_HEAD] = STORED_Q8_0, q.type[SAVED_EMBEDDING] = STORED_MXFP4;
    EXPECT_OK(conversion_run(&c, &q));
    EXPECT_OK(gguf_open(&file, out));
    static const char *const expected[][2] = {
        {"token_embd.weight", "MXFP4"},         {"output.weight", "Q8_0"},
        {"output_norm.weight", "F32"},          {"blk.0.attn_q.weight", "Q8_0"},
        {"blk.1.attn_output.weight", "Q8_0"},   {"blk.1.attn_q.bias", "F32"},
        {"blk.0.ffn_gate_inp.weight", "F32"},   {"blk.0.ffn_gate_inp_shexp.weight", "F32"},
        {"blk.0.ffn_gate_exps.weight", "Q4_0"}, {"blk.0.ffn_up_exps.weight", "Q4_0"},
        {"blk.0.ffn_down_exps.weight", "F16"},  {"blk.1.ffn_gate_shexp.weight", "Q8_0"},
        {"blk.1.ffn_down_shexp.weight", "F16"},
    };
    for (size_t i = 0; file && i < sizeof expected / sizeof *expected; i++)
        EXPECT(!strcmp(type_of(file, expected[i][0]), expected[i][1]), "%s is %s", expected[i][0], type_of(file, expected[i][0]));
    for (int p = 0; p < CONVERSION_PARTS; p++) {
        const saved_loss loss = conversion_loss_of_part(&c, p);
        const double lost = saved_loss_relative(&loss);
        EXPECT(p == SAVED_PARTS ? lost == 0 : lost > 1e-4 && lost < 0.15, "%s is off by %g", conversion_part_name[p], lost);
    }
    gguf_close(file);
    conversion_close(&c);
}

/* Blocks that a file has are those of the quantiser, of rows in the order of the file. */
static void blocks_are_those_of_the_quantiser(void) {
    static real values[64 * 32];
    static unsigned char bytes[64 * 34];
    char out[PATH_BYTES];
    gguf *before = NULL, *after = NULL;
    for (stored_type type = STORED_Q8_0; type <= STORED_MXFP4; type++) {
        char name[32];
        snprintf(name, sizeof name, "blocks-%s.gguf", stored_formats[type].name);
        test_row(name);
        EXPECT_OK(convert(source, place(out, name), type));
        EXPECT_OK(gguf_open(&before, source));
        EXPECT_OK(gguf_open(&after, out));
        const gguf_tensor *x = gguf_find_tensor(before, "token_embd.weight"), *y = gguf_find_tensor(after, "token_embd.weight");
        const int32_t row = 0;
        EXPECT(x && y && x->size <= 64 * 32 && !strcmp(x->type->name, "F16"), "the model has another embedding");
        kernels_scalar.stored_rows(values, x->bytes, STORED_F16, &row, 1, x->size);
        EXPECT_OK(quantise(bytes, type, values, x->size));
        EXPECT(!memcmp(bytes, y->bytes, (size_t)y->n_bytes), "other blocks");
        gguf_close(before), gguf_close(after);
    }
}

/* A file that is already of the type is copied, rows that stand by pairs too. */
static void what_has_its_type_is_copied(void) {
    char once[PATH_BYTES], twice[PATH_BYTES];
    mapped_file a, b;
    EXPECT_OK(convert(source, place(once, "once.gguf"), STORED_Q8_0));
    EXPECT_OK(convert(once, place(twice, "twice.gguf"), STORED_Q8_0));
    EXPECT_OK(file_map(&a, once));
    EXPECT_OK(file_map(&b, twice));
    EXPECT(a.length == b.length && !memcmp(a.bytes, b.bytes, a.length), "%zu bytes, %zu after", a.length, b.length);
    file_unmap(&a), file_unmap(&b);
}

static void a_folder_is_of_the_type_that_was_asked_for(void) {
    char f32[PATH_BYTES], bf16[PATH_BYTES], path[PATH_BYTES];
    safetensors *file = NULL;
    buffer config = {0};
    EXPECT_OK(convert("tests/golden/models/qwen3", place(bf16, "qwen3-bf16"), STORED_BF16));
    EXPECT_OK(file_join(path, bf16, "model.safetensors"));
    EXPECT_OK(safetensors_open(&file, path));
    for (size_t i = 0; file && i < file->n; i++)
        EXPECT(file->entry[i].end - file->entry[i].begin == 2 * file->entry[i].size, "%s takes other bytes", file->entry[i].name);
    EXPECT_OK(file_join(path, bf16, "config.json"));
    EXPECT_OK(file_read(&config, path, 1 << 20));
    EXPECT(config.bytes && strstr(config.bytes, "\"torch_dtype\": \"bfloat16\""), "config.json has another type");
    EXPECT_OK(convert(bf16, place(f32, "qwen3-f32"), STORED_REAL));
    EXPECT_OK(convert(f32, place(path, "qwen3-bf16-again"), STORED_BF16));
    expect_same_tensors(bf16, path);
    buffer_release(&config);
    safetensors_close(file);
}

/* Of gates and ups, whose biases lie in one tensor, only the gates' are values that bf16 has. */
static void write_halves_and_a_float(const char *folder) {
    char path[PATH_BYTES];
    safetensors *file = NULL;
    safetensors_writer *writer = NULL;
    buffer config = {0};
    hash128 hash;
    int64_t bytes;
    real values[7 * 26];
    EXPECT_OK(file_make_folder(folder));
    EXPECT_OK(file_read(&config, "tests/golden/models/gpt_oss_full/config.json", 1 << 20));
    EXPECT_OK(file_join(path, folder, "config.json"));
    EXPECT_OK(file_write_whole(path, config.bytes, config.length));
    EXPECT_OK(safetensors_open(&file, "tests/golden/models/gpt_oss_full/model.safetensors"));
    EXPECT_OK(file_join(path, folder, "model.safetensors"));
    EXPECT_OK(safetensors_writer_new(&writer, path));
    for (size_t i = 0; i < file->n; i++) {
        const safetensors_entry *e = &file->entry[i];
        bool is_float = strstr(e->name, "gate_up_proj_bias");
        EXPECT_OK(safetensors_writer_declare_as(writer, is_float ? STORED_REAL : STORED_BF16, e->name, e->rank, e->shape));
    }
    for (size_t i = 0; i < file->n; i++) {
        const safetensors_entry *e = &file->entry[i];
        if (!strstr(e->name, "gate_up_proj_bias")) {
            EXPECT_OK(safetensors_writer_write_bytes(writer, e->bytes, e->end - e->begin));
            continue;
        }
        EXPECT_OK(safetensors_read(values, e, 0, e->size));
        for (int64_t v = 1; v < e->size; v += 2) values[v] *= (real)1.0001;
        EXPECT_OK(safetensors_writer_write(writer, values, e->size));
    }
    EXPECT_OK(safetensors_writer_finish(writer, &hash, &bytes));
    safetensors_writer_free(writer), safetensors_close(file), buffer_release(&config);
}

static void a_tensor_of_two_weights_loses_nothing_of_either(void) {
    char folder[PATH_BYTES], out[PATH_BYTES];
    write_halves_and_a_float(place(folder, "halves-and-a-float"));
    EXPECT_OK(convert(folder, place(out, "halves-and-a-float-again"), STORED_TYPES));
    expect_same_tensors(folder, out);
}

/* Every family, as it lies: halves stay halves, also where experts lie turned or in turns. */
static void folders_come_back_as_they_were(void) {
    static const char *const same[] = {"llama_full",     "mixtral_full", "olmoe_full",   "qwen2_full", "qwen2_moe_full",   "qwen3_full",
                                       "qwen3_moe_full", "gpt_oss",      "gpt_oss_full", "llama4",     "deepseek_v2_full", "deepseek_v3_full"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char folder[PATH_BYTES], out[PATH_BYTES];
        test_row(same[i]);
        EXPECT_OK(file_join(folder, "tests/golden/models", same[i]));
        EXPECT_OK(convert(folder, place(out, same[i]), STORED_TYPES));
        expect_same_tensors(folder, out);
    }
}

/* Blocks and squares become reals, of which no bit is lost. */
static void what_has_scales_becomes_reals(void) {
    static real a[T * MOST_VOCABULARY], b[T * MOST_VOCABULARY];
    static const char *const names[] = {"gpt_oss_mxfp4", "deepseek_v3_fp8", "llama4_full"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[PATH_BYTES], out[PATH_BYTES];
        test_row(names[i]);
        EXPECT_OK(file_join(folder, "tests/golden/models", names[i]));
        EXPECT_OK(convert(folder, place(out, names[i]), STORED_TYPES));
        ptrdiff_t n = logits_of(a, folder);
        EXPECT(logits_of(b, out) == n, "another vocabulary");
        for (ptrdiff_t j = 0; j < n; j++)
            if (fabsf((float)(a[j] - b[j])) > 1e-5f) EXPECT(false, "logit %td is %g, was %g", j, (double)b[j], (double)a[j]);
    }
}

/* ---- refusals -------------------------------------------------------------------------------------------------------------------- */

static void what_is_there_stays(void) {
    char out[PATH_BYTES];
    mapped_file map;
    test_write_text("there.gguf", "mine");
    EXPECT_ERROR(convert(source, place(out, "there.gguf"), STORED_TYPES), LAMP_INVALID, "there.gguf is already there; give another name");
    EXPECT_OK(file_map(&map, out));
    EXPECT(map.length == 4, "%zu bytes", map.length);
    file_unmap(&map);
    EXPECT_ERROR(convert(source, place(out, "folder"), STORED_Q8_0), LAMP_INVALID, "expected a name that ends in .gguf");
    EXPECT_ERROR(convert(test_path("nothing"), place(out, "new.gguf"), STORED_TYPES), LAMP_IO, "nothing");
}

static void values_that_do_not_fit_are_named(void) {
    char folder[PATH_BYTES], out[PATH_BYTES], path[PATH_BYTES];
    buffer bytes = {0};
    const float large = 1e6f;
    EXPECT_OK(convert("tests/golden/models/llama", place(folder, "large"), STORED_TYPES));
    EXPECT_OK(file_join(path, folder, "model.safetensors"));
    EXPECT_OK(file_read(&bytes, path, 1 << 24));
    memcpy(bytes.bytes + bytes.length - 4 * 30, &large, sizeof large); /* in the last tensor, the head */
    EXPECT_OK(file_write_whole(path, bytes.bytes, bytes.length));
    EXPECT_OK(file_join(path, folder, "manifest.json"));
    remove(path);
    EXPECT_ERROR(convert(folder, place(out, "large.gguf"), STORED_F16), LAMP_UNSUPPORTED, "expected at most 65504, which f16 can hold, found 1e+06");
    EXPECT(strstr(lamp_error_message(), "tensor lm_head.weight"), "no tensor in %s", lamp_error_message());
    EXPECT(!file_exists(out) && !file_exists(test_path("large.gguf.partial")), "something was left");
    buffer_release(&bytes);
}

static const test_case cases[] = {
    {"what comes back is what went", what_comes_back_is_what_went},
    {"files compute what folders do", files_compute_what_folders_do},
    {"each part has its type", each_part_has_its_type},
    {"blocks are those of the quantiser", blocks_are_those_of_the_quantiser},
    {"what has its type is copied", what_has_its_type_is_copied},
    {"a folder is of the type that was asked for", a_folder_is_of_the_type_that_was_asked_for},
    {"a tensor of two weights loses nothing of either", a_tensor_of_two_weights_loses_nothing_of_either},
    {"folders come back as they were", folders_come_back_as_they_were},
    {"what has scales becomes reals", what_has_scales_becomes_reals},
    {"what is there stays", what_is_there_stays},
    {"values that do not fit are named", values_that_do_not_fit_are_named},
};

int main(void) { return test_run("conversion", cases, sizeof cases / sizeof *cases); }
