#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "text/tokenizer_parts.h"

const char SPACE_MARK[] = "\xE2\x96\x81";
const char END_OF_TEXT[] = "<|endoftext|>";

int token_list_append(token_list *list, int32_t id) {
    TRY(memory_reserve(&list->id, &list->capacity, list->length + 1, sizeof *list->id, "token ids"));
    list->id[list->length++] = id;
    return LAMP_OK;
}

void token_list_release(token_list *list) {
    memory_free(list->id);
    *list = (token_list){0};
}

int tokenizer_new(tokenizer **t, vocabulary_kind kind) {
    TRY(memory_new(t, 1, sizeof **t, "a tokenizer"));
    (*t)->kind = kind, (*t)->end_of_text = (*t)->unknown = -1;
    if (kind == VOCABULARY_OF_WORDS) (*t)->showing = (token_showing){.between = " "};
    return LAMP_OK;
}

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    buffer_release(&t->config_source);
    buffer_release(&t->source);
    token_list_release(&t->end);
    token_list_release(&t->begin);
    added_tokens_release(&t->added_normalized);
    added_tokens_release(&t->added);
    index_map_release(&t->merge_of_pair);
    index_map_release(&t->id_of_hash);
    memory_free(t->merges);
    memory_free(t->tokens);
    buffer_release(&t->text);
    memory_free(t->steps);
    memory_free(t->normalizations);
    for (size_t i = 0; i < t->n_texts; i++) memory_free(t->texts[i]);
    memory_free(t->texts);
    memory_free(t);
}

int tokenizer_keep_text(const char **copy, tokenizer *t, const char *text) {
    static const char purpose[] = "a tokenizer's settings";
    *copy = NULL;
    if (!text) return LAMP_OK;
    TRY(memory_reserve(&t->texts, &t->text_capacity, t->n_texts + 1, sizeof *t->texts, purpose));
    TRY(memory_copy_text(&t->texts[t->n_texts], text, purpose));
    *copy = t->texts[t->n_texts++];
    return LAMP_OK;
}

int tokenizer_add_normalization(tokenizer *t, const normalizer_step *step) {
    normalizer_step copy = *step;
    TRY(memory_reserve(&t->normalizations, &t->normalization_capacity, t->n_normalizations + 1, sizeof copy, "the steps of a normalizer"));
    TRY(tokenizer_keep_text(&copy.text, t, step->text));
    TRY(tokenizer_keep_text(&copy.with, t, step->with));
    t->normalizations[t->n_normalizations++] = copy;
    return LAMP_OK;
}

int tokenizer_add_step(tokenizer *t, const pretokenizer_step *step) {
    pretokenizer_step copy = *step;
    TRY(memory_reserve(&t->steps, &t->step_capacity, t->n_steps + 1, sizeof copy, "the steps of a pre-tokenizer"));
    TRY(tokenizer_keep_text(&copy.text, t, step->text));
    TRY(tokenizer_keep_text(&copy.with, t, step->with));
    t->steps[t->n_steps++] = copy;
    return LAMP_OK;
}

static const char *spelling_of(const tokenizer *t, int32_t id) { return t->text.bytes + t->tokens[id].start; }

int32_t tokenizer_find(const tokenizer *t, const char *bytes, size_t length) {
    int64_t id = index_map_find(&t->id_of_hash, hash_bytes(bytes, length).low);
    bool same = id >= 0 && t->tokens[id].length == length && memcmp(spelling_of(t, (int32_t)id), bytes, length) == 0;
    return same ? (int32_t)id : -1;
}

int32_t tokenizer_find_name(const tokenizer *t, const char *name) {
    size_t length = strlen(name);
    for (int32_t id = 0; id < t->size; id++)
        if (t->tokens[id].kind != TOKEN_TEXT && t->tokens[id].length == length && !memcmp(spelling_of(t, id), name, length)) return id;
    return tokenizer_find(t, name, length);
}

