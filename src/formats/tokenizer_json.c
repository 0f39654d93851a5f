#include "formats/tokenizer_json.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "formats/tokenizer_sections.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_parts.h"

typedef struct {
    const char *spelling; /* borrowed from the document; NULL: no token has this id yet */
    token_kind kind;
    unsigned traits;
} entry;

typedef struct {
    const char *path;
    buffer left, right;
    json_t *added;  /* content -> id, of the added tokens so far */
    entry *entries; /* (capacity), the index is the id */
    int64_t capacity;
    tokenizer *t;
} reader;

/* Settings of a model that are absent, false or empty. */
static int check_unused(const reader *r, const json_t *model) {
    static const char *const unused[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) {
        const json_t *value = json_object_get(model, unused[i]);
        bool harmless = section_lacks(value) || json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0);
        if (!harmless) FAIL(LAMP_UNSUPPORTED, "%s: expected a model without \"%s\", found one", r->path, unused[i]);
    }
    return LAMP_OK;
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

static int read_traits(unsigned *traits, const json_t *item, const char *path) {
    static const struct {
        const char *key;
        unsigned trait;
    } flags[] = {{"lstrip", TRAIT_LEFT}, {"rstrip", TRAIT_RIGHT}, {"single_word", TRAIT_WORD}, {"normalized", TRAIT_NORMALIZED}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool has;
        TRY(section_flag(&has, item, flags[i].key, false, path));
        *traits |= has ? flags[i].trait : 0;
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
        *e = (entry){content, special ? TOKEN_SPECIAL : TOKEN_ADDED, same ? 0 : TRAIT_OUTSIDE};
        TRY(read_traits(&e->traits, item, r->path));
    }
    return LAMP_OK;
}

/* What the vocabulary means by a spelling: bytes of the alphabet, or itself. Borrowed from it, or from part. */
static bool read_spelling(piece *meant, const reader *r, buffer *part, const char *spelling, size_t length) {
    bool is_spelt = true;
    *meant = (piece){spelling, length};
    if (r->t->kind == VOCABULARY_OF_BYTES) {
        is_spelt = byte_alphabet_read(part, spelling, length);
        *meant = (piece){part->bytes, part->length};
    }
    return is_spelt && meant->length > 0;
}

static int add_tokens(reader *r, int64_t n) {
    for (int64_t id = 0; id < n; id++) {
        entry e = r->entries[id];
        piece meant = {e.spelling, e.spelling ? strlen(e.spelling) : 0};
        if (!e.spelling) FAIL(LAMP_MALFORMED, "%s: expected the ids 0 to %d, found no token with id %d", r->path, (int)n - 1, (int)id);
        if (e.kind == TOKEN_TEXT && !read_spelling(&meant, r, &r->left, e.spelling, meant.length))
            FAIL(LAMP_MALFORMED, "%s: \"vocab\": expected tokens %s, found \"%.100s\"", r->path,
                 r->t->kind == VOCABULARY_OF_BYTES ? "spelt in the byte-level alphabet" : "with text", e.spelling);
        TRY(r->left.status);
        TRY(tokenizer_add_token(r->t, meant.bytes, meant.length, e.kind, e.traits));
    }
    return LAMP_OK;
}

