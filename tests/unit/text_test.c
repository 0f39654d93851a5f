/* The parts of tokenizers: patterns, cutting, normalising, added tokens, decoding as text comes, merging by scores. What whole tokenizers do is
 * compared with Hugging Face's in tests/golden/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/characters.h"
#include "base/clock.h"
#include "base/random.h"
#include "lamp.h"
#include "text/pattern.h"
#include "text/tokenizer_parts.h"

/* ---- characters -------------------------------------------------------------------------------------------------------------------- */

static void characters_are_read_and_written(void) {
    static const uint32_t edges[] = {0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        char bytes[4];
        uint32_t point, before;
        size_t n = character_write(bytes, edges[i]);
        EXPECT(character_length(bytes, n, &point) == n && point == edges[i], "U+%04X became U+%04X", edges[i], point);
        EXPECT(character_before(bytes, n, &before) == n && before == edges[i], "U+%04X became U+%04X", edges[i], before);
        for (size_t cut = 1; cut < n; cut++) EXPECT(characters_unfinished(bytes, cut) == cut, "%zu bytes of U+%04X", cut, edges[i]);
        EXPECT(characters_unfinished(bytes, n) == 0, "U+%04X is whole", edges[i]);
    }
    EXPECT(characters_valid("caf\xC3\xA9 and more text\xC3", 20) == 19, "found %zu", characters_valid("caf\xC3\xA9 and more text\xC3", 20));
    EXPECT(characters_broken("\xFF\x80\xC3 a", 5) == 3, "found %zu", characters_broken("\xFF\x80\xC3 a", 5));
    EXPECT(characters_unfinished("a\xC0", 2) == 0 && characters_unfinished("\x80\x80\x80\x80", 4) == 0, "what no character begins with is held back");
}

/* ---- patterns -------------------------------------------------------------------------------------------------------------------- */

/* The matches, each followed by |. */
static void expect_matches(const char *regex, const char *text, const char *expected) {
    pattern *p = NULL;
    size_t start, end;
    buffer found = {0};
    EXPECT_OK(pattern_new(&p, regex));
    if (!p) return;
    EXPECT_OK(pattern_begin(p, text, strlen(text)));
    buffer_append_text(&found, "");
    while (pattern_next(p, &start, &end) > 0) buffer_append(&found, text + start, end - start), buffer_append_byte(&found, '|');
    EXPECT(!strcmp(found.bytes, expected), "%s in \"%s\": %s", regex, text, found.bytes);
    buffer_release(&found);
    pattern_free(p);
}

static void patterns_mean_what_oniguruma_means(void) {
    static const struct {
        const char *regex, *text, *matches;
    } rows[] = {
        {"\\w+", "a_b \xC2\xB2 \xC2\xBD\xE2\x80\xBF e\xCC\x81 \xE2\x91\xA0", "a_b|\xC2\xB2|\xC2\xBD\xE2\x80\xBF|e\xCC\x81|"},
        {"[\\w-]+", "a-b c", "a-b|c|"},
        {"\\W", "a \xC2\xB2!", " |!|"},
        {"\\bfoo\\b", "foo foo\xC2\xB2 foo", "foo|foo|"},
        {"\\Boo", "foo oo", "oo|"},
        {"\\v", "a\x0B\nb", "\x0B|"},
        {"\\u00e9", "e\xC3\xA9", "\xC3\xA9|"},
        {"\\x41\\x{e9}", "A\xC3\xA9", "A\xC3\xA9|"},
        {"\\p{Han}", "\xE3\x80\x81\xE4\xB8\x80\xE3\x80\x87", "\xE4\xB8\x80|\xE3\x80\x87|"}, /* not U+3001, which the script only uses */
        {"\\p{^L}", "a1", "1|"},
        {"\\s", "a\xE1\xA0\x8E\xC2\x85", "\xC2\x85|"}, /* not U+180E */
        {"\\s+$", "a \nb  \n c ", " |  | |"},
        {"^.", "a\nb\n", "a|b|"},
        {".", "\n\r", "\r|"},
        {"[0-9]*", "ab12cd", "||12|||"},
        {"(?=b)", "abb", "||"},
        {"x*", "", "|"},
        {"(?i)k", "kK\xE2\x84\xAA", "k|K|\xE2\x84\xAA|"},
        {"a|(?:b)(?=c)(?!d)(?>e|)(?<=b)(?<!c)", "abc", "a|b|"},
        {"a{2}b{1,}", "aabb", "aabb|"},
        {"\\p{Lu}\\p{L}\\p{N}\\p{S}\\p{M}\\p{P}", "\xF0\x90\xB5\x90\xF0\xB1\x8D\x90\xF0\x91\xBD\x90\xF0\x9F\xAB\xA8\xF0\x9E\x97\xAE\xF0\x9E\x97\xBF",
         "\xF0\x90\xB5\x90\xF0\xB1\x8D\x90\xF0\x91\xBD\x90\xF0\x9F\xAB\xA8\xF0\x9E\x97\xAE\xF0\x9E\x97\xBF|"}, /* of Unicode 15 and 16 */
        {"\\p{Han}+", "\xF0\xB1\x8D\x90\xF0\x93\x91\xA0", "\xF0\xB1\x8D\x90|"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].regex);
        expect_matches(rows[i].regex, rows[i].text, rows[i].matches);
    }
}

