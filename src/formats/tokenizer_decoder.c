/* "decoder": how tokens become text. The steps of others are read as what each token stands for (token_showing). */
#include <string.h>

#include "base/error.h"
#include "formats/tokenizer_sections.h"

static int read_byte_level(section_reader *r, const json_t *part) {
    (void)part;
    if (r->t->kind != VOCABULARY_OF_BYTES) FAIL(LAMP_UNSUPPORTED, "%s: \"decoder\": expected one of characters, found ByteLevel", r->path);
    return LAMP_OK;
}

static int check_characters(const section_reader *r, const char *type) {
    if (r->t->kind == VOCABULARY_OF_BYTES) FAIL(LAMP_UNSUPPORTED, "%s: expected the decoder ByteLevel, found %s", r->path, type);
    return LAMP_OK;
}

static int set_mark(section_reader *r, const char *mark) {
    token_showing *how = &r->t->showing;
    if (how->mark || how->reads_bytes || how->stripped > 0)
        FAIL(LAMP_UNSUPPORTED, "%s: \"decoder\": expected one step that makes spaces, before all others, found another", r->path);
    return tokenizer_keep_text(&how->mark, r->t, mark);
}

static int read_replace(section_reader *r, const json_t *part) {
    const char *mark, *content;
    bool is_regex;
    TRY(check_characters(r, "Replace"));
    TRY(section_pattern(&mark, &is_regex, r, part));
    TRY(json_get_word(&content, part, "content", r->path));
    if (is_regex || strcmp(content, " "))
        FAIL(LAMP_UNSUPPORTED, "%s: \"decoder\": expected Replace to make a String a space, found another use", r->path);
    return set_mark(r, mark);
}

static int read_metaspace(section_reader *r, const json_t *part) {
    const char *mark;
    prepend_scheme scheme;
    TRY(check_characters(r, "Metaspace"));
    TRY(section_metaspace(&mark, &scheme, r, part));
    r->t->showing.first_loses_marks = scheme != PREPEND_NEVER;
    return set_mark(r, mark);
}

static int read_byte_fallback(section_reader *r, const json_t *part) {
    (void)part;
    TRY(check_characters(r, "ByteFallback"));
    r->t->showing.reads_bytes = true;
    return LAMP_OK;
}

/* What we show is always one text. */
static int read_fuse(section_reader *r, const json_t *part) { return (void)r, (void)part, LAMP_OK; }

static int read_strip(section_reader *r, const json_t *part) {
    const char *content;
    int64_t start, stop;
    TRY(check_characters(r, "Strip"));
    TRY(json_get_word(&content, part, "content", r->path));
    TRY(json_get_integer(&start, part, "start", 0, INT32_MAX, r->path));
    TRY(json_get_integer(&stop, part, "stop", 0, INT32_MAX, r->path));
    if (strcmp(content, " ") || stop > 0)
        FAIL(LAMP_UNSUPPORTED, "%s: \"decoder\": expected Strip of spaces at the start, found another use", r->path);
    r->t->showing.stripped = (int)start;
    return LAMP_OK;
}

int tokenizer_read_decoder(tokenizer *t, const json_t *root, const char *path) {
    static const section_kind kinds[] = {{"ByteLevel", read_byte_level},
                                         {"Replace", read_replace},
                                         {"ByteFallback", read_byte_fallback},
                                         {"Fuse", read_fuse},
                                         {"Strip", read_strip},
                                         {"Metaspace", read_metaspace},
                                         {0}};
    const json_t *part = json_object_get(root, "decoder");
    section_reader r = {t, path, "decoder", 0};
    bool is_absent = section_lacks(part);
    t->showing = (token_showing){.between = is_absent && t->kind != VOCABULARY_OF_BYTES ? " " : NULL};
    return is_absent ? LAMP_OK : section_read(&r, kinds, "decoders", part);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void begin_step(json_writer *w, const char *type) {
    json_begin_object(w, NULL);
    json_put_text(w, "type", type);
}

void tokenizer_write_decoder(json_writer *w, const tokenizer *t) {
    const token_showing *how = &t->showing;
    if (t->kind == VOCABULARY_OF_BYTES) {
        section_write_byte_level(w, "decoder", true);
        return;
    }
    if (how->between) {
        json_put_null(w, "decoder");
        return;
    }
    json_begin_object(w, "decoder");
    json_put_text(w, "type", "Sequence");
    json_begin_array(w, "decoders");
    if (how->mark) begin_step(w, "Replace"), section_write_pattern(w, how->mark, false), json_put_text(w, "content", " "), json_end_object(w);
    if (how->reads_bytes) begin_step(w, "ByteFallback"), json_end_object(w);
    begin_step(w, "Fuse"), json_end_object(w);
    if (how->stripped > 0) {
        begin_step(w, "Strip");
        json_put_text(w, "content", " ");
        json_put_integer(w, "start", how->stripped);
        json_put_integer(w, "stop", 0);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}
