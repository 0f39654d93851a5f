/* Every way in which a sound GGUF file can be no model, by name: settings that contradict each other or the tensors, tensors that are missing or
 * of another shape, tokenizers that lie. What is broken is told from what is beyond us, and no claimed size becomes memory. */
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/buffer.h"
#include "base/file.h"
#include "formats/conversion.h"
#include "gguf_words.h"
#include "infer/loaded_model.h"
#include "infer/session.h"
#include "lamp.h"
#include "text/byte_alphabet.h"

/* ---- a sound model, and its changes --------------------------------------------------------------------------------------------- */

/* A setting or a tensor: its words after its name. */
typedef struct {
    const char *name, *words;
} part;

enum { VOCABULARY = 260 }; /* 256 bytes, "th", "the", a special token and an unused one */

#define U32 "4:4 "
#define F32 "4:6 "
#define TEXT "4:8 "
#define ARRAY "4:9 "

static const part settings[] = {
    {"general.architecture", TEXT "\"llama\""},   {"llama.context_length", U32 "4:16"},
    {"llama.embedding_length", U32 "4:32"},       {"llama.block_count", U32 "4:1"},
    {"llama.feed_forward_length", U32 "4:32"},    {"llama.attention.head_count", U32 "4:4"},
    {"llama.attention.head_count_kv", U32 "4:2"}, {"llama.attention.layer_norm_rms_epsilon", F32 "4:0x3727c5ac"},
    {"llama.rope.freq_base", F32 "4:0x461c4000"}, {"tokenizer.ggml.model", TEXT "\"gpt2\""},
    {"tokenizer.ggml.pre", TEXT "\"gpt-2\""},     {"tokenizer.ggml.eos_token_id", U32 "4:258"},
};

/* The type is F32. */
static const part tensors[] = {
    {"token_embd.weight", "4:2 8:32 8:260"},       {"output_norm.weight", "4:1 8:32"},         {"blk.0.attn_norm.weight", "4:1 8:32"},
    {"blk.0.attn_q.weight", "4:2 8:32 8:32"},      {"blk.0.attn_k.weight", "4:2 8:32 8:16"},   {"blk.0.attn_v.weight", "4:2 8:32 8:16"},
    {"blk.0.attn_output.weight", "4:2 8:32 8:32"}, {"blk.0.ffn_norm.weight", "4:1 8:32"},      {"blk.0.ffn_gate.weight", "4:2 8:32 8:32"},
    {"blk.0.ffn_up.weight", "4:2 8:32 8:32"},      {"blk.0.ffn_down.weight", "4:2 8:32 8:32"},
};

enum { N_SETTINGS = sizeof settings / sizeof *settings, N_TENSORS = sizeof tensors / sizeof *tensors };

typedef struct {
    const char *class;
    part changed; /* takes the place of the part of its name, or is one more; words NULL: the part is not there */
    int code;
    const char *text;
    part also; /* one more setting */
} row;

static void put_text(buffer *b, const char *bytes, size_t length) {
    uint64_t n = length;
    buffer_append(b, &n, sizeof n);
    buffer_append(b, bytes, length);
}

static void put_token(buffer *b, int id) {
    static const char *const others[] = {"th", "the", "<|endoftext|>", "[PAD259]"};
    buffer spelt = {0};
    char byte = (char)id;
    if (id >= 256) put_text(b, others[id - 256], strlen(others[id - 256]));
    else {
        byte_alphabet_spell(&spelt, &byte, 1);
        put_text(b, spelt.bytes, spelt.length);
    }
    buffer_release(&spelt);
}

/* The long settings, which rows change by their name too. */
static void put_tokens(buffer *b) {
    uint64_t n = VOCABULARY;
    assemble(b, ARRAY TEXT), buffer_append(b, &n, sizeof n);
    for (int id = 0; id < VOCABULARY; id++) put_token(b, id);
}

