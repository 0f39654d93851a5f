/* A tokenizer into a GGUF file. What the file has no place for is refused: a text must have the same tokens afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "formats/gguf_patterns.h"
#include "formats/gguf_tokenizer.h"
#include "text/byte_alphabet.h"

/* ---- what there is a place for --------------------------------------------------------------------------------------------------- */

static bool is_mark(const char *text) { return !strcmp(text, SPACE_MARK); }

/* Spaces become marks, and a text has one more before it: by normalizing it, or by steps, as transformers 5 writes the same tokenizers. */
static bool normalizes_to_marks(bool *prefix, const tokenizer *t) {
    const normalizer_step *s = t->normalizations, *end = s + t->n_normalizations;
    *prefix = s < end && s->kind == NORMALIZE_PREPEND && is_mark(s->text);
    if (*prefix) s++;
    return t->n_steps == 0 && end - s == 1 && s->kind == NORMALIZE_REPLACE && !s->is_regex && !strcmp(s->text, " ") && is_mark(s->with);
}

static bool steps_to_marks(bool *prefix, const tokenizer *t) {
    const pretokenizer_step *s = t->steps, *end = s + t->n_steps;
    if (t->n_normalizations > 0 || s == end || s->kind != STEP_REPLACE || s->is_regex || strcmp(s->text, " ") || !is_mark(s->with)) return false;
    s++;
    *prefix = s < end && s->kind == STEP_PREFIX && is_mark(s->text);
    return end - s == (*prefix ? 1 : 0);
}

static bool has_all_bytes(const tokenizer *t) {
    bool all = t->byte_fallback;
    for (int byte = 0; byte < 256; byte++) all &= t->byte_id[byte] >= 0;
    return all;
}

static int find_prefix(bool *prefix, const tokenizer *t) {
    const bool normalizes = normalizes_to_marks(prefix, t);
    if ((!normalizes && !steps_to_marks(prefix, t)) || !has_all_bytes(t))
        FAIL(LAMP_UNSUPPORTED,
             "the tokenizer: expected marks for spaces, no patterns, and bytes for what has no token, as GGUF's llama has it; found others");
    if (*prefix && !normalizes)
        log_warning("the tokenizer: where a text begins with a space, or goes on behind a special token, GGUF's llama has one mark more");
    return LAMP_OK;
}

/* GGUF has no place for normal form C, which many vocabularies come with whose patterns it knows by name. */
static int find_composition(bool *composes, const tokenizer *t) {
    const normalizer_step *s = t->normalizations;
    const size_t n = t->n_normalizations;
    *composes = n == 1 && s->kind == NORMALIZE_FORM && s->form == UNICODE_NFC;
    if (n > 0 && !*composes) FAIL(LAMP_UNSUPPORTED, "the tokenizer: expected no normalizer but NFC, found one, for which GGUF has no place");
    return LAMP_OK;
}

