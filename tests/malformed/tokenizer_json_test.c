/* Every way a tokenizer.json can be wrong, by name: edits of a sound file, and files too large to write here. What text can do is below. */
#include "formats/tokenizer_json.h"

#include <string.h>

#include "../test.h"
#include "base/clock.h"
#include "base/file.h"
#include "formats/tokenizer_folder.h"
#include "lamp.h"
#include "text/tokenizer_parts.h"

static const char model[] = "\"type\": \"BPE\"", vocabulary[] = "\"vocab\": {", merges[] = "\"merges\": [", added[] = "\"added_tokens\": [",
                  exclamation[] = "\"!\": 34", regex[] = "\"Regex\": \"", special[] = "\"content\": \"<|endoftext|>\"", steps[] = "\"pre_tokenizer\": {";

#define SEQUENCE "{\"type\": \"Sequence\", \"pretokenizers\": ["

/* The sound file is of the text "aaabdaaabac": ids 0 <|endoftext|>, 1 to 256 the bytes, 257 aa, 258 aaa ... */
static const struct {
    const char *class, *from, *to;
    int code;
    const char *text;
} rows[] = {
    {"truncated", "\"version\"", "\"version", LAMP_MALFORMED, "not valid JSON"},
    {"duplicate key", "\"version\"", "\"model\": {}, \"version\"", LAMP_MALFORMED, "duplicate"},
    {"invalid UTF-8", exclamation, "\"\xFF\": 34", LAMP_MALFORMED, "not valid JSON"},
    {"lone surrogate", exclamation, "\"\\ud800\": 34", LAMP_MALFORMED, "not valid JSON"},
    {"no model", "\"model\"", "\"modell\"", LAMP_MALFORMED, "\"model\": expected an object, found nothing"},
    {"no vocabulary", vocabulary, "\"x\": {", LAMP_MALFORMED, "\"vocab\": expected an object, found nothing"},
    {"vocabulary of another type", vocabulary, "\"vocab\": 3, \"x\": {", LAMP_MALFORMED, "\"vocab\": expected an object, found an integer"},
    {"negative id", exclamation, "\"!\": -1", LAMP_MALFORMED, "\"!\": expected 0 to 260, found -1"},
    {"id that is a float", exclamation, "\"!\": 34.0", LAMP_MALFORMED, "\"!\": expected an integer, found a number"},
    {"id that is text", exclamation, "\"!\": \"34\"", LAMP_MALFORMED, "\"!\": expected an integer, found text"},
    {"huge id", exclamation, "\"!\": 2000000000", LAMP_MALFORMED, "\"!\": expected 0 to 260, found 2000000000"},
    {"id 2^31", exclamation, "\"!\": 2147483648", LAMP_MALFORMED, "found 2147483648"},
    {"two tokens with one id", exclamation, "\"!\": 35", LAMP_MALFORMED, "expected one token with id 35"},
    {"one token with two ids", exclamation, "\"!\": 34, \"!\": 260", LAMP_MALFORMED, "duplicate"},
    {"hole in the ids", exclamation, "\"!\": 260", LAMP_MALFORMED, "expected the ids 0 to 259, found no token with id 34"},
    {"token outside the byte alphabet", exclamation, "\"\xE2\x82\xAC\": 34", LAMP_MALFORMED, "byte-level alphabet, found \"\xE2\x82\xAC\""},
    {"byte that is not spelt in the alphabet", exclamation, "\"\xC2\x80\": 34", LAMP_MALFORMED, "byte-level alphabet"},
    {"byte-fallback token", exclamation, "\"<0x-1>\": 34", LAMP_UNSUPPORTED, "none for byte 0x21"},
    {"token that writes on the terminal", exclamation, "\"\\u001b[31m\": 34", LAMP_MALFORMED, "byte-level alphabet, found \"?[31m\""},
    {"empty token", exclamation, "\"\": 34", LAMP_MALFORMED, "byte-level alphabet, found \"\""},
    {"byte without a token", exclamation, "\"!!\": 34", LAMP_UNSUPPORTED, "none for byte 0x21"},
    {"no merges", "\"merges\"", "\"mergers\"", LAMP_MALFORMED, "\"merges\": expected an array, found nothing"},
    {"merge of an unknown token", merges, "\"merges\": [[\"a\", \"zz\"], ", LAMP_MALFORMED, "entry 0: expected two tokens, found \"zz\""},
    {"merge of an unknown token, in one text", merges, "\"merges\": [\"a zz\", ", LAMP_MALFORMED, "entry 0: expected two tokens, found \"zz\""},
    {"merge of three", merges, "\"merges\": [\"a a a\", ", LAMP_MALFORMED, "entry 0: expected two tokens, found \"a a\""},
    {"merge of nothing with a token", merges, "\"merges\": [\" a\", ", LAMP_MALFORMED, "entry 0: expected two tokens, found \"\""},
    {"merge of one", merges, "\"merges\": [\"aa\", ", LAMP_MALFORMED, "entry 0: expected \"a b\" or"},
    {"merge of one, in an array", merges, "\"merges\": [[\"a\"], ", LAMP_MALFORMED, "entry 0: expected \"a b\" or"},
    {"merge of three, in an array", merges, "\"merges\": [[\"a\", \"a\", \"a\"], ", LAMP_MALFORMED, "entry 0: expected \"a b\" or"},
    {"merge with a number", merges, "\"merges\": [[\"a\", 1], ", LAMP_MALFORMED, "entry 0: expected \"a b\" or"},
    {"merge whose result is no token", merges, "\"merges\": [[\"a\", \"c\"], ", LAMP_MALFORMED,
     "entry 0: expected a token that joins tokens 98 and 100"},
    {"duplicate merge", merges, "\"merges\": [[\"a\", \"a\"], ", LAMP_MALFORMED, "entry 1: expected tokens 98 and 98 to be merged once"},
    {"merge with a special token", merges, "\"merges\": [[\"<|endoftext|>\", \"a\"], ", LAMP_MALFORMED,
     "entry 0: expected a token that joins tokens 0 and 98"},
    {"added tokens of another type", added, "\"added_tokens\": 7, \"x\": [", LAMP_MALFORMED, "\"added_tokens\": expected an array"},
    {"added token that is a number", added, "\"added_tokens\": [7, ", LAMP_MALFORMED, "\"id\": expected an integer, found nothing"},
    {"added token with the id of another", special, "\"content\": \"other\"", LAMP_MALFORMED, "expected one token with id 0, found \"other\""},
    {"added token that another id has", special, "\"content\": \"a\"", LAMP_MALFORMED, "expected one token with id 0, found \"a\""},
    {"added token twice", added,
     "\"added_tokens\": [{\"id\": 260, \"content\": \"new\", \"special\": true}, {\"id\": 261, \"content\": \"new\", "
     "\"special\": true}, ",
     LAMP_MALFORMED, "\"added_tokens\": expected one id for \"new\", found 260 and 261"},
    {"added token of a huge id", added, "\"added_tokens\": [{\"id\": 2147483647, \"content\": \"new\", \"special\": true}, ", LAMP_MALFORMED,
     "\"id\": expected 0 to 261, found 2147483647"},
    {"empty added token", added, "\"added_tokens\": [{\"id\": 260, \"content\": \"\", \"special\": true}, ", LAMP_MALFORMED,
     "\"added_tokens\": expected text for id 260, found none"},
    {"NUL in an added token", added, "\"added_tokens\": [{\"id\": 260, \"content\": \"a\\u0000\", \"special\": true}, ", LAMP_MALFORMED,
     "\"content\": expected text without NUL"},
    {"special that is a number", "\"special\": true", "\"special\": 1", LAMP_MALFORMED, "\"special\": expected a boolean"},

    /* sound, and another tokenizer than those we have */
    {"another model", model, "\"type\": \"WordPiece\"", LAMP_UNSUPPORTED, "type BPE or WordLevel, found WordPiece"},
    {"model of no type", model, "\"type\": 3", LAMP_MALFORMED, "\"type\": expected text"},
    {"unknown normalizer", "\"normalizer\": null", "\"normalizer\": {\"type\": \"BertNormalizer\"}", LAMP_UNSUPPORTED,
     "\"normalizer\": expected one of NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, Sequence, found BertNormalizer"},
    {"normalizer without a type", "\"normalizer\": null", "\"normalizer\": 7", LAMP_MALFORMED, "\"type\": expected text, found nothing"},
    {"normalizers that are no list", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": 7}", LAMP_MALFORMED,
     "\"normalizers\": expected an array"},
    {"replacement of nothing known", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Replace\", \"content\": \"a\"}", LAMP_MALFORMED,
     "\"pattern\": expected an object"},
    {"replacement by nothing known", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}}",
     LAMP_MALFORMED, "\"content\": expected text"},
    {"replacement by a pattern that is none", "\"normalizer\": null",
     "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, \"content\": \"\"}", LAMP_UNSUPPORTED, "cannot be compiled"},
    {"prefix of nothing known", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Prepend\"}", LAMP_MALFORMED, "\"prepend\": expected text"},
    {"strip without sides", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Strip\"}", LAMP_MALFORMED, "\"strip_left\": expected a boolean"},
    {"strip of one side", "\"normalizer\": null", "\"normalizer\": {\"type\": \"Strip\", \"strip_left\": true}", LAMP_MALFORMED,
     "\"strip_right\": expected a boolean"},
    {"unknown pre-tokenizer", "\"type\": \"Split\"", "\"type\": \"BertPreTokenizer\"", LAMP_UNSUPPORTED, "found BertPreTokenizer"},
    {"no pre-tokenizer", "\"pre_tokenizer\"", "\"pre\"", LAMP_UNSUPPORTED, "\"decoder\": expected one of characters, found ByteLevel"},
    {"pre-tokenizer of no type", steps, "\"pre_tokenizer\": 7, \"was\": {", LAMP_MALFORMED, "\"type\": expected text, found nothing"},
    {"sequence of nothing", steps, "\"pre_tokenizer\": {\"type\": \"Sequence\"}, \"was\": {", LAMP_MALFORMED, "\"pretokenizers\": expected an array"},
    {"sequences without end", steps, "\"pre_tokenizer\": " SEQUENCE SEQUENCE SEQUENCE SEQUENCE SEQUENCE "]}]}]}]}]}, \"was\": {", LAMP_UNSUPPORTED,
     "at most 4 deep"},
    {"step after bytes", "\"pretokenizers\": [", "\"pretokenizers\": [{\"type\": \"ByteLevel\"}, ", LAMP_UNSUPPORTED,
     "expected ByteLevel as the last step, found more"},
    {"split by nothing", "\"pattern\"", "\"patter\"", LAMP_MALFORMED, "\"pattern\": expected an object"},
    {"split by a number", regex, "\"Regex\": 7, \"x\": \"", LAMP_MALFORMED, "\"Regex\": expected text"},
    {"split by no text", regex, "\"String\": \"\", \"x\": \"", LAMP_UNSUPPORTED, "found an empty one"},
    {"unknown behaviour", "\"Isolated\"", "\"Kept\"", LAMP_MALFORMED, "expected Isolated or one of its like, found Kept"},
    {"no behaviour", "\"behavior\"", "\"behaviour\"", LAMP_MALFORMED, "\"behavior\": expected text"},
    {"invert that is a number", "\"invert\": false", "\"invert\": 0", LAMP_MALFORMED, "\"invert\": expected a boolean"},
    {"prefix that is text", "\"add_prefix_space\": false", "\"add_prefix_space\": \" \"", LAMP_MALFORMED, "\"add_prefix_space\": expected a boolean"},
    {"invalid pattern", regex, "\"Regex\": \"(", LAMP_UNSUPPORTED, "cannot be compiled"},
    {"pattern that matches single bytes", regex, "\"Regex\": \"\\\\C|", LAMP_UNSUPPORTED, "read in different ways at byte 2"},
    {"pattern with hexadecimal digits, or blanks", regex, "\"Regex\": \"\\\\h|", LAMP_UNSUPPORTED, "read in different ways"},
    {"pattern with a class in a class", regex, "\"Regex\": \"[a[b]]|", LAMP_UNSUPPORTED, "a class within a class at byte 2"},
    {"pattern with an intersection", regex, "\"Regex\": \"[a&&b]|", LAMP_UNSUPPORTED, "an intersection of classes at byte 2"},
    {"pattern with a class that ends at once", regex, "\"Regex\": \"[]a]|", LAMP_UNSUPPORTED, "begins with ]"},
    {"pattern with a class without end", regex, "\"Regex\": \"[a\", \"x\": \"", LAMP_UNSUPPORTED, "a class without an end"},
    {"pattern with an interval repeated", regex, "\"Regex\": \"a{1,3}+|", LAMP_UNSUPPORTED, "repeated, or possessive"},
    {"pattern with an interval that begins nowhere", regex, "\"Regex\": \"a{,3}|", LAMP_UNSUPPORTED, "without a beginning"},
    {"pattern with settings inside", regex, "\"Regex\": \"a(?i)b|", LAMP_UNSUPPORTED, "a group that engines read"},
    {"pattern with a command", regex, "\"Regex\": \"(*UTF)a|", LAMP_UNSUPPORTED, "a command to the engine"},
    {"pattern with an unknown property", regex, "\"Regex\": \"\\\\p{Magic}|", LAMP_UNSUPPORTED, "cannot be compiled"},
    {"pattern with a property of one letter", regex, "\"Regex\": \"\\\\pL|", LAMP_UNSUPPORTED, "a property without braces"},
    {"pattern with a byte", regex, "\"Regex\": \"\\\\xA0|", LAMP_UNSUPPORTED, "a byte that is no character"},
    {"pattern with half a code point", regex, "\"Regex\": \"\\\\uA0|", LAMP_UNSUPPORTED, "\\u without four digits"},
    {"pattern with what is no word, in a class", regex, "\"Regex\": \"[\\\\W]|", LAMP_UNSUPPORTED, "\\W in a class"},
    {"pattern with an edge in a class", regex, "\"Regex\": \"[\\\\b]|", LAMP_UNSUPPORTED, "\\b in a class"},
    {"pattern with an anchor in a class", regex, "\"Regex\": \"[\\\\z]|", LAMP_UNSUPPORTED, "an anchor in a class"},
    {"pattern that ends in a backslash", regex, "\"Regex\": \"a\\\\\", \"x\": \"", LAMP_UNSUPPORTED, "a backslash before nothing"},
    {"dropout", "\"dropout\": null", "\"dropout\": 0.1", LAMP_UNSUPPORTED, "without \"dropout\""},
    {"suffixes of words", "\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"", LAMP_UNSUPPORTED, "without \"end_of_word_suffix\""},
    {"fallback that is text", "\"byte_fallback\": false", "\"byte_fallback\": \"\"", LAMP_MALFORMED, "\"byte_fallback\": expected a boolean"},
    {"unknown template", "\"post_processor\": null", "\"post_processor\": {\"type\": \"BertProcessing\"}", LAMP_UNSUPPORTED,
     "\"post_processor\": expected one of TemplateProcessing, ByteLevel, Sequence, found BertProcessing"},
    {"decoder of characters", "\"decoder\"", "\"decoder\": {\"type\": \"ByteFallback\"}, \"was\"", LAMP_UNSUPPORTED,
     "expected the decoder ByteLevel, found ByteFallback"},
    {"white space of an added token that is a number", "\"lstrip\": false", "\"lstrip\": 0", LAMP_MALFORMED, "\"lstrip\": expected a boolean"},

    {"words out of bytes", model, "\"type\": \"WordLevel\"", LAMP_UNSUPPORTED, "expected words cut at white space, found bytes"},

    /* harmless */
    {"pieces thrown away", "\"behavior\": \"Isolated\"", "\"behavior\": \"Removed\"", LAMP_OK, ""},
    {"space put before text", "\"add_prefix_space\": false", "\"add_prefix_space\": true", LAMP_OK, ""},
    {"added tokens that begin alike", added,
     "\"added_tokens\": [{\"id\": 260, \"content\": \"<x\", \"special\": true}, {\"id\": 261, "
     "\"content\": \"<x>\", \"special\": false}, ",
     LAMP_OK, ""},
    {"no special token", "\"special\": true", "\"special\": false", LAMP_OK, ""},
    {"bytes that fall back to bytes", "\"byte_fallback\": false", "\"byte_fallback\": true", LAMP_OK, ""},
    {"normal forms", "\"normalizer\": null",
     "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"NFD\"}, {\"type\": \"NFKC\"}, {\"type\": "
     "\"NFKD\"}]}",
     LAMP_OK, ""},
    {"unknown decoder", "\"decoder\"", "\"decoder\": {\"type\": \"Magic\"}, \"was\"", LAMP_UNSUPPORTED,
     "\"decoder\": expected one of ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence, found Magic"},
};

