/* Cuts text into the pieces inside which a vocabulary's own rules work, step by step: each step cuts, or changes, the pieces of the one
 * before. Where a step matches a regular expression, the text is first cut into UTF-8 and what is none; the latter is passed on as it is, so
 * that steps which only cut, and throw nothing away, give pieces that joined are the text, whatever its bytes.
 * A pretokenizer serves one thread at a time. */
#ifndef PRETOKENIZER_H
#define PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *bytes; /* borrowed; valid until the next piece is asked for */
    size_t length;     /* never 0 */
} piece;

/* What becomes of the matches and of what lies between them. */
typedef enum { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_CONTIGUOUS, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT } split_behavior;

typedef enum { STEP_SPLIT, STEP_REPLACE, STEP_PREFIX } step_kind;

typedef struct {
    step_kind kind;
    const char *text; /* SPLIT, REPLACE: what to look for; PREFIX: what to put before a piece, unless it begins so */
    bool is_regex;
    split_behavior behavior; /* SPLIT */
    bool inverted;           /* SPLIT: what lies between the matches counts as the matches, and the other way round */
    const char *with;        /* REPLACE: what stands there then */
    bool first_only;         /* PREFIX: only before the piece with which the whole text begins */
} pretokenizer_step;

typedef struct pretokenizer pretokenizer;

int pretokenizer_new(pretokenizer **p, const pretokenizer_step *steps, size_t n); /* borrowed */
void pretokenizer_free(pretokenizer *p);

/* bytes are borrowed until the last piece. begins_text: whether the whole text begins here. */
int pretokenizer_begin(pretokenizer *p, const char *bytes, size_t length, bool begins_text);
int pretokenizer_next(pretokenizer *p, piece *next); /* 1, or 0 after the last piece */

/* Words with one leading space or sign, single digits, runs of signs, line ends, other space: the pattern of Qwen 2 and 3. */
extern const char PRETOKENIZER_QWEN2[];
extern const char PRETOKENIZER_GPT2[];
extern const char PRETOKENIZER_WORDS[]; /* words, and runs of signs */
extern const char PRETOKENIZER_DIGIT[]; /* as the step Digits of Hugging Face's tokenizers has it, which knows a year's digits more than \p{N} */

#endif