static void put_types(buffer *b) {
    uint64_t n = VOCABULARY;
    assemble(b, ARRAY "4:5"), buffer_append(b, &n, sizeof n);
    for (int32_t id = 0; id < VOCABULARY; id++) {
        int32_t type = id < 258 ? 1 : id == 258 ? 3 : 5;
        buffer_append(b, &type, sizeof type);
    }
}

static void put_merges(buffer *b) { assemble(b, ARRAY TEXT "8:2"), put_text(b, "t h", 3), put_text(b, "th e", 4); }

static const struct {
    const char *name;
    void (*put)(buffer *b);
} arrays[] = {{"tokenizer.ggml.tokens", put_tokens}, {"tokenizer.ggml.token_type", put_types}, {"tokenizer.ggml.merges", put_merges}};

/* ---- making a file ---------------------------------------------------------------------------------------------------------------- */

static int put_setting(buffer *b, const char *name, const char *words, void (*put)(buffer *b)) {
    if (!words && !put) return 0;
    put_text(b, name, strlen(name));
    if (words) assemble(b, words);
    else put(b);
    return 1;
}

static bool is_setting(const char *name) { return strncmp(name, "blk.", 4) && !strstr(name, "weight") && !strstr(name, "bias"); }

static uint64_t put_settings(buffer *b, const row *r) {
    const part *changed = r && r->changed.name && is_setting(r->changed.name) ? &r->changed : NULL;
    uint64_t n = 0;
    bool found = false;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        bool same = changed && !strcmp(changed->name, settings[i].name);
        n += (uint64_t)put_setting(b, settings[i].name, same ? changed->words : settings[i].words, NULL);
        found |= same;
    }
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        bool same = changed && !strcmp(changed->name, arrays[i].name);
        n += (uint64_t)put_setting(b, arrays[i].name, same ? changed->words : NULL, same ? NULL : arrays[i].put);
        found |= same;
    }
    if (changed && !found) n += (uint64_t)put_setting(b, changed->name, changed->words, NULL);
    if (r && r->also.name) n += (uint64_t)put_setting(b, r->also.name, r->also.words, NULL);
    return n;
}

/* Words: rank, dimensions, and perhaps the number of another type than F32. */
static uint64_t put_tensor(buffer *table, const char *name, const char *words, uint64_t *offset) {
    buffer dimensions = {0};
    uint32_t rank, number = 0;
    if (!words) return 0;
    assemble(&dimensions, words);
    memcpy(&rank, dimensions.bytes, sizeof rank);
    size_t shape_bytes = sizeof rank + rank * sizeof(uint64_t);
    if (dimensions.length > shape_bytes) memcpy(&number, dimensions.bytes + shape_bytes, sizeof number);
    uint64_t size = 1, dimension;
    for (uint32_t i = 0; i < rank; i++)
        memcpy(&dimension, dimensions.bytes + sizeof rank + i * sizeof dimension, sizeof dimension), size *= dimension;
    const gguf_type *type = gguf_type_of(number);
    put_text(table, name, strlen(name));
    buffer_append(table, dimensions.bytes, shape_bytes);
    buffer_append(table, &number, sizeof number);
    buffer_append(table, offset, sizeof *offset);
    *offset = (*offset + size / (uint64_t)type->block * (uint64_t)type->block_bytes + 31) / 32 * 32;
    buffer_release(&dimensions);
    return 1;
}

static uint64_t put_tensors(buffer *table, const row *r, uint64_t *bytes) {
    const part *changed = r && r->changed.name && !is_setting(r->changed.name) ? &r->changed : NULL;
    uint64_t n = 0;
    bool found = false;
    for (size_t i = 0; i < N_TENSORS; i++) {
        bool same = changed && !strcmp(changed->name, tensors[i].name);
        n += put_tensor(table, tensors[i].name, same ? changed->words : tensors[i].words, bytes);
        found |= same;
    }
    if (changed && !found) n += put_tensor(table, changed->name, changed->words, bytes);
    return n;
}