static tokenizer *small_tokenizer(void) {
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_BYTES));
    EXPECT_OK(tokenizer_trainer_feed(trainer, "aaabdaaabac", 11));
    EXPECT_OK(tokenizer_trainer_finish(&t, trainer, 1000));
    tokenizer_trainer_free(trainer);
    return t;
}

/* Frees the tokenizer. */
static void write_sound_file(buffer *text, tokenizer *t) {
    const char *path = test_path("sound.json");
    mapped_file map = {0};
    EXPECT_OK(tokenizer_json_write(t, path));
    EXPECT_OK(file_map(&map, path));
    EXPECT_OK(buffer_append(text, map.bytes, map.length));
    file_unmap(&map);
    tokenizer_free(t);
}

static buffer sound_file(void) {
    buffer text = {0};
    write_sound_file(&text, small_tokenizer());
    return text;
}

static void replace(buffer *out, const buffer *text, const char *from, const char *to) {
    const char *at = strstr(text->bytes, from);
    EXPECT(at, "there is no %s", from);
    if (!at) return;
    buffer_clear(out);
    buffer_append(out, text->bytes, (size_t)(at - text->bytes));
    buffer_append_text(out, to);
    EXPECT_OK(buffer_append_text(out, at + strlen(from)));
}

static void expect_read(const buffer *text, int code, const char *message) {
    tokenizer *t = NULL;
    EXPECT_OK(file_write_whole(test_path("edited.json"), text->bytes, text->length));
    test_largest_allocation();
    EXPECT_ERROR(tokenizer_json_read(&t, test_path("edited.json")), code, message);
    size_t largest = test_largest_allocation();
    EXPECT(largest < 8192 + 16 * text->length, "%zu bytes at once for a file of %zu", largest, text->length);
    EXPECT(code == LAMP_OK || strstr(lamp_error_message(), "edited.json: "), "no path in %s", lamp_error_message());
    tokenizer_free(t);
}

