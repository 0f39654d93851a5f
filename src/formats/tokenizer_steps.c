#include "formats/tokenizer_steps.h"

#include <string.h>

#include "base/error.h"
#include "text/pattern.h"

typedef struct {
    tokenizer *t;
    const char *path;
    int depth;
} reader;

bool tokenizer_lacks(const json_t *value) { return !value || json_is_null(value); }

int tokenizer_flag(bool *flag, const json_t *object, const char *key, bool otherwise, const char *path) {
    *flag = otherwise;
    return tokenizer_lacks(json_object_get(object, key)) ? LAMP_OK : json_get_bool(flag, object, key, path);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static const char *const behaviors[] = {[SPLIT_ISOLATED] = "Isolated",
                                        [SPLIT_REMOVED] = "Removed",
                                        [SPLIT_CONTIGUOUS] = "Contiguous",
                                        [SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [SPLIT_WITH_NEXT] = "MergedWithNext"};
enum { BEHAVIORS = sizeof behaviors / sizeof *behaviors };

/* Says whether a pattern can be used now rather than when text comes. */
static int check_pattern(const char *regex, const char *path) {
    pattern *p = NULL;
    int status = pattern_new(&p, regex);
    pattern_free(p);
    return status < 0 ? error_add_context(status, "%s", path) : LAMP_OK;
}

static int add_split(const reader *r, const char *regex, split_behavior behavior, bool inverted) {
    TRY(check_pattern(regex, r->path));
    return tokenizer_add_step(r->t,
                              &(pretokenizer_step){.kind = STEP_SPLIT, .text = regex, .is_regex = true, .behavior = behavior, .inverted = inverted});
}

static int read_split(reader *r, const json_t *step) {
    json_t *sought;
    const char *text, *word;
    pretokenizer_step s = {.kind = STEP_SPLIT};
    TRY(json_get_object(&sought, step, "pattern", r->path));
    s.is_regex = json_object_get(sought, "Regex") != NULL;
    TRY(json_get_word(&text, sought, s.is_regex ? "Regex" : "String", r->path));
    if (!*text) FAIL(LAMP_UNSUPPORTED, "%s: \"pre_tokenizer\": expected a pattern, found an empty one", r->path);
    TRY(json_get_word(&word, step, "behavior", r->path));
    int behavior = 0;
    while (behavior < BEHAVIORS && strcmp(behaviors[behavior], word)) behavior++;
    if (behavior == BEHAVIORS) FAIL(LAMP_MALFORMED, "%s: \"behavior\": expected Isolated or one of its like, found %.100s", r->path, word);
    TRY(tokenizer_flag(&s.inverted, step, "invert", false, r->path));
    if (s.is_regex) TRY(check_pattern(text, r->path));
    s.text = text, s.behavior = (split_behavior)behavior;
    return tokenizer_add_step(r->t, &s);
}

static int read_byte_level(reader *r, const json_t *step) {
    bool prefix, uses_regex;
    TRY(tokenizer_flag(&prefix, step, "add_prefix_space", true, r->path));
    TRY(tokenizer_flag(&uses_regex, step, "use_regex", true, r->path));
    if (r->t->kind == VOCABULARY_OF_WORDS) FAIL(LAMP_UNSUPPORTED, "%s: expected words cut at white space, found bytes (ByteLevel)", r->path);
    r->t->kind = VOCABULARY_OF_BYTES;
    if (prefix) TRY(tokenizer_add_step(r->t, &(pretokenizer_step){.kind = STEP_PREFIX, .text = " "}));
    return uses_regex ? add_split(r, PRETOKENIZER_GPT2, SPLIT_ISOLATED, false) : LAMP_OK;
}

static int read_digits(reader *r, const json_t *step) {
    bool one_by_one;
    TRY(tokenizer_flag(&one_by_one, step, "individual_digits", false, r->path));
    return add_split(r, "\\p{N}", one_by_one ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false);
}

static int read_whitespace(reader *r, const json_t *step) {
    (void)step;
    return add_split(r, PRETOKENIZER_WORDS, SPLIT_REMOVED, true);
}

static int read_whitespace_split(reader *r, const json_t *step) {
    (void)step;
    return add_split(r, "\\s", SPLIT_REMOVED, false);
}

static int read_step(reader *r, const json_t *step);

static int read_sequence(reader *r, const json_t *step) {
    enum { DEEPEST = 4 };
    json_t *steps;
    TRY(json_get_array(&steps, step, "pretokenizers", r->path));
    if (r->depth == DEEPEST) FAIL(LAMP_UNSUPPORTED, "%s: \"pre_tokenizer\": expected sequences at most %d deep, found deeper", r->path, DEEPEST);
    r->depth++;
    for (size_t i = 0; i < json_array_size(steps); i++) TRY(read_step(r, json_array_get(steps, i)));
    r->depth--;
    return LAMP_OK;
}

static const struct {
    const char *type;
    int (*read)(reader *r, const json_t *step);
} kinds[] = {
    {"Sequence", read_sequence}, {"Split", read_split},           {"ByteLevel", read_byte_level},
    {"Digits", read_digits},     {"Whitespace", read_whitespace}, {"WhitespaceSplit", read_whitespace_split},
};

static int read_step(reader *r, const json_t *step) {
    const char *type;
    TRY(json_get_word(&type, step, "type", r->path));
    if (r->t->kind == VOCABULARY_OF_BYTES)
        FAIL(LAMP_UNSUPPORTED, "%s: \"pre_tokenizer\": expected ByteLevel as the last step, found %.100s after it", r->path, type);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].type, type)) return kinds[i].read(r, step);
    FAIL(LAMP_UNSUPPORTED,
         "%s: \"pre_tokenizer\": expected Split, ByteLevel, Digits, Whitespace, WhitespaceSplit or a Sequence of these, found %.100s", r->path, type);
}

int tokenizer_steps_read(tokenizer *t, const json_t *root, const char *path) {
    const json_t *step = json_object_get(root, "pre_tokenizer");
    return tokenizer_lacks(step) ? LAMP_OK : read_step(&(reader){t, path, 0}, step);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void write_split(json_writer *w, const pretokenizer_step *step) {
    json_begin_object(w, NULL);
    json_put_text(w, "type", "Split");
    json_begin_object(w, "pattern");
    json_put_text(w, step->is_regex ? "Regex" : "String", step->text);
    json_end_object(w);
    json_put_text(w, "behavior", behaviors[step->behavior]);
    json_put_bool(w, "invert", step->inverted);
    json_end_object(w);
}

static bool is_whitespace(const tokenizer *t) {
    const pretokenizer_step *s = t->steps;
    return t->n_steps == 1 && s->kind == STEP_SPLIT && !strcmp(s->text, PRETOKENIZER_WORDS) && s->behavior == SPLIT_REMOVED && s->inverted;
}

int tokenizer_steps_write(json_writer *w, const tokenizer *t) {
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
    if (t->kind == VOCABULARY_OF_BYTES) tokenizer_write_byte_level(w, NULL, false);
    json_end_array(w);
    json_end_object(w);
    return LAMP_OK;
}

void tokenizer_write_byte_level(json_writer *w, const char *key, bool setting) {
    json_begin_object(w, key);
    json_put_text(w, "type", "ByteLevel");
    json_put_bool(w, "add_prefix_space", setting);
    json_put_bool(w, "trim_offsets", setting);
    json_put_bool(w, "use_regex", setting);
    json_end_object(w);
}
