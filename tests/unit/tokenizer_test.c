#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "base/random.h"
#include "formats/tokenizer_json.h"
#include "lamp.h"
#include "text/piece_counts.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_parts.h"

static const char TEXT[] = "The old keeper climbs the tower at dusk, lights the lamp, and trims the wick. Ships that pass see the light and "
                           "keep their course. In the morning she climbs the tower again, puts the lamp out, and writes the weather in the "
                           "log: wind, clouds, rain, the height of the waves; 3 ships, 12 boats, 1 seal.\n\n"
                           "    if (dusk) {\n        lamp_light(&lamp);\n    }\n";

static tokenizer *train(const char *text, size_t length, int vocabulary_size) {
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_BYTES));
    EXPECT_OK(tokenizer_trainer_feed(trainer, text, length));
    EXPECT_OK(tokenizer_trainer_finish(&t, trainer, vocabulary_size));
    tokenizer_trainer_free(trainer);
    return t;
}

static token_list encode(const tokenizer *t, const char *bytes, size_t length) {
    encoder *e = NULL;
    token_list list = {0};
    EXPECT_OK(encoder_new(&e, t));
    EXPECT_OK(encoder_encode(e, &list, bytes, length));
    encoder_free(e);
    return list;
}

static void expect_ids(const tokenizer *t, const char *text, const int32_t *ids, size_t n) {
    token_list list = encode(t, text, strlen(text));
    EXPECT(list.length == n && memcmp(list.id, ids, n * sizeof *ids) == 0, "\"%s\": %zu ids", text, list.length);
    token_list_release(&list);
}
#define EXPECT_IDS(t, text, ...) expect_ids(t, text, (int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))

static void expect_round_trip(const tokenizer *t, encoder *e, const char *bytes, size_t length) {
    token_list list = {0};
    buffer decoded = {0};
    EXPECT_OK(encoder_encode(e, &list, bytes, length));
    EXPECT_OK(tokenizer_decode(t, &decoded, list.id, list.length));
    bool same = decoded.length == length && (length == 0 || memcmp(decoded.bytes, bytes, length) == 0);
    EXPECT(same, "%zu bytes became %zu", length, decoded.length);
    buffer_release(&decoded);
    token_list_release(&list);
}

/* Bytes that tend to stand next to each other in trouble. */
static size_t random_bytes_of(char *bytes, size_t most, uint64_t seed) {
    static const char *const parts[] = {
        "a", "lamp", "'s", "7", "!", " ", "\n", "\r\n", "\xC3\xA9", "\xC3", "\xE2\x82\xAC", "\xE2\x82", "\xF0\x9F\x98\x80", "\xFF",
    };
    random_key key = random_key_make(seed, RANDOM_SAMPLE, 0, 0);
    size_t length = 0, n = random_below(key, 0, most);
    while (length < n) {
        uint64_t kind = random_below(key, 2 * length + 1, 16);
        if (kind < sizeof parts / sizeof *parts) {
            size_t step = strlen(parts[kind]);
            if (length + step > n) break;
            memcpy(bytes + length, parts[kind], step);
            length += step;
        } else {
            bytes[length] = (char)random_below(key, 2 * length + 2, 256);
            length++;
        }
    }
    return length;
}

static void any_bytes_survive_encoding_and_decoding(void) {
    tokenizer *t = train(TEXT, sizeof TEXT - 1, 400);
    encoder *e = NULL;
    char bytes[2000], every[256];
    EXPECT_OK(encoder_new(&e, t));
    for (uint64_t seed = 0; seed < 500; seed++) expect_round_trip(t, e, bytes, random_bytes_of(bytes, seed % 10 ? 60 : sizeof bytes, seed));
    for (int i = 0; i < 256; i++) every[i] = (char)i;
    expect_round_trip(t, e, every, 256);
    for (int i = 0; i < 256; i++) expect_round_trip(t, e, every + i, 1);
    for (size_t cut = 0; cut <= 12; cut++) expect_round_trip(t, e, "\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xA9\r\nz", cut);
    expect_round_trip(t, e, NULL, 0);
    expect_round_trip(t, e, "a\0b\0\0c", 6);
    expect_round_trip(t, e, TEXT, sizeof TEXT);
    encoder_free(e);
    tokenizer_free(t);
}