static void plain_characters_are_found_in_any_bytes(void) {
    pattern *p = NULL;
    size_t start, end;
    EXPECT_OK(pattern_new_plain(&p, "aa", 2));
    EXPECT_OK(pattern_begin(p,
                            "\xFF"
                            "aaa\xFF"
                            "aa",
                            7));
    EXPECT(!pattern_is_regex(p) && pattern_next(p, &start, &end) == 1 && start == 1 && end == 3, "%zu to %zu", start, end);
    EXPECT(pattern_next(p, &start, &end) == 1 && start == 5 && end == 7 && pattern_next(p, &start, &end) == 0, "%zu to %zu", start, end);
    pattern_free(p);
}

/* ---- cutting ----------------------------------------------------------------------------------------------------------------------- */

static void expect_pieces(const pretokenizer_step *steps, size_t n, bool begins_text, const char *text, const char *expected) {
    pretokenizer *p = NULL;
    piece next;
    buffer pieces = {0};
    EXPECT_OK(pretokenizer_new(&p, steps, n));
    EXPECT_OK(pretokenizer_begin(p, text, strlen(text), begins_text));
    buffer_append_text(&pieces, "");
    while (pretokenizer_next(p, &next) > 0) buffer_append(&pieces, next.bytes, next.length), buffer_append_byte(&pieces, '|');
    EXPECT(!strcmp(pieces.bytes, expected), "\"%s\": %s, expected %s", text, pieces.bytes, expected);
    buffer_release(&pieces);
    pretokenizer_free(p);
}

