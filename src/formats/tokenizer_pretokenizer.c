/* "pre_tokenizer": how text is cut. */
#include <string.h>

#include "base/error.h"
#include "formats/tokenizer_sections.h"

static const char *const behaviors[] = {[SPLIT_ISOLATED] = "Isolated",
                                        [SPLIT_REMOVED] = "Removed",
                                        [SPLIT_CONTIGUOUS] = "Contiguous",
                                        [SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [SPLIT_WITH_NEXT] = "MergedWithNext"};
enum { BEHAVIORS = sizeof behaviors / sizeof *behaviors };

/* ByteLevel turns text into an alphabet that later steps would have to cut. */
static int add_step(section_reader *r, pretokenizer_step step) {
    if (r->t->kind == VOCABULARY_OF_BYTES) FAIL(LAMP_UNSUPPORTED, "%s: \"pre_tokenizer\": expected ByteLevel as the last step, found more", r->path);
    return tokenizer_add_step(r->t, &step);
}

static int add_split(section_reader *r, const char *regex, split_behavior behavior, bool inverted) {
    return add_step(r, (pretokenizer_step){.kind = STEP_SPLIT, .text = regex, .is_regex = true, .behavior = behavior, .inverted = inverted});
}

static int read_split(section_reader *r, const json_t *part) {
    const char *word;
    pretokenizer_step s = {.kind = STEP_SPLIT};
    TRY(section_pattern(&s.text, &s.is_regex, r, part));
    TRY(json_get_word(&word, part, "behavior", r->path));
    int behavior = 0;
    while (behavior < BEHAVIORS && strcmp(behaviors[behavior], word)) behavior++;
    if (behavior == BEHAVIORS) FAIL(LAMP_MALFORMED, "%s: \"behavior\": expected Isolated or one of its like, found %.100s", r->path, word);
    s.behavior = (split_behavior)behavior;
    TRY(section_flag(&s.inverted, part, "invert", false, r->path));
    return add_step(r, s);
}

static int read_byte_level(section_reader *r, const json_t *part) {
    bool prefix, uses_regex;
    TRY(section_flag(&prefix, part, "add_prefix_space", true, r->path));
    TRY(section_flag(&uses_regex, part, "use_regex", true, r->path));
    if (r->t->kind == VOCABULARY_OF_WORDS) FAIL(LAMP_UNSUPPORTED, "%s: expected words cut at white space, found bytes (ByteLevel)", r->path);
    if (prefix) TRY(add_step(r, (pretokenizer_step){.kind = STEP_PREFIX, .text = " "}));
    if (uses_regex) TRY(add_split(r, PRETOKENIZER_GPT2, SPLIT_ISOLATED, false));
    r->t->kind = VOCABULARY_OF_BYTES;
    return LAMP_OK;
}

static int read_digits(section_reader *r, const json_t *part) {
    bool one_by_one;
    TRY(section_flag(&one_by_one, part, "individual_digits", false, r->path));
    return add_split(r, PRETOKENIZER_DIGIT, one_by_one ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false);
}

static int read_whitespace(section_reader *r, const json_t *part) {
    (void)part;
    return add_split(r, PRETOKENIZER_WORDS, SPLIT_REMOVED, true);
}

static int read_whitespace_split(section_reader *r, const json_t *part) {
    (void)part;
    return add_split(r, "\\s", SPLIT_REMOVED, false);
}

static int read_metaspace(section_reader *r, const json_t *part) {
    const char *mark;
    prepend_scheme scheme;
    bool cuts;
    TRY(section_metaspace(&mark, &scheme, r, part));
    TRY(section_flag(&cuts, part, "split", true, r->path));
    TRY(add_step(r, (pretokenizer_step){.kind = STEP_REPLACE, .text = " ", .with = mark}));
    if (scheme != PREPEND_NEVER) TRY(add_step(r, (pretokenizer_step){.kind = STEP_PREFIX, .text = mark, .first_only = scheme == PREPEND_FIRST}));
    return cuts ? add_step(r, (pretokenizer_step){.kind = STEP_SPLIT, .text = mark, .behavior = SPLIT_WITH_NEXT}) : LAMP_OK;
}

int tokenizer_read_pretokenizer(tokenizer *t, const json_t *root, const char *path) {
    static const section_kind kinds[] = {{"Split", read_split},
                                         {"ByteLevel", read_byte_level},
                                         {"Digits", read_digits},
                                         {"Whitespace", read_whitespace},
                                         {"Metaspace", read_metaspace},
                                         {"WhitespaceSplit", read_whitespace_split},
                                         {0}};
    const json_t *part = json_object_get(root, "pre_tokenizer");
    section_reader r = {t, path, "pre_tokenizer", 0};
    return section_lacks(part) ? LAMP_OK : section_read(&r, kinds, "pretokenizers", part);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void write_split(json_writer *w, const pretokenizer_step *step) {
    json_begin_object(w, NULL);
    json_put_text(w, "type", "Split");
    section_write_pattern(w, step->text, step->is_regex);
    json_put_text(w, "behavior", behaviors[step->behavior]);
    json_put_bool(w, "invert", step->inverted);
    json_end_object(w);
}

static bool is_whitespace(const tokenizer *t) {
    const pretokenizer_step *s = t->steps;
    return t->n_steps == 1 && s->kind == STEP_SPLIT && !strcmp(s->text, PRETOKENIZER_WORDS) && s->behavior == SPLIT_REMOVED && s->inverted;
}

int tokenizer_write_pretokenizer(json_writer *w, const tokenizer *t) {
    if (t->n_steps == 0 && t->kind != VOCABULARY_OF_BYTES) {
        json_put_null(w, "pre_tokenizer");
        return LAMP_OK;
    }
    json_begin_object(w, "pre_tokenizer");
    if (is_whitespace(t)) {
        json_put_text(w, "type", "Whitespace");
        json_end_object(w);
        return LAMP_OK;
    }
    json_put_text(w, "type", "Sequence");
    json_begin_array(w, "pretokenizers");
    for (size_t i = 0; i < t->n_steps; i++) {
        if (t->steps[i].kind != STEP_SPLIT) FAIL(LAMP_UNSUPPORTED, "step %zu of the pre-tokenizer cannot be written by itself", i);
        write_split(w, &t->steps[i]);
    }
    if (t->kind == VOCABULARY_OF_BYTES) section_write_byte_level(w, NULL, false);
    json_end_array(w);
    json_end_object(w);
    return LAMP_OK;
}
