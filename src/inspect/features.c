#include "inspect/features.h"

#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

const char *const feature_names[FEATURES] = {"token", "token class", "domain", "position"};

enum { SPECIAL, WHITE_SPACE, NOT_ASCII, NUMBER, CAPITALISED, WORD, CONTINUATION, PUNCTUATION, TOKEN_CLASSES };

const char *const token_class_names[] = {"end of text",       "white space", "letters beyond ASCII", "numbers",
                                         "capitalised words", "words",       "continuations",        "punctuation"};

int token_class(const tokenizer *words, int32_t id) {
    size_t length, blanks = 0;
    const unsigned char *bytes = (const unsigned char *)tokenizer_token_bytes(words, id, &length);
    if (length == 0) return SPECIAL;
    while (blanks < length && isspace(bytes[blanks])) blanks++;
    if (blanks == length) return WHITE_SPACE;
    for (size_t i = 0; i < length; i++)
        if (bytes[i] >= 0x80) return NOT_ASCII;
    unsigned char first = bytes[blanks];
    if (isdigit(first)) return NUMBER;
    if (isupper(first)) return CAPITALISED;
    if (islower(first)) return blanks > 0 ? WORD : CONTINUATION;
    return PUNCTUATION;
}

int position_class(int position) {
    int bits = 0;
    for (; position > 0; position >>= 1) bits++;
    return bits;
}

int features_open(features *f, const routed_text *r, const tokenizer *words) {
    *f = (features){.r = r, .words = words};
    const ptrdiff_t values[FEATURES] = {tokenizer_vocabulary_size(words), TOKEN_CLASSES, r->e->n_domains, position_class(r->T - 1) + 1};
    int status = LAMP_OK;
    for (int i = 0; i < FEATURES; i++) {
        f->of[i].values = values[i];
        TRY_TO(done, memory_new(&f->of[i].value, (size_t)r->tokens, sizeof *f->of[i].value, "features of tokens"));
    }
    for (ptrdiff_t n = 0; n < r->tokens; n++) {
        const routed_token *t = &r->token[n];
        f->of[FEATURE_TOKEN].value[n] = t->id;
        f->of[FEATURE_CLASS].value[n] = token_class(words, t->id);
        f->of[FEATURE_DOMAIN].value[n] = t->domain;
        f->of[FEATURE_POSITION].value[n] = position_class((int)(n % r->T));
    }
done:
    if (status < 0) features_close(f);
    return status;
}

void features_close(features *f) {
    for (int i = 0; i < FEATURES; i++) memory_free(f->of[i].value);
    *f = (features){0};
}

void feature_describe(buffer *out, const features *f, int which, int32_t value) {
    size_t length;
    switch (which) {
    case FEATURE_TOKEN: {
        const char *bytes = tokenizer_token_bytes(f->words, value, &length);
        buffer_append(out, bytes, length);
        return;
    }
    case FEATURE_CLASS: buffer_append_text(out, token_class_names[value]); return;
    case FEATURE_DOMAIN: buffer_append_text(out, f->r->e->domain[value].name); return;
    default: {
        int first = value == 0 ? 0 : 1 << (value - 1), last = value == 0 ? 0 : (1 << value) - 1;
        if (last >= f->r->T) last = f->r->T - 1;
        if (first == last) buffer_printf(out, "position %d", first);
        else buffer_printf(out, "positions %d to %d", first, last);
    }
    }
}