static void matches_are_kept_dropped_or_joined(void) {
    static const struct {
        split_behavior behavior;
        bool inverted;
        const char *text, *pieces;
    } rows[] = {
        {SPLIT_ISOLATED, false, "axxbx", "a|x|x|b|x|"},
        {SPLIT_REMOVED, false, "axxbx", "a|b|"},
        {SPLIT_REMOVED, true, "axxbx", "x|x|x|"},
        {SPLIT_CONTIGUOUS, false, "axxbx", "a|xx|b|x|"},
        {SPLIT_WITH_PREVIOUS, false, "axxbx", "ax|x|bx|"},
        {SPLIT_WITH_NEXT, false, "axxbx", "a|x|xb|x|"},
        {SPLIT_WITH_PREVIOUS, true, "xxaxxbx", "x|xa|x|xb|x|"},
        {SPLIT_WITH_NEXT, true, "ax", "ax|"},
        {SPLIT_REMOVED, false, "xx", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pretokenizer_step step = {.text = "x", .behavior = rows[i].behavior, .inverted = rows[i].inverted};
        for (int regex = 0; regex < 2; regex++) {
            step.is_regex = regex;
            expect_pieces(&step, 1, true, rows[i].text, rows[i].pieces);
        }
    }
    expect_pieces(&(pretokenizer_step){.text = "[0-9]*", .is_regex = true}, 1, true, "ab12cd", "a|b|12|c|d|");
}

static void steps_cut_and_change_the_pieces_of_those_before(void) {
    const pretokenizer_step marks[] = {{.kind = STEP_REPLACE, .text = " ", .with = "_"},
                                       {.kind = STEP_PREFIX, .text = "_", .first_only = true},
                                       {.text = "_", .behavior = SPLIT_WITH_NEXT}};
    const pretokenizer_step digits[] = {{.text = "\\p{N}", .is_regex = true}, {.kind = STEP_PREFIX, .text = " "}, {.text = "b", .is_regex = true}};
    expect_pieces(NULL, 0, true, "any \xFF text", "any \xFF text|");
    expect_pieces(marks, 3, true, "a  b", "_a|_|_b|");
    expect_pieces(marks, 3, true, " a", "_a|");
    expect_pieces(marks, 3, false, "a b", "a|_b|");
    expect_pieces(marks, 3, true, "a\xFF b", "_a\xFF|_b|");
    expect_pieces(digits, 3, true, "a1bc", " a| 1| |b|c|");
    expect_pieces(digits, 3, true,
                  "a\xFF\xFE"
                  "1",
                  " a|\xFF\xFE|1|"); /* nothing is put behind broken bytes */
}

/* ---- normalising ---------------------------------------------------------------------------------------------------------------------- */

static void expect_normal(const normalizer_step *steps, size_t n, const char *text, const char *expected) {
    normalizer *z = NULL;
    const char *bytes = text;
    size_t length = strlen(text);
    EXPECT_OK(normalizer_new(&z, steps, n));
    EXPECT_OK(normalizer_run(z, &bytes, &length));
    EXPECT(length == strlen(expected) && !memcmp(bytes, expected, length), "\"%s\": \"%.*s\", expected \"%s\"", text, (int)length, bytes, expected);
    normalizer_free(z);
}

static void text_is_normalised(void) {
    static const struct {
        normalizer_step step;
        const char *text, *normal;
    } rows[] = {
        {{.form = UNICODE_NFC}, "plain", "plain"},
        {{.form = UNICODE_NFC}, "caf\xC3\xA9 e\xCC\x81", "caf\xC3\xA9 \xC3\xA9"},
        {{.form = UNICODE_NFC}, "e\xCC\x81\xCC\xA3", "\xE1\xBA\xB9\xCC\x81"},
        {{.form = UNICODE_NFC},
         "e\xFF\xCC\x81"
         "a\xCC\x8A\x80",
         "e\xFF\xCC\x81\xC3\xA5\x80"},
        {{.form = UNICODE_NFD}, "\xC3\xA9x", "e\xCC\x81x"},
        {{.form = UNICODE_NFKC}, "\xEF\xAC\x81 \xEF\xBD\xB6\xEF\xBE\x9E", "fi \xE3\x82\xAC"},
        {{.form = UNICODE_NFKD},
         "\xC2\xBD",
         "1\xE2\x81\x84"
         "2"},
        {{.form = UNICODE_NFC}, "\xEA\xB0\x80\xE1\x86\xA8\xEA\xB0\x80\xE1\x86\xA7", "\xEA\xB0\x81\xEA\xB0\x80\xE1\x86\xA7"}, /* U+11A7 stays */
        {{.form = UNICODE_NFD}, "a\xE0\xA3\x8A\xCC\xA3", "a\xE0\xA3\x8A\xCC\xA3"}, /* U+08CA is too young to move */
        {{.kind = NORMALIZE_LOWER},
         "\xC3\x89 \xC4\xB0 \xCE\xA3 \xFF"
         "A \xEA\x9F\x8B",
         "\xC3\xA9 i\xCC\x87 \xCF\x83 \xFF"
         "a \xC9\xA4"},
        {{.kind = NORMALIZE_REPLACE, .text = "a", .with = "bb"}, "a\xFFza", "bb\xFFzbb"},
        {{.kind = NORMALIZE_REPLACE, .text = "[0-9]+", .is_regex = true, .with = "#"},
         "12\xFF"
         "3x",
         "#\xFF#x"},
        {{.kind = NORMALIZE_REPLACE, .text = "x", .with = ""}, "xx", ""},
        {{.kind = NORMALIZE_PREPEND, .text = "_"}, "a", "_a"},
        {{.kind = NORMALIZE_PREPEND, .text = "_"}, "", ""},
        {{.kind = NORMALIZE_STRIP, .at_start = true},
         " \xE2\x80\x83"
         "a ",
         "a "},
        {{.kind = NORMALIZE_STRIP, .at_end = true}, " a\xC2\xA0\n", " a"},
        {{.kind = NORMALIZE_STRIP, .at_start = true, .at_end = true}, " \n ", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) expect_normal(&rows[i].step, 1, rows[i].text, rows[i].normal);
    const normalizer_step all[] = {
        {.kind = NORMALIZE_STRIP, .at_start = true}, {.form = UNICODE_NFC}, {.kind = NORMALIZE_LOWER}, {.kind = NORMALIZE_PREPEND, .text = ">"}};
    expect_normal(all, 4, "  E\xCC\x81", ">\xC3\xA9");
}

/* Marks in an order that must be turned round, so many that moving each past all others would never end. */
static void a_million_marks_are_ordered_in_time(void) {
    enum { MARKS = 500000 };
    const normalizer_step step = {.form = UNICODE_NFD};
    normalizer *z = NULL;
    buffer text = {0};
    double start = clock_seconds();
    buffer_append_byte(&text, 'a');
    for (int i = 0; i < MARKS; i++) buffer_append_text(&text, "\xCC\x81\xCC\xA3");
    const char *bytes = text.bytes;
    size_t length = text.length;
    EXPECT_OK(normalizer_new(&z, &step, 1));
    EXPECT_OK(normalizer_run(z, &bytes, &length));
    EXPECT(length == text.length && !memcmp(bytes + 1, "\xCC\xA3\xCC\xA3", 4) && !memcmp(bytes + length - 4, "\xCC\x81\xCC\x81", 4), "not in order");
    EXPECT(clock_seconds() - start < 20, "%.1f seconds", clock_seconds() - start);
    normalizer_free(z);
    buffer_release(&text);
}

/* ---- a small vocabulary of characters ------------------------------------------------------------------------------------------------ */

/* 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then the texts with these scores. */
static tokenizer *of_characters(const char *const *texts, const float *scores, int n) {
    tokenizer *t = NULL;
    float all[400] = {0};
    EXPECT_OK(tokenizer_new(&t, VOCABULARY_OF_CHARACTERS));
    EXPECT_OK(tokenizer_add_normalization(t, &(normalizer_step){.kind = NORMALIZE_PREPEND, .text = "_"}));
    EXPECT_OK(tokenizer_add_normalization(t, &(normalizer_step){.kind = NORMALIZE_REPLACE, .text = " ", .with = "_"}));
    EXPECT_OK(tokenizer_keep_text(&t->showing.mark, t, "_"));
    t->showing.reads_bytes = true, t->showing.stripped = 1;
    t->byte_fallback = t->fuse_unknown = true, t->unknown = 0;
    EXPECT_OK(tokenizer_add_token(t, "<unk>", 5, TOKEN_SPECIAL, 0));
    EXPECT_OK(tokenizer_add_token(t, "<s>", 3, TOKEN_SPECIAL, 0));
    EXPECT_OK(tokenizer_add_token(t, "</s>", 4, TOKEN_SPECIAL, 0));
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        EXPECT_OK(tokenizer_add_token(t, name, 6, TOKEN_TEXT, 0));
    }
    for (int i = 0; i < n; i++) {
        all[259 + i] = scores[i];
        EXPECT_OK(tokenizer_add_token(t, texts[i], strlen(texts[i]), TOKEN_TEXT, 0));
    }
    EXPECT_OK(tokenizer_merge_by_scores(t, all));
    EXPECT_OK(token_list_append(&t->begin, 1));
    EXPECT_OK(token_list_append(&t->end, 2));
    EXPECT_OK(tokenizer_complete(t));
    return t;
}

static void expect_ids(const tokenizer *t, const char *text, unsigned how, const int32_t *ids, size_t n) {
    encoder *e = NULL;
    token_list list = {0};
    EXPECT_OK(encoder_new(&e, t));
    EXPECT_OK(encoder_encode_as(e, &list, text, strlen(text), how));
    bool same = list.length == n && (n == 0 || !memcmp(list.id, ids, n * sizeof *ids));
    EXPECT(same, "\"%s\": %zu ids, the first %d", text, list.length, list.length ? list.id[0] : -1);
    token_list_release(&list);
    encoder_free(e);
}
#define EXPECT_IDS(t, text, how, ...) expect_ids(t, text, how, (int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))

static const char *const texts[] = {"_", "a", "b", "c", "ab", "bc", "_a", "abc", "\xC3\xA9"};
static const float scores[] = {-9, -9, -9, -9, -2, -2, -1, -3, -9};

/* Of "_abc": _a is the best; then bc. Of "abcab" with a mark before it, the same begins it; of equals the leftmost comes first. */
static void the_highest_score_is_merged_first(void) {
    tokenizer *t = of_characters(texts, scores, 9);
    EXPECT_IDS(t, "abc", 0, 265, 264);
    EXPECT_IDS(t, "cabc", 0, 259, 262, 266); /* ab, leftmost of two that score alike, and then abc */
    EXPECT_IDS(t, "b  c", 0, 259, 261, 259, 259, 262);
    EXPECT_IDS(t, "\xC3\xA9\xC3\x9F\xFF", 0, 259, 267, 3 + 0xC3, 3 + 0x9F, 3 + 0xFF);
    EXPECT_IDS(t, "a</s>a", ENCODE_SPECIALS | ENCODE_BEGIN | ENCODE_END, 1, 265, 2, 265, 2);
    expect_ids(t, "", 0, NULL, 0);
    tokenizer_free(t);
}

/* The definition: of all neighbours whose joined characters are a token, those of the highest score are joined, the leftmost first. */
static size_t merge_by_definition(const tokenizer *t, const float *all, char symbols[][64], size_t n) {
    for (;;) {
        size_t best = 0;
        float best_score = -1e9f;
        for (size_t i = 0; i + 1 < n; i++) {
            char joined[128];
            snprintf(joined, sizeof joined, "%s%s", symbols[i], symbols[i + 1]);
            int32_t id = tokenizer_find(t, joined, strlen(joined));
            if (id >= 0 && all[id - 259] > best_score) best = i, best_score = all[id - 259];
        }
        if (best_score == -1e9f) return n;
        size_t length = strlen(symbols[best]);
        memcpy(symbols[best] + length, symbols[best + 1], strlen(symbols[best + 1]) + 1);
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 2) * sizeof *symbols);
        n--;
    }
}