static int find_merge_part(int32_t *id, reader *r, buffer *part, const char *spelling, size_t length, size_t rank) {
    piece meant;
    bool is_spelt = read_spelling(&meant, r, part, spelling, length);
    TRY(part->status);
    *id = is_spelt ? tokenizer_find(r->t, meant.bytes, meant.length) : -1;
    if (*id < 0)
        FAIL(LAMP_MALFORMED, "%s: \"merges\", entry %zu: expected two tokens, found \"%.*s\", which is none", r->path, rank, (int)length, spelling);
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

static int read_kind(vocabulary_kind *kind, const reader *r, const json_t *model) {
    const char *type;
    TRY(json_get_word(&type, model, "type", r->path));
    if (strcmp(type, "BPE") && strcmp(type, "WordLevel"))
        FAIL(LAMP_UNSUPPORTED, "%s: expected a tokenizer model of type BPE or WordLevel, found %s", r->path, type);
    if (*type == 'W') *kind = VOCABULARY_OF_WORDS;
    return LAMP_OK;
}

static int read_tokens(reader *r, json_t *root, json_t *model) {
    json_t *vocabulary, *added = NULL;
    TRY(json_get_object(&vocabulary, model, "vocab", r->path));
    if (!section_lacks(json_object_get(root, "added_tokens"))) TRY(json_get_array(&added, root, "added_tokens", r->path));
    r->capacity = (int64_t)(json_object_size(vocabulary) + json_array_size(added));
    TRY(memory_new(&r->entries, (size_t)r->capacity, sizeof *r->entries, "a vocabulary"));
    TRY(collect_vocabulary(r, vocabulary));
    TRY(collect_added_tokens(r, added, vocabulary));
    int64_t n = 0;
    for (int64_t id = 0; id < r->capacity; id++) n += r->entries[id].spelling != NULL;
    return add_tokens(r, n);
}

static int read_unknown(reader *r, const json_t *model) {
    const char *unknown;
    if (r->t->kind != VOCABULARY_OF_WORDS && section_lacks(json_object_get(model, "unk_token"))) return LAMP_OK;
    TRY(json_get_word(&unknown, model, "unk_token", r->path));
    r->t->unknown = tokenizer_find(r->t, unknown, strlen(unknown));
    if (r->t->unknown < 0) FAIL(LAMP_UNSUPPORTED, "%s: \"unk_token\": expected a token, found \"%.100s\", which is none", r->path, unknown);
    return LAMP_OK;
}

static int read_merges(reader *r, const json_t *model) {
    json_t *merges;
    TRY(check_unused(r, model));
    TRY(section_flag(&r->t->ignore_merges, model, "ignore_merges", false, r->path));
    TRY(section_flag(&r->t->byte_fallback, model, "byte_fallback", false, r->path));
    TRY(section_flag(&r->t->fuse_unknown, model, "fuse_unk", false, r->path));
    TRY(json_get_array(&merges, model, "merges", r->path));
    return add_merges(r, merges);
}

static int build(reader *r, json_t *root) {
    json_t *model;
    vocabulary_kind kind = VOCABULARY_OF_CHARACTERS;
    TRY(json_get_object(&model, root, "model", r->path));
    TRY(read_kind(&kind, r, model));
    TRY(tokenizer_new(&r->t, kind));
    TRY(tokenizer_read_pretokenizer(r->t, root, r->path));
    TRY(tokenizer_read_normalizer(r->t, root, r->path));
    TRY(tokenizer_read_decoder(r->t, root, r->path));
    TRY(read_tokens(r, root, model));
    TRY(tokenizer_read_template(r->t, root, r->path));
    if (r->t->kind != VOCABULARY_OF_BYTES) TRY(read_unknown(r, model));
    if (r->t->kind != VOCABULARY_OF_WORDS) TRY(read_merges(r, model));
    int status = tokenizer_complete(r->t);
    return status < 0 ? error_add_context(status, "%s", r->path) : LAMP_OK;
}

int tokenizer_json_read(tokenizer **t, const char *path) {
    json_t *root;
    buffer source = {0};
    reader r = {.path = path};
    int status = section_read_source(&root, &source, path);
    if (status < 0) goto done;
    r.added = json_object();
    status = build(&r, root);
    if (status >= 0) {
        r.t->source = source, source = (buffer){0};
        *t = r.t, r.t = NULL;
    }
    tokenizer_free(r.t);
    memory_free(r.entries);
    buffer_release(&r.left);
    buffer_release(&r.right);
    json_decref(r.added);
    json_decref(root);
done:
    buffer_release(&source);
    return status;
}