static const char *make(const row *r) {
    buffer file = {0}, kvs = {0}, table = {0};
    uint64_t data = 0, n_settings = put_settings(&kvs, r), n_tensors = put_tensors(&table, r, &data);
    assemble(&file, "GGUF 4:3");
    buffer_append(&file, &n_tensors, sizeof n_tensors), buffer_append(&file, &n_settings, sizeof n_settings);
    buffer_append(&file, kvs.bytes, kvs.length), buffer_append(&file, table.bytes, table.length);
    assemble(&file, "|");
    for (uint64_t i = 0; i < data / sizeof(float); i++) {
        const uint32_t bits = 0x3c003800 + (uint32_t)(i * 2654435761 % 512); /* finite as a float, and as two halves */
        buffer_append(&file, &bits, sizeof bits);
    }
    test_write("model.gguf", file.bytes, file.length);
    buffer_release(&table), buffer_release(&kvs), buffer_release(&file);
    return test_path("model.gguf");
}

/* ---- the table -------------------------------------------------------------------------------------------------------------------- */

#define MIXTURE                                                                                                                                      \
    { "llama.expert_count", U32 "4:4" }
#define NONE                                                                                                                                         \
    { NULL, NULL }

static const row rows[] = {
    {.class = "a sound model", .code = LAMP_OK, .text = ""},
    {"no architecture", {"general.architecture", NULL}, LAMP_MALFORMED, "general.architecture: expected text, found nothing", NONE},
    {"architecture of another type", {"general.architecture", U32 "4:1"}, LAMP_MALFORMED, "general.architecture: expected text, found u32", NONE},
    {"architecture with an escape sequence", {"general.architecture", TEXT "\"\x1b[31m\""}, LAMP_MALFORMED, "expected a word", NONE},
    {"unknown architecture", {"general.architecture", TEXT "\"mamba\""}, LAMP_UNSUPPORTED, "expected one of llama, olmoe, ", NONE},
    {"sparse architecture without experts",
     {"general.architecture", TEXT "\"olmoe\""},
     LAMP_MALFORMED,
     "olmoe.expert_count: expected at least 1, found 0",
     NONE},
    {"one of two files", {"split.count", "4:2 2:2"}, LAMP_UNSUPPORTED, "split.count: expected a whole model, found one of 2 files", NONE},

    {"block_count 0", {"llama.block_count", U32 "4:0"}, LAMP_MALFORMED, "llama.block_count: expected 1 to 16384, found 0", NONE},
    {"block_count 513", {"llama.block_count", U32 "4:513"}, LAMP_MALFORMED, "parameters, but its tensors hold", NONE},
    {"block_count 2^31", {"llama.block_count", U32 "4:0x80000000"}, LAMP_MALFORMED, "expected 1 to 16384, found 2147483648", NONE},
    {"block_count -1", {"llama.block_count", "4:5 4:-1"}, LAMP_MALFORMED, "expected 1 to 16384, found -1", NONE},
    {"block_count that is text", {"llama.block_count", TEXT "\"1\""}, LAMP_MALFORMED, "expected an integer, found text", NONE},
    {"block_count of each layer", {"llama.block_count", ARRAY "4:4 8:1 4:1"}, LAMP_UNSUPPORTED, "found an array: layers that differ", NONE},
    {"no block_count", {"llama.block_count", NULL}, LAMP_MALFORMED, "llama.block_count: expected an integer, found nothing", NONE},
    {"embedding_length 0", {"llama.embedding_length", U32 "4:0"}, LAMP_MALFORMED, "found 0", NONE},
    {"embedding_length of another model",
     {"llama.embedding_length", U32 "4:16"},
     LAMP_MALFORMED,
     "tensor token_embd.weight: expected {16, 260}, found {32, 260}",
     NONE},
    {"embedding_length 2^20", {"llama.embedding_length", U32 "4:1048576"}, LAMP_MALFORMED, "expected 1 to 16384, found 262144", NONE},
    {"head_count 0", {"llama.attention.head_count", U32 "4:0"}, LAMP_MALFORMED, "llama.attention.head_count: expected 1 to 16384, found 0", NONE},
    {"head_count that does not divide the width",
     {"llama.attention.head_count", U32 "4:6"},
     LAMP_MALFORMED,
     "\"hidden_size\": expected a multiple",
     NONE},
    {"more heads for keys than for queries",
     {"llama.attention.head_count_kv", U32 "4:8"},
     LAMP_MALFORMED,
     "expected a multiple of num_key_value_heads (8)",
     NONE},
    {"heads of keys for each layer", {"llama.attention.head_count_kv", ARRAY "4:4 8:1 4:2"}, LAMP_UNSUPPORTED, "layers that differ", NONE},
    {"odd head", {"llama.attention.key_length", U32 "4:7"}, LAMP_MALFORMED, "expected a multiple of two", NONE},
    {"values of another width", {"llama.attention.value_length", U32 "4:4"}, LAMP_UNSUPPORTED, "expected 8, the head's width, found 4", NONE},
    {"rotation wider than a head",
     {"llama.rope.dimension_count", U32 "4:64"},
     LAMP_UNSUPPORTED,
     "llama.rope.dimension_count: expected 8, the head's width, found 64",
     NONE},
    {"feed_forward_length 0", {"llama.feed_forward_length", U32 "4:0"}, LAMP_MALFORMED, "found 0", NONE},
    {"context_length 0", {"llama.context_length", U32 "4:0"}, LAMP_MALFORMED, "found 0", NONE},
    {"epsilon that is no number", {"llama.attention.layer_norm_rms_epsilon", F32 "4:0x7fc00000"}, LAMP_MALFORMED, "expected 0 to 1, found", NONE},
    {"epsilon 0", {"llama.attention.layer_norm_rms_epsilon", F32 "4:0"}, LAMP_MALFORMED, "expected a positive number", NONE},
    {"epsilon that is an integer", {"llama.attention.layer_norm_rms_epsilon", U32 "4:1"}, LAMP_MALFORMED, "expected f32 or f64, found u32", NONE},
    {"freq_base that is infinite", {"llama.rope.freq_base", F32 "4:0x7f800000"}, LAMP_MALFORMED, "found inf", NONE},
    {"rotation scaled by an unknown rule",
     {"llama.rope.scaling.type", TEXT "\"longrope\""},
     LAMP_UNSUPPORTED,
     "llama.rope.scaling.type: expected none, linear or yarn, found longrope",
     NONE},
    {"scaled rotation", {"llama.rope.scaling.type", TEXT "\"linear\""}, LAMP_OK, "", {"llama.rope.scaling.factor", F32 "4:0x40000000"}},
    {"scaled rotation without a factor",
     {"llama.rope.scaling.type", TEXT "\"linear\""},
     LAMP_MALFORMED,
     "llama.rope.scaling.factor: expected a number, found nothing",
     NONE},
    {"rotation scaled by zero",
     {"llama.rope.scaling.type", TEXT "\"linear\""},
     LAMP_MALFORMED,
     "llama.rope.scaling.factor: expected a positive number",
     {"llama.rope.scaling.factor", F32 "4:0"}},
    {"rotation scaled by less than one",
     {"llama.rope.scaling.type", TEXT "\"linear\""},
     LAMP_MALFORMED,
     "\"factor\": expected 1 to",
     {"llama.rope.scaling.factor", F32 "4:0x3f000000"}},
    {"rotation scaled by no number",
     {"llama.rope.scaling.type", TEXT "\"yarn\""},
     LAMP_MALFORMED,
     "llama.rope.scaling.factor: expected a positive number",
     {"llama.rope.scaling.factor", F32 "4:0x7fc00000"}},
    {"yarn without its first context",
     {"llama.rope.scaling.type", TEXT "\"yarn\""},
     LAMP_MALFORMED,
     "llama.rope.scaling.original_context_length: expected an integer, found nothing",
     {"llama.rope.scaling.factor", F32 "4:0x40000000"}},
    {"a setting that could change the function",
     {"llama.attention.clamp_kqv", F32 "4:0x41000000"},
     LAMP_UNSUPPORTED,
     "llama.attention.clamp_kqv: expected nothing",
     NONE},
    {"vocab_size of another model",
     {"llama.vocab_size", U32 "4:259"},
     LAMP_MALFORMED,
     "vocab_size: expected 260, the rows of token_embd.weight, found 259",
     NONE},
    {"vocab_size 2^31", {"llama.vocab_size", U32 "4:0x80000000"}, LAMP_MALFORMED, "found 2147483648", NONE},
    {"more experts used than there are",
     {"llama.expert_used_count", U32 "4:5"},
     LAMP_MALFORMED,
     "expected 1 to 4, the number of experts, found 5",
     MIXTURE},
    {"no experts used", {"llama.expert_used_count", U32 "4:0"}, LAMP_MALFORMED, "llama.expert_used_count: expected 1 to 1048576, found 0", MIXTURE},
    {"experts without tensors", {"llama.expert_used_count", U32 "4:2"}, LAMP_MALFORMED, "parameters, but its tensors hold", MIXTURE},
    {"a billion experts", {"llama.expert_count", U32 "4:1000000000"}, LAMP_MALFORMED, "found 1000000000", NONE},

    {"no embedding",
     {"token_embd.weight", NULL},
     LAMP_MALFORMED,
     "tensor token_embd.weight: expected {embedding_length, vocabulary}, found nothing",
     NONE},
    {"missing tensor", {"blk.0.attn_v.weight", NULL}, LAMP_MALFORMED, "parameters, but its tensors hold", NONE},
    {"missing norm", {"blk.0.ffn_norm.weight", NULL}, LAMP_MALFORMED, "parameters, but its tensors hold", NONE},
    {"tensor under another name",
     {"blk.0.attn_w.weight", "4:2 8:32 8:16"},
     LAMP_UNSUPPORTED,
     "tensor blk.0.attn_w.weight: expected nothing of this name",
     NONE},
    {"transposed tensor",
     {"blk.0.attn_k.weight", "4:2 8:16 8:32"},
     LAMP_MALFORMED,
     "tensor blk.0.attn_k.weight: expected {32, 16}, found {16, 32}",
     NONE},
    {"tensor of another rank", {"blk.0.attn_k.weight", "4:3 8:32 8:8 8:2"}, LAMP_MALFORMED, "expected {32, 16}, found {32, 8, 2}", NONE},
    {"a bias that nobody reads",
     {"blk.0.ffn_up.bias", "4:1 8:32"},
     LAMP_UNSUPPORTED,
     "tensor blk.0.ffn_up.bias: expected nothing of this name",
     NONE},
    {"divisors of frequencies that no rule makes",
     {"rope_freqs.weight", "4:1 8:4"},
     LAMP_UNSUPPORTED,
     "tensor rope_freqs.weight: expected divisors of frequencies as llama3 makes them",
     NONE},
    {"divisors of too few frequencies",
     {"rope_freqs.weight", "4:1 8:2"},
     LAMP_MALFORMED,
     "tensor rope_freqs.weight: expected {4} of F32, half a head, found 2 of F32",
     NONE},
    {"divisors of frequencies in halves",
     {"rope_freqs.weight", "4:1 8:4 4:1"},
     LAMP_MALFORMED,
     "expected {4} of F32, half a head, found 4 of F16",
     NONE},
    {"the bias of queries alone", {"blk.0.attn_q.bias", "4:1 8:32"}, LAMP_MALFORMED, "parameters, but its tensors hold", NONE},
    {"tensor of integers",
     {"blk.0.attn_k.weight", "4:2 8:32 8:16 4:26"},
     LAMP_UNSUPPORTED,
     "expected F32, F16, BF16, MXFP4, Q4_0 to Q8_0 or Q2_K to Q6_K, found I32",
     NONE},
    {"tensor of a type that we do not read", {"blk.0.attn_k.weight", "4:2 8:32 8:16 4:20"}, LAMP_UNSUPPORTED, "found IQ4_NL", NONE},
    {"halves", {"blk.0.attn_k.weight", "4:2 8:32 8:16 4:1"}, LAMP_OK, "", NONE},
    {"blocks", {"blk.0.attn_k.weight", "4:2 8:32 8:16 4:8"}, LAMP_OK, "", NONE},
    {"older blocks, of rows that stand by pairs", {"blk.0.attn_q.weight", "4:2 8:32 8:32 4:6"}, LAMP_OK, "", NONE},
    {"norms in halves", {"output_norm.weight", "4:1 8:32 4:1"}, LAMP_OK, "", NONE},
    {"norms in blocks", {"output_norm.weight", "4:1 8:32 4:8"}, LAMP_UNSUPPORTED, "expected a vector of F32, F16 or BF16, found Q8_0", NONE},

    {"no tokenizer", {"tokenizer.ggml.model", NULL}, LAMP_OK, "", NONE},
    {"tokenizer of another kind",
     {"tokenizer.ggml.model", TEXT "\"bert\""},
     LAMP_UNSUPPORTED,
     "tokenizer.ggml.model: expected gpt2, llama or none, found bert",
     NONE},
    {"patterns that are not named", {"tokenizer.ggml.pre", NULL}, LAMP_MALFORMED, "tokenizer.ggml.pre: expected text, found nothing", NONE},
    {"patterns of an unknown name",
     {"tokenizer.ggml.pre", TEXT "\"smaug-bpe\""},
     LAMP_UNSUPPORTED,
     "tokenizer.ggml.pre: expected one of gpt-2, ",
     NONE},
    {"no tokens", {"tokenizer.ggml.tokens", NULL}, LAMP_MALFORMED, "tokenizer.ggml.tokens: expected an array, found nothing", NONE},
    {"tokens that are numbers", {"tokenizer.ggml.tokens", ARRAY "4:5 8:1 4:1"}, LAMP_MALFORMED, "expected an array of text, found one of i32", NONE},
    {"tokens that are one text", {"tokenizer.ggml.tokens", TEXT "\"a\""}, LAMP_MALFORMED, "expected an array of text, found text", NONE},
    {"fewer tokens than types",
     {"tokenizer.ggml.tokens", ARRAY TEXT "8:1 \"a\""},
     LAMP_MALFORMED,
     "expected 1, as many as there are tokens, found 260",
     NONE},
    {"types that are text",
     {"tokenizer.ggml.token_type", ARRAY TEXT "8:1 \"a\""},
     LAMP_MALFORMED,
     "expected an array of i32, found one of text",
     NONE},
    {"types that are f32", {"tokenizer.ggml.token_type", ARRAY F32 "8:1 4:0"}, LAMP_MALFORMED, "expected an array of i32, found one of f32", NONE},
    {"too few types", {"tokenizer.ggml.token_type", ARRAY "4:5 8:1 4:1"}, LAMP_MALFORMED, "expected 260, as many as there are tokens, found 1", NONE},
    {"no types", {"tokenizer.ggml.token_type", NULL}, LAMP_OK, "", NONE},
    {"merge of a missing token",
     {"tokenizer.ggml.merges", ARRAY TEXT "8:1 8:4 <t 1:32 <zz"},
     LAMP_MALFORMED,
     "tokenizer.ggml.merges: expected two tokens",
     NONE},
    {"merge without a space",
     {"tokenizer.ggml.merges", ARRAY TEXT "8:1 \"th\""},
     LAMP_MALFORMED,
     "expected two tokens and a space between them",
     NONE},
    {"merge that makes no token", {"tokenizer.ggml.merges", ARRAY TEXT "8:1 8:3 <z 1:32 <z"}, LAMP_MALFORMED, "expected a token that joins", NONE},
    {"the same merge twice", {"tokenizer.ggml.merges", ARRAY TEXT "8:2 8:3 <t 1:32 <h 8:3 <t 1:32 <h"}, LAMP_MALFORMED, "place 1: expected", NONE},
    {"merges that are numbers",
     {"tokenizer.ggml.merges", ARRAY "4:5 8:1 4:1"},
     LAMP_MALFORMED,
     "tokenizer.ggml.merges: expected an array of text",
     NONE},
    {"end of text beyond the vocabulary",
     {"tokenizer.ggml.eos_token_id", U32 "4:260"},
     LAMP_MALFORMED,
     "tokenizer.ggml.eos_token_id: expected 0 to 259, found 260",
     NONE},
    {"end of text -1", {"tokenizer.ggml.eos_token_id", "4:5 4:-1"}, LAMP_MALFORMED, "expected 0 to 259, found -1", NONE},
    {"beginning of text beyond the vocabulary",
     {"tokenizer.ggml.bos_token_id", U32 "4:4000000000"},
     LAMP_MALFORMED,
     "tokenizer.ggml.bos_token_id: expected 0 to 259",
     NONE},
    {"scores that are no numbers", {"tokenizer.ggml.scores", ARRAY F32 "8:260 *1036 4:0x7fc00000"}, LAMP_MALFORMED, "found none for token 259", NONE},
    {"type of a token out of range",
     {"tokenizer.ggml.token_type", ARRAY "4:5 8:260 4:7 *1036"},
     LAMP_MALFORMED,
     "expected 1 to 6, found 7 for token 0",
     NONE},
    {"fewer rows than tokens", {"token_embd.weight", "4:2 8:32 8:258"}, LAMP_MALFORMED, "eos_token_id: expected 0 to 257, found 258", NONE},
    {"scores of another number", {"tokenizer.ggml.scores", ARRAY F32 "8:1 4:0"}, LAMP_MALFORMED, "tokenizer.ggml.scores: expected 260", NONE},
    {"scores that are text", {"tokenizer.ggml.scores", ARRAY TEXT "8:1 \"a\""}, LAMP_MALFORMED, "expected an array of f32, found one of text", NONE},
    {"hostile chat template", {"tokenizer.chat_template", TEXT "\"{%for_i_in_range(10**9)%}{{''.__class__}}\""}, LAMP_OK, "", NONE}, /* never run */
};

