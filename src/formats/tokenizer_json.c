#include "formats/tokenizer_json.h"

#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_internal.h"

/* ---- the byte alphabet ------------------------------------------------------------------------------------------------------ */

enum { ALPHABET_END = 0x100 + 68 }; /* 68 bytes do not print */

static bool byte_prints(int byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174; }

static void alphabet(int character_of[256], int byte_of[ALPHABET_END]) {
    int unprintable = 0x100;
    for (int i = 0; i < ALPHABET_END; i++) byte_of[i] = -1;
    for (int byte = 0; byte < 256; byte++) {
        character_of[byte] = byte_prints(byte) ? byte : unprintable++;
        byte_of[character_of[byte]] = byte;
    }
}

static int append_spelling(buffer *out, const int character_of[256], const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        int character = character_of[(unsigned char)bytes[i]];
        if (character >= 0x80) buffer_append_byte(out, (char)(0xC0 | character >> 6));
        buffer_append_byte(out, (char)(character < 0x80 ? character : 0x80 | (character & 0x3F)));
    }
    return out->status;
}

/* The bytes that a spelling (valid UTF-8) stands for replace what out held; false if a character is outside the alphabet. */
static bool read_spelling(buffer *out, const int byte_of[ALPHABET_END], const char *spelling, size_t length) {
    buffer_clear(out);
    for (size_t i = 0; i < length; i++) {
        int character = (unsigned char)spelling[i];
        if (character >= 0x80) {
            if (character >= 0xE0 || i + 1 == length) return false;
            character = (character & 0x1F) << 6 | (spelling[++i] & 0x3F);
        }
        if (character >= ALPHABET_END || byte_of[character] < 0) return false;
        buffer_append_byte(out, (char)byte_of[character]);
    }
    return true;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *spelling; /* borrowed from the document; NULL: no token has this id yet */
    token_kind kind;
} entry;

typedef struct {
    const char *path;
    int byte_of[ALPHABET_END];
    buffer left, right;
    json_t *added; /* content -> id, of the added tokens so far */
    entry *entries; /* (capacity), the index is the id */
    int64_t capacity;
    tokenizer *t;
} reader;

static bool is_absent(const json_t *value) { return !value || json_is_null(value); }

/* A text that holds a NUL counts as absent: C would see half of it. */
static const char *text_or(const json_t *object, const char *key, const char *otherwise) {
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value) ? text : otherwise;
}

static bool flag_or(const json_t *object, const char *key, bool otherwise) {
    const json_t *flag = json_object_get(object, key);
    return json_is_boolean(flag) ? json_is_true(flag) : otherwise;
}

static bool is_type(const json_t *object, const char *type) { return strcmp(text_or(object, "type", ""), type) == 0; }

static int check_model(const reader *r, const json_t *root, const json_t *model) {
    const json_t *normalizer = json_object_get(root, "normalizer"), *decoder = json_object_get(root, "decoder");
    const char *type, *absent[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"};
    TRY(json_get_word(&type, model, "type", r->path));
    if (strcmp(type, "BPE") != 0) FAIL(LAMP_UNSUPPORTED, "%s: expected a tokenizer model of type BPE, found %s", r->path, type);
    if (!is_absent(normalizer))
        FAIL(LAMP_UNSUPPORTED, "%s: expected no normalizer, found %s", r->path, text_or(normalizer, "type", "one without a type"));
    if (!is_absent(decoder) && !is_type(decoder, "ByteLevel"))
        FAIL(LAMP_UNSUPPORTED, "%s: expected the decoder ByteLevel, found %s", r->path, text_or(decoder, "type", "one without a type"));
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        const json_t *value = json_object_get(model, absent[i]);
        bool harmless = is_absent(value) || json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0);
        if (!harmless) FAIL(LAMP_UNSUPPORTED, "%s: expected a model without \"%s\", found one", r->path, absent[i]);
    }
    return LAMP_OK;
}

