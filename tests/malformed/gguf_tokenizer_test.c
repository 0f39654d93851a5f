/* The ways in which a vocabulary of characters in a GGUF file can lie, by name; of bytes: tests/malformed/gguf_model_test.c. */
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "formats/gguf_tokenizer.h"
#include "lamp.h"
#include "text/tokenizer_parts.h"

enum { A = 258, AB = 260, SIZE = 261 }; /* <unk>, <s>, the bytes, "a", "b" and "ab" */

typedef struct {
    const char *class;
    int id; /* of a token that is another; -1: none is */
    const char *spelling;
    int32_t type;
    int n_scores;
    int64_t begin, end; /* -1: not said */
    int code;
    const char *text;
} row;

#define SOUND SIZE, -1, -1

static const row rows[] = {
    {"a sound vocabulary", -1, NULL, 0, SOUND, LAMP_OK, ""},
    {"a byte below zero", 2, "<0x-1>", GGUF_TOKEN_BYTE, SOUND, LAMP_MALFORMED, "token 2 is not spelt as its type has it"},
    {"a byte of one digit", 2, "<0x0>", GGUF_TOKEN_BYTE, SOUND, LAMP_MALFORMED, "token 2 is not spelt as its type has it"},
    {"a byte in small letters", 2 + 0xAA, "<0xaa>", GGUF_TOKEN_BYTE, SOUND, LAMP_MALFORMED, "token 172 is not spelt as its type has it"},
    {"a byte beyond 255", 2, "<0x100>", GGUF_TOKEN_BYTE, SOUND, LAMP_MALFORMED, "token 2 is not spelt as its type has it"},
    {"a byte that is a letter", 2, "c", GGUF_TOKEN_BYTE, SOUND, LAMP_MALFORMED, "token 2 is not spelt as its type has it"},
    {"a byte twice", 2, "<0x01>", GGUF_TOKEN_BYTE, SOUND, LAMP_MALFORMED, "expected each once, found tokens 2 and 3 alike"},
    {"a byte that is text", 2, "<0x00>", GGUF_TOKEN_NORMAL, SOUND, LAMP_OK, ""},
    {"a byte that is missing", 2, "c", GGUF_TOKEN_NORMAL, SOUND, LAMP_OK, ""}, /* such bytes are unknown */
    {"the same letter twice", A, "b", GGUF_TOKEN_NORMAL, SOUND, LAMP_MALFORMED, "expected each once, found tokens 258 and 259 alike"},
    {"a token of no letters", A, "", GGUF_TOKEN_NORMAL, SOUND, LAMP_MALFORMED, "token 258 is not spelt as its type has it"},
    {"a token that is no UTF-8", A, "\xE2\x96", GGUF_TOKEN_NORMAL, SOUND, LAMP_MALFORMED, "token 258 is not spelt as its type has it"},
    {"nothing unknown", 0, "<pad>", GGUF_TOKEN_CONTROL, SOUND, LAMP_OK, ""}, /* every byte has a token */
    {"two unknown tokens", 1, "<unk2>", GGUF_TOKEN_UNKNOWN, SOUND, LAMP_OK, ""},
    {"unused tokens at the end", AB, "<pad>", GGUF_TOKEN_UNUSED, SOUND, LAMP_OK, ""},
    {"a type out of range", A, "a", 0, SOUND, LAMP_MALFORMED, "expected 1 to 6, found 0 for token 258"},
    {"no scores", -1, NULL, 0, -1, -1, -1, LAMP_MALFORMED, "tokenizer.ggml.scores: expected an array, found nothing"},
    {"too few scores", -1, NULL, 0, SIZE - 1, -1, -1, LAMP_MALFORMED, "expected 261, as many as there are tokens, found 260"},
    {"the first token beyond the vocabulary", -1, NULL, 0, SIZE, SIZE, -1, LAMP_MALFORMED, "bos_token_id: expected 0 to 260, found 261"},
    {"the first token unused", AB, "<pad>", GGUF_TOKEN_UNUSED, SIZE, AB, -1, LAMP_MALFORMED, "bos_token_id: expected 0 to 259, found 260"},
    {"the last token beyond the vocabulary", -1, NULL, 0, SIZE, 1, SIZE, LAMP_MALFORMED, "eos_token_id: expected 0 to 260, found 261"},
};

static const char *spelling_of(char name[8], int id) {
    static const char *const others[] = {"a", "b", "ab"};
    if (id < 2) return id ? "<s>" : "<unk>";
    if (id >= A) return others[id - A];
    snprintf(name, 8, "<0x%02X>", (unsigned)(id - 2) & 255);
    return name;
}

static int32_t type_of(int id) { return id == 0 ? GGUF_TOKEN_UNKNOWN : id == 1 ? GGUF_TOKEN_CONTROL : id < A ? GGUF_TOKEN_BYTE : GGUF_TOKEN_NORMAL; }

static void make(const char *path, const row *r) {
    gguf_writer *w = NULL;
    EXPECT_OK(gguf_writer_new(&w, path));
    gguf_put_text(w, "tokenizer.ggml.model", "llama", 5);
    gguf_begin_array(w, "tokenizer.ggml.tokens", GGUF_TEXT, SIZE);
    for (int id = 0; id < SIZE; id++) {
        char name[8];
        const char *spelling = id == r->id ? r->spelling : spelling_of(name, id);
        gguf_put_item_text(w, spelling, strlen(spelling));
    }
    gguf_begin_array(w, "tokenizer.ggml.token_type", GGUF_I32, SIZE);
    for (int id = 0; id < SIZE; id++) gguf_put_item(w, &(int32_t){id == r->id ? r->type : type_of(id)});
    if (r->n_scores >= 0) gguf_begin_array(w, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)r->n_scores);
    for (int id = 0; id < r->n_scores; id++) gguf_put_item(w, &(float){-(float)id});
    if (r->begin >= 0) gguf_put_integer(w, "tokenizer.ggml.bos_token_id", (uint32_t)r->begin);
    if (r->end >= 0) gguf_put_integer(w, "tokenizer.ggml.eos_token_id", (uint32_t)r->end), gguf_put_bool(w, "tokenizer.ggml.add_eos_token", true);
    EXPECT_OK(gguf_finish(w));
    gguf_writer_free(w);
}

static void use(const tokenizer *t) {
    static const char text[] = "ab <unk> ab\n\xC3\xA9\xFF<s>a";
    encoder *e = NULL;
    token_list ids = {0};
    EXPECT_OK(encoder_new(&e, t));
    EXPECT_OK(encoder_encode_as(e, &ids, text, sizeof text - 1, ENCODE_PROMPT | ENCODE_END));
    EXPECT(ids.length > 10, "%zu ids", ids.length);
    token_list_release(&ids);
    encoder_free(e);
}

static void what_is_no_vocabulary_is_refused_by_name(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tokenizer *t = NULL;
        char path[PATH_BYTES];
        test_row(rows[i].class);
        strcpy(path, test_path("vocabulary.gguf"));
        make(path, &rows[i]);
        test_largest_allocation();
        EXPECT_ERROR(gguf_read_tokenizer_of(&t, path), rows[i].code, rows[i].text);
        EXPECT(test_largest_allocation() < 1 << 16, "an allocation too large for the file");
        if (t) use(t);
        tokenizer_free(t);
    }
}

static const test_case cases[] = {{"what is no vocabulary is refused by name", what_is_no_vocabulary_is_refused_by_name}};

int main(void) { return test_run("malformed vocabularies in GGUF", cases, sizeof cases / sizeof *cases); }