/* Tokens of every length from three letters, with few different scores, so that many are alike. */
static void scores_follow_their_definition(void) {
    enum { TOKENS = 120, LONGEST = 90 };
    static char names[TOKENS][8], symbols[LONGEST + 1][64];
    static const char *spelt[TOKENS];
    static float all[TOKENS];
    random_key key = random_key_make(9, RANDOM_SAMPLE, 0, 0);
    uint64_t draw = 0;
    int n = 0;
    for (const char *c = "_abc"; *c; c++) names[n][0] = *c, n++;
    while (n < TOKENS) {
        char name[8] = "";
        int length = 2 + (int)random_below(key, draw++, 4), known = 0;
        for (int i = 0; i < length; i++) name[i] = "abc"[random_below(key, draw++, 3)];
        for (int i = 0; i < n; i++) known |= !strcmp(names[i], name);
        if (!known) strcpy(names[n++], name);
    }
    for (int i = 0; i < TOKENS; i++) spelt[i] = names[i], all[i] = -(float)random_below(key, draw++, 12);
    tokenizer *t = of_characters(spelt, all, TOKENS);
    encoder *e = NULL;
    EXPECT_OK(encoder_new(&e, t));
    for (int round = 0; round < 200; round++) {
        char text[LONGEST];
        token_list list = {0};
        size_t length = 1 + random_below(key, draw++, LONGEST - 2);
        for (size_t i = 0; i < length; i++) text[i] = " abcabcabc"[random_below(key, draw++, 10)];
        memset(symbols, 0, sizeof symbols);
        symbols[0][0] = '_';
        for (size_t i = 0; i < length; i++) symbols[i + 1][0] = text[i] == ' ' ? '_' : text[i];
        size_t expected = merge_by_definition(t, all, symbols, length + 1);
        EXPECT_OK(encoder_encode(e, &list, text, length));
        EXPECT(list.length == expected, "\"%.*s\": %zu tokens, expected %zu", (int)length, text, list.length, expected);
        for (size_t i = 0; i < expected && i < list.length; i++) {
            int32_t id = tokenizer_find(t, symbols[i], strlen(symbols[i]));
            EXPECT(list.id[i] == id, "\"%.*s\": token %zu is %d, expected %s", (int)length, text, i, list.id[i], symbols[i]);
        }
        token_list_release(&list);
    }
    encoder_free(e);
    tokenizer_free(t);
}