/* One step stands for itself, a Sequence for its steps. */
static int read_pattern(const reader *r, const json_t *root, const char **pattern) {
    static const char supported[] = "ByteLevel, or Sequence [Split by a Regex, Isolated; ByteLevel without use_regex], no add_prefix_space";
    json_t *steps = NULL, *split = NULL, *found = json_object_get(root, "pre_tokenizer");
    bool is_sequence = is_type(found, "Sequence");
    if (is_sequence) TRY(json_get_array(&steps, found, "pretokenizers", r->path));
    size_t n = is_sequence ? json_array_size(steps) : 1;
    const json_t *last = is_sequence ? json_array_get(steps, n - 1) : found;
    if (n == 2) split = json_array_get(steps, 0);

    for (size_t i = 0; i < n; i++) {
        const json_t *step = is_sequence ? json_array_get(steps, i) : found;
        if (!is_type(step, "ByteLevel") && !is_type(step, "Split"))
            FAIL(LAMP_UNSUPPORTED, "%s: expected the pre-tokenizer %s, found %s", r->path, supported, text_or(step, "type", "none"));
    }
    const char *regex = text_or(json_object_get(split, "pattern"), "Regex", NULL);
    bool byte_level = is_type(last, "ByteLevel") && !flag_or(last, "add_prefix_space", true);
    bool uses_regex = flag_or(last, "use_regex", true);
    bool alone = n == 1 && uses_regex;
    bool splits = is_type(split, "Split") && strcmp(text_or(split, "behavior", ""), "Isolated") == 0 && !flag_or(split, "invert", false);
    bool after_split = n == 2 && !uses_regex && splits && regex;
    if (!byte_level || (!alone && !after_split))
        FAIL(LAMP_UNSUPPORTED, "%s: expected the pre-tokenizer %s, found these steps with other settings", r->path, supported);
    *pattern = alone ? PRETOKENIZER_GPT2 : regex;
    return LAMP_OK;
}

/* Says whether the pattern compiles, now rather than when text comes. */
static int check_pattern(const reader *r, const char *pattern) {
    pretokenizer *p = NULL;
    int status = pretokenizer_new(&p, pattern);
    pretokenizer_free(p);
    return status < 0 ? error_add_context(status, "%s", r->path) : LAMP_OK;
}

static int collect_vocabulary(reader *r, json_t *vocabulary) {
    const char *spelling;
    json_t *value;
    json_object_foreach(vocabulary, spelling, value) {
        int64_t id;
        TRY(json_get_integer(&id, vocabulary, spelling, 0, r->capacity - 1, r->path));
        const char *other = r->entries[id].spelling;
        if (other)
            FAIL(LAMP_MALFORMED, "%s: \"vocab\": expected one token with id %d, found \"%.100s\" and \"%.100s\"", r->path, (int)id, other, spelling);
        r->entries[id].spelling = spelling;
    }
    return LAMP_OK;
}

/* An added token repeats a token of the vocabulary, changing its kind, or comes on top. */
static int collect_added_tokens(reader *r, const json_t *added, const json_t *vocabulary) {
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *item = json_array_get(added, i);
        const char *content;
        int64_t id;
        bool special;
        TRY(json_get_integer(&id, item, "id", 0, r->capacity - 1, r->path));
        TRY(json_get_word(&content, item, "content", r->path));
        TRY(json_get_bool(&special, item, "special", r->path));
        if (!*content) FAIL(LAMP_MALFORMED, "%s: \"added_tokens\": expected text for id %d, found none", r->path, (int)id);
        const json_t *before = json_object_get(r->added, content);
        if (before)
            FAIL(LAMP_MALFORMED, "%s: \"added_tokens\": expected one id for \"%.100s\", found %d and %d", r->path, content,
                 (int)json_integer_value(before), (int)id);
        if (json_object_set_new(r->added, content, json_integer(id)) < 0) FAIL(LAMP_NO_MEMORY, "%s: no memory for added tokens", r->path);
        entry *e = &r->entries[id];
        const json_t *same = json_object_get(vocabulary, content);
        bool taken = e->kind != TOKEN_TEXT || (e->spelling && strcmp(e->spelling, content) != 0);
        bool conflict = taken || (same && json_integer_value(same) != id);
        if (conflict)
            FAIL(LAMP_MALFORMED, "%s: \"added_tokens\": expected one token with id %d, found \"%.100s\" besides", r->path, (int)id, content);
        *e = (entry){content, special ? TOKEN_SPECIAL : TOKEN_ADDED};
    }
    return LAMP_OK;
}

