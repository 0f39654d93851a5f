#define _GNU_SOURCE /* memmem */
#include "text/pattern.h"

#include <stdint.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "text/young_characters.h"

/* Patterns may come from files of others: a match that needs more than this fails, loudly, instead of running for ever. The patterns of
 * known tokenizers stay far below on any text. */
enum { STACK_START = 32 << 10, STACK_LIMIT = 8 << 20, STEPS_AT_LEAST = 10000000, STEPS_PER_BYTE = 8 };

struct pattern {
    buffer plain; /* the characters to find, if they are no regular expression */
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    buffer shown; /* text whose young characters are stood in for */

    const char *text;              /* borrowed, or shown */
    size_t length, from, last_end; /* where to look next; the end of the last match, SIZE_MAX before the first */
};

static int new_pattern(pattern **p) { return memory_new(p, 1, sizeof **p, "a pattern"); }

static int compile(pattern *p, const char *regex) {
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    int status = LAMP_OK, problem;
    size_t offset;
    buffer translated = {0};
    pcre2_compile_context *dialect = pcre2_compile_context_create(NULL);
    if (!dialect) FAIL_TO(done, LAMP_NO_MEMORY, "no memory for a pattern");
    pcre2_set_newline(dialect, PCRE2_NEWLINE_LF);
    TRY_TO(done, pattern_translate(&translated, regex));
    p->code = pcre2_compile((PCRE2_SPTR)translated.bytes, translated.length, options, &problem, &offset, dialect);
    if (!p->code) {
        char text[256];
        pcre2_get_error_message(problem, (PCRE2_UCHAR *)text, sizeof text);
        FAIL_TO(done, LAMP_UNSUPPORTED, "the pattern cannot be compiled: %s, at byte %zu of %s", text, offset, translated.bytes);
    }
done:
    buffer_release(&translated);
    pcre2_compile_context_free(dialect);
    return status;
}

int pattern_new(pattern **result, const char *regex) {
    int status = LAMP_OK;
    pattern *p = NULL;
    TRY_TO(done, new_pattern(&p));
    TRY_TO(done, compile(p, regex));
    p->match = pcre2_match_data_create(1, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->match || !p->limits) FAIL_TO(done, LAMP_NO_MEMORY, "no memory for a pattern");
    /* Without a just-in-time compiler on this machine PCRE2 interprets: same matches, slower. */
    if (pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0) {
        p->stack = pcre2_jit_stack_create(STACK_START, STACK_LIMIT, NULL);
        if (!p->stack) FAIL_TO(done, LAMP_NO_MEMORY, "no memory for a pattern");
        pcre2_jit_stack_assign(p->limits, NULL, p->stack);
    }
    *result = p;
    p = NULL;
done:
    pattern_free(p);
    return status;
}

int pattern_new_plain(pattern **p, const char *characters, size_t length) {
    CHECK(length > 0, "nothing to find");
    TRY(new_pattern(p));
    int status = buffer_append(&(*p)->plain, characters, length);
    if (status < 0) pattern_free(*p), *p = NULL;
    return status;
}

void pattern_free(pattern *p) {
    if (!p) return;
    buffer_release(&p->shown);
    pcre2_jit_stack_free(p->stack);
    pcre2_match_context_free(p->limits);
    pcre2_match_data_free(p->match);
    pcre2_code_free(p->code);
    buffer_release(&p->plain);
    memory_free(p);
}

bool pattern_is_regex(const pattern *p) { return p->code != NULL; }

int pattern_begin(pattern *p, const char *text, size_t length) {
    p->text = text, p->length = length, p->from = 0, p->last_end = SIZE_MAX;
    if (!p->code) return LAMP_OK;
    bool has_young;
    TRY(young_characters_replace(&p->shown, &has_young, text, length));
    if (has_young) p->text = p->shown.bytes;
    size_t steps = STEPS_AT_LEAST + (length < UINT32_MAX / 2 / STEPS_PER_BYTE ? length * STEPS_PER_BYTE : UINT32_MAX / 2);
    pcre2_set_match_limit(p->limits, (uint32_t)steps);
    return LAMP_OK;
}

static int next_plain(pattern *p, size_t *start, size_t *end) {
    const char *found = p->from < p->length ? memmem(p->text + p->from, p->length - p->from, p->plain.bytes, p->plain.length) : NULL;
    if (!found) return 0;
    *start = (size_t)(found - p->text);
    p->from = *end = *start + p->plain.length;
    return 1;
}

int pattern_next(pattern *p, size_t *start, size_t *end) {
    if (!p->code) return next_plain(p, start, end);
    while (p->from <= p->length) {
        int found = pcre2_match(p->code, (PCRE2_SPTR)p->text, p->length, p->from, PCRE2_NO_UTF_CHECK, p->match, p->limits);
        if (found == PCRE2_ERROR_NOMATCH) return 0;
        if (found < 0) FAIL(LAMP_UNSUPPORTED, "the pattern needs too much work at byte %zu of the text (PCRE2 error %d)", p->from, found);
        const size_t *range = pcre2_get_ovector_pointer(p->match);
        *start = range[0], *end = range[1];
        p->from = *end;
        if (*start < *end || *end != p->last_end) {
            p->last_end = *end;
            return 1;
        }
        p->from += *end < p->length ? character_length(p->text + *end, p->length - *end, NULL) : 1;
    }
    return 0;
}

int pattern_replace(buffer *out, bool *any, pattern *p, const char *text, size_t length, const char *with) {
    size_t start, end, at = 0;
    int found;
    *any = false;
    TRY(pattern_begin(p, text, length));
    for (; (found = pattern_next(p, &start, &end)) > 0; at = end) {
        buffer_append(out, text + at, start - at);
        TRY(buffer_append_text(out, with));
        *any = true;
    }
    TRY(found);
    return buffer_append(out, text + at, length - at);
}