static void words_of_five_million_characters_end(void) {
    enum { N = 5000000 };
    tokenizer *t = of_characters(texts, scores, 9);
    encoder *e = NULL;
    token_list list = {0};
    buffer decoded = {0};
    char *word = malloc(N);
    double start = clock_seconds();
    EXPECT_OK(encoder_new(&e, t));
    for (int i = 0; i < N; i++) word[i] = "abcabca\xC3"[(i * 7ll + i / 8) % 8];
    EXPECT_OK(encoder_encode(e, &list, word, N));
    EXPECT_OK(tokenizer_decode(t, &decoded, list.id, list.length));
    EXPECT(decoded.length == N && !memcmp(decoded.bytes, word, N), "%d bytes became %zu", N, decoded.length);
    EXPECT(clock_seconds() - start < 60, "%.1f seconds", clock_seconds() - start);
    free(word);
    buffer_release(&decoded);
    token_list_release(&list);
    encoder_free(e);
    tokenizer_free(t);
}

/* ---- decoding ------------------------------------------------------------------------------------------------------------------------ */

static void characters_come_whole_while_text_is_decoded(void) {
    static const char text[] = "\xF0\x9F\x98\x80 b\xE2\x82\xAC\xFF\xE2\x82";
    static const size_t whole[] = {0, 0, 0, 0, 4, 5, 6, 6, 6, 9, 10, 10, 10};
    tokenizer *t = of_characters(texts, scores, 9);
    decoder d;
    buffer out = {0};
    decoder_begin(&d, t, true, false);
    EXPECT_OK(decoder_add(&d, &out, 259)); /* the space that a text's beginning loses */
    for (size_t i = 0; i < sizeof text - 1; i++) {
        EXPECT(out.length == whole[i], "%zu bytes after %zu, expected %zu", out.length, i, whole[i]);
        EXPECT_OK(decoder_add(&d, &out, text[i] == ' ' ? 259 : text[i] == 'b' ? 261 : 3 + (unsigned char)text[i]));
    }
    EXPECT_OK(decoder_end(&d, &out));
    EXPECT(out.length == sizeof text - 1 && !memcmp(out.bytes, text, out.length), "%zu bytes", out.length);
    EXPECT_ERROR(decoder_add(&d, &out, t->size), LAMP_MALFORMED, "expected an id from 0 to 267, found 268");
    buffer_release(&out);
    tokenizer_free(t);
}