static int add_tokens(reader *r, int64_t n) {
    for (int64_t id = 0; id < n; id++) {
        entry e = r->entries[id];
        if (!e.spelling) FAIL(LAMP_MALFORMED, "%s: expected the ids 0 to %d, found no token with id %d", r->path, (int)n - 1, (int)id);
        if (e.kind != TOKEN_TEXT) {
            TRY(tokenizer_add_token(r->t, e.spelling, strlen(e.spelling), e.kind));
            continue;
        }
        if (!read_spelling(&r->left, r->byte_of, e.spelling, strlen(e.spelling)) || r->left.length == 0)
            FAIL(LAMP_MALFORMED, "%s: \"vocab\": expected tokens spelt in the byte-level alphabet, found \"%.100s\"", r->path, e.spelling);
        TRY(r->left.status);
        TRY(tokenizer_add_token(r->t, r->left.bytes, r->left.length, TOKEN_TEXT));
    }
    return LAMP_OK;
}

static int find_merge_part(int32_t *id, reader *r, buffer *part, const char *spelling, size_t length, size_t rank) {
    bool is_spelt = read_spelling(part, r->byte_of, spelling, length);
    TRY(part->status);
    *id = is_spelt && part->length > 0 ? tokenizer_find(r->t, part->bytes, part->length) : -1;
    if (*id < 0)
        FAIL(LAMP_MALFORMED, "%s: \"merges\", entry %zu: expected two tokens, found \"%.*s\", which is none", r->path, rank, (int)length,
             spelling);
    return LAMP_OK;
}

static int add_merges(reader *r, const json_t *merges) {
    for (size_t rank = 0; rank < json_array_size(merges); rank++) {
        const json_t *item = json_array_get(merges, rank), *first = json_array_get(item, 0), *second = json_array_get(item, 1);
        const char *left = json_string_value(first), *right = json_string_value(second);
        size_t n_left = json_string_length(first), n_right = json_string_length(second);
        bool is_pair = json_array_size(item) == 2 && left && right;
        const char *joined = json_string_value(item), *space = joined ? strchr(joined, ' ') : NULL;
        if (space) {
            is_pair = true;
            left = joined, n_left = (size_t)(space - joined);
            right = space + 1, n_right = json_string_length(item) - n_left - 1;
        }
        if (!is_pair) FAIL(LAMP_MALFORMED, "%s: \"merges\", entry %zu: expected \"a b\" or [\"a\", \"b\"]", r->path, rank);
        int32_t left_id, right_id;
        TRY(find_merge_part(&left_id, r, &r->left, left, n_left, rank));
        TRY(find_merge_part(&right_id, r, &r->right, right, n_right, rank));
        int status = tokenizer_add_merge(r->t, left_id, right_id);
        if (status < 0) return error_add_context(status, "%s: \"merges\", entry %zu", r->path, rank);
    }
    return LAMP_OK;
}

static int build(reader *r, json_t *root) {
    json_t *model, *vocabulary, *merges, *added = NULL;
    const char *pattern = NULL;
    TRY(json_get_object(&model, root, "model", r->path));
    TRY(check_model(r, root, model));
    TRY(read_pattern(r, root, &pattern));
    TRY(check_pattern(r, pattern));
    TRY(json_get_object(&vocabulary, model, "vocab", r->path));
    TRY(json_get_array(&merges, model, "merges", r->path));
    if (!is_absent(json_object_get(root, "added_tokens"))) TRY(json_get_array(&added, root, "added_tokens", r->path));

    r->capacity = (int64_t)(json_object_size(vocabulary) + json_array_size(added));
    TRY(memory_new(&r->entries, (size_t)r->capacity, sizeof *r->entries, "a vocabulary"));
    TRY(collect_vocabulary(r, vocabulary));
    TRY(collect_added_tokens(r, added, vocabulary));
    int64_t n = 0;
    for (int64_t id = 0; id < r->capacity; id++) n += r->entries[id].spelling != NULL;

    TRY(tokenizer_new(&r->t, pattern));
    r->t->ignore_merges = flag_or(model, "ignore_merges", false);
    TRY(add_tokens(r, n));
    TRY(add_merges(r, merges));
    int status = tokenizer_complete(r->t);
    return status < 0 ? error_add_context(status, "%s", r->path) : LAMP_OK;
}

