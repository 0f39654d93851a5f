#include "formats/gguf_tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "formats/gguf_patterns.h"
#include "text/byte_alphabet.h"

typedef struct {
    const gguf *file;
    tokenizer *t;
    const gguf_setting *tokens, *types; /* types may be NULL */
    bool begins;                        /* a token stands before a text, unless the file says otherwise */
    buffer left, right;
} reader;

static int32_t type_of(const reader *r, uint64_t id) {
    int32_t type = GGUF_TOKEN_NORMAL;
    if (r->types) memcpy(&type, r->types->bytes + id * sizeof type, sizeof type);
    return type;
}

static int check_types(reader *r) {
    r->types = NULL;
    if (!gguf_find(r->file, "tokenizer.ggml.token_type")) return LAMP_OK;
    TRY(gguf_get_array(&r->types, r->file, "tokenizer.ggml.token_type", GGUF_I32));
    if (r->types->n != r->tokens->n)
        FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.token_type: expected %" PRIu64 ", as many as there are tokens, found %" PRIu64, r->file->path,
             r->tokens->n, r->types->n);
    for (uint64_t id = 0; id < r->types->n; id++)
        if (type_of(r, id) < GGUF_TOKEN_NORMAL || type_of(r, id) > GGUF_TOKEN_BYTE)
            FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.token_type: expected 1 to 6, found %" PRId32 " for token %" PRIu64, r->file->path,
                 type_of(r, id), id);
    return LAMP_OK;
}

/* <0x0A> */
static bool is_byte_name(gguf_text spelling) {
    static const char digits[] = "0123456789ABCDEF";
    const char *s = spelling.bytes;
    return spelling.length == 6 && !memcmp(s, "<0x", 3) && memchr(digits, s[3], 16) && memchr(digits, s[4], 16) && s[5] == '>';
}

static bool is_text(const char *bytes, size_t length) {
    for (size_t at = 0, n; at < length; at += n)
        if ((n = character_length(bytes + at, length - at, NULL)) == 0) return false;
    return true;
}

/* What the vocabulary means by a spelling; borrowed from it, or from r. false: it is not spelt as its type has it. */
static bool read_spelling(piece *meant, reader *r, int32_t type, gguf_text spelling) {
    *meant = (piece){spelling.bytes, spelling.length};
    if (spelling.length == 0 || !is_text(spelling.bytes, spelling.length)) return false;
    if (type == GGUF_TOKEN_BYTE) return is_byte_name(spelling);
    if (type != GGUF_TOKEN_NORMAL || r->t->kind != VOCABULARY_OF_BYTES) return true;
    bool spelt = byte_alphabet_read(&r->left, spelling.bytes, spelling.length);
    *meant = (piece){r->left.bytes, r->left.length};
    return spelt;
}

static int add_token(reader *r, uint64_t id, gguf_text spelling) {
    static const token_kind kinds[] = {[GGUF_TOKEN_NORMAL] = TOKEN_TEXT, [GGUF_TOKEN_UNKNOWN] = TOKEN_SPECIAL, [GGUF_TOKEN_CONTROL] = TOKEN_SPECIAL,
                                       [GGUF_TOKEN_ADDED] = TOKEN_ADDED, [GGUF_TOKEN_UNUSED] = TOKEN_SPECIAL,  [GGUF_TOKEN_BYTE] = TOKEN_TEXT};
    const int32_t type = type_of(r, id);
    piece meant;
    if ((type == GGUF_TOKEN_UNKNOWN || type == GGUF_TOKEN_BYTE) && r->t->kind == VOCABULARY_OF_BYTES)
        FAIL(LAMP_UNSUPPORTED, "%s: tokenizer.ggml.tokens: expected none of type %d in a vocabulary of bytes, found token %" PRIu64, r->file->path,
             type, id);
    bool sound = read_spelling(&meant, r, type, spelling);
    TRY(r->left.status);
    if (!sound) FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.tokens: token %" PRIu64 " is not spelt as its type has it", r->file->path, id);
    int32_t other = tokenizer_find(r->t, meant.bytes, meant.length);
    if (other >= 0 && kinds[type] == TOKEN_TEXT)
        FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.tokens: expected each once, found tokens %d and %" PRIu64 " alike", r->file->path, other, id);
    if (type == GGUF_TOKEN_UNKNOWN && r->t->unknown < 0) r->t->unknown = (int32_t)id;
    return tokenizer_add_token(r->t, meant.bytes, meant.length, kinds[type], kinds[type] == TOKEN_TEXT ? 0 : TRAIT_OUTSIDE);
}