int tokenizer_add_token(tokenizer *t, const char *bytes, size_t length, token_kind kind, unsigned traits) {
    if (t->size == INT32_MAX) FAIL(LAMP_UNSUPPORTED, "a vocabulary has at most %d tokens", INT32_MAX);
    if (t->text.length + length > UINT32_MAX) FAIL(LAMP_UNSUPPORTED, "the tokens of a vocabulary have at most %u bytes", UINT32_MAX);
    TRY(memory_reserve(&t->tokens, &t->token_capacity, (size_t)t->size + 1, sizeof *t->tokens, "a vocabulary"));
    t->tokens[t->size] = (token){(uint32_t)t->text.length, (uint32_t)length, (uint32_t)t->text.length, (uint32_t)length, kind, traits};
    TRY(buffer_append(&t->text, bytes, length));
    /* An added token may be spelt like a token of the vocabulary; merges mean the latter. */
    bool is_known = kind != TOKEN_TEXT && (traits & TRAIT_OUTSIDE || tokenizer_find(t, bytes, length) >= 0);
    if (!is_known) TRY(index_map_set(&t->id_of_hash, hash_bytes(bytes, length).low, t->size));
    t->size++;
    return LAMP_OK;
}

int tokenizer_set_merge(tokenizer *t, merge m, int64_t rank) {
    TRY(memory_reserve(&t->merges, &t->merge_capacity, (size_t)t->n_merges + 1, sizeof *t->merges, "merges"));
    TRY(index_map_set(&t->merge_of_pair, pair_key(m.left, m.right), rank << 32 | m.result));
    t->merges[t->n_merges++] = m;
    return LAMP_OK;
}

static int find_joined(int32_t *id, const tokenizer *t, int32_t left, int32_t right) {
    buffer joined = {0};
    buffer_append(&joined, spelling_of(t, left), t->tokens[left].length);
    int status = buffer_append(&joined, spelling_of(t, right), t->tokens[right].length);
    *id = status < 0 ? -1 : tokenizer_find(t, joined.bytes, joined.length);
    buffer_release(&joined);
    return status;
}

int tokenizer_add_merge(tokenizer *t, int32_t left, int32_t right) {
    int32_t result;
    TRY(find_joined(&result, t, left, right));
    if (result < 0) FAIL(LAMP_MALFORMED, "expected a token that joins tokens %d and %d, found none", left, right);
    if (index_map_find(&t->merge_of_pair, pair_key(left, right)) >= 0)
        FAIL(LAMP_MALFORMED, "expected tokens %d and %d to be merged once, found them twice", left, right);
    return tokenizer_set_merge(t, (merge){left, right, result}, t->n_merges);
}

/* ---- what becomes of it once all is there -------------------------------------------------------------------------------------------- */

/* A vocabulary of characters spells bytes by name, and need not have them. */
static int find_bytes(tokenizer *t) {
    bool is_spelt = t->kind == VOCABULARY_OF_CHARACTERS, is_needed = t->unknown < 0;
    if (is_spelt && is_needed && !t->byte_fallback)
        FAIL(LAMP_UNSUPPORTED, "expected a vocabulary with a token for unknown characters, or for each byte, found neither");
    for (int byte = 0; byte < 256; byte++) {
        char name[8] = {(char)byte};
        if (is_spelt) snprintf(name, sizeof name, "<0x%02X>", byte);
        t->byte_id[byte] = tokenizer_find(t, name, is_spelt ? strlen(name) : 1);
        if (t->byte_id[byte] < 0 && is_needed)
            FAIL(LAMP_UNSUPPORTED, "expected a vocabulary with a token for each byte, found none for byte 0x%02X", byte);
    }
    return LAMP_OK;
}

static int find_added(tokenizer *t) {
    normalizer *n = NULL;
    TRY(added_tokens_init(&t->added, t, false, NULL));
    TRY(normalizer_new(&n, t->normalizations, t->n_normalizations));
    int status = added_tokens_init(&t->added_normalized, t, true, n);
    normalizer_free(n);
    return status;
}

static void find_end_of_text(tokenizer *t) {
    static const char *const names[] = {"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"};
    for (size_t i = 0; i < sizeof names / sizeof *names && t->end_of_text < 0; i++) {
        int32_t id = tokenizer_find_name(t, names[i]);
        if (id >= 0 && t->tokens[id].kind == TOKEN_SPECIAL) t->end_of_text = id;
    }
}

