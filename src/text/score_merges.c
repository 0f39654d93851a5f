/* Merges that follow scores, as SentencePiece's byte-pair models and GGUF files have them: of neighbouring symbols, the two whose joined
 * characters are the token of the highest score are merged first, leftmost on ties. As merges: each way to make a token of two others, ranked
 * by the token's score; equal scores have one rank. */
#include <stdlib.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "text/tokenizer_parts.h"

typedef struct {
    float score;
    int32_t id;
} scored;

static int compare_scores(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return x->score != y->score ? (x->score > y->score ? -1 : 1) : x->id - y->id;
}

static int add_ways(tokenizer *t, int32_t result, int64_t rank) {
    const token whole = t->tokens[result];
    for (uint32_t at = 0;;) {
        const char *bytes = t->text.bytes + whole.start;
        size_t step = character_length(bytes + at, whole.length - at, NULL);
        at += step ? (uint32_t)step : 1;
        if (at >= whole.length) return LAMP_OK;
        int32_t left = tokenizer_find(t, bytes, at), right = tokenizer_find(t, bytes + at, whole.length - at);
        if (tokenizer_can_merge(t, left) && tokenizer_can_merge(t, right)) TRY(tokenizer_set_merge(t, (merge){left, right, result}, rank));
    }
}

int tokenizer_merge_by_scores(tokenizer *t, const float *scores) {
    int status = LAMP_OK;
    scored *order;
    int64_t rank = 0;
    size_t n = 0;
    TRY(memory_new(&order, (size_t)t->size, sizeof *order, "the order of scores"));
    for (int32_t id = 0; id < t->size; id++)
        if (tokenizer_can_merge(t, id) && t->tokens[id].length > 0) order[n++] = (scored){scores[id], id};
    if (n > 0) qsort(order, n, sizeof *order, compare_scores);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank++;
        TRY_TO(done, add_ways(t, order[i].id, rank));
    }
done:
    memory_free(order);
    return status;
}