/* ---- the tests -------------------------------------------------------------------------------------------------------------------- */

static void use(loaded_model *m) {
    const int32_t V = (int32_t)m->model.config.vocab_size, ids[] = {1 % V, 256 % V, 257 % V, 3 % V};
    const real *logits;
    session s;
    EXPECT_OK(session_open(&s, &m->model, 8));
    EXPECT_OK(session_feed(&s, &logits, ids, 4));
    session_close(&s);
}

static void what_is_no_model_is_refused_by_name(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        loaded_model m = {0};
        int64_t length = 0;
        test_row(rows[i].class);
        const char *path = make(&rows[i]);
        EXPECT_OK(file_size(&length, path));
        test_largest_allocation();
        int status = loaded_model_open(&m, path, VALUES_STORED);
        if (*m.tokenizer_problem) status = loaded_model_need_tokenizer(&m); /* it runs on ids */
        EXPECT_ERROR(status, rows[i].code, rows[i].text);
        size_t largest = test_largest_allocation();
        EXPECT(largest < 4096 + 8 * (size_t)length, "%zu bytes at once for a file of %lld", largest, (long long)length);
        EXPECT(rows[i].code == LAMP_OK || strstr(lamp_error_message(), "model.gguf: "), "no path in %s", lamp_error_message());
        EXPECT(strlen(lamp_error_message()) < 2000 && !strchr(lamp_error_message(), '\x1b'), "a message of %zu bytes", strlen(lamp_error_message()));
        if (m.source) use(&m);
        loaded_model_close(&m);
    }
}

