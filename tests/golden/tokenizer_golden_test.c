/* Against Hugging Face's tokenizers: small tokenizers of every kind, made by tools/golden_tokenizer.py, and what that library makes of some texts;
 * some of them as GGUF files too, which the package gguf wrote. tokenizer.json there is a file that library wrote in the form we write; that ours
 * equals it key by key shows that the library loads what we write. */
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/gguf_tokenizer.h"
#include "formats/tokenizer_json.h"
#include "lamp.h"
#include "text/tokenizer_parts.h"

#define FOLDER "tests/golden/tokenizer/"

static json_t *cases_of_all(void) {
    json_t *all = NULL;
    EXPECT_OK(json_read_file(&all, FOLDER "cases.json"));
    return all;
}

static tokenizer *read_kind(const char *kind) {
    tokenizer *t = NULL;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, FOLDER "%s.json", kind);
    EXPECT_OK(tokenizer_json_read(&t, path));
    return t;
}

static void compare(encoder *e, const char *what, size_t i, const char *bytes, size_t length, unsigned how, const json_t *expected) {
    token_list found = {0};
    EXPECT_OK(encoder_encode_as(e, &found, bytes, length, how));
    bool same = found.length == json_array_size(expected);
    size_t at = 0;
    for (; same && at < found.length; at++) same = found.id[at] == json_integer_value(json_array_get(expected, at));
    EXPECT(same, "%s, text %zu, id %zu of %zu: \"%.*s\"", what, i, at, json_array_size(expected), (int)length, bytes);
    token_list_release(&found);
}

static void compare_decoded(const tokenizer *t, size_t i, const json_t *ids, const json_t *expected) {
    buffer decoded = {0};
    decoder d;
    buffer_append_text(&decoded, "");
    decoder_begin(&d, t, true, false);
    for (size_t j = 0; j < json_array_size(ids); j++) EXPECT_OK(decoder_add(&d, &decoded, (int32_t)json_integer_value(json_array_get(ids, j))));
    EXPECT_OK(decoder_end(&d, &decoded));
    bool same = decoded.length == json_string_length(expected) && !memcmp(decoded.bytes, json_string_value(expected), decoded.length);
    EXPECT(same, "text %zu decodes to \"%s\", expected \"%s\"", i, decoded.bytes, json_string_value(expected));
    buffer_release(&decoded);
}

static void compare_kind(const char *kind, const tokenizer *t, const json_t *texts, const json_t *found) {
    encoder *e = NULL;
    const json_t *ids = json_object_get(found, "ids"), *framed = json_object_get(found, "with_template"),
                 *decoded = json_object_get(found, "decoded");
    EXPECT_OK(encoder_new(&e, t));
    EXPECT(json_array_size(texts) > 40 && json_array_size(ids) == json_array_size(texts), "%zu texts", json_array_size(texts));
    for (size_t i = 0; e && i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i), *expected = json_array_get(ids, i);
        const char *bytes = json_string_value(text);
        size_t length = json_string_length(text);
        compare(e, kind, i, bytes, length, ENCODE_SPECIALS, expected);
        compare(e, kind, i, bytes, length, ENCODE_PROMPT | ENCODE_END, framed ? json_array_get(framed, i) : expected);
        if (decoded) compare_decoded(t, i, expected, json_array_get(decoded, i));
    }
    encoder_free(e);
}

static void every_kind_gives_equal_ids_and_texts(void) {
    json_t *all = cases_of_all(), *kinds = json_object_get(all, "kinds"), *found;
    const char *kind;
    EXPECT(json_object_size(kinds) > 20, "%zu kinds", json_object_size(kinds));
    json_object_foreach(kinds, kind, found) {
        test_row(kind);
        tokenizer *t = read_kind(kind);
        if (t) compare_kind(kind, t, json_object_get(all, "texts"), found);
        tokenizer_free(t);
    }
    json_decref(all);
}