static int add_tokens(reader *r) {
    uint64_t n = r->tokens->n;
    const unsigned char *next = r->tokens->bytes;
    while (n > 0 && type_of(r, n - 1) == GGUF_TOKEN_UNUSED) n--;
    for (uint64_t id = 0; id < n; id++) TRY(add_token(r, id, gguf_next_text(&next)));
    return LAMP_OK;
}

/* ---- of bytes ------------------------------------------------------------------------------------------------------------------ */

static int find_part(int32_t *id, reader *r, buffer *part, const char *bytes, size_t length) {
    bool spelt = length > 0 && is_text(bytes, length) && byte_alphabet_read(part, bytes, length);
    TRY(part->status);
    *id = spelt ? tokenizer_find(r->t, part->bytes, part->length) : -1;
    return LAMP_OK;
}

static int add_merges(reader *r) {
    const gguf_setting *merges;
    TRY(gguf_get_array(&merges, r->file, "tokenizer.ggml.merges", GGUF_TEXT));
    const unsigned char *next = merges->bytes;
    for (uint64_t rank = 0; rank < merges->n; rank++) {
        gguf_text pair = gguf_next_text(&next);
        const char *space = memchr(pair.bytes, ' ', pair.length);
        size_t first = space ? (size_t)(space - pair.bytes) : 0;
        int32_t left = -1, right = -1;
        if (space) TRY(find_part(&left, r, &r->left, pair.bytes, first));
        if (space) TRY(find_part(&right, r, &r->right, space + 1, pair.length - first - 1));
        if (left < 0 || right < 0)
            FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.merges: expected two tokens and a space between them, found something else at place %" PRIu64,
                 r->file->path, rank);
        int status = tokenizer_add_merge(r->t, left, right);
        if (status < 0) return error_add_context(status, "%s: tokenizer.ggml.merges: place %" PRIu64, r->file->path, rank);
    }
    return LAMP_OK;
}

/* Ids of special tokens, whoever uses them, and what scores there are. */
static int check_others(const reader *r) {
    static const char *const ids[] = {"bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask"};
    const gguf_setting *scores;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char key[64];
        int64_t id;
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", ids[i]);
        if (gguf_find(r->file, key)) TRY(gguf_get_integer(&id, r->file, key, 0, (int64_t)r->tokens->n - 1));
    }
    if (!gguf_find(r->file, "tokenizer.ggml.scores")) return LAMP_OK;
    TRY(gguf_get_array(&scores, r->file, "tokenizer.ggml.scores", GGUF_F32));
    if (scores->n != r->tokens->n)
        FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.scores: expected %" PRIu64 ", as many as there are tokens, found %" PRIu64, r->file->path,
             r->tokens->n, scores->n);
    for (uint64_t id = 0; id < scores->n; id++) {
        float score;
        memcpy(&score, scores->bytes + id * sizeof score, sizeof score);
        if (score != score) FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.scores: expected numbers, found none for token %" PRIu64, r->file->path, id);
    }
    return LAMP_OK;
}

static int read_flag(bool *flag, const reader *r, const char *key, bool otherwise) {
    *flag = otherwise;
    return gguf_find(r->file, key) ? gguf_get_bool(flag, r->file, key) : LAMP_OK;
}

static int read_bytes(reader *r) {
    char name[GGUF_WORD_BYTES];
    bool composes;
    TRY(read_flag(&composes, r, GGUF_COMPOSES, false));
    if (composes) TRY(tokenizer_add_normalization(r->t, &(normalizer_step){.kind = NORMALIZE_FORM, .form = UNICODE_NFC}));
    TRY(gguf_get_word(name, r->file, "tokenizer.ggml.pre"));
    TRY(gguf_patterns_add(r->t, &r->begins, name, r->file->path));
    TRY(add_tokens(r));
    return add_merges(r);
}

/* ---- of characters --------------------------------------------------------------------------------------------------------------- */