static int check_writable(const tokenizer *t, int64_t end_of_text) {
    if (t->kind == VOCABULARY_OF_WORDS) FAIL(LAMP_UNSUPPORTED, "the tokenizer: expected a vocabulary of bytes or of characters, found one of words");
    if (t->begin.length > 1 || t->end.length > 1 || (t->end.length == 1 && t->end.id[0] != end_of_text))
        FAIL(LAMP_UNSUPPORTED,
             "the tokenizer: expected at most one token before a text, and behind it the one that ends texts or none, found %zu and %zu, for which "
             "GGUF has no place",
             t->begin.length, t->end.length);
    for (int32_t id = 0; id < t->size; id++)
        if (t->tokens[id].traits & (TRAIT_LEFT | TRAIT_RIGHT | TRAIT_WORD))
            FAIL(LAMP_UNSUPPORTED, "the tokenizer: token %d takes white space along, or stands alone, for which GGUF has no place", id);
    return LAMP_OK;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------------------------- */

/* As files spell it. */
static gguf_text spell(buffer *spelling, const tokenizer *t, int32_t id) {
    const token *spelt = &t->tokens[id];
    gguf_text text = {t->text.bytes + spelt->start, spelt->length};
    if (spelt->kind != TOKEN_TEXT || t->kind != VOCABULARY_OF_BYTES) return text;
    spelling->length = 0;
    byte_alphabet_spell(spelling, text.bytes, text.length);
    return (gguf_text){spelling->status < 0 ? "" : spelling->bytes, spelling->length};
}

static bool is_byte(const tokenizer *t, int32_t id) {
    for (int byte = 0; byte < 256 && t->kind == VOCABULARY_OF_CHARACTERS; byte++)
        if (t->byte_id[byte] == id) return true;
    return false;
}

static int32_t type_of(const tokenizer *t, int32_t id) {
    static const int32_t types[] = {[TOKEN_TEXT] = GGUF_TOKEN_NORMAL, [TOKEN_ADDED] = GGUF_TOKEN_ADDED, [TOKEN_SPECIAL] = GGUF_TOKEN_CONTROL};
    if (id >= t->size) return GGUF_TOKEN_UNUSED;
    if (id == t->unknown) return GGUF_TOKEN_UNKNOWN;
    return is_byte(t, id) ? GGUF_TOKEN_BYTE : types[t->tokens[id].kind];
}

static void put_tokens(gguf_writer *w, buffer *spelling, const tokenizer *t, int32_t n) {
    gguf_begin_array(w, "tokenizer.ggml.tokens", GGUF_TEXT, (uint64_t)n);
    for (int32_t id = 0; id < n; id++) {
        char pad[32];
        gguf_text text = id < t->size ? spell(spelling, t, id) : (gguf_text){pad, (size_t)snprintf(pad, sizeof pad, "[PAD%d]", id)};
        gguf_put_item_text(w, text.bytes, text.length);
    }
    gguf_begin_array(w, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)n);
    for (int32_t id = 0; id < n; id++) gguf_put_item(w, &(int32_t){type_of(t, id)});
}

/* ---- merges of bytes --------------------------------------------------------------------------------------------------------------- */

static void put_merges(gguf_writer *w, buffer *spelling, const tokenizer *t) {
    buffer pair = {0};
    gguf_begin_array(w, "tokenizer.ggml.merges", GGUF_TEXT, (uint64_t)t->n_merges);
    for (int rank = 0; rank < t->n_merges; rank++) {
        buffer_clear(&pair);
        gguf_text part = spell(spelling, t, t->merges[rank].left);
        buffer_append(&pair, part.bytes, part.length);
        buffer_append_byte(&pair, ' ');
        part = spell(spelling, t, t->merges[rank].right);
        buffer_append(&pair, part.bytes, part.length);
        gguf_put_item_text(w, pair.bytes, pair.length);
    }
    if (pair.status < 0) spelling->status = pair.status;
    buffer_release(&pair);
}

/* ---- scores of characters ---------------------------------------------------------------------------------------------------------- */

static int64_t rank_of(const tokenizer *t, const merge *m) { return index_map_find(&t->merge_of_pair, pair_key(m->left, m->right)) >> 32; }

/* How many ways there are to make a token of two others. */
static int count_ways(const tokenizer *t, int32_t id) {
    const char *bytes = t->text.bytes + t->tokens[id].start;
    const uint32_t length = t->tokens[id].length;
    int n = 0;
    for (uint32_t at = 0; tokenizer_can_merge(t, id);) {
        size_t step = character_length(bytes + at, length - at, NULL);
        at += step ? (uint32_t)step : 1;
        if (at >= length) break;
        n += tokenizer_can_merge(t, tokenizer_find(t, bytes, at)) && tokenizer_can_merge(t, tokenizer_find(t, bytes + at, length - at));
    }
    return n;
}

typedef struct {
    int64_t rank;
    int32_t result;
} ranked;

static int compare_ranked(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->result - y->result;
}

/* Scores can say what merges do if all ways to make a token are merges, and follow one another: then the first token to be made has the highest
 * score. Tokens that are not made have lower ones. */
