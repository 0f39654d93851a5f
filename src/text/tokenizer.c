#include "text/tokenizer.h"

#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "text/tokenizer_internal.h"

int token_list_append(token_list *list, int32_t id) {
    TRY(memory_reserve(&list->id, &list->capacity, list->length + 1, sizeof *list->id, "token ids"));
    list->id[list->length++] = id;
    return LAMP_OK;
}

void token_list_release(token_list *list) {
    memory_free(list->id);
    *list = (token_list){0};
}

int tokenizer_new(tokenizer **result, const char *pattern) {
    int status = LAMP_OK;
    tokenizer *t = NULL;
    TRY_TO(done, memory_new(&t, 1, sizeof *t, "a tokenizer"));
    TRY_TO(done, memory_copy_text(&t->pattern, pattern, "a pre-tokenizer's pattern"));
    t->end_of_text = -1;
    *result = t;
    t = NULL;
done:
    tokenizer_free(t);
    return status;
}

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    index_map_release(&t->rank_of_pair);
    index_map_release(&t->id_of_hash);
    memory_free(t->merges);
    memory_free(t->tokens);
    buffer_release(&t->text);
    memory_free(t->pattern);
    memory_free(t);
}

int32_t tokenizer_find(const tokenizer *t, const char *bytes, size_t length) {
    int64_t id = index_map_find(&t->id_of_hash, hash_bytes(bytes, length).low);
    bool same = id >= 0 && t->tokens[id].length == length && memcmp(t->text.bytes + t->tokens[id].start, bytes, length) == 0;
    return same ? (int32_t)id : -1;
}

int tokenizer_add_token(tokenizer *t, const char *bytes, size_t length, token_kind kind) {
    if (t->size == INT32_MAX) FAIL(LAMP_UNSUPPORTED, "a vocabulary has at most %d tokens", INT32_MAX);
    TRY(memory_reserve(&t->tokens, &t->token_capacity, (size_t)t->size + 1, sizeof *t->tokens, "a vocabulary"));
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
    if (index_map_find(&t->rank_of_pair, merge_key(left, right)) >= 0)
        FAIL(LAMP_MALFORMED, "expected tokens %d and %d to be merged once, found them twice", left, right);
    TRY(memory_reserve(&t->merges, &t->merge_capacity, (size_t)t->n_merges + 1, sizeof *t->merges, "merges"));
    TRY(index_map_set(&t->rank_of_pair, merge_key(left, right), t->n_merges));
    t->merges[t->n_merges++] = (merge){left, right, result};
    return LAMP_OK;
}

int tokenizer_complete(tokenizer *t) {
    static const char *const names[] = {"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"};
    for (int byte = 0; byte < 256; byte++) {
        t->byte_id[byte] = tokenizer_find(t, &(char){(char)byte}, 1);
        if (t->byte_id[byte] < 0) FAIL(LAMP_UNSUPPORTED, "expected a vocabulary with a token for each byte, found none for byte 0x%02X", byte);
    }
    for (size_t i = sizeof names / sizeof *names; i-- > 0;) {
        int32_t id = tokenizer_find(t, names[i], strlen(names[i]));
        if (id >= 0 && t->tokens[id].kind == TOKEN_SPECIAL) t->end_of_text = id;
    }
    return LAMP_OK;
}

int tokenizer_vocabulary_size(const tokenizer *t) { return t->size; }

int32_t tokenizer_end_of_text(const tokenizer *t) { return t->end_of_text; }

bool tokenizer_is_special(const tokenizer *t, int32_t id) { return t->tokens[id].kind == TOKEN_SPECIAL; }

const char *tokenizer_token_bytes(const tokenizer *t, int32_t id, size_t *length) {
    *length = tokenizer_is_special(t, id) ? 0 : t->tokens[id].length;
    return t->text.bytes + t->tokens[id].start;
}

int tokenizer_decode(const tokenizer *t, buffer *out, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t length;
        if (ids[i] < 0 || ids[i] >= t->size)
            FAIL(LAMP_MALFORMED, "token %zu of %zu: expected an id from 0 to %d, found %d", i, n, t->size - 1, ids[i]);
        const char *bytes = tokenizer_token_bytes(t, ids[i], &length);
        TRY(buffer_append(out, bytes, length));
    }
    return LAMP_OK;
}