static void expect_text(const tokenizer *t, bool begins_text, bool shows_specials, const int32_t *ids, size_t n, const char *expected) {
    decoder d;
    buffer out = {0};
    decoder_begin(&d, t, begins_text, shows_specials);
    for (size_t i = 0; i < n; i++) EXPECT_OK(decoder_add(&d, &out, ids[i]));
    EXPECT_OK(decoder_end(&d, &out));
    EXPECT(out.length == strlen(expected) && !memcmp(out.bytes, expected, out.length), "\"%.*s\", expected \"%s\"", (int)out.length, out.bytes,
           expected);
    buffer_release(&out);
}
#define EXPECT_TEXT(t, begins, specials, text, ...)                                                                                                  \
    expect_text(t, begins, specials, (int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t), text)

static void a_text_loses_what_its_beginning_was_given(void) {
    tokenizer *t = of_characters(texts, scores, 9);
    EXPECT_TEXT(t, true, false, "a", 1, 265);
    EXPECT_TEXT(t, true, true, "<s> a", 1, 265); /* what comes first is no space, so none goes */
    EXPECT_TEXT(t, false, false, " a", 265);
    EXPECT_TEXT(t, true, false, " a", 259, 265);
    EXPECT_TEXT(t, true, false, "b a", 261, 265);
    t->showing.stripped = 0, t->showing.first_loses_marks = true;
    EXPECT_TEXT(t, true, false, " a", 259, 265);
    EXPECT_TEXT(t, true, false, "a a", 265, 265);
    EXPECT_TEXT(t, false, false, " a", 265);
    tokenizer_free(t);
}

