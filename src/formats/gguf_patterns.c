#include "formats/gguf_patterns.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "text/merging.h"

enum { MOST_NAMES = 3, MOST_PATTERNS = 6, KNOWN_BYTES = 160 };

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SIGNS_AND_SPACE "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CAPITALS "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
/* Letters that are small or capital. */
#define CASED                                                                                                                                        \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-"         \
    "ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ"       \
    "-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-"       \
    "ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"

/* Of several names of the same patterns the first is what we write. */
static const struct {
    const char *name[MOST_NAMES];
    const char *pattern[MOST_PATTERNS]; /* each cuts the pieces of the one before */
    bool ignores_merges, begins;        /* begins: a token stands before a text, unless the file says otherwise */
} cuts[] = {
    {{"gpt-2", "olmo"}, {PRETOKENIZER_GPT2}, false, false},
    {{"qwen2", "deepseek-r1-qwen"}, {PRETOKENIZER_QWEN2}, false, false},
    {{"llama-bpe", "llama3", "llama-v3"}, {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" SIGNS_AND_SPACE}, true, true},
    {{"gpt-4o", "llama4"},
     {"[^\\r\\n\\p{L}\\p{N}]?" CAPITALS "*" SMALL "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" CAPITALS "+" SMALL "*" CONTRACTIONS
      "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     false,
     false},
    {{"deepseek-v3"},
     {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     false,
     false},
    {{"deepseek-llm"},
     {"[\\r\\n]", "\\s?[" CASED "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", "[一-龥ࠀ-一가-퟿]+", PRETOKENIZER_DIGIT},
     false,
     false},
};

enum { N_CUTS = sizeof cuts / sizeof *cuts };

static bool is_called(int cut, const char *name) {
    for (int i = 0; i < MOST_NAMES && cuts[cut].name[i]; i++)
        if (!strcmp(cuts[cut].name[i], name)) return true;
    return false;
}

static void list_cuts(char known[KNOWN_BYTES]) {
    *known = 0;
    for (int i = 0; i < N_CUTS; i++) snprintf(known + strlen(known), KNOWN_BYTES - strlen(known), "%s%s", i ? ", " : "", cuts[i].name[0]);
}

/* Where this holds it is all the same whether pieces that are tokens are looked up or merged. */
static int check_merges_suffice(const tokenizer *t) {
    merging_room room = {0};
    token_list ids = {0};
    int status = LAMP_OK;
    for (int32_t id = 0; id < t->size && status >= 0; id++) {
        const unsigned char *bytes = (const unsigned char *)t->text.bytes + t->tokens[id].start;
        size_t n = t->tokens[id].length;
        ids.length = 0;
        if (t->tokens[id].kind != TOKEN_TEXT) continue;
        for (size_t i = 0; i < n && status >= 0; i++) status = token_list_append(&ids, t->byte_id[bytes[i]]);
        if (status >= 0) status = merge_symbols(ids.id, &n, t, &room);
        if (status >= 0 && n > 1) {
            log_warning("the tokenizer: no merges make token %d of its bytes; programs that read the GGUF file may find it where this tokenizer does "
                        "not, or the other way round",
                        id);
            break;
        }
    }
    token_list_release(&ids), merging_room_release(&room);
    return status;
}

int gguf_patterns_add(tokenizer *t, bool *begins, const char *name, const char *where) {
    char known[KNOWN_BYTES];
    for (int i = 0; i < N_CUTS; i++) {
        if (!is_called(i, name)) continue;
        for (int p = 0; p < MOST_PATTERNS && cuts[i].pattern[p]; p++)
            TRY(tokenizer_add_step(t, &(pretokenizer_step){.kind = STEP_SPLIT, .text = cuts[i].pattern[p], .is_regex = true}));
        t->ignore_merges = cuts[i].ignores_merges, *begins = cuts[i].begins;
        return LAMP_OK;
    }
    list_cuts(known);
    FAIL(LAMP_UNSUPPORTED, "%s: tokenizer.ggml.pre: expected one of %s, found %s", where, known, name);
}

static bool cuts_so(const tokenizer *t, int cut) {
    size_t n = 0;
    for (; n < MOST_PATTERNS && cuts[cut].pattern[n]; n++) {
        const pretokenizer_step *s = &t->steps[n];
        if (n >= t->n_steps || s->kind != STEP_SPLIT || !s->is_regex || s->behavior != SPLIT_ISOLATED || s->inverted) return false;
        if (strcmp(s->text, cuts[cut].pattern[n])) return false;
    }
    return n == t->n_steps;
}

int gguf_patterns_name(const char **name, const tokenizer *t) {
    char known[KNOWN_BYTES];
    for (int i = 0; i < N_CUTS; i++) {
        if (!cuts_so(t, i)) continue;
        *name = cuts[i].name[0];
        return t->ignore_merges == cuts[i].ignores_merges ? LAMP_OK : check_merges_suffice(t);
    }
    list_cuts(known);
    FAIL(LAMP_UNSUPPORTED, "the tokenizer: expected the patterns of %s, found others, for which GGUF has no name that we know", known);
}