static void malformed_tokenizers_are_refused_by_name(void) {
    buffer sound = sound_file(), edited = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].class);
        replace(&edited, &sound, rows[i].from, rows[i].to);
        expect_read(&edited, rows[i].code, rows[i].text);
    }
    buffer_release(&edited), buffer_release(&sound);
}

/* The sound file is of the text "a b a": ids 0 a, 1 <|endoftext|>, 2 b, 3 <unk>. */
static void malformed_vocabularies_of_words_are_refused_by_name(void) {
    static const struct {
        const char *class, *from, *to;
        int code;
        const char *text;
    } of_words[] = {
        {"no unknown word", "\"unk_token\"", "\"unk\"", LAMP_MALFORMED, "\"unk_token\": expected text, found nothing"},
        {"unknown word outside the vocabulary", "\"unk_token\": \"<unk>\"", "\"unk_token\": \"c\"", LAMP_UNSUPPORTED, "found \"c\", which is none"},
        {"NUL in the unknown word", "\"unk_token\": \"<unk>\"", "\"unk_token\": \"a\\u0000\"", LAMP_MALFORMED, "without NUL"},
        {"empty word", "\"b\": 2", "\"\": 2", LAMP_MALFORMED, "found \"\""},
        {"hole in the ids", "\"b\": 2", "\"b\": 4", LAMP_MALFORMED, "found no token with id 2"},
        {"decoder", "\"decoder\": null", "\"decoder\": {\"type\": \"WordPiece\"}", LAMP_UNSUPPORTED, "found WordPiece"},
        {"white space alone", "\"Whitespace\"", "\"WhitespaceSplit\"", LAMP_OK, ""},
        {"no pre-tokenizer", "\"pre_tokenizer\"", "\"pre\"", LAMP_OK, ""},
    };
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    buffer sound = {0}, edited = {0};
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_WORDS));
    EXPECT_OK(tokenizer_trainer_feed(trainer, "a b a", 5));
    EXPECT_OK(tokenizer_trainer_finish(&t, trainer, 10));
    write_sound_file(&sound, t);
    tokenizer_trainer_free(trainer);
    for (size_t i = 0; i < sizeof of_words / sizeof *of_words; i++) {
        test_row(of_words[i].class);
        replace(&edited, &sound, of_words[i].from, of_words[i].to);
        expect_read(&edited, of_words[i].code, of_words[i].text);
    }
    buffer_release(&edited), buffer_release(&sound);
}

