#include "formats/tokenizer_sections.h"

#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/file.h"
#include "text/pattern.h"

int section_read_source(json_t **root, buffer *source, const char *path) {
    mapped_file map;
    TRY(json_read_file(root, path));
    int status = file_map(&map, path);
    if (status >= 0) {
        status = buffer_append(source, map.bytes, map.length);
        file_unmap(&map);
    }
    if (status < 0) json_decref(*root);
    return status;
}

bool section_lacks(const json_t *value) { return !value || json_is_null(value); }

int section_flag(bool *flag, const json_t *object, const char *key, bool otherwise, const char *path) {
    *flag = otherwise;
    return section_lacks(json_object_get(object, key)) ? LAMP_OK : json_get_bool(flag, object, key, path);
}

static int read_sequence(section_reader *r, const section_kind *kinds, const char *members, const json_t *part) {
    enum { DEEPEST = 4 };
    json_t *parts;
    TRY(json_get_array(&parts, part, members, r->path));
    if (r->depth == DEEPEST) FAIL(LAMP_UNSUPPORTED, "%s: \"%s\": expected sequences at most %d deep, found deeper", r->path, r->section, DEEPEST);
    r->depth++;
    for (size_t i = 0; i < json_array_size(parts); i++) TRY(section_read(r, kinds, members, json_array_get(parts, i)));
    r->depth--;
    return LAMP_OK;
}

int section_read(section_reader *r, const section_kind *kinds, const char *members, const json_t *part) {
    const char *type;
    char all[256] = "";
    TRY(json_get_word(&type, part, "type", r->path));
    if (!strcmp(type, "Sequence")) return read_sequence(r, kinds, members, part);
    for (const section_kind *kind = kinds; kind->type; kind++) {
        if (!strcmp(kind->type, type)) return kind->read(r, part);
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s, ", kind->type);
    }
    FAIL(LAMP_UNSUPPORTED, "%s: \"%s\": expected one of %sSequence, found %.100s", r->path, r->section, all, type);
}

int section_pattern(const char **text, bool *is_regex, const section_reader *r, const json_t *part) {
    json_t *sought;
    TRY(json_get_object(&sought, part, "pattern", r->path));
    *is_regex = json_object_get(sought, "Regex") != NULL;
    TRY(json_get_word(text, sought, *is_regex ? "Regex" : "String", r->path));
    if (!**text) FAIL(LAMP_UNSUPPORTED, "%s: \"%s\": expected a pattern, found an empty one", r->path, r->section);
    if (!*is_regex) return LAMP_OK;
    /* Whether it can be used is said now rather than when text comes. */
    pattern *p = NULL;
    int status = pattern_new(&p, *text);
    pattern_free(p);
    return status < 0 ? error_add_context(status, "%s", r->path) : LAMP_OK;
}

int section_metaspace(const char **replacement, prepend_scheme *scheme, const section_reader *r, const json_t *part) {
    static const char *const schemes[] = {[PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never"};
    const char *word;
    bool prefix;
    TRY(json_get_word(replacement, part, "replacement", r->path));
    size_t length = strlen(*replacement);
    if (length == 0 || character_length(*replacement, length, NULL) != length)
        FAIL(LAMP_MALFORMED, "%s: \"replacement\": expected one character, found \"%.100s\"", r->path, *replacement);
    TRY(section_flag(&prefix, part, "add_prefix_space", true, r->path));
    *scheme = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (section_lacks(json_object_get(part, "prepend_scheme"))) return LAMP_OK;
    TRY(json_get_word(&word, part, "prepend_scheme", r->path));
    for (int i = 0; i < 3; i++)
        if (!strcmp(schemes[i], word)) {
            *scheme = (prepend_scheme)i;
            if (prefix || *scheme == PREPEND_NEVER) return LAMP_OK;
            FAIL(LAMP_MALFORMED, "%s: \"add_prefix_space\": expected true with \"prepend_scheme\" %s, found false", r->path, word);
        }
    FAIL(LAMP_MALFORMED, "%s: \"prepend_scheme\": expected always, first or never, found \"%.100s\"", r->path, word);
}

void section_write_pattern(json_writer *w, const char *text, bool is_regex) {
    json_begin_object(w, "pattern");
    json_put_text(w, is_regex ? "Regex" : "String", text);
    json_end_object(w);
}

void section_write_byte_level(json_writer *w, const char *key, bool setting) {
    json_begin_object(w, key);
    json_put_text(w, "type", "ByteLevel");
    json_put_bool(w, "add_prefix_space", setting);
    json_put_bool(w, "trim_offsets", setting);
    json_put_bool(w, "use_regex", setting);
    json_end_object(w);
}