static void pieces_are_words_digits_signs_and_space(void) {
    static const char text[] = "It'S  12 x-ray\r\n\n  y \xFF\xFE\xC3z.\"\xE2\x82";
    pretokenizer *p = NULL;
    piece next;
    buffer pieces = {0};
    EXPECT_OK(pretokenizer_new(&p, &merge_step, 1));
    EXPECT_OK(pretokenizer_begin(p, text, sizeof text - 1, true));
    while (pretokenizer_next(p, &next) > 0) {
        buffer_append(&pieces, next.bytes, next.length);
        buffer_append_byte(&pieces, '|');
    }
    EXPECT(!strcmp(pieces.bytes, "It|'S| | |1|2| x|-ray|\r\n\n| | y| |\xFF\xFE\xC3|z|.\"|\xE2\x82|"), "%s", pieces.bytes);
    buffer_release(&pieces);
    pretokenizer_free(p);
}

static void a_pattern_may_leave_gaps(void) {
    static const pretokenizer_step step = {.text = "[0-9]+", .is_regex = true};
    pretokenizer *p = NULL;
    piece next;
    buffer pieces = {0};
    EXPECT_OK(pretokenizer_new(&p, &step, 1));
    EXPECT_OK(pretokenizer_begin(p, "ab12cd", 6, true));
    while (pretokenizer_next(p, &next) > 0) buffer_append(&pieces, next.bytes, next.length), buffer_append_byte(&pieces, '|');
    EXPECT(!strcmp(pieces.bytes, "ab|12|cd|"), "%s", pieces.bytes);
    buffer_release(&pieces);
    pretokenizer_free(p);
}

static void a_pattern_that_would_run_for_ever_is_refused(void) {
    static const pretokenizer_step broken = {.text = "a(", .is_regex = true}, endless = {.text = "(?:a|aa)+[!?]", .is_regex = true};
    pretokenizer *p = NULL;
    piece next;
    char text[201];
    memset(text, 'a', sizeof text);
    EXPECT_ERROR(pretokenizer_new(&p, &broken, 1), LAMP_UNSUPPORTED, "cannot be compiled");
    EXPECT_OK(pretokenizer_new(&p, &endless, 1));
    EXPECT_OK(pretokenizer_begin(p, text, sizeof text, true));
    EXPECT_ERROR(pretokenizer_next(p, &next), LAMP_UNSUPPORTED, "too much work");
    pretokenizer_free(p);
}

/* By hand, with a = 98, b = 99, c = 100, d = 101: (a, a) stands in "aaabdaaabac" four times and becomes 257. Then (a, b) and (257, a) tie
 * with two each and the smaller left id wins: 258 is "ab". (257, 258) is left with two: 259 is "aaab". No other pair occurs twice. */
static void merges_follow_counts_then_ids(void) {
    tokenizer *t = train("aaabdaaabac", 11, 1000);
    EXPECT(tokenizer_vocabulary_size(t) == 260, "found %d tokens", tokenizer_vocabulary_size(t));
    EXPECT_IDS(t, "aaabdaaabac", 259, 101, 259, 98, 100);
    EXPECT_IDS(t, "aab", 257, 99);
    EXPECT_IDS(t, "ab", 258);
    EXPECT_IDS(t, "aaa", 257, 98);
    EXPECT_IDS(t, "aaaa", 257, 257);
    tokenizer_free(t);
    t = train("aaabdaaabac", 11, 258);
    EXPECT(tokenizer_vocabulary_size(t) == 258, "found %d tokens", tokenizer_vocabulary_size(t));
    EXPECT_IDS(t, "aab", 257, 99);
    tokenizer_free(t);
    t = train("", 0, 300);
    EXPECT(tokenizer_vocabulary_size(t) == 257, "found %d tokens", tokenizer_vocabulary_size(t));
    EXPECT_IDS(t, "ab", 98, 99);
    tokenizer_free(t);
}