/* As converted from SentencePiece. */
static const char of_characters[] =
    "{\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true}, {\"id\": 1, \"content\": \"<s>\", \"special\": true}],"
    " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"_\"},"
    " {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"_\"}]}, \"pre_tokenizer\": null,"
    " \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},"
    " {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}},"
    " \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"_\"}, \"content\": \" \"},"
    " {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},"
    " \"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"byte_fallback\": true, \"fuse_unk\": true,"
    " \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"_\": 2, \"a\": 3, \"_a\": 4}, \"merges\": [[\"_\", \"a\"]]}}";

#define METASPACE(settings) "\"pre_tokenizer\": {\"type\": \"Metaspace\"" settings "}"

static void malformed_vocabularies_of_characters_are_refused_by_name(void) {
    static const struct {
        const char *class, *from, *to;
        int code;
        const char *text;
    } edits[] = {
        {"sound", "_a", "_a", LAMP_OK, ""},
        {"empty token", "\"_a\": 4", "\"\": 4", LAMP_MALFORMED, "expected tokens with text, found \"\""},
        {"merge of an unknown token", "[\"_\", \"a\"]", "[\"_\", \"b\"]", LAMP_MALFORMED, "entry 0: expected two tokens, found \"b\""},
        {"merge into an unknown token", "[\"_\", \"a\"]", "[\"a\", \"_\"]", LAMP_MALFORMED, "expected a token that joins tokens 3 and 2"},
        {"unknown token that is none", "\"unk_token\": \"<unk>\"", "\"unk_token\": \"b\"", LAMP_UNSUPPORTED,
         "\"unk_token\": expected a token, found \"b\""},
        {"unknown token that is a number", "\"unk_token\": \"<unk>\"", "\"unk_token\": 0", LAMP_MALFORMED, "\"unk_token\": expected text"},
        {"bytes without tokens", "\"unk_token\": \"<unk>\"", "\"unk_token\": null", LAMP_UNSUPPORTED, "found none for byte 0x00"},
        {"neither bytes nor an unknown token", "\"unk_token\": \"<unk>\", \"byte_fallback\": true", "\"byte_fallback\": false", LAMP_UNSUPPORTED,
         "or for each byte, found neither"},
        {"fusing that is a number", "\"fuse_unk\": true", "\"fuse_unk\": 1", LAMP_MALFORMED, "\"fuse_unk\": expected a boolean"},

        {"template of nothing", "\"single\"", "\"double\"", LAMP_MALFORMED, "\"single\": expected an array"},
        {"template without meanings", "\"special_tokens\"", "\"tokens\"", LAMP_MALFORMED, "\"special_tokens\": expected an object"},
        {"template with an unknown name", "\"SpecialToken\": {\"id\": \"<s>\"", "\"SpecialToken\": {\"id\": \"<t>\"", LAMP_MALFORMED,
         "\"<t>\": expected an object, found nothing"},
        {"template with a name that is a number", "\"SpecialToken\": {\"id\": \"<s>\"", "\"SpecialToken\": {\"id\": 1", LAMP_MALFORMED,
         "\"id\": expected text"},
        {"template with ids that are none", "\"ids\": [1]", "\"ids\": 1", LAMP_MALFORMED, "\"ids\": expected an array"},
        {"template with an id beyond", "\"ids\": [1]", "\"ids\": [5]", LAMP_MALFORMED, "expected ids from 0 to 4 for \"<s>\""},
        {"template with a negative id", "\"ids\": [1]", "\"ids\": [-1]", LAMP_MALFORMED, "expected ids from 0 to 4"},
        {"template with an id that is text", "\"ids\": [1]", "\"ids\": [\"1\"]", LAMP_MALFORMED, "expected ids from 0 to 4"},
        {"template with two texts", "{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}", "{\"Sequence\": {}}", LAMP_MALFORMED,
         "\"single\", entry 1: expected a SpecialToken, or once the Sequence"},
        {"template without text", ", {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}]", "]", LAMP_MALFORMED,
         "expected the Sequence among its entries, found none"},
        {"template with another entry", "{\"Sequence\": {\"id\": \"A\"", "{\"Text\": {\"id\": \"A\"", LAMP_MALFORMED,
         "entry 1: expected a SpecialToken"},

        {"two marks", "{\"type\": \"ByteFallback\"}", "{\"type\": \"Metaspace\", \"replacement\": \"_\"}", LAMP_UNSUPPORTED,
         "expected one step that makes spaces, before all others"},
        {"mark that is no space", "\"content\": \" \"}, {\"type\": \"ByteFallback\"}", "\"content\": \"-\"}, {\"type\": \"ByteFallback\"}",
         LAMP_UNSUPPORTED, "expected Replace to make a String a space"},
        {"mark that is a pattern", "{\"String\": \"_\"}", "{\"Regex\": \"_\"}", LAMP_UNSUPPORTED, "expected Replace to make a String a space"},
        {"strip of another character", "\"Strip\", \"content\": \" \"", "\"Strip\", \"content\": \"a\"", LAMP_UNSUPPORTED,
         "expected Strip of spaces at the start"},
        {"strip at the end", "\"stop\": 0", "\"stop\": 1", LAMP_UNSUPPORTED, "expected Strip of spaces at the start"},
        {"strip of a negative number", "\"start\": 1", "\"start\": -1", LAMP_MALFORMED, "\"start\": expected 0 to"},
        {"strip without an end", "\"stop\": 0", "\"end\": 0", LAMP_MALFORMED, "\"stop\": expected an integer"},

        {"marks of no character", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"\""), LAMP_MALFORMED,
         "expected one character, found \"\""},
        {"marks of two characters", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"__\""), LAMP_MALFORMED,
         "expected one character, found \"__\""},
        {"marks not named", "\"pre_tokenizer\": null", METASPACE(""), LAMP_MALFORMED, "\"replacement\": expected text"},
        {"unknown scheme", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"_\", \"prepend_scheme\": \"last\""), LAMP_MALFORMED,
         "expected always, first or never, found \"last\""},
        {"scheme that is a number", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"_\", \"prepend_scheme\": 1"), LAMP_MALFORMED,
         "\"prepend_scheme\": expected text"},
        {"scheme against its forerunner", "\"pre_tokenizer\": null",
         METASPACE(", \"replacement\": \"_\", \"prepend_scheme\": \"first\", \"add_prefix_space\": false"), LAMP_MALFORMED,
         "expected true with \"prepend_scheme\" first"},
        {"cut that is text", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"_\", \"split\": \"\""), LAMP_MALFORMED,
         "\"split\": expected a boolean"},
        {"prefix that is text", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"_\", \"add_prefix_space\": \"\""), LAMP_MALFORMED,
         "\"add_prefix_space\": expected a boolean"},
        {"marks", "\"pre_tokenizer\": null", METASPACE(", \"replacement\": \"_\", \"prepend_scheme\": \"never\", \"add_prefix_space\": false"),
         LAMP_OK, ""},
    };
    buffer sound = {0}, edited = {0};
    buffer_append_text(&sound, of_characters);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        test_row(edits[i].class);
        replace(&edited, &sound, edits[i].from, edits[i].to);
        expect_read(&edited, edits[i].code, edits[i].text);
    }
    test_row("added token of which nothing is left");
    replace(&edited, &sound, "{\"type\": \"Prepend\", \"prepend\": \"_\"}", "{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}");
    replace(&sound, &edited, "[{\"id\": 0,", "[{\"id\": 5, \"content\": \" \", \"special\": false, \"normalized\": true}, {\"id\": 0,");
    expect_read(&sound, LAMP_UNSUPPORTED, "expected text of added token 5, found none once it is normalised");
    buffer_release(&edited), buffer_release(&sound);
}