int tokenizer_json_read(tokenizer **t, const char *path) {
    json_t *root;
    reader r = {.path = path};
    alphabet((int[256]){0}, r.byte_of);
    TRY(json_read_file(&root, path));
    r.added = json_object();
    int status = build(&r, root);
    if (status < 0) tokenizer_free(r.t);
    else *t = r.t;
    memory_free(r.entries);
    buffer_release(&r.left);
    buffer_release(&r.right);
    json_decref(r.added);
    json_decref(root);
    return status;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------- */

static void put_added_tokens(json_writer *w, const tokenizer *t) {
    json_begin_array(w, "added_tokens");
    for (int id = 0; id < t->size; id++) {
        const token *added = &t->tokens[id];
        if (added->kind == TOKEN_TEXT) continue;
        json_begin_object(w, NULL);
        json_put_integer(w, "id", id);
        json_put_bytes(w, "content", t->text.bytes + added->start, added->length);
        json_put_bool(w, "single_word", false);
        json_put_bool(w, "lstrip", false);
        json_put_bool(w, "rstrip", false);
        json_put_bool(w, "normalized", false);
        json_put_bool(w, "special", added->kind == TOKEN_SPECIAL);
        json_end_object(w);
    }
    json_end_array(w);
}

/* The settings matter to a pre-tokenizer alone, and false is the plain one; decoders always have true. */
static void put_byte_level(json_writer *w, const char *key, bool setting) {
    json_begin_object(w, key);
    json_put_text(w, "type", "ByteLevel");
    json_put_bool(w, "add_prefix_space", setting);
    json_put_bool(w, "trim_offsets", setting);
    json_put_bool(w, "use_regex", setting);
    json_end_object(w);
}

static void put_pre_tokenizer(json_writer *w, const tokenizer *t) {
    json_begin_object(w, "pre_tokenizer");
    json_put_text(w, "type", "Sequence");
    json_begin_array(w, "pretokenizers");
    json_begin_object(w, NULL);
    json_put_text(w, "type", "Split");
    json_begin_object(w, "pattern");
    json_put_text(w, "Regex", t->pattern);
    json_end_object(w);
    json_put_text(w, "behavior", "Isolated");
    json_put_bool(w, "invert", false);
    json_end_object(w);
    put_byte_level(w, NULL, false);
    json_end_array(w);
    json_end_object(w);
}

static const char *spell(buffer *spelling, const int character_of[256], const tokenizer *t, int32_t id) {
    const token *spelt = &t->tokens[id];
    const char *bytes = t->text.bytes + spelt->start;
    spelling->length = 0;
    if (spelt->kind == TOKEN_TEXT) append_spelling(spelling, character_of, bytes, spelt->length);
    else buffer_append(spelling, bytes, spelt->length);
    return spelling->status < 0 ? "" : spelling->bytes;
}

static int put_model(json_writer *w, const tokenizer *t) {
    static const char *const unused[] = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"};
    int character_of[256], byte_of[ALPHABET_END];
    buffer spelling = {0};
    alphabet(character_of, byte_of);
    json_begin_object(w, "model");
    json_put_text(w, "type", "BPE");
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) json_put_null(w, unused[i]);
    json_put_bool(w, "fuse_unk", false);
    json_put_bool(w, "byte_fallback", false);
    json_put_bool(w, "ignore_merges", t->ignore_merges);
    json_begin_object(w, "vocab");
    for (int id = 0; id < t->size; id++) json_put_integer(w, spell(&spelling, character_of, t, id), id);
    json_end_object(w);
    json_begin_array(w, "merges");
    for (int rank = 0; rank < t->n_merges; rank++) {
        json_begin_array(w, NULL);
        json_put_text(w, NULL, spell(&spelling, character_of, t, t->merges[rank].left));
        json_put_text(w, NULL, spell(&spelling, character_of, t, t->merges[rank].right));
        json_end_array(w);
    }
    json_end_array(w);
    json_end_object(w);
    int status = spelling.status;
    buffer_release(&spelling);
    return status;
}

int tokenizer_json_write(const tokenizer *t, const char *path) {
    int status = LAMP_OK;
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "version", "1.0");
    json_put_null(&w, "truncation");
    json_put_null(&w, "padding");
    put_added_tokens(&w, t);
    json_put_null(&w, "normalizer");
    put_pre_tokenizer(&w, t);
    json_put_null(&w, "post_processor");
    put_byte_level(&w, "decoder", true);
    TRY_TO(done, put_model(&w, t));
    json_end_object(&w);
    TRY_TO(done, buffer_append_byte(&text, '\n'));
    TRY_TO(done, file_write_whole(path, text.bytes, text.length));
done:
    buffer_release(&text);
    return status;
}