/* Every pair counted afresh before every merge; 0 stands between pieces. */
static void merges_equal_those_of_plain_counting(void) {
    enum { N = 3000, MERGES = 120 };
    static int32_t symbols[2 * N];
    static int64_t counts[257 + MERGES][257 + MERGES];
    random_key key = random_key_make(5, RANDOM_SAMPLE, 0, 0);
    char text[N];
    pretokenizer *p = NULL;
    piece next;
    int n = 0;
    for (int i = 0; i < N; i++) text[i] = "aaabc "[random_below(key, (uint64_t)i, 6)];
    tokenizer *t = train(text, N, 257 + MERGES);
    EXPECT_OK(pretokenizer_new(&p, &merge_step, 1));
    EXPECT_OK(pretokenizer_begin(p, text, N, true));
    for (; pretokenizer_next(p, &next) > 0; symbols[n++] = 0)
        for (size_t i = 0; i < next.length; i++) symbols[n++] = 1 + next.bytes[i];
    pretokenizer_free(p);

    for (int made = 0; made < t->n_merges; made++) {
        int32_t left = 0, right = 0, known = 257 + made;
        memset(counts, 0, sizeof counts);
        for (int i = 0; i + 1 < n; i++)
            if (symbols[i] && symbols[i + 1]) counts[symbols[i]][symbols[i + 1]]++;
        for (int32_t a = 0; a < known; a++)
            for (int32_t b = 0; b < known; b++)
                if (counts[a][b] > counts[left][right]) left = a, right = b;
        merge m = t->merges[made];
        EXPECT(m.left == left && m.right == right, "merge %d: (%d, %d), expected (%d, %d)", made, m.left, m.right, left, right);
        int to = 0;
        for (int from = 0; from < n; to++) {
            bool merged = from + 1 < n && symbols[from] == m.left && symbols[from + 1] == m.right;
            symbols[to] = merged ? m.result : symbols[from];
            from += merged ? 2 : 1;
        }
        n = to;
    }
    EXPECT(t->n_merges > 80, "%d merges are too easy", t->n_merges);
    tokenizer_free(t);
}

static void training_depends_on_the_text_alone(void) {
    static const char *const documents[] = {"lamps and lights", "the light of lamps", "ships and the sea, the sea and ships", "\xFF\xFE light"};
    char paths[2][PATH_BYTES];
    mapped_file files[2];
    for (int reversed = 0; reversed < 2; reversed++) {
        tokenizer_trainer *trainer = NULL;
        tokenizer *t = NULL;
        EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_BYTES));
        for (int i = 0; i < 4; i++) {
            const char *document = documents[reversed ? 3 - i : i];
            EXPECT_OK(tokenizer_trainer_feed(trainer, document, strlen(document)));
        }
        EXPECT_OK(tokenizer_trainer_finish(&t, trainer, 280));
        EXPECT_OK(file_join(paths[reversed], test_folder(), reversed ? "reversed.json" : "forward.json"));
        EXPECT_OK(tokenizer_json_write(t, paths[reversed]));
        EXPECT_OK(file_map(&files[reversed], paths[reversed]));
        tokenizer_free(t);
        tokenizer_trainer_free(trainer);
    }
    EXPECT(files[0].length == files[1].length && !memcmp(files[0].bytes, files[1].bytes, files[0].length), "the order of documents shows");
    file_unmap(&files[0]);
    file_unmap(&files[1]);
}

static void training_refuses_a_vocabulary_below_the_bytes(void) {
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_BYTES));
    EXPECT_ERROR(tokenizer_trainer_finish(&t, trainer, 256), LAMP_INVALID, "expected at least 257");
    tokenizer_trainer_free(trainer);
}

static void long_pieces_are_cut_while_training(void) {
    char text[3000];
    memset(text, 'a', sizeof text);
    tokenizer *t = train(text, sizeof text, 400);
    size_t longest = 0;
    for (int32_t id = 0; id < tokenizer_vocabulary_size(t); id++) {
        size_t length;
        tokenizer_token_bytes(t, id, &length);
        if (length > longest) longest = length;
    }
    EXPECT(longest == 256, "the longest token has %zu bytes", longest);
    tokenizer_free(t);
}

/* The definition, step by step: merge the lowest rank, leftmost first, until none applies. Returns the number of ids. */
static size_t encode_by_definition(const tokenizer *t, int32_t *ids, const char *bytes, size_t length) {
    size_t n = length;
    for (size_t i = 0; i < n; i++) ids[i] = t->byte_id[(unsigned char)bytes[i]];
    for (;;) {
        int best_rank = t->n_merges;
        size_t best = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int64_t rank = index_map_find(&t->merge_of_pair, pair_key(ids[i], ids[i + 1])) >> 32;
            if (rank >= 0 && rank < best_rank) best_rank = (int)rank, best = i;
        }
        if (best_rank == t->n_merges) return n;
        ids[best] = t->merges[best_rank].result;
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
    }
}

static void long_and_short_pieces_follow_the_definition(void) {
    enum { LONGEST = 700 };
    char text[5000], word[LONGEST];
    int32_t expected[LONGEST];
    random_key key = random_key_make(3, RANDOM_SAMPLE, 0, 0);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + random_below(key, i, 3));
    tokenizer *t = train(text, sizeof text, 600);
    for (size_t length = 1; length < LONGEST; length += length < 80 ? 1 : 67) {
        for (size_t i = 0; i < length; i++) word[i] = (char)('a' + random_below(key, 5000 + length * LONGEST + i, 3));
        token_list found = encode(t, word, length);
        size_t n = encode_by_definition(t, expected, word, length);
        bool same = found.length == n && !memcmp(found.id, expected, n * sizeof *expected);
        EXPECT(same, "a word of %zu bytes: %zu ids, expected %zu", length, found.length, n);
        token_list_release(&found);
    }
    tokenizer_free(t);
}