/* ---- added tokens -------------------------------------------------------------------------------------------------------------------- */

/* Every byte a token, id 1 + byte; then the added ones. */
static tokenizer *with_added(const char *const *names, const unsigned *traits, int n) {
    tokenizer *t = NULL;
    EXPECT_OK(tokenizer_new(&t, VOCABULARY_OF_BYTES));
    EXPECT_OK(tokenizer_add_normalization(t, &(normalizer_step){.kind = NORMALIZE_LOWER}));
    EXPECT_OK(tokenizer_add_token(t, "<end>", 5, TOKEN_SPECIAL, TRAIT_OUTSIDE));
    for (int byte = 0; byte < 256; byte++) EXPECT_OK(tokenizer_add_token(t, &(char){(char)byte}, 1, TOKEN_TEXT, 0));
    for (int i = 0; i < n; i++) EXPECT_OK(tokenizer_add_token(t, names[i], strlen(names[i]), TOKEN_ADDED, TRAIT_OUTSIDE | traits[i]));
    EXPECT_OK(tokenizer_complete(t));
    return t;
}

static void added_tokens_are_found_as_their_traits_say(void) {
    enum { FIRST = 257, AB = FIRST, ABC, LEFT, RIGHT, WORD_ALONE, NORMAL, SPACES };
    static const char *const names[] = {"ab", "abc", "<l>", "<r>", "[w]", "NoRm", "   "};
    static const unsigned traits[] = {0, 0, TRAIT_LEFT, TRAIT_RIGHT, TRAIT_WORD, TRAIT_NORMALIZED, 0};
    enum { A = 1 + 'a', C = 1 + 'c', D = 1 + 'd', SPACE = 1 + ' ' };
    tokenizer *t = with_added(names, traits, 7);
    EXPECT_IDS(t, "abcdab", 0, ABC, D, AB);
    EXPECT_IDS(t, "aabc", 0, A, ABC);
    EXPECT_IDS(t, "a \n<l> c", 0, A, LEFT, SPACE, C);
    EXPECT_IDS(t, "a <r> \xC2\xA0 c", 0, A, SPACE, RIGHT, C);
    EXPECT_IDS(t, "<r> <l>", 0, RIGHT, LEFT);
    EXPECT_IDS(t, "<r>   c", 0, RIGHT, SPACES, C); /* both take the spaces */
    EXPECT_IDS(t, "[w]a", 0, 1 + '[', 1 + 'w', 1 + ']', A);
    EXPECT_IDS(t, "[w] a", 0, WORD_ALONE, SPACE, A);
    EXPECT_IDS(t, "a-[w]", 0, A, 1 + '-', WORD_ALONE);
    EXPECT_IDS(t, "norm NORM", 0, NORMAL, SPACE, NORMAL);
    EXPECT_IDS(t, "AB", 0, A, 1 + 'b'); /* what is found as it stands is not found once it is lower case */
    EXPECT_IDS(t, "a<end>", ENCODE_SPECIALS, A, 0);
    EXPECT_IDS(t, "a<end>", 0, A, 1 + '<', 1 + 'e', 1 + 'n', D, 1 + '>');
    EXPECT(tokenizer_find_name(t, "<end>") == 0 && tokenizer_find(t, "<end>", 5) < 0 && tokenizer_find_name(t, "a") == A, "names");
    tokenizer_free(t);
}

