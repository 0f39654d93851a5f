#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "text/tokenizer_parts.h"

/* Equal ones: special tokens first, then by their ids; the first is the one that is found. */
static int compare_tokens(const void *a, const void *b) {
    const added_token *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);
    if (order) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    bool special = x->traits & TRAIT_SPECIAL, other = y->traits & TRAIT_SPECIAL;
    return special != other ? other - special : x->id - y->id;
}

static bool are_equal(const added_token *x, const added_token *y) { return x->length == y->length && !memcmp(x->bytes, y->bytes, x->length); }

static bool belongs(const tokenizer *t, int32_t id, bool normalized) {
    const token *one = &t->tokens[id];
    return one->kind != TOKEN_TEXT && !(one->traits & TRAIT_NORMALIZED) == !normalized;
}

static int normalize_token(added_token *one, buffer *normal, normalizer *n) {
    TRY(normalizer_run(n, &one->bytes, &one->length));
    TRY(buffer_append(normal, one->bytes, one->length));
    return LAMP_OK;
}

static int add(added_tokens *a, const tokenizer *t, int32_t id, normalizer *n) {
    const token *source = &t->tokens[id];
    added_token *one = &a->tokens[a->n++];
    *one = (added_token){t->text.bytes + source->start, source->length, id, source->traits | (source->kind == TOKEN_SPECIAL ? TRAIT_SPECIAL : 0)};
    if (n) TRY(normalize_token(one, &a->normal, n));
    if (one->length == 0) FAIL(LAMP_UNSUPPORTED, "expected text of added token %d, found none once it is normalised", id);
    if (one->length > ADDED_TOKEN_BYTES)
        FAIL(LAMP_UNSUPPORTED, "expected added tokens of at most %d bytes, found %zu in token %d", ADDED_TOKEN_BYTES, one->length, id);
    return LAMP_OK;
}

int added_tokens_init(added_tokens *a, const tokenizer *t, bool normalized, normalizer *n) {
    *a = (added_tokens){0};
    size_t most = 0, kept = 0;
    for (int32_t id = 0; id < t->size; id++) most += belongs(t, id, normalized);
    TRY(memory_new(&a->tokens, most, sizeof *a->tokens, "added tokens"));
    for (int32_t id = 0; id < t->size; id++)
        if (belongs(t, id, normalized)) TRY(add(a, t, id, n));
    size_t at = 0; /* only now does `normal` stay where it is */
    for (size_t i = 0; n && i < a->n; at += a->tokens[i++].length) a->tokens[i].bytes = a->normal.bytes + at;
    if (a->n > 0) qsort(a->tokens, a->n, sizeof *a->tokens, compare_tokens);
    for (size_t i = 0; i < a->n; i++)
        if (i == 0 || !are_equal(&a->tokens[kept - 1], &a->tokens[i])) a->tokens[kept++] = a->tokens[i];
    a->n = kept;
    for (size_t i = 0, byte = 0; byte <= 256; byte++) {
        while (i < a->n && (unsigned char)a->tokens[i].bytes[0] < byte) i++;
        a->first[byte] = i;
    }
    return LAMP_OK;
}

void added_tokens_release(added_tokens *a) {
    buffer_release(&a->normal);
    memory_free(a->tokens);
    *a = (added_tokens){0};
}

/* ---- scanning -------------------------------------------------------------------------------------------------------------------- */

/* The first of tokens low to high - 1, which agree in `depth` bytes, whose next byte is at least so great. */
static size_t first_not_below(const added_tokens *a, size_t low, size_t high, size_t depth, unsigned byte) {
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((unsigned char)a->tokens[middle].bytes[depth] < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The longest token that text begins with, or NULL. */
static const added_token *longest_at(const added_tokens *a, const char *text, size_t length) {
    const added_token *best = NULL;
    size_t low = a->first[(unsigned char)*text], high = a->first[(unsigned char)*text + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (a->tokens[low].length == depth) best = &a->tokens[low++];
        if (depth == length) break;
        unsigned byte = (unsigned char)text[depth];
        low = first_not_below(a, low, high, depth, byte);
        high = first_not_below(a, low, high, depth, byte + 1);
    }
    return best;
}

static bool stands_alone(const added_scan *s, size_t start, size_t end) {
    uint32_t before, after;
    bool joins_left = character_before(s->text, start, &before) && unicode_is_word(before);
    bool joins_right = end < s->length && character_length(s->text + end, s->length - end, &after) && unicode_is_word(after);
    return !joins_left && !joins_right;
}

static size_t spaces_begin(const added_scan *s, size_t at) {
    uint32_t point;
    for (size_t n; at > 0 && (n = character_before(s->text, at, &point)) && unicode_is_space(point);) at -= n;
    return at;
}

static size_t spaces_end(const added_scan *s, size_t at) {
    uint32_t point;
    for (size_t n; at < s->length && (n = character_length(s->text + at, s->length - at, &point)) && unicode_is_space(point);) at += n;
    return at;
}

/* Where the next token may begin: all that are looked for often begin alike. */
static size_t next_beginning(const added_scan *s, size_t at) {
    const added_tokens *a = s->a;
    if (a->n == 0 || at >= s->length) return s->length;
    unsigned char only = (unsigned char)a->tokens[0].bytes[0];
    if (a->first[only + 1] == a->n) {
        const char *found = memchr(s->text + at, only, s->length - at);
        return found ? (size_t)(found - s->text) : s->length;
    }
    while (at < s->length && a->first[(unsigned char)s->text[at]] == a->first[(unsigned char)s->text[at] + 1]) at++;
    return at;
}

/* The next token with the white space it takes along; id -1 if there is none. That of two tokens may overlap. */
static void find_token(added_scan *s) {
    s->token = (added_span){s->length, s->length, -1};
    while ((s->searched = next_beginning(s, s->searched)) < s->length) {
        size_t start = s->searched;
        const added_token *found = longest_at(s->a, s->text + start, s->length - start);
        s->searched += found ? found->length : 1;
        if (!found || (found->traits & TRAIT_SPECIAL && !s->specials)) continue;
        size_t end = s->searched;
        if (found->traits & TRAIT_WORD && !stands_alone(s, start, end)) continue;
        if (found->traits & TRAIT_LEFT) start = spaces_begin(s, start);
        if (found->traits & TRAIT_LEFT && start < s->end) start = s->end;
        if (found->traits & TRAIT_RIGHT) end = spaces_end(s, end);
        s->token = (added_span){start, end, found->id};
        return;
    }
}

void added_scan_begin(added_scan *s, const added_tokens *a, const char *text, size_t length, bool specials) {
    *s = (added_scan){.a = a, .text = text, .length = length, .specials = specials};
    find_token(s);
}

bool added_scan_next(added_scan *s, added_span *next) {
    if (s->end < s->token.start) {
        *next = (added_span){s->end, s->token.start, -1};
        s->end = s->token.start;
        return true;
    }
    if (s->token.id < 0) return false;
    *next = s->token;
    s->end = s->token.end;
    find_token(s);
    return true;
}