/* The conversions that lamp offers refuse the same, and leave nothing. */
static void what_is_no_model_is_not_converted(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        conversion c = {0};
        char out[PATH_BYTES];
        conversion_request q = {
            .from = make(&rows[i]), .to = strcpy(out, test_path("out.gguf")), .type = {STORED_Q8_0, STORED_Q8_0, STORED_Q8_0, STORED_Q8_0}};
        test_row(rows[i].class);
        char from[PATH_BYTES];
        q.from = strcpy(from, test_path("model.gguf"));
        EXPECT_ERROR(conversion_run(&c, &q), rows[i].code, rows[i].text);
        EXPECT(file_exists(out) == (rows[i].code == LAMP_OK) && !file_exists(test_path("out.gguf.partial")), "something is left, or nothing made");
        conversion_close(&c);
        remove(out);
    }
}

/* Numbers that are not finite are sound data, until somebody asks. */
static void values_that_are_not_finite_are_named(void) {
    loaded_model m = {0};
    buffer bytes = {0};
    const float infinity = __builtin_inff();
    char path[PATH_BYTES];
    strcpy(path, make(NULL));
    EXPECT_OK(file_read(&bytes, path, 1 << 20));
    memcpy(bytes.bytes + bytes.length - sizeof infinity, &infinity, sizeof infinity);
    test_write("model.gguf", bytes.bytes, bytes.length);
    EXPECT_OK(loaded_model_open(&m, path, VALUES_STORED));
    if (m.source)
        EXPECT_ERROR(model_source_check_finite(m.source, &m.model.weights), LAMP_MALFORMED,
                     "tensor blk.0.ffn_down.weight: expected finite numbers, found inf at place 1023");
    loaded_model_close(&m);
    buffer_release(&bytes);
}