/* What stands beside the vocabulary of characters, whose template puts <s>, id 1, before a text; or beside one without a template. */
static void malformed_configs_are_refused_by_name(void) {
    static const struct {
        const char *class, *config;
        int code;
        const char *text;
        int begin, end, end_of_text; /* how many tokens stand around a text, and the last id of all */
    } configs[] = {
        {"none", NULL, LAMP_OK, "", 0, 0, -1},
        {"truncated", "{", LAMP_MALFORMED, "not valid JSON", 0, 0, 0},
        {"no object", "[]", LAMP_MALFORMED, "expected an object", 0, 0, 0},
        {"name that is a number", "{\"eos_token\": 7}", LAMP_MALFORMED, "\"eos_token\": expected text", 0, 0, 0},
        {"name with NUL", "{\"eos_token\": \"<s>\\u0000\"}", LAMP_MALFORMED, "\"eos_token\": expected text without NUL", 0, 0, 0},
        {"name without content", "{\"bos_token\": {}}", LAMP_MALFORMED, "\"content\": expected text", 0, 0, 0},
        {"answer that is a number", "{\"add_bos_token\": 1}", LAMP_MALFORMED, "\"add_bos_token\": expected a boolean", 0, 0, 0},
        {"answer that is text", "{\"add_eos_token\": \"\"}", LAMP_MALFORMED, "\"add_eos_token\": expected a boolean", 0, 0, 0},
        {"end", "{\"eos_token\": \"<s>\"}", LAMP_OK, "", 0, 0, 1},
        {"end with content", "{\"eos_token\": {\"content\": \"<s>\", \"lstrip\": false}}", LAMP_OK, "", 0, 0, 1},
        {"names of no tokens", "{\"eos_token\": \"</s>\", \"bos_token\": null, \"add_bos_token\": true, \"add_eos_token\": true}", LAMP_OK, "", 0, 0,
         -1},
        {"tokens around", "{\"eos_token\": \"<s>\", \"bos_token\": \"<s>\", \"add_bos_token\": true, \"add_eos_token\": true}", LAMP_OK, "", 1, 1, 1},
        {"tokens not around", "{\"eos_token\": \"<s>\", \"bos_token\": \"<s>\", \"add_bos_token\": false}", LAMP_OK, "", 0, 0, 1},
    };
    buffer sound = {0}, bare = {0};
    buffer_append_text(&sound, of_characters);
    replace(&bare, &sound, "\"post_processor\"", "\"post\"");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        tokenizer *t = NULL;
        test_row(configs[i].class);
        test_write("folder/tokenizer.json", bare.bytes, bare.length);
        if (configs[i].config) test_write_text("folder/tokenizer_config.json", configs[i].config);
        EXPECT_ERROR(tokenizer_folder_read(&t, test_path("folder")), configs[i].code, configs[i].text);
        EXPECT(configs[i].code == LAMP_OK || strstr(lamp_error_message(), "tokenizer_config.json: "), "no path in %s", lamp_error_message());
        if (t)
            EXPECT((int)t->begin.length == configs[i].begin && (int)t->end.length == configs[i].end, "%zu and %zu tokens", t->begin.length,
                   t->end.length);
        if (t) EXPECT(t->end_of_text == configs[i].end_of_text, "found %d", t->end_of_text);
        tokenizer_free(t);
    }
    test_row("template that says already what stands around");
    tokenizer *t = NULL;
    test_write("folder/tokenizer.json", sound.bytes, sound.length);
    test_write_text("folder/tokenizer_config.json", "{\"eos_token\": \"<s>\", \"add_eos_token\": true}");
    EXPECT_OK(tokenizer_folder_read(&t, test_path("folder")));
    if (t) EXPECT(t->begin.length == 1 && t->begin.id[0] == 1 && t->end.length == 0, "%zu and %zu tokens", t->begin.length, t->end.length);
    tokenizer_free(t);
    buffer_release(&bare), buffer_release(&sound);
}