/* Scanning for each merge would take 10^12 steps here and never end. */
static void a_word_of_five_million_bytes_is_encoded(void) {
    enum { N = 5000000 };
    tokenizer *t = train(TEXT, sizeof TEXT - 1, 500);
    encoder *e = NULL;
    char *word = malloc(N);
    EXPECT_OK(encoder_new(&e, t));
    for (int i = 0; i < N; i++) word[i] = "thelampandtower"[(i * 7ll + i / 15) % 15];
    expect_round_trip(t, e, word, N);
    encoder_free(e);
    free(word);
    tokenizer_free(t);
}

static void special_tokens_stand_for_no_text(void) {
    tokenizer *t = train(TEXT, sizeof TEXT - 1, 300);
    size_t length = 1;
    tokenizer_token_bytes(t, 0, &length);
    EXPECT(tokenizer_end_of_text(t) == 0 && tokenizer_is_special(t, 0) && !tokenizer_is_special(t, 1) && length == 0, "%zu bytes", length);
    token_list list = encode(t, "<|endoftext|>", 13);
    for (size_t i = 0; i < list.length; i++) EXPECT(list.id[i] != 0, "found inside text");
    token_list_release(&list);
    buffer out = {0};
    EXPECT_OK(tokenizer_decode(t, &out, (int32_t[]){0, 98, 0, 99}, 4));
    EXPECT(out.length == 2 && !memcmp(out.bytes, "ab", 2), "%s", out.bytes);
    EXPECT_ERROR(tokenizer_decode(t, &out, (int32_t[]){98, 300}, 2), LAMP_MALFORMED, "token 1 of 2: expected an id from 0 to 299, found 300");
    EXPECT_ERROR(tokenizer_decode(t, &out, (int32_t[]){-1}, 1), LAMP_MALFORMED, "found -1");
    buffer_release(&out);
    tokenizer_free(t);
}

/* "The" and signs occur twice, the rest once; the vocabulary has room for three words. Seven pieces are left out, so, <unk>
 * is the most frequent token. */
static void words_are_sorted_by_frequency(void) {
    static const char text[] = "the lamp, the wick; and oil, a \xE2\x80\x99 caf\xC3\xA9\n";
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    buffer out = {0};
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_WORDS));
    EXPECT_ERROR(tokenizer_trainer_finish(&t, trainer, 2), LAMP_INVALID, "expected at least 3");
    EXPECT_OK(tokenizer_trainer_feed(trainer, text, sizeof text - 1));
    EXPECT_OK(tokenizer_trainer_finish(&t, trainer, 5));
    EXPECT(t->size == 5 && tokenizer_unknown(t) == 0 && tokenizer_end_of_text(t) == 4, "%d words, unknown %d, end %d", t->size, t->unknown, t->end_of_text);
    EXPECT_IDS(t, "the lamp,\xFF a the<unk>", 2, 0, 1, 0, 0, 2, 0, 0, 0);
    EXPECT_OK(tokenizer_decode(t, &out, (int32_t[]){4, 2, 0, 1, 3}, 5));
    EXPECT(!strcmp(out.bytes, "the <unk> , ;"), "\"%s\"", out.bytes);
    buffer_release(&out);
    tokenizer_trainer_free(trainer);
    tokenizer_free(t);
}

static void a_vocabulary_of_words_survives_writing_and_reading(void) {
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL, *again = NULL;
    char path[PATH_BYTES];
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_WORDS));
    EXPECT_OK(tokenizer_trainer_feed(trainer, TEXT, sizeof TEXT - 1));
    EXPECT_OK(tokenizer_trainer_finish(&t, trainer, 30));
    EXPECT_OK(file_join(path, test_folder(), "words.json"));
    EXPECT_OK(tokenizer_json_write(t, path));
    EXPECT_OK(tokenizer_json_read(&again, path));
    token_list before = encode(t, TEXT, sizeof TEXT - 1), after = encode(again, TEXT, sizeof TEXT - 1);
    bool same = again->size == 30 && again->unknown == t->unknown && again->end_of_text == t->end_of_text && before.length == after.length;
    EXPECT(same && !memcmp(before.id, after.id, before.length * sizeof *before.id), "%zu ids became %zu", before.length, after.length);
    token_list_release(&before), token_list_release(&after);
    tokenizer_free(again);
    tokenizer_free(t);
    tokenizer_trainer_free(trainer);
}

