/* "normalizer": what is done to text before it is cut. */
#include "base/error.h"
#include "formats/tokenizer_sections.h"

static int add_form(section_reader *r, unicode_form form) {
    return tokenizer_add_normalization(r->t, &(normalizer_step){.kind = NORMALIZE_FORM, .form = form});
}
static int read_nfc(section_reader *r, const json_t *part) { return (void)part, add_form(r, UNICODE_NFC); }
static int read_nfd(section_reader *r, const json_t *part) { return (void)part, add_form(r, UNICODE_NFD); }
static int read_nfkc(section_reader *r, const json_t *part) { return (void)part, add_form(r, UNICODE_NFKC); }
static int read_nfkd(section_reader *r, const json_t *part) { return (void)part, add_form(r, UNICODE_NFKD); }

static int read_lowercase(section_reader *r, const json_t *part) {
    (void)part;
    return tokenizer_add_normalization(r->t, &(normalizer_step){.kind = NORMALIZE_LOWER});
}

static int read_replace(section_reader *r, const json_t *part) {
    normalizer_step s = {.kind = NORMALIZE_REPLACE};
    TRY(section_pattern(&s.text, &s.is_regex, r, part));
    TRY(json_get_word(&s.with, part, "content", r->path));
    return tokenizer_add_normalization(r->t, &s);
}

static int read_prepend(section_reader *r, const json_t *part) {
    normalizer_step s = {.kind = NORMALIZE_PREPEND};
    TRY(json_get_word(&s.text, part, "prepend", r->path));
    return tokenizer_add_normalization(r->t, &s);
}

static int read_strip(section_reader *r, const json_t *part) {
    normalizer_step s = {.kind = NORMALIZE_STRIP};
    TRY(json_get_bool(&s.at_start, part, "strip_left", r->path));
    TRY(json_get_bool(&s.at_end, part, "strip_right", r->path));
    return tokenizer_add_normalization(r->t, &s);
}

int tokenizer_read_normalizer(tokenizer *t, const json_t *root, const char *path) {
    static const section_kind kinds[] = {{"NFC", read_nfc},
                                         {"NFD", read_nfd},
                                         {"NFKC", read_nfkc},
                                         {"NFKD", read_nfkd},
                                         {"Lowercase", read_lowercase},
                                         {"Replace", read_replace},
                                         {"Prepend", read_prepend},
                                         {"Strip", read_strip},
                                         {0}};
    const json_t *part = json_object_get(root, "normalizer");
    section_reader r = {t, path, "normalizer", 0};
    return section_lacks(part) ? LAMP_OK : section_read(&r, kinds, "normalizers", part);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void write_step(json_writer *w, const normalizer_step *s) {
    static const char *const forms[] = {[UNICODE_NFC] = "NFC", [UNICODE_NFD] = "NFD", [UNICODE_NFKC] = "NFKC", [UNICODE_NFKD] = "NFKD"};
    static const char *const types[] = {
        [NORMALIZE_LOWER] = "Lowercase", [NORMALIZE_REPLACE] = "Replace", [NORMALIZE_PREPEND] = "Prepend", [NORMALIZE_STRIP] = "Strip"};
    json_begin_object(w, NULL);
    json_put_text(w, "type", s->kind == NORMALIZE_FORM ? forms[s->form] : types[s->kind]);
    if (s->kind == NORMALIZE_REPLACE) section_write_pattern(w, s->text, s->is_regex), json_put_text(w, "content", s->with);
    if (s->kind == NORMALIZE_PREPEND) json_put_text(w, "prepend", s->text);
    if (s->kind == NORMALIZE_STRIP) json_put_bool(w, "strip_left", s->at_start), json_put_bool(w, "strip_right", s->at_end);
    json_end_object(w);
}

void tokenizer_write_normalizer(json_writer *w, const tokenizer *t) {
    if (t->n_normalizations == 0) {
        json_put_null(w, "normalizer");
        return;
    }
    json_begin_object(w, "normalizer");
    json_put_text(w, "type", "Sequence");
    json_begin_array(w, "normalizers");
    for (size_t i = 0; i < t->n_normalizations; i++) write_step(w, &t->normalizations[i]);
    json_end_array(w);
    json_end_object(w);
}