static void large_files_are_read_or_refused_in_time(void) {
    buffer sound = sound_file(), inside = {0}, edited = {0};
    double start = clock_seconds();
    test_row("depth bomb");
    buffer_append_text(&inside, "\"x\": ");
    for (int i = 0; i < 100000; i++) buffer_append_byte(&inside, '[');
    replace(&edited, &sound, "\"version\"", inside.bytes);
    expect_read(&edited, LAMP_MALFORMED, "depth");

    test_row("added token of a megabyte");
    buffer_clear(&inside);
    buffer_append_text(&inside, "\"added_tokens\": [{\"id\": 260, \"special\": true, \"content\": \"");
    for (int i = 0; i < 1 << 20; i++) buffer_append_byte(&inside, 'x');
    buffer_append_text(&inside, "\"}, ");
    replace(&edited, &sound, added, inside.bytes);
    expect_read(&edited, LAMP_UNSUPPORTED, "expected added tokens of at most 512 bytes, found 1048576 in token 260");

    test_row("a million merges of one kind");
    buffer_clear(&inside);
    buffer_append_text(&inside, merges);
    for (int i = 0; i < 1000000; i++) buffer_append_text(&inside, "\"a a\", ");
    replace(&edited, &sound, merges, inside.bytes);
    expect_read(&edited, LAMP_MALFORMED, "entry 1: expected tokens 98 and 98 to be merged once");

    test_row("a hundred thousand added tokens");
    buffer_clear(&inside);
    buffer_append_text(&inside, added);
    for (int i = 0; i < 100000; i++) buffer_printf(&inside, "{\"id\": %d, \"content\": \"<%d>\", \"special\": true}, ", 260 + i, i);
    replace(&edited, &sound, added, inside.bytes);
    expect_read(&edited, LAMP_OK, "");
    EXPECT(clock_seconds() - start < 30, "%.1f seconds", clock_seconds() - start);
    buffer_release(&edited), buffer_release(&inside), buffer_release(&sound);
}