/* A text is one piece: a space before it, if so wanted, and marks for spaces. */
static int add_marks(reader *r) {
    bool prefix;
    tokenizer *t = r->t;
    TRY(read_flag(&prefix, r, "tokenizer.ggml.add_space_prefix", true));
    if (prefix) TRY(tokenizer_add_normalization(t, &(normalizer_step){.kind = NORMALIZE_PREPEND, .text = SPACE_MARK}));
    TRY(tokenizer_add_normalization(t, &(normalizer_step){.kind = NORMALIZE_REPLACE, .text = " ", .with = SPACE_MARK}));
    TRY(tokenizer_keep_text(&t->showing.mark, t, SPACE_MARK));
    t->showing.reads_bytes = true, t->showing.stripped = prefix;
    t->byte_fallback = t->fuse_unknown = true;
    return LAMP_OK;
}

static int read_characters(reader *r) {
    const gguf_setting *scores;
    TRY(gguf_get_array(&scores, r->file, "tokenizer.ggml.scores", GGUF_F32));
    r->begins = true;
    TRY(add_marks(r));
    TRY(add_tokens(r));
    float *copy;
    TRY(memory_new(&copy, scores->n, sizeof *copy, "scores")); /* in the file they may be anywhere */
    if (scores->n > 0) memcpy(copy, scores->bytes, scores->n * sizeof *copy);
    int status = tokenizer_merge_by_scores(r->t, copy);
    memory_free(copy);
    return status;
}

/* ---- either -------------------------------------------------------------------------------------------------------------------- */

/* The token that stands before or behind a text, if one does. */
static int read_frame(token_list *list, const reader *r, const char *flag, bool otherwise, const char *key) {
    bool is_added;
    int64_t id;
    TRY(read_flag(&is_added, r, flag, otherwise));
    if (!is_added || !gguf_find(r->file, key)) return LAMP_OK;
    TRY(gguf_get_integer(&id, r->file, key, 0, r->t->size - 1));
    return token_list_append(list, (int32_t)id);
}

static const struct {
    const char *name;
    vocabulary_kind kind;
    int (*read)(reader *r);
} models[] = {{"gpt2", VOCABULARY_OF_BYTES, read_bytes}, {"llama", VOCABULARY_OF_CHARACTERS, read_characters}};

static int read_all(reader *r, int model) {
    TRY(gguf_get_array(&r->tokens, r->file, "tokenizer.ggml.tokens", GGUF_TEXT));
    TRY(check_types(r));
    TRY(check_others(r));
    TRY(tokenizer_new(&r->t, models[model].kind));
    TRY(models[model].read(r));
    TRY(read_frame(&r->t->begin, r, "tokenizer.ggml.add_bos_token", r->begins, "tokenizer.ggml.bos_token_id"));
    TRY(read_frame(&r->t->end, r, "tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id"));
    int status = tokenizer_complete(r->t);
    return status < 0 ? error_add_context(status, "%s: tokenizer.ggml.tokens", r->file->path) : LAMP_OK;
}

int gguf_read_tokenizer(tokenizer **t, const gguf *file) {
    char name[GGUF_WORD_BYTES];
    reader r = {.file = file};
    int model = 0, n_models = sizeof models / sizeof *models;
    *t = NULL;
    if (!gguf_find(file, "tokenizer.ggml.model")) return LAMP_OK;
    TRY(gguf_get_word(name, file, "tokenizer.ggml.model"));
    if (!strcmp(name, "none") || !strcmp(name, "no_vocab")) return LAMP_OK;
    while (model < n_models && strcmp(models[model].name, name)) model++;
    if (model == n_models) FAIL(LAMP_UNSUPPORTED, "%s: tokenizer.ggml.model: expected gpt2, llama or none, found %s", file->path, name);
    int status = read_all(&r, model);
    buffer_release(&r.left), buffer_release(&r.right);
    if (status < 0) tokenizer_free(r.t);
    else *t = r.t;
    return status;
}

int gguf_read_tokenizer_of(tokenizer **t, const char *path) {
    gguf *file;
    TRY(gguf_open(&file, path));
    int status = gguf_read_tokenizer(t, file);
    gguf_close(file);
    return status;
}
