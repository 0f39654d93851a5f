#include "text/pretokenizer.h"

#include <string.h>

#include "base/buffer.h"
#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "text/pattern.h"

const char PRETOKENIZER_QWEN2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                                  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char PRETOKENIZER_GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char PRETOKENIZER_DIGIT[] = "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]";
#define LETTER "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"
const char PRETOKENIZER_WORDS[] = "[" LETTER "]+|[^" LETTER "\\s]+";

typedef struct {
    piece piece;
    bool is_broken;   /* not UTF-8: no step touches it */
    bool begins_text; /* the whole text begins with it */
    bool goes_on;     /* stands right behind broken bytes: nothing is put in between */
} part;

typedef struct {
    size_t start, end; /* in the bytes of the part at hand */
    bool is_match;
} span;

typedef struct {
    const pretokenizer_step *step;
    pattern *pattern; /* NULL: STEP_PREFIX */
    buffer changed;   /* the part, where the step changes it */

    bool is_busy; /* with a part */
    part part;
    size_t at;                     /* spans end here so far */
    size_t match_start, match_end; /* the match that comes next, if has_match; start is the part's length after the last */
    bool has_match, has_peeked;
    span peeked;
} stage;

struct pretokenizer {
    stage *stages; /* (n) */
    size_t n;
    bool cuts_at_broken;
    const char *bytes;
    size_t length, at;
    bool begins_text, was_broken; /* what stands before `at` */
};

static int new_pattern(pattern **p, const pretokenizer_step *step) {
    return step->is_regex ? pattern_new(p, step->text) : pattern_new_plain(p, step->text, strlen(step->text));
}

int pretokenizer_new(pretokenizer **result, const pretokenizer_step *steps, size_t n) {
    int status = LAMP_OK;
    pretokenizer *p = NULL;
    TRY_TO(done, memory_new(&p, 1, sizeof *p, "a pre-tokenizer"));
    TRY_TO(done, memory_new(&p->stages, n, sizeof *p->stages, "a pre-tokenizer"));
    for (p->n = 0; p->n < n; p->n++) {
        stage *s = &p->stages[p->n];
        s->step = &steps[p->n];
        if (s->step->kind == STEP_PREFIX) continue;
        TRY_TO(done, new_pattern(&s->pattern, s->step));
        p->cuts_at_broken |= s->step->is_regex;
    }
    *result = p;
    p = NULL;
done:
    pretokenizer_free(p);
    return status;
}

void pretokenizer_free(pretokenizer *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) {
        buffer_release(&p->stages[i].changed);
        pattern_free(p->stages[i].pattern);
    }
    memory_free(p->stages);
    memory_free(p);
}

int pretokenizer_begin(pretokenizer *p, const char *bytes, size_t length, bool begins_text) {
    p->bytes = bytes, p->length = length, p->at = 0, p->begins_text = begins_text, p->was_broken = false;
    for (size_t i = 0; i < p->n; i++) p->stages[i].is_busy = false;
    return LAMP_OK;
}

/* ---- a step that cuts ------------------------------------------------------------------------------------------------------------ */

/* Matches and what lies between them, in turn, inverted where that is asked for. 0 after the last. */
static int next_span(stage *s, span *next) {
    if (!s->has_match && s->match_start < s->part.piece.length) {
        int found = pattern_next(s->pattern, &s->match_start, &s->match_end);
        TRY(found);
        s->has_match = found;
        if (!found) s->match_start = s->part.piece.length;
    }
    if (s->at < s->match_start) {
        *next = (span){s->at, s->match_start, s->step->inverted};
        s->at = s->match_start;
        return 1;
    }
    if (!s->has_match) return 0;
    *next = (span){s->match_start, s->match_end, !s->step->inverted};
    s->at = s->match_end, s->has_match = false;
    return 1;
}

static int take_span(stage *s, span *next) {
    if (!s->has_peeked) return next_span(s, next);
    *next = s->peeked, s->has_peeked = false;
    return 1;
}