/* tools/compare_tokenizers.py says what equality means there. */
static void text_that_is_no_utf8_gives_equal_ids(void) {
    json_t *all = cases_of_all(), *found, *texts = json_object_get(all, "broken");
    const char *kind;
    int n_kinds = 0;
    json_object_foreach(json_object_get(all, "kinds"), kind, found) {
        const json_t *ids = json_object_get(found, "broken");
        encoder *e = NULL;
        if (!ids) continue;
        test_row(kind);
        n_kinds++;
        tokenizer *t = read_kind(kind);
        EXPECT_OK(encoder_new(&e, t));
        for (size_t i = 0; i < json_array_size(texts); i++) {
            const char *hex = json_string_value(json_array_get(texts, i));
            char bytes[600];
            size_t length = 0;
            for (; hex[2 * length] && length < sizeof bytes; length++)
                bytes[length] = (char)strtol((char[]){hex[2 * length], hex[2 * length + 1], 0}, NULL, 16);
            compare(e, kind, i, bytes, length, ENCODE_SPECIALS, json_array_get(ids, i));
        }
        encoder_free(e);
        tokenizer_free(t);
    }
    EXPECT(n_kinds > 10, "%d kinds", n_kinds);
    json_decref(all);
}

/* From its parts, as if no file had been read. */
static int write_again(char path[PATH_BYTES], const char *kind) {
    tokenizer *t = read_kind(kind);
    EXPECT_OK(file_join(path, test_folder(), "again.json"));
    if (!t) return LAMP_FAILURE;
    buffer_release(&t->source);
    int status = tokenizer_json_write(t, path);
    tokenizer_free(t);
    return status;
}

static void every_kind_survives_being_written_from_its_parts(void) {
    static const char *const unwritable[] = {"gpt2_prefix", "mistral", "metaspace"}; /* their steps change text, and have no type of their own */
    json_t *all = cases_of_all(), *found;
    const char *kind;
    json_object_foreach(json_object_get(all, "kinds"), kind, found) {
        char path[PATH_BYTES];
        tokenizer *t = NULL;
        bool is_writable = true;
        for (size_t i = 0; i < sizeof unwritable / sizeof *unwritable; i++) is_writable &= strcmp(unwritable[i], kind) != 0;
        test_row(kind);
        if (!is_writable) {
            EXPECT_ERROR(write_again(path, kind), LAMP_UNSUPPORTED, "cannot be written by itself");
            continue;
        }
        EXPECT_OK(write_again(path, kind));
        EXPECT_OK(tokenizer_json_read(&t, path));
        if (t) compare_kind(kind, t, json_object_get(all, "texts"), found);
        tokenizer_free(t);
    }
    json_decref(all);
}

static void what_was_read_is_written_as_it_was(void) {
    tokenizer *t = read_kind("mistral");
    mapped_file before = {0}, after = {0};
    char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), "same.json"));
    if (t) EXPECT_OK(tokenizer_json_write(t, path));
    EXPECT_OK(file_map(&before, FOLDER "mistral.json"));
    EXPECT_OK(file_map(&after, path));
    EXPECT(before.length == after.length && !memcmp(before.bytes, after.bytes, after.length), "%zu bytes became %zu", before.length, after.length);
    file_unmap(&before);
    file_unmap(&after);
    tokenizer_free(t);
}

static void what_we_write_is_what_the_library_writes(void) {
    json_t *ours = NULL, *theirs = NULL;
    char path[PATH_BYTES];
    EXPECT_OK(write_again(path, "tokenizer"));
    EXPECT_OK(json_read_file(&ours, path));
    EXPECT_OK(json_read_file(&theirs, FOLDER "tokenizer.json"));
    const char *key;
    json_t *value;
    json_object_foreach(theirs, key, value) EXPECT(json_equal(value, json_object_get(ours, key)), "\"%s\" differs", key);
    EXPECT(json_object_size(ours) == json_object_size(theirs), "%zu keys, expected %zu", json_object_size(ours), json_object_size(theirs));
    json_decref(ours);
    json_decref(theirs);
}

/* ---- in GGUF files -------------------------------------------------------------------------------------------------------------- */

