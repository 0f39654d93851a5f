#include "formats/gguf_tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_parts.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_ADDED, TYPE_UNUSED, TYPE_BYTE };

/* ---- how text is cut ----------------------------------------------------------------------------------------------------------- */

enum { MOST_PATTERNS = 3 };

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SIGNS_AND_SPACE "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CAPITALS "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"

enum { MOST_NAMES = 3 };

/* Of several names of the same patterns the first is what we write. */
static const struct {
    const char *name[MOST_NAMES];
    const char *pattern[MOST_PATTERNS]; /* each cuts the pieces of the one before */
    bool ignores_merges;
} cuts[] = {
    {{"gpt-2", "olmo"}, {PRETOKENIZER_GPT2}, false},
    {{"qwen2", "deepseek-r1-qwen"}, {PRETOKENIZER_QWEN2}, false},
    {{"llama-bpe", "llama3", "llama-v3"}, {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" SIGNS_AND_SPACE}, true},
    {{"gpt-4o", "llama4"},
     {"[^\\r\\n\\p{L}\\p{N}]?" CAPITALS "*" SMALL "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" CAPITALS "+" SMALL "*" CONTRACTIONS
      "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     false},
    {{"deepseek-v3"},
     {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     false},
};

enum { N_CUTS = sizeof cuts / sizeof *cuts };

static bool is_called(int cut, const char *name) {
    for (int i = 0; i < MOST_NAMES && cuts[cut].name[i]; i++)
        if (!strcmp(cuts[cut].name[i], name)) return true;
    return false;
}

static void list_cuts(char known[160]) {
    *known = 0;
    for (int i = 0; i < N_CUTS; i++) snprintf(known + strlen(known), 160 - strlen(known), "%s%s", i ? ", " : "", cuts[i].name[0]);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const gguf *file;
    tokenizer *t;
    const gguf_setting *tokens, *types; /* types may be NULL */
    buffer left, right;
} reader;

static int read_cut(reader *r) {
    char name[GGUF_WORD_BYTES], known[160];
    TRY(gguf_get_word(name, r->file, "tokenizer.ggml.pre"));
    for (int i = 0; i < N_CUTS; i++) {
        if (!is_called(i, name)) continue;
        for (int p = 0; p < MOST_PATTERNS && cuts[i].pattern[p]; p++)
            TRY(tokenizer_add_step(r->t, &(pretokenizer_step){.kind = STEP_SPLIT, .text = cuts[i].pattern[p], .is_regex = true}));
        r->t->ignore_merges = cuts[i].ignores_merges;
        return LAMP_OK;
    }
    list_cuts(known);
    FAIL(LAMP_UNSUPPORTED, "%s: tokenizer.ggml.pre: expected one of %s, found %s", r->file->path, known, name);
}

static int32_t type_of(const reader *r, uint64_t id) {
    int32_t type = TYPE_NORMAL;
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
        if (type_of(r, id) < TYPE_NORMAL || type_of(r, id) > TYPE_BYTE)
            FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.token_type: expected 1 to 6, found %" PRId32 " for token %" PRIu64, r->file->path,
                 type_of(r, id), id);
    return LAMP_OK;
}

static bool is_text(const char *bytes, size_t length) {
    for (size_t at = 0, n; at < length; at += n)
        if ((n = character_length(bytes + at, length - at, NULL)) == 0) return false;
    return true;
}

static int add_token(reader *r, uint64_t id, gguf_text spelling) {
    static const token_kind kinds[] = {
        [TYPE_NORMAL] = TOKEN_TEXT, [TYPE_CONTROL] = TOKEN_SPECIAL, [TYPE_ADDED] = TOKEN_ADDED, [TYPE_UNUSED] = TOKEN_SPECIAL};
    const int32_t type = type_of(r, id);
    if (type == TYPE_UNKNOWN || type == TYPE_BYTE)
        FAIL(LAMP_UNSUPPORTED, "%s: tokenizer.ggml.tokens: expected none of type %d in a vocabulary of bytes, found token %" PRIu64, r->file->path,
             type, id);
    bool sound = spelling.length > 0 && is_text(spelling.bytes, spelling.length);
    piece meant = {spelling.bytes, spelling.length};
    if (sound && kinds[type] == TOKEN_TEXT) {
        sound = byte_alphabet_read(&r->left, spelling.bytes, spelling.length);
        TRY(r->left.status);
        meant = (piece){r->left.bytes, r->left.length};
    }
    if (!sound) FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.tokens: token %" PRIu64 " is not spelt as its type has it", r->file->path, id);
    int32_t other = tokenizer_find(r->t, meant.bytes, meant.length);
    if (other >= 0 && kinds[type] == TOKEN_TEXT)
        FAIL(LAMP_MALFORMED, "%s: tokenizer.ggml.tokens: expected each once, found tokens %d and %" PRIu64 " alike", r->file->path, other, id);
    return tokenizer_add_token(r->t, meant.bytes, meant.length, kinds[type], kinds[type] == TOKEN_TEXT ? 0 : TRAIT_OUTSIDE);
}

static int add_tokens(reader *r) {
    uint64_t n = r->tokens->n;
    const unsigned char *next = r->tokens->bytes;
    while (n > 0 && type_of(r, n - 1) == TYPE_UNUSED) n--;
    for (uint64_t id = 0; id < n; id++) TRY(add_token(r, id, gguf_next_text(&next)));
    return LAMP_OK;
}

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

static int read_begin(reader *r) {
    bool is_added = false;
    int64_t id;
    if (gguf_find(r->file, "tokenizer.ggml.add_bos_token")) TRY(gguf_get_bool(&is_added, r->file, "tokenizer.ggml.add_bos_token"));
    if (!is_added || !gguf_find(r->file, "tokenizer.ggml.bos_token_id")) return LAMP_OK;
    TRY(gguf_get_integer(&id, r->file, "tokenizer.ggml.bos_token_id", 0, r->t->size - 1));
    return token_list_append(&r->t->begin, (int32_t)id);
}

static int read_all(reader *r) {
    TRY(gguf_get_array(&r->tokens, r->file, "tokenizer.ggml.tokens", GGUF_TEXT));
    TRY(check_types(r));
    TRY(check_others(r));
    TRY(tokenizer_new(&r->t, VOCABULARY_OF_BYTES));
    TRY(read_cut(r));
    TRY(add_tokens(r));
    TRY(add_merges(r));
    TRY(read_begin(r));
    int status = tokenizer_complete(r->t);
    return status < 0 ? error_add_context(status, "%s: tokenizer.ggml.tokens", r->file->path) : LAMP_OK;
}

int gguf_read_tokenizer(tokenizer **t, const gguf *file) {
    char model[GGUF_WORD_BYTES];
    reader r = {.file = file};
    *t = NULL;
    if (!gguf_find(file, "tokenizer.ggml.model")) return LAMP_OK;
    TRY(gguf_get_word(model, file, "tokenizer.ggml.model"));
    if (!strcmp(model, "none") || !strcmp(model, "no_vocab")) return LAMP_OK;
    if (strcmp(model, "gpt2")) FAIL(LAMP_UNSUPPORTED, "%s: tokenizer.ggml.model: expected gpt2 or none, found %s", file->path, model);
    int status = read_all(&r);
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

/* ---- writing ------------------------------------------------------------------------------------------------------------------- */

static bool cuts_so(const tokenizer *t, int cut) {
    size_t n = 0;
    for (; n < MOST_PATTERNS && cuts[cut].pattern[n]; n++) {
        const pretokenizer_step *s = &t->steps[n];
        if (n >= t->n_steps || s->kind != STEP_SPLIT || !s->is_regex || s->behavior != SPLIT_ISOLATED || s->inverted) return false;
        if (strcmp(s->text, cuts[cut].pattern[n])) return false;
    }
    return n == t->n_steps;
}

/* What GGUF has no place for. It has none for normal form C either, which the vocabularies of bytes that it knows by name come with: who reads
 * such a file composes characters, or not. */
static int check_writable(const tokenizer *t) {
    bool is_normal =
        t->n_normalizations == 0 || (t->n_normalizations == 1 && t->normalizations->kind == NORMALIZE_FORM && t->normalizations->form == UNICODE_NFC);
    if (!is_normal) FAIL(LAMP_UNSUPPORTED, "the tokenizer: expected no normalizer but NFC, found one, for which GGUF has no place");
    if (t->begin.length > 1 || t->end.length > 0)
        FAIL(LAMP_UNSUPPORTED,
             "the tokenizer: expected at most one token before a text and none behind it, found %zu and %zu, for which GGUF has no place",
             t->begin.length, t->end.length);
    for (int32_t id = 0; id < t->size; id++)
        if (t->tokens[id].traits & (TRAIT_LEFT | TRAIT_RIGHT | TRAIT_WORD))
            FAIL(LAMP_UNSUPPORTED, "the tokenizer: token %d takes white space along, or stands alone, for which GGUF has no place", id);
    return LAMP_OK;
}

static int find_cut(const char **name, const tokenizer *t) {
    char known[160];
    TRY(check_writable(t));
    for (int i = 0; i < N_CUTS && t->kind == VOCABULARY_OF_BYTES; i++)
        if (cuts_so(t, i)) return *name = cuts[i].name[0], LAMP_OK;
    list_cuts(known);
    FAIL(LAMP_UNSUPPORTED, "the tokenizer: expected byte-level pairs with the patterns of %s, found others, for which GGUF has no name that we know",
         known);
}

/* As files spell it. */
static gguf_text spell(buffer *spelling, const tokenizer *t, int32_t id) {
    const token *spelt = &t->tokens[id];
    gguf_text text = {t->text.bytes + spelt->start, spelt->length};
    if (spelt->kind != TOKEN_TEXT) return text;
    spelling->length = 0;
    byte_alphabet_spell(spelling, text.bytes, text.length);
    return (gguf_text){spelling->status < 0 ? "" : spelling->bytes, spelling->length};
}

static void put_tokens(gguf_writer *w, buffer *spelling, const tokenizer *t, int64_t n) {
    static const int32_t types[] = {[TOKEN_TEXT] = TYPE_NORMAL, [TOKEN_ADDED] = TYPE_ADDED, [TOKEN_SPECIAL] = TYPE_CONTROL}, unused = TYPE_UNUSED;
    gguf_begin_array(w, "tokenizer.ggml.tokens", GGUF_TEXT, (uint64_t)n);
    for (int32_t id = 0; id < n; id++) {
        char pad[32];
        gguf_text text = id < t->size ? spell(spelling, t, id) : (gguf_text){pad, (size_t)snprintf(pad, sizeof pad, "[PAD%d]", id)};
        gguf_put_item_text(w, text.bytes, text.length);
    }
    gguf_begin_array(w, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)n);
    for (int32_t id = 0; id < n; id++) gguf_put_item(w, id < t->size ? &types[t->tokens[id].kind] : &unused);
}

static void put_merges(gguf_writer *w, buffer *spelling, const tokenizer *t) {
    buffer pair = {0};
    gguf_begin_array(w, "tokenizer.ggml.merges", GGUF_TEXT, (uint64_t)t->n_merges);
    for (int rank = 0; rank < t->n_merges; rank++) {
        buffer_clear(&pair);
        gguf_text part = spell(spelling, t, t->merges[rank].left);
        buffer_append(&pair, part.bytes, part.length);
        buffer_append_byte(&pair, ' ');
        part = spell(spelling, t, t->merges[rank].right);
        buffer_append(&pair, part.bytes, part.length);
        gguf_put_item_text(w, pair.bytes, pair.length);
    }
    if (pair.status < 0) spelling->status = pair.status;
    buffer_release(&pair);
}

int gguf_write_tokenizer(gguf_writer *w, const tokenizer *t, int64_t vocabulary_size, int64_t end_of_text) {
    const char *model = t ? "gpt2" : "none", *cut = NULL;
    buffer spelling = {0};
    gguf_put_text(w, "tokenizer.ggml.model", model, strlen(model));
    if (end_of_text < 0 && t) end_of_text = tokenizer_end_of_text(t);
    if (end_of_text >= 0) gguf_put_integer(w, "tokenizer.ggml.eos_token_id", (uint32_t)end_of_text);
    if (!t) return LAMP_OK;
    TRY(find_cut(&cut, t));
    gguf_put_text(w, "tokenizer.ggml.pre", cut, strlen(cut));
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", t->begin.length > 0);
    if (t->begin.length > 0) gguf_put_integer(w, "tokenizer.ggml.bos_token_id", (uint32_t)t->begin.id[0]);
    put_tokens(w, &spelling, t, vocabulary_size > t->size ? vocabulary_size : t->size);
    put_merges(w, &spelling, t);
    int status = spelling.status;
    buffer_release(&spelling);
    return status;
}
