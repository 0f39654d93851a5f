/* Against Hugging Face's tokenizers: the fixtures are made by tools/golden_tokenizer.py. tokenizer.json there is a file that library wrote
 * in the form we write; that ours equals it key by key shows that the library loads what we write. */
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/tokenizer_json.h"
#include "lamp.h"
#include "text/tokenizer_parts.h"

#define FOLDER "tests/golden/tokenizer/"

static void compare_ids(const char *name, tokenizer *t, json_t *cases) {
    encoder *e = NULL;
    EXPECT_OK(encoder_new(&e, t));
    json_t *texts = json_object_get(cases, "texts"), *expected = json_object_get(json_object_get(cases, "ids"), name);
    EXPECT(json_array_size(texts) > 30 && json_array_size(expected) == json_array_size(texts), "%zu texts", json_array_size(texts));
    for (size_t i = 0; e && i < json_array_size(texts); i++) {
        json_t *text = json_array_get(texts, i), *ids = json_array_get(expected, i);
        token_list found = {0};
        buffer decoded = {0};
        EXPECT_OK(encoder_encode(e, &found, json_string_value(text), json_string_length(text)));
        bool same = found.length == json_array_size(ids);
        for (size_t j = 0; same && j < found.length; j++) same = found.id[j] == json_integer_value(json_array_get(ids, j));
        EXPECT(same, "%s, text %zu: \"%s\"", name, i, json_string_value(text));
        EXPECT_OK(tokenizer_decode(t, &decoded, found.id, found.length));
        same = decoded.length == json_string_length(text);
        same = same && (decoded.length == 0 || memcmp(decoded.bytes, json_string_value(text), decoded.length) == 0);
        EXPECT(same, "%s, text %zu decodes to \"%s\"", name, i, decoded.bytes);
        buffer_release(&decoded);
        token_list_release(&found);
    }
    encoder_free(e);
}

static void check(const char *name, const char *path) {
    json_t *cases = NULL;
    tokenizer *t = NULL;
    EXPECT_OK(json_read_file(&cases, FOLDER "cases.json"));
    EXPECT_OK(tokenizer_json_read(&t, path));
    if (t && cases) {
        EXPECT(tokenizer_end_of_text(t) == 0, "found %d", tokenizer_end_of_text(t));
        compare_ids(name, t, cases);
    }
    tokenizer_free(t);
    json_decref(cases);
}

/* From its parts, as if no file had been read. */
static void written_again(char path[PATH_BYTES], const char *name) {
    tokenizer *t = NULL;
    char fixture[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), name));
    EXPECT_OK(file_join(fixture, FOLDER, name));
    EXPECT_OK(tokenizer_json_read(&t, fixture));
    if (t) buffer_release(&t->source);
    if (t) EXPECT_OK(tokenizer_json_write(t, path));
    tokenizer_free(t);
}

static void our_form_gives_equal_ids(void) { check("tokenizer.json", FOLDER "tokenizer.json"); }
static void the_form_of_gpt2_gives_equal_ids(void) { check("gpt2.json", FOLDER "gpt2.json"); }
static void the_form_of_llama3_gives_equal_ids(void) { check("llama3.json", FOLDER "llama3.json"); }

static void every_form_survives_being_written_again(void) {
    static const char *const names[] = {"tokenizer.json", "gpt2.json", "llama3.json"};
    for (size_t i = 0; i < 3; i++) {
        char path[PATH_BYTES];
        written_again(path, names[i]);
        check(names[i], path);
    }
}

static void what_was_read_is_written_as_it_was(void) {
    tokenizer *t = NULL;
    mapped_file before = {0}, after = {0};
    char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), "same.json"));
    EXPECT_OK(tokenizer_json_read(&t, FOLDER "gpt2.json"));
    if (t) EXPECT_OK(tokenizer_json_write(t, path));
    EXPECT_OK(file_map(&before, FOLDER "gpt2.json"));
    EXPECT_OK(file_map(&after, path));
    EXPECT(before.length == after.length && !memcmp(before.bytes, after.bytes, after.length), "%zu bytes became %zu", before.length, after.length);
    file_unmap(&before);
    file_unmap(&after);
    tokenizer_free(t);
}

static void what_we_write_is_what_the_library_writes(void) {
    json_t *ours = NULL, *theirs = NULL;
    char path[PATH_BYTES];
    written_again(path, "tokenizer.json");
    EXPECT_OK(json_read_file(&ours, path));
    EXPECT_OK(json_read_file(&theirs, FOLDER "tokenizer.json"));
    const char *key;
    json_t *value;
    json_object_foreach(theirs, key, value) EXPECT(json_equal(value, json_object_get(ours, key)), "\"%s\" differs", key);
    EXPECT(json_object_size(ours) == json_object_size(theirs), "%zu keys, expected %zu", json_object_size(ours), json_object_size(theirs));
    json_decref(ours);
    json_decref(theirs);
}

static const test_case cases[] = {
    {"our form gives equal ids", our_form_gives_equal_ids},
    {"the form of GPT-2 gives equal ids", the_form_of_gpt2_gives_equal_ids},
    {"the form of Llama 3 gives equal ids", the_form_of_llama3_gives_equal_ids},
    {"every form survives being written again", every_form_survives_being_written_again},
    {"what was read is written as it was", what_was_read_is_written_as_it_was},
    {"what we write is what the library writes", what_we_write_is_what_the_library_writes},
};

int main(void) { return test_run("tokenizer against Hugging Face", cases, sizeof cases / sizeof *cases); }