/* refusal: of those that GGUF has no place for. */
static const struct {
    const char *kind, *refusal;
} in_gguf[] = {
    {"tokenizer", NULL},
    {"gpt2", NULL},
    {"gpt2_prefix", "stands alone, for which GGUF has no place"},
    {"llama3", NULL},
    {"qwen2", NULL},
    {"o200k", NULL},
    {"deepseek_v3", NULL},
    {"deepseek_v2", NULL},
    {"starcoder", "expected the patterns of gpt-2, qwen2, llama-bpe, "},
    {"olmoe", NULL},
    {"added", "stands alone, for which GGUF has no place"},
    {"behaviors", "found others, for which GGUF has no name that we know"},
    {"sentencepiece", NULL},
    {"mixtral", "expected merges that scores can say"},
    {"mistral", "expected merges that scores can say"},
    {"metaspace", "stands alone, for which GGUF has no place"},
    {"gemma", "expected marks for spaces, no patterns"},
    {"unknowns", "and bytes for what has no token"},
    {"some_bytes", "stands alone, for which GGUF has no place"},
    {"words", "found one of words"},
    {"words_split", "found one of words"},
    {"forms", "expected no normalizer but NFC"},
    {"nfd", "expected no normalizer but NFC"},
};

static int write_gguf(char path[PATH_BYTES], const char *kind) {
    gguf_writer *w = NULL;
    tokenizer *t = read_kind(kind);
    EXPECT_OK(file_join(path, test_folder(), "tokenizer.gguf"));
    EXPECT_OK(gguf_writer_new(&w, path));
    int status = t ? gguf_write_tokenizer(w, t, 0, -1) : LAMP_FAILURE;
    if (status >= 0) status = gguf_finish(w);
    gguf_writer_free(w);
    tokenizer_free(t);
    return status;
}

static void every_kind_survives_gguf_or_is_refused(void) {
    json_t *all = cases_of_all(), *kinds = json_object_get(all, "kinds");
    EXPECT(json_object_size(kinds) == sizeof in_gguf / sizeof *in_gguf, "%zu kinds", json_object_size(kinds));
    for (size_t i = 0; i < sizeof in_gguf / sizeof *in_gguf; i++) {
        char path[PATH_BYTES];
        tokenizer *t = NULL;
        test_row(in_gguf[i].kind);
        if (in_gguf[i].refusal) {
            EXPECT_ERROR(write_gguf(path, in_gguf[i].kind), LAMP_UNSUPPORTED, in_gguf[i].refusal);
            continue;
        }
        EXPECT_OK(write_gguf(path, in_gguf[i].kind));
        EXPECT_OK(gguf_read_tokenizer_of(&t, path));
        if (t) compare_kind(in_gguf[i].kind, t, json_object_get(all, "texts"), json_object_get(kinds, in_gguf[i].kind));
        tokenizer_free(t);
    }
    json_decref(all);
}

static void files_of_the_package_gguf_give_equal_ids(void) {
    json_t *all = cases_of_all(), *found;
    const char *kind;
    int n_files = 0;
    json_object_foreach(json_object_get(all, "kinds"), kind, found) {
        char path[PATH_BYTES];
        tokenizer *t = NULL;
        snprintf(path, sizeof path, FOLDER "%s.gguf", kind);
        if (!file_exists(path)) continue;
        test_row(kind);
        n_files++;
        EXPECT_OK(gguf_read_tokenizer_of(&t, path));
        if (t) compare_kind(kind, t, json_object_get(all, "texts"), found);
        tokenizer_free(t);
    }
    EXPECT(n_files == 7, "%d files", n_files);
    json_decref(all);
}

static const test_case cases[] = {
    {"every kind gives equal ids and texts", every_kind_gives_equal_ids_and_texts},
    {"text that is no UTF-8 gives equal ids", text_that_is_no_utf8_gives_equal_ids},
    {"every kind survives being written from its parts", every_kind_survives_being_written_from_its_parts},
    {"what was read is written as it was", what_was_read_is_written_as_it_was},
    {"every kind survives GGUF, or is refused", every_kind_survives_gguf_or_is_refused},
    {"files of the package gguf give equal ids", files_of_the_package_gguf_give_equal_ids},
    {"what we write is what the library writes", what_we_write_is_what_the_library_writes},
};

int main(void) { return test_run("tokenizer against Hugging Face", cases, sizeof cases / sizeof *cases); }