static int find_scores(float *scores, const tokenizer *t, ranked *order) {
    int64_t ways = 0, last = 0;
    int place = 0, n = 0;
    for (int32_t id = 0; id < t->size; id++) scores[id] = 0, ways += count_ways(t, id);
    for (int i = 0; i < t->n_merges; i++) /* what stands for no text has no score */
        if (tokenizer_can_merge(t, t->merges[i].result)) order[n++] = (ranked){rank_of(t, &t->merges[i]), t->merges[i].result};
    if (n > 0) qsort(order, (size_t)n, sizeof *order, compare_ranked);
    bool follow = ways == n;
    for (int i = 0; i < n && follow; i++) {
        if (i > 0 && order[i].result == order[i - 1].result) continue;
        if (i == 0 || order[i].rank != last) place++;
        last = order[i].rank;
        follow = scores[order[i].result] == 0;
        scores[order[i].result] = (float)-place;
    }
    if (!follow) FAIL(LAMP_UNSUPPORTED, "the tokenizer: expected merges that scores can say, as GGUF's llama has them, found others");
    for (int32_t id = 0; id < t->size; id++)
        if (scores[id] == 0 && t->tokens[id].kind == TOKEN_TEXT && !is_byte(t, id)) scores[id] = (float)-(place + 1 + id);
    return LAMP_OK;
}

static int put_scores(gguf_writer *w, const tokenizer *t, int32_t n) {
    float *scores = NULL, none = 0;
    ranked *order = NULL;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&scores, (size_t)t->size, sizeof *scores, "scores"));
    TRY_TO(done, memory_new(&order, (size_t)t->n_merges, sizeof *order, "the order of merges"));
    TRY_TO(done, find_scores(scores, t, order));
    gguf_begin_array(w, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)n);
    for (int32_t id = 0; id < n; id++) gguf_put_item(w, id < t->size ? &scores[id] : &none);
done:
    memory_free(order), memory_free(scores);
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------------- */

static int put_how(gguf_writer *w, buffer *spelling, const tokenizer *t, int32_t n) {
    const char *cut;
    bool prefix, composes;
    if (t->kind == VOCABULARY_OF_BYTES) {
        TRY(find_composition(&composes, t));
        if (composes) gguf_put_bool(w, GGUF_COMPOSES, true);
        TRY(gguf_patterns_name(&cut, t));
        gguf_put_text(w, "tokenizer.ggml.pre", cut, strlen(cut));
        put_merges(w, spelling, t);
        return LAMP_OK;
    }
    TRY(find_prefix(&prefix, t));
    gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", prefix);
    if (t->unknown >= 0) gguf_put_integer(w, "tokenizer.ggml.unknown_token_id", (uint32_t)t->unknown);
    return put_scores(w, t, n);
}

int gguf_write_tokenizer(gguf_writer *w, const tokenizer *t, int64_t vocabulary_size, int64_t end_of_text) {
    const char *model = !t ? "none" : t->kind == VOCABULARY_OF_BYTES ? "gpt2" : "llama";
    buffer spelling = {0};
    gguf_put_text(w, "tokenizer.ggml.model", model, strlen(model));
    if (end_of_text < 0 && t) end_of_text = tokenizer_end_of_text(t);
    if (end_of_text >= 0) gguf_put_integer(w, "tokenizer.ggml.eos_token_id", (uint32_t)end_of_text);
    if (!t) return LAMP_OK;
    const int32_t n = vocabulary_size > t->size ? (int32_t)vocabulary_size : t->size;
    TRY(check_writable(t, end_of_text));
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", t->begin.length > 0);
    if (t->begin.length > 0) gguf_put_integer(w, "tokenizer.ggml.bos_token_id", (uint32_t)t->begin.id[0]);
    if (t->end.length > 0) gguf_put_bool(w, "tokenizer.ggml.add_eos_token", true);
    put_tokens(w, &spelling, t, n);
    int status = put_how(w, &spelling, t, n);
    if (status >= 0) status = spelling.status;
    buffer_release(&spelling);
    return status;
}