/* ---- tokenizer.json --------------------------------------------------------------------------------------------------------- */

/* The file of the worked example above, and somewhere to put spoilt copies. */
static buffer example_file(char path[PATH_BYTES]) {
    tokenizer *t = train("aaabdaaabac", 11, 1000);
    mapped_file map = {0};
    buffer text = {0};
    EXPECT_OK(file_join(path, test_folder(), "example.json"));
    EXPECT_OK(tokenizer_json_write(t, path));
    EXPECT_OK(file_map(&map, path));
    EXPECT_OK(buffer_append(&text, map.bytes, map.length));
    file_unmap(&map);
    tokenizer_free(t);
    return text;
}

static void a_tokenizer_survives_writing_and_reading(void) {
    tokenizer *t = train(TEXT, sizeof TEXT - 1, 400), *again = NULL;
    char path[PATH_BYTES], bytes[300];
    EXPECT_OK(file_join(path, test_folder(), "tokenizer.json"));
    EXPECT_OK(tokenizer_json_write(t, path));
    EXPECT_OK(tokenizer_json_read(&again, path));
    EXPECT(again && tokenizer_vocabulary_size(again) == tokenizer_vocabulary_size(t) && tokenizer_end_of_text(again) == 0, "another vocabulary");
    for (uint64_t seed = 0; again && seed < 200; seed++) {
        size_t length = random_bytes_of(bytes, sizeof bytes, seed);
        token_list before = encode(t, bytes, length), after = encode(again, bytes, length);
        bool same = before.length == after.length && (!before.length || !memcmp(before.id, after.id, before.length * sizeof *before.id));
        EXPECT(same, "seed %d: %zu ids became %zu", (int)seed, before.length, after.length);
        token_list_release(&before);
        token_list_release(&after);
    }
    tokenizer_free(again);
    tokenizer_free(t);
}

static void spoilt_bytes_do_not_crash_the_reader(void) {
    char path[PATH_BYTES], text[64];
    buffer file = example_file(path);
    random_key key = random_key_make(11, RANDOM_SAMPLE, 0, 0);
    for (uint64_t i = 0; i < 400; i++) {
        tokenizer *t = NULL;
        encoder *e = NULL;
        token_list list = {0};
        uint64_t at = random_below(key, 4 * i, file.length), other = random_below(key, 4 * i + 1, file.length);
        char kept = file.bytes[at];
        file.bytes[at] = random_below(key, 4 * i + 2, 2) ? file.bytes[other] : (char)random_below(key, 4 * i + 3, 256);
        EXPECT_OK(file_write_whole(path, file.bytes, i % 8 ? file.length : other));
        bool usable = tokenizer_json_read(&t, path) == LAMP_OK && encoder_new(&e, t) == LAMP_OK;
        if (usable) encoder_encode(e, &list, text, random_bytes_of(text, sizeof text, i));
        file.bytes[at] = kept;
        token_list_release(&list);
        encoder_free(e);
        tokenizer_free(t);
    }
    buffer_release(&file);
}

static const test_case cases[] = {
    {"any bytes survive encoding and decoding", any_bytes_survive_encoding_and_decoding},
    {"pieces are words, digits, signs and space", pieces_are_words_digits_signs_and_space},
    {"a pattern may leave gaps", a_pattern_may_leave_gaps},
    {"a pattern that would run for ever is refused", a_pattern_that_would_run_for_ever_is_refused},
    {"merges follow counts, then ids", merges_follow_counts_then_ids},
    {"merges equal those of plain counting", merges_equal_those_of_plain_counting},
    {"training depends on the text alone", training_depends_on_the_text_alone},
    {"training refuses a vocabulary below the bytes", training_refuses_a_vocabulary_below_the_bytes},
    {"long pieces are cut while training", long_pieces_are_cut_while_training},
    {"long and short pieces follow the definition", long_and_short_pieces_follow_the_definition},
    {"a word of five million bytes is encoded", a_word_of_five_million_bytes_is_encoded},
    {"special tokens stand for no text", special_tokens_stand_for_no_text},
    {"words are sorted by frequency", words_are_sorted_by_frequency},
    {"a vocabulary of words survives writing and reading", a_vocabulary_of_words_survives_writing_and_reading},
    {"a tokenizer survives writing and reading", a_tokenizer_survives_writing_and_reading},
    {"spoilt bytes do not crash the reader", spoilt_bytes_do_not_crash_the_reader},
};

int main(void) { return test_run("tokenizer", cases, sizeof cases / sizeof *cases); }
