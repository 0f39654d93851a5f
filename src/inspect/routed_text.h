/* A text and where one layer sent it: its tokens with their experts and weights, in the order of the text and expert by expert. All that is
 * said of experts is counted from it. What a capacity dropped is not in it, nor is padding, and no token is counted twice: windows do not
 * overlap. 16 bytes a token, 24 a pair. */
#ifndef ROUTED_TEXT_H
#define ROUTED_TEXT_H

#include "train/evaluate.h"

typedef struct {
    int32_t id, domain; /* domain: of the evaluation */
    ptrdiff_t first;    /* its pairs are those from here to the next token's */
} routed_token;

typedef struct {
    int32_t expert;
    real weight;
    ptrdiff_t token;
} routed_pair;

typedef struct {
    int layer, experts, T; /* T: tokens of a window */
    ptrdiff_t tokens, pairs;
    routed_token *token;     /* (N + 1); the last one only says where pairs end */
    routed_pair *pair;       /* (P) in the order of the text, a token's in the order of choice */
    ptrdiff_t *of_expert;    /* (P) pairs, expert by expert, in the order of the text */
    ptrdiff_t *expert_start; /* (E + 1) in of_expert */
    const evaluation *e;     /* borrowed */
    size_t token_room, pair_room;
    int status; /* of what was collected */
} routed_text;

/* Runs up to `tokens` of each domain's validation text through the model; e is its evaluation, scores and all. */
int routed_text_of_dataset(routed_text *r, evaluation *e, tape *t, const model *m, int layer, const dataset *d, int64_t tokens);

/* The same for ids (n), of which the last is only predicted. */
int routed_text_of_ids(routed_text *r, evaluation *e, tape *t, const model *m, int layer, const tokenizer *words, const int32_t *ids, int64_t n);

/* Fills of_expert from token and pair. */
int routed_text_sort(routed_text *r);

void routed_text_release(routed_text *r);

static inline ptrdiff_t routed_text_windows(const routed_text *r) { return r->tokens / r->T; }

#endif
