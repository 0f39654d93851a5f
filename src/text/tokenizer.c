#include "text/tokenizer.h"

#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "text/tokenizer_parts.h"

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
    return LAMP_OK;
}

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    index_map_release(&t->merge_of_pair);
    index_map_release(&t->id_of_hash);
    memory_free(t->merges);
    memory_free(t->tokens);
    buffer_release(&t->text);
    buffer_release(&t->source);
    memory_free(t->steps);
    for (size_t i = 0; i < t->n_texts; i++) memory_free(t->texts[i]);
    memory_free(t->texts);
    memory_free(t);
}

static int own_text(tokenizer *t, const char **copy, const char *text) {
    static const char purpose[] = "a tokenizer's settings";
    *copy = NULL;
    if (!text) return LAMP_OK;
    TRY(memory_reserve(&t->texts, &t->text_capacity, t->n_texts + 1, sizeof *t->texts, purpose));
    TRY(memory_copy_text(&t->texts[t->n_texts], text, purpose));
    *copy = t->texts[t->n_texts++];
    return LAMP_OK;
}

int tokenizer_add_step(tokenizer *t, const pretokenizer_step *step) {
    pretokenizer_step copy = *step;
    TRY(memory_reserve(&t->steps, &t->step_capacity, t->n_steps + 1, sizeof *t->steps, "the steps of a pre-tokenizer"));
    TRY(own_text(t, &copy.text, step->text));
    TRY(own_text(t, &copy.with, step->with));
    t->steps[t->n_steps++] = copy;
    return LAMP_OK;
}

int32_t tokenizer_find(const tokenizer *t, const char *bytes, size_t length) {
    int64_t id = index_map_find(&t->id_of_hash, hash_bytes(bytes, length).low);
    bool same = id >= 0 && t->tokens[id].length == length && memcmp(t->text.bytes + t->tokens[id].start, bytes, length) == 0;
    return same ? (int32_t)id : -1;
}

int tokenizer_add_token(tokenizer *t, const char *bytes, size_t length, token_kind kind) {
    if (t->size == INT32_MAX) FAIL(LAMP_UNSUPPORTED, "a vocabulary has at most %d tokens", INT32_MAX);
    TRY(memory_reserve(&t->tokens, &t->token_capacity, (size_t)t->size + 1, sizeof *t->tokens, "a vocabulary"));
    if (t->kind == VOCABULARY_OF_WORDS) TRY(buffer_append_byte(&t->text, ' '));
    t->tokens[t->size] = (token){t->text.length, length, kind};
    TRY(buffer_append(&t->text, bytes, length));
    /* An added token may be spelt like a token of the vocabulary; merges mean the latter. */
    if (kind == TOKEN_TEXT || tokenizer_find(t, bytes, length) < 0) TRY(index_map_set(&t->id_of_hash, hash_bytes(bytes, length).low, t->size));
    t->size++;
    return LAMP_OK;
}

static int join(buffer *joined, const tokenizer *t, int32_t left, int32_t right) {
    const token *a = &t->tokens[left], *b = &t->tokens[right];
    TRY(buffer_append(joined, t->text.bytes + a->start, a->length));
    return buffer_append(joined, t->text.bytes + b->start, b->length);
}

int tokenizer_add_merge(tokenizer *t, int32_t left, int32_t right) {
    buffer joined = {0};
    int status = join(&joined, t, left, right);
    int32_t result = status < 0 ? -1 : tokenizer_find(t, joined.bytes, joined.length);
    buffer_release(&joined);
    TRY(status);
    if (result < 0) FAIL(LAMP_MALFORMED, "expected a token that joins tokens %d and %d, found none", left, right);
    if (index_map_find(&t->merge_of_pair, pair_key(left, right)) >= 0)
        FAIL(LAMP_MALFORMED, "expected tokens %d and %d to be merged once, found them twice", left, right);
    TRY(memory_reserve(&t->merges, &t->merge_capacity, (size_t)t->n_merges + 1, sizeof *t->merges, "merges"));
    TRY(index_map_set(&t->merge_of_pair, pair_key(left, right), (int64_t)t->n_merges << 32 | result));
    t->merges[t->n_merges++] = (merge){left, right, result};
    return LAMP_OK;
}

static int find_bytes(tokenizer *t) {
    for (int byte = 0; byte < 256; byte++) {
        t->byte_id[byte] = tokenizer_find(t, &(char){(char)byte}, 1);
        if (t->byte_id[byte] < 0) FAIL(LAMP_UNSUPPORTED, "expected a vocabulary with a token for each byte, found none for byte 0x%02X", byte);
    }
    return LAMP_OK;
}

int tokenizer_complete(tokenizer *t) {
    static const char *const names[] = {"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"};
    if (t->kind == VOCABULARY_OF_BYTES) TRY(find_bytes(t));
    else if (t->unknown < 0) FAIL(LAMP_UNSUPPORTED, "expected a vocabulary with a token for unknown words, found none");
    for (size_t i = sizeof names / sizeof *names; i-- > 0;) {
        int32_t id = tokenizer_find(t, names[i], strlen(names[i]));
        if (id >= 0 && t->tokens[id].kind == TOKEN_SPECIAL) t->end_of_text = id;
    }
    return LAMP_OK;
}

static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static bool same_step(const pretokenizer_step *a, const pretokenizer_step *b) {
    return a->kind == b->kind && a->is_regex == b->is_regex && a->behavior == b->behavior && a->inverted == b->inverted &&
           a->first_only == b->first_only && same_text(a->text, b->text) && same_text(a->with, b->with);
}

static bool same_token(const tokenizer *a, const tokenizer *b, int id) {
    const token *x = &a->tokens[id], *y = &b->tokens[id];
    return x->kind == y->kind && x->length == y->length && !memcmp(a->text.bytes + x->start, b->text.bytes + y->start, x->length);
}

bool tokenizer_equals(const tokenizer *a, const tokenizer *b) {
    bool same =
        a->kind == b->kind && a->n_steps == b->n_steps && a->size == b->size && a->n_merges == b->n_merges && a->ignore_merges == b->ignore_merges;
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
    size_t space = t->kind == VOCABULARY_OF_WORDS;
    *length = tokenizer_is_special(t, id) ? 0 : t->tokens[id].length + space;
    return t->text.bytes + t->tokens[id].start - space;
}

int tokenizer_decode(const tokenizer *t, buffer *out, const int32_t *ids, size_t n) {
    size_t to_skip = t->kind == VOCABULARY_OF_WORDS;
    for (size_t i = 0; i < n; i++) {
        size_t length;
        if (ids[i] < 0 || ids[i] >= t->size)
            FAIL(LAMP_MALFORMED, "token %zu of %zu: expected an id from 0 to %d, found %d", i, n, t->size - 1, ids[i]);
        const char *bytes = tokenizer_token_bytes(t, ids[i], &length);
        size_t skipped = length < to_skip ? length : to_skip;
        TRY(buffer_append(out, bytes + skipped, length - skipped));
        to_skip -= skipped;
    }
    return LAMP_OK;
}