/* One byte of the settings or the table is another: refused, or used. */
static int use_with_others(const char *path, size_t tables, size_t step) {
    enum { EACH = 900 };
    buffer bytes = {0};
    int used = 0;
    EXPECT_OK(file_read(&bytes, path, 1 << 20));
    for (size_t at = 0; at < tables && at < bytes.length; at += at < EACH && step < 10 ? 1 : step) {
        loaded_model m = {0};
        bytes.bytes[at] ^= (char)(1 << at % 8);
        test_write("model.gguf", bytes.bytes, bytes.length);
        bytes.bytes[at] ^= (char)(1 << at % 8);
        if (loaded_model_open(&m, test_path("model.gguf"), VALUES_STORED) < 0) continue;
        use(&m), used++;
        loaded_model_close(&m);
    }
    buffer_release(&bytes);
    return used;
}

static void a_byte_that_is_another_does_no_harm(void) {
    static const char *const others[] = {"deepseek_v2", "deepseek_v3", "gpt_oss", "llama3", "llama4", "qwen2_yarn"};
    char path[PATH_BYTES];
    int64_t length = 0;
    strcpy(path, make(NULL));
    EXPECT_OK(file_size(&length, path));
    EXPECT(use_with_others(path, (size_t)length - 60000, 7) > 10, "few of them were used"); /* the data is less interesting */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        test_row(others[i]);
        snprintf(path, sizeof path, "tests/golden/gguf/%s/model.gguf", others[i]);
        EXPECT(use_with_others(path, 4000, 31) > 5, "few of them were used");
    }
}

static const test_case cases[] = {
    {"what is no model is refused by name", what_is_no_model_is_refused_by_name},
    {"what is no model is not converted", what_is_no_model_is_not_converted},
    {"values that are not finite are named", values_that_are_not_finite_are_named},
    {"a byte that is another does no harm", a_byte_that_is_another_does_no_harm},
};

int main(void) { return test_run("malformed GGUF models", cases, sizeof cases / sizeof *cases); }
