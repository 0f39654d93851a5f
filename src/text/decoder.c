/* From ids to text. What each token stands for is worked out once, when its tokenizer is complete; what depends on the place of a token, here. */
#include <stdlib.h>
#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "text/tokenizer_parts.h"

/* <0x0A>, in either case. */
static bool is_byte_name(unsigned char *byte, const char *name, size_t length) {
    char digits[3] = "", *end;
    if (length != 6 || memcmp(name, "<0x", 3) || name[5] != '>') return false;
    memcpy(digits, name + 3, 2);
    if (strspn(digits, "0123456789abcdefABCDEF") != 2) return false;
    *byte = (unsigned char)strtoul(digits, &end, 16);
    return true;
}

static int show(buffer *shown, const token_showing *how, const char *spelling, size_t length) {
    unsigned char byte;
    size_t n = how->mark ? strlen(how->mark) : 0;
    buffer_clear(shown);
    if (how->between) buffer_append_text(shown, how->between);
    if (how->reads_bytes && is_byte_name(&byte, spelling, length)) return buffer_append_byte(shown, (char)byte);
    for (size_t at = 0; at < length;) {
        bool is_mark = n > 0 && length - at >= n && !memcmp(spelling + at, how->mark, n);
        buffer_append_byte(shown, is_mark ? ' ' : spelling[at]);
        at += is_mark ? n : 1;
    }
    return shown->status;
}

int tokenizer_show_tokens(tokenizer *t) {
    int status = LAMP_OK;
    buffer shown = {0};
    if (!t->showing.mark && !t->showing.reads_bytes && !t->showing.between) return LAMP_OK;
    for (int32_t id = 0; id < t->size; id++) {
        token *one = &t->tokens[id];
        const char *spelling = t->text.bytes + one->start;
        TRY_TO(done, show(&shown, &t->showing, spelling, one->length));
        if (shown.length == one->length && !memcmp(shown.bytes, spelling, one->length)) continue;
        if (t->text.length + shown.length > UINT32_MAX)
            FAIL_TO(done, LAMP_UNSUPPORTED, "the tokens of a vocabulary have at most %u bytes", UINT32_MAX);
        one->shown = (uint32_t)t->text.length, one->shown_length = (uint32_t)shown.length;
        TRY_TO(done, buffer_append(&t->text, shown.bytes, shown.length));
    }
done:
    buffer_release(&shown);
    return status;
}

/* ---- one token after another ----------------------------------------------------------------------------------------------------------- */

void decoder_begin(decoder *d, const tokenizer *t, bool begins_text, bool shows_specials) {
    *d = (decoder){.t = t, .shows_specials = shows_specials, .is_first = begins_text, .to_strip = begins_text ? t->showing.stripped : 0};
}

/* Appends whole characters, and holds back what may be the beginning of one. */
static int append(decoder *d, buffer *out, const char *bytes, size_t length) {
    size_t start = out->length;
    buffer_append(out, d->held, d->n_held);
    TRY(buffer_append(out, bytes, length));
    d->n_held = characters_unfinished(out->bytes + start, out->length - start);
    out->length -= d->n_held;
    memcpy(d->held, out->bytes + out->length, d->n_held);
    out->bytes[out->length] = 0;
    return LAMP_OK;
}

/* A text's first token comes without what separates tokens, and in some vocabularies without its marks. */
static int append_first(decoder *d, buffer *out, const token *one, const char *shown, size_t length) {
    const token_showing *how = &d->t->showing;
    const char *spelling = d->t->text.bytes + one->start;
    size_t between = how->between ? strlen(how->between) : 0, n = how->mark ? strlen(how->mark) : 0;
    d->is_first = false;
    if (!how->first_loses_marks) return append(d, out, shown + between, length - between);
    for (size_t at = 0; at < one->length;) {
        bool is_mark = n > 0 && one->length - at >= n && !memcmp(spelling + at, how->mark, n);
        if (!is_mark) TRY(append(d, out, spelling + at, 1));
        at += is_mark ? n : 1;
    }
    return LAMP_OK;
}

int decoder_add(decoder *d, buffer *out, int32_t id) {
    const tokenizer *t = d->t;
    if (id < 0 || id >= t->size) FAIL(LAMP_MALFORMED, "expected an id from 0 to %d, found %d", t->size - 1, id);
    if (tokenizer_is_special(t, id) && !d->shows_specials) return LAMP_OK;
    const token *one = &t->tokens[id];
    const char *bytes = t->text.bytes + one->shown;
    size_t length = one->shown_length;
    for (; d->to_strip > 0 && length > 0 && *bytes == ' '; bytes++, length--) d->to_strip--;
    if (length > 0) d->to_strip = 0;
    return d->is_first ? append_first(d, out, one, bytes, length) : append(d, out, bytes, length);
}

int decoder_end(decoder *d, buffer *out) {
    size_t n = d->n_held;
    d->n_held = 0;
    return buffer_append(out, d->held, n);
}

int tokenizer_decode(const tokenizer *t, buffer *out, const int32_t *ids, size_t n) {
    decoder d;
    decoder_begin(&d, t, true, false);
    for (size_t i = 0; i < n; i++) {
        int status = decoder_add(&d, out, ids[i]);
        if (status < 0) return error_add_context(status, "token %zu of %zu", i, n);
    }
    return decoder_end(&d, out);
}