static bool belong_together(split_behavior behavior, const span *a, const span *b) {
    switch (behavior) {
    case SPLIT_CONTIGUOUS: return a->is_match == b->is_match;
    case SPLIT_WITH_PREVIOUS: return !a->is_match && b->is_match;
    case SPLIT_WITH_NEXT: return a->is_match && !b->is_match;
    default: return false;
    }
}

/* Joins what follows to *s. */
static int join_spans(stage *g, span *s) {
    split_behavior behavior = g->step->behavior;
    if (behavior == SPLIT_ISOLATED || behavior == SPLIT_REMOVED) return LAMP_OK;
    for (;;) {
        int more = next_span(g, &g->peeked);
        TRY(more);
        g->has_peeked = more;
        if (!more || !belong_together(behavior, s, &g->peeked)) return LAMP_OK;
        s->end = g->peeked.end, g->has_peeked = false;
        if (behavior != SPLIT_CONTIGUOUS) return LAMP_OK;
    }
}

static int next_split(stage *g, part *next) {
    span s;
    for (;;) {
        int more = take_span(g, &s);
        if (more <= 0) return more;
        TRY(join_spans(g, &s));
        if (s.start < s.end && !(s.is_match && g->step->behavior == SPLIT_REMOVED)) break;
    }
    bool is_first = s.start == 0;
    *next = (part){{g->part.piece.bytes + s.start, s.end - s.start}, false, is_first && g->part.begins_text, is_first && g->part.goes_on};
    return 1;
}

/* ---- steps that change ----------------------------------------------------------------------------------------------------------- */

static int replace(stage *s) {
    bool any;
    buffer_clear(&s->changed);
    TRY(pattern_replace(&s->changed, &any, s->pattern, s->part.piece.bytes, s->part.piece.length, s->step->with));
    if (any) s->part.piece = (piece){s->changed.bytes, s->changed.length};
    return LAMP_OK;
}

static int put_before(stage *s) {
    size_t n = strlen(s->step->text);
    bool begins_so = s->part.piece.length >= n && !memcmp(s->part.piece.bytes, s->step->text, n);
    if (begins_so || s->part.goes_on || (s->step->first_only && !s->part.begins_text)) return LAMP_OK;
    buffer_clear(&s->changed);
    TRY(buffer_append(&s->changed, s->step->text, n));
    TRY(buffer_append(&s->changed, s->part.piece.bytes, s->part.piece.length));
    s->part.piece = (piece){s->changed.bytes, s->changed.length};
    return LAMP_OK;
}

/* ---- all steps ------------------------------------------------------------------------------------------------------------------- */

/* Text before any step: all of it, or if that matters its stretches of UTF-8 and of other bytes in turn. */
static int next_stretch(pretokenizer *p, part *next) {
    if (p->at == p->length) return 0;
    const char *bytes = p->bytes + p->at;
    size_t left = p->length - p->at, n = p->cuts_at_broken ? characters_valid(bytes, left) : left;
    bool is_broken = n == 0;
    if (is_broken) n = characters_broken(bytes, left);
    *next = (part){{bytes, n}, is_broken, p->begins_text && p->at == 0, p->was_broken};
    p->was_broken = is_broken;
    p->at += n;
    return 1;
}

/* The next part that the first n steps give. */
static int next_part(pretokenizer *p, size_t n, part *next) {
    if (n == 0) return next_stretch(p, next);
    stage *s = &p->stages[n - 1];
    for (;;) {
        if (s->is_busy) {
            int more = next_split(s, next);
            if (more) return more;
            s->is_busy = false;
        }
        int more = next_part(p, n - 1, &s->part);
        if (more <= 0) return more;
        if (!s->part.is_broken && s->step->kind == STEP_SPLIT) {
            TRY(pattern_begin(s->pattern, s->part.piece.bytes, s->part.piece.length));
            s->at = s->match_start = 0, s->has_match = s->has_peeked = false, s->is_busy = true;
            continue;
        }
        if (!s->part.is_broken) TRY(s->step->kind == STEP_REPLACE ? replace(s) : put_before(s));
        *next = s->part;
        if (next->piece.length > 0) return 1;
    }
}

int pretokenizer_next(pretokenizer *p, piece *next) {
    part found;
    int more = next_part(p, p->n, &found);
    if (more > 0) *next = found.piece;
    return more;
}