/* ---- what text can do ------------------------------------------------------------------------------------------------------------ */

static void repeat(buffer *text, const char *part, size_t bytes) {
    while (text->length < bytes) buffer_append_text(text, part);
}

static void any_text_survives_encoding_in_time(void) {
    static const struct {
        const char *class, *part;
        size_t bytes;
    } texts[] = {
        {"one word of five million letters", "a", 5000000},
        {"chains of combining marks", "e\xCC\x81\xCC\xA7", 2000000},
        {"what NFKC expands eighteenfold", "\xEF\xB7\xBA", 300000},
        {"invalid UTF-8", "\xFF\xC0\xED\xA0\x80 a", 300000},
        {"NUL bytes", "a \n", 0},
        {"spaces", " ", 1000000},
        {"names of special tokens", "<|endoftext|>", 100000},
        {"right to left and back",
         "\xE2\x80\xAE"
         "a\xE2\x80\xAC",
         300000},
    };
    tokenizer *t = small_tokenizer();
    encoder *e = NULL;
    EXPECT_OK(encoder_new(&e, t));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buffer text = {0}, decoded = {0};
        token_list list = {0};
        double start = clock_seconds();
        test_row(texts[i].class);
        repeat(&text, texts[i].part, texts[i].bytes);
        if (!texts[i].bytes) buffer_append(&text, "a\0\0b\0", 5);
        EXPECT_OK(encoder_encode(e, &list, text.bytes, text.length));
        EXPECT_OK(tokenizer_decode(t, &decoded, list.id, list.length));
        EXPECT(decoded.length == text.length && !memcmp(decoded.bytes, text.bytes, text.length), "%zu bytes became %zu", text.length, decoded.length);
        EXPECT(clock_seconds() - start < 30, "%.1f seconds", clock_seconds() - start);
        token_list_release(&list);
        buffer_release(&decoded), buffer_release(&text);
    }
    encoder_free(e);
    tokenizer_free(t);
}