static bool joins_words(const tokenizer *t, const merge *m) {
    enum { MARK = sizeof SPACE_MARK - 1 };
    const token *left = &t->tokens[m->left], *right = &t->tokens[m->right];
    bool begins_so = right->length >= MARK && !memcmp(spelling_of(t, m->right), SPACE_MARK, MARK);
    bool ends_so = left->length >= MARK && !memcmp(spelling_of(t, m->left) + left->length - MARK, SPACE_MARK, MARK);
    return begins_so && !ends_so;
}

/* The mark must be a token, so that unknown characters are not one token across it. */
static bool joins_no_words(const tokenizer *t) {
    if (t->kind != VOCABULARY_OF_CHARACTERS || t->ignore_merges || tokenizer_find(t, SPACE_MARK, sizeof SPACE_MARK - 1) < 0) return false;
    for (int i = 0; i < t->n_merges; i++)
        if (joins_words(t, &t->merges[i])) return false;
    return true;
}

int tokenizer_complete(tokenizer *t) {
    if (t->kind == VOCABULARY_OF_WORDS && t->unknown < 0) FAIL(LAMP_UNSUPPORTED, "expected a vocabulary with a token for unknown words, found none");
    if (t->kind != VOCABULARY_OF_WORDS) TRY(find_bytes(t));
    t->joins_no_words = joins_no_words(t);
    find_end_of_text(t);
    TRY(tokenizer_show_tokens(t));
    return find_added(t); /* last: they are borrowed from the text of all tokens */
}

static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static bool same_step(const pretokenizer_step *a, const pretokenizer_step *b) {
    return a->kind == b->kind && a->is_regex == b->is_regex && a->behavior == b->behavior && a->inverted == b->inverted &&
           a->first_only == b->first_only && same_text(a->text, b->text) && same_text(a->with, b->with);
}

static bool same_normalization(const normalizer_step *a, const normalizer_step *b) {
    return a->kind == b->kind && a->form == b->form && a->is_regex == b->is_regex && a->at_start == b->at_start && a->at_end == b->at_end &&
           same_text(a->text, b->text) && same_text(a->with, b->with);
}

static bool same_token(const tokenizer *a, const tokenizer *b, int id) {
    const token *x = &a->tokens[id], *y = &b->tokens[id];
    bool same_traits = (x->traits | TRAIT_OUTSIDE) == (y->traits | TRAIT_OUTSIDE);
    return x->kind == y->kind && same_traits && x->length == y->length && !memcmp(a->text.bytes + x->start, b->text.bytes + y->start, x->length);
}

bool tokenizer_equals(const tokenizer *a, const tokenizer *b) {
    bool same = a->kind == b->kind && a->n_normalizations == b->n_normalizations && a->n_steps == b->n_steps && a->size == b->size &&
                a->n_merges == b->n_merges && a->unknown == b->unknown && a->ignore_merges == b->ignore_merges &&
                a->byte_fallback == b->byte_fallback && a->fuse_unknown == b->fuse_unknown;
    for (size_t i = 0; same && i < a->n_normalizations; i++) same = same_normalization(&a->normalizations[i], &b->normalizations[i]);
    for (size_t i = 0; same && i < a->n_steps; i++) same = same_step(&a->steps[i], &b->steps[i]);
    for (int i = 0; same && i < a->size; i++) same = same_token(a, b, i);
    for (int i = 0; same && i < a->n_merges; i++) same = a->merges[i].left == b->merges[i].left && a->merges[i].right == b->merges[i].right;
    return same;
}

int tokenizer_vocabulary_size(const tokenizer *t) { return t->size; }

int32_t tokenizer_end_of_text(const tokenizer *t) { return t->end_of_text; }

int32_t tokenizer_unknown(const tokenizer *t) { return t->unknown; }

bool tokenizer_is_special(const tokenizer *t, int32_t id) { return t->tokens[id].kind == TOKEN_SPECIAL; }

const char *tokenizer_token_bytes(const tokenizer *t, int32_t id, size_t *length) {
    *length = tokenizer_is_special(t, id) ? 0 : t->tokens[id].shown_length;
    return t->text.bytes + t->tokens[id].shown;
}