/* Each place of the text begins like a long token and ends otherwise. */
static void text_that_almost_is_an_added_token_is_scanned_in_time(void) {
    static char name[ADDED_TOKEN_BYTES + 2];
    memset(name, 'x', ADDED_TOKEN_BYTES);
    const char *names[] = {name};
    tokenizer *t = with_added(names, (unsigned[]){0}, 1);
    encoder *e = NULL;
    token_list list = {0};
    buffer text = {0};
    double start = clock_seconds();
    for (int i = 0; i < 500; i++) {
        for (int j = 1; j < ADDED_TOKEN_BYTES; j++) buffer_append_byte(&text, 'x');
        buffer_append_byte(&text, 'y');
    }
    EXPECT_OK(encoder_new(&e, t));
    EXPECT_OK(encoder_encode(e, &list, text.bytes, text.length));
    EXPECT(list.length == text.length, "%zu ids of %zu bytes", list.length, text.length);
    EXPECT(clock_seconds() - start < 60, "%.1f seconds", clock_seconds() - start);
    token_list_release(&list);
    buffer_release(&text);
    encoder_free(e);
    tokenizer_free(t);
    name[ADDED_TOKEN_BYTES] = 'x';
    EXPECT_OK(tokenizer_new(&t, VOCABULARY_OF_BYTES));
    EXPECT_OK(tokenizer_add_token(t, name, strlen(name), TOKEN_ADDED, TRAIT_OUTSIDE));
    for (int byte = 0; byte < 256; byte++) EXPECT_OK(tokenizer_add_token(t, &(char){(char)byte}, 1, TOKEN_TEXT, 0));
    EXPECT_ERROR(tokenizer_complete(t), LAMP_UNSUPPORTED, "at most 512 bytes, found 513 in token 0");
    tokenizer_free(t);
}

static const test_case cases[] = {
    {"characters are read and written", characters_are_read_and_written},
    {"patterns mean what Oniguruma means", patterns_mean_what_oniguruma_means},
    {"plain characters are found in any bytes", plain_characters_are_found_in_any_bytes},
    {"matches are kept, dropped or joined", matches_are_kept_dropped_or_joined},
    {"steps cut and change the pieces of those before", steps_cut_and_change_the_pieces_of_those_before},
    {"text is normalised", text_is_normalised},
    {"a million marks are ordered in time", a_million_marks_are_ordered_in_time},
    {"the highest score is merged first", the_highest_score_is_merged_first},
    {"scores follow their definition", scores_follow_their_definition},
    {"words of five million characters end", words_of_five_million_characters_end},
    {"characters come whole while text is decoded", characters_come_whole_while_text_is_decoded},
    {"a text loses what its beginning was given", a_text_loses_what_its_beginning_was_given},
    {"added tokens are found as their traits say", added_tokens_are_found_as_their_traits_say},
    {"text that almost is an added token is scanned in time", text_that_almost_is_an_added_token_is_scanned_in_time},
};

int main(void) { return test_run("text", cases, sizeof cases / sizeof *cases); }