/* Patterns come from the file, so a sound file can hold one that no engine finishes. */
static void a_pattern_without_end_is_refused_when_it_meets_its_text(void) {
    buffer sound = sound_file(), edited = {0}, text = {0};
    tokenizer *t = NULL;
    encoder *e = NULL;
    token_list list = {0};
    replace(&edited, &sound, regex, "\"Regex\": \"(a+)+$|");
    EXPECT_OK(file_write_whole(test_path("edited.json"), edited.bytes, edited.length));
    EXPECT_OK(tokenizer_json_read(&t, test_path("edited.json")));
    repeat(&text, "a", 60);
    buffer_append_byte(&text, '!');
    if (t) {
        EXPECT_OK(encoder_new(&e, t));
        EXPECT_ERROR(encoder_encode(e, &list, text.bytes, text.length), LAMP_UNSUPPORTED, "needs too much work at byte 0");
    }
    token_list_release(&list);
    encoder_free(e);
    tokenizer_free(t);
    buffer_release(&text), buffer_release(&edited), buffer_release(&sound);
}

static const test_case cases[] = {
    {"malformed tokenizers are refused by name", malformed_tokenizers_are_refused_by_name},
    {"malformed vocabularies of words are refused by name", malformed_vocabularies_of_words_are_refused_by_name},
    {"malformed vocabularies of characters are refused by name", malformed_vocabularies_of_characters_are_refused_by_name},
    {"malformed configs are refused by name", malformed_configs_are_refused_by_name},
    {"large files are read or refused in time", large_files_are_read_or_refused_in_time},
    {"any text survives encoding in time", any_text_survives_encoding_in_time},
    {"a pattern without end is refused when it meets its text", a_pattern_without_end_is_refused_when_it_meets_its_text},
};

int main(void) { return test_run("malformed tokenizer", cases, sizeof cases / sizeof *cases); }
