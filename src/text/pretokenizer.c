#include "text/pretokenizer.h"

#include <stdbool.h>
#include <stdint.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "base/memory.h"

const char PRETOKENIZER_QWEN2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                                  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char PRETOKENIZER_GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* Patterns may come from files of others: a match that needs more than this fails, loudly, instead of running for ever. The patterns above
 * stay far below on any text. */
enum { STACK_START = 32 << 10, STACK_LIMIT = 8 << 20, STEPS_AT_LEAST = 10000000, STEPS_PER_BYTE = 8 };

struct pretokenizer {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;

    const char *bytes;
    size_t length;
    size_t position;               /* everything before it was handed out */
    size_t run_start, run_end;     /* the stretch of UTF-8 being matched */
    size_t match_start, match_end; /* the match at or after position; none if match_end <= position */
};

int pretokenizer_new(pretokenizer **result, const char *pattern) {
    int status = LAMP_OK, problem;
    size_t offset;
    pretokenizer *p = NULL;
    TRY_TO(done, memory_new(&p, 1, sizeof *p, "a pre-tokenizer"));
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
    p->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &problem, &offset, NULL);
    if (!p->code) {
        char text[256];
        pcre2_get_error_message(problem, (PCRE2_UCHAR *)text, sizeof text);
        FAIL_TO(done, LAMP_UNSUPPORTED, "the pre-tokenizer's pattern cannot be compiled: %s, at byte %zu of %s", text, offset, pattern);
    }
    p->match = pcre2_match_data_create(1, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->match || !p->limits) FAIL_TO(done, LAMP_NO_MEMORY, "no memory for a pre-tokenizer");
    /* Without a just-in-time compiler on this machine PCRE2 interprets: same pieces, slower. */
    if (pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0) {
        p->stack = pcre2_jit_stack_create(STACK_START, STACK_LIMIT, NULL);
        if (!p->stack) FAIL_TO(done, LAMP_NO_MEMORY, "no memory for a pre-tokenizer");
        pcre2_jit_stack_assign(p->limits, NULL, p->stack);
    }
    *result = p;
    p = NULL;
done:
    pretokenizer_free(p);
    return status;
}

void pretokenizer_free(pretokenizer *p) {
    if (!p) return;
    pcre2_jit_stack_free(p->stack);
    pcre2_match_context_free(p->limits);
    pcre2_match_data_free(p->match);
    pcre2_code_free(p->code);
    memory_free(p);
}

void pretokenizer_begin(pretokenizer *p, const char *bytes, size_t length) {
    size_t steps = STEPS_AT_LEAST + (length < UINT32_MAX / 2 / STEPS_PER_BYTE ? length * STEPS_PER_BYTE : UINT32_MAX / 2);
    pcre2_set_match_limit(p->limits, (uint32_t)steps);
    p->bytes = bytes, p->length = length;
    p->position = p->run_start = p->run_end = p->match_start = p->match_end = 0;
}

static int run_matcher(pretokenizer *p, size_t end, uint32_t options) {
    return pcre2_match(p->code, (PCRE2_SPTR)p->bytes + p->run_start, end - p->run_start, p->position - p->run_start, options | PCRE2_NOTEMPTY,
                       p->match, p->limits);
}

static bool is_utf_error(int found) { return found <= PCRE2_ERROR_UTF8_ERR1 && found >= PCRE2_ERROR_UTF8_ERR21; }

/* Finds the next match in the current run. At the end of a run the next begins: PCRE2 checks all that is left and says where it stops
 * being UTF-8, which is where the new run ends; it is empty if that is right here. */
static int find_match(pretokenizer *p) {
    int found;
    if (p->position < p->run_end) {
        found = run_matcher(p, p->run_end, PCRE2_NO_UTF_CHECK);
    } else {
        p->run_start = p->position, p->run_end = p->length;
        found = run_matcher(p, p->run_end, 0);
        if (is_utf_error(found)) {
            p->run_end = p->run_start + pcre2_get_startchar(p->match);
            if (p->run_end == p->run_start) return LAMP_OK;
            found = run_matcher(p, p->run_end, PCRE2_NO_UTF_CHECK);
        }
    }
    if (found == PCRE2_ERROR_NOMATCH) {
        p->match_start = p->match_end = p->run_end;
        return LAMP_OK;
    }
    if (found < 0)
        FAIL(LAMP_UNSUPPORTED, "the pre-tokenizer's pattern needs too much work at byte %zu of the text (PCRE2 error %d)", p->position, found);
    const size_t *range = pcre2_get_ovector_pointer(p->match);
    p->match_start = p->run_start + range[0], p->match_end = p->run_start + range[1];
    if (p->match_start < p->position || p->match_end <= p->match_start)
        FAIL(LAMP_UNSUPPORTED, "the pre-tokenizer's pattern matches backwards at byte %zu of the text", p->position);
    return LAMP_OK;
}

static void hand_out(pretokenizer *p, piece *next, size_t end) {
    *next = (piece){p->bytes + p->position, end - p->position};
    p->position = end;
}

int pretokenizer_next(pretokenizer *p, piece *next) {
    if (p->position == p->length) return 0;
    if (p->match_end <= p->position) TRY(find_match(p));
    if (p->run_end <= p->position) {
        size_t start = p->position;
        while (p->run_end == p->position && ++p->position < p->length) TRY(find_match(p));
        size_t end = p->position;
        p->position = start;
        hand_out(p, next, end);
    } else {
        hand_out(p, next, p->match_start > p->position ? p->match_start : p->match_end);
    }
    return 1;
}
