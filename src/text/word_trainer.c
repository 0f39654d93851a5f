/* Choosing words. Ids follow frequency, the most frequent first, as samplers of log-uniform frequencies expect of them; what takes the place
 * of rarer words, and what ends documents, stand where their own frequencies put them. Words of equal frequency go by their bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "text/piece_counts.h"
#include "text/tokenizer_parts.h"

const pretokenizer_step word_step = {.kind = STEP_SPLIT, .text = PRETOKENIZER_WORDS, .is_regex = true, .behavior = SPLIT_REMOVED, .inverted = true};
static const char UNKNOWN[] = "<unk>";

typedef struct {
    const char *bytes;
    size_t length;
    int64_t count;
    token_kind kind;
} word;

static int compare_words(const void *a, const void *b) {
    const word *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* Returns how many of the words, which become sorted, are kept. */
static size_t keep_frequent(word *words, const piece_counts *c, size_t most) {
    int64_t rare = 0;
    for (size_t i = 0; i < c->n; i++) words[i] = (word){c->text.bytes + c->pieces[i].start, c->pieces[i].length, c->pieces[i].count, TOKEN_TEXT};
    qsort(words, c->n, sizeof *words, compare_words);
    size_t n = c->n < most - 2 ? c->n : most - 2;
    for (size_t i = n; i < c->n; i++) rare += words[i].count;
    words[n++] = (word){UNKNOWN, sizeof UNKNOWN - 1, rare, TOKEN_TEXT};
    words[n++] = (word){END_OF_TEXT, sizeof END_OF_TEXT - 1, c->documents, TOKEN_SPECIAL};
    qsort(words, n, sizeof *words, compare_words);
    return n;
}

int words_choose(tokenizer **result, const piece_counts *c, int vocabulary_size) {
    int status = LAMP_OK;
    tokenizer *t = NULL;
    word *words = NULL;
    if (vocabulary_size < 3)
        FAIL(LAMP_INVALID, "vocabulary size: expected at least 3 (a word, %s and %s), found %d", UNKNOWN, END_OF_TEXT, vocabulary_size);
    TRY_TO(done, memory_new(&words, c->n + 2, sizeof *words, "words"));
    size_t n = keep_frequent(words, c, (size_t)vocabulary_size);
    TRY_TO(done, tokenizer_new(&t, VOCABULARY_OF_WORDS));
    TRY_TO(done, tokenizer_add_step(t, &word_step));
    for (size_t i = 0; i < n; i++) {
        if (words[i].bytes == UNKNOWN) t->unknown = (int32_t)i;
        TRY_TO(done, tokenizer_add_token(t, words[i].bytes, words[i].length, words[i].kind, 0));
    }
    TRY_TO(done, tokenizer_complete(t));
    *result = t;
    t = NULL;
done:
    memory_free(words);
    tokenizer_free(t);
    return status;
}
