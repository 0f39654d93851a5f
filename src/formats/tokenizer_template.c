/* "post_processor": the tokens around a whole text. */
#include <string.h>

#include "base/error.h"
#include "formats/tokenizer_sections.h"

/* It only tells where in the text tokens stand, which we do not. */
static int read_byte_level(section_reader *r, const json_t *part) { return (void)r, (void)part, LAMP_OK; }

/* The ids that a template's name for a special token stands for. */
static int append_special(token_list *list, const section_reader *r, const json_t *special_tokens, const json_t *item) {
    const char *name;
    json_t *found, *ids;
    TRY(json_get_word(&name, item, "id", r->path));
    TRY(json_get_object(&found, special_tokens, name, r->path));
    TRY(json_get_array(&ids, found, "ids", r->path));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        json_t *value = json_array_get(ids, i);
        int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= r->t->size)
            FAIL(LAMP_MALFORMED, "%s: \"post_processor\": expected ids from 0 to %d for \"%.100s\", found another", r->path, r->t->size - 1, name);
        TRY(token_list_append(list, (int32_t)id));
    }
    return LAMP_OK;
}

/* *all becomes more, then what it held; or the other way round. */
static int join(token_list *all, const token_list *more, bool in_front) {
    token_list joined = {0};
    const token_list *first = in_front ? more : all, *second = in_front ? all : more;
    int status = LAMP_OK;
    for (size_t i = 0; i < first->length; i++) TRY_TO(done, token_list_append(&joined, first->id[i]));
    for (size_t i = 0; i < second->length; i++) TRY_TO(done, token_list_append(&joined, second->id[i]));
    token_list_release(all);
    *all = joined, joined = (token_list){0};
done:
    token_list_release(&joined);
    return status;
}

/* [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]: the text is the one sequence. */
static int read_single(token_list *begin, token_list *end, const section_reader *r, const json_t *single, const json_t *special_tokens) {
    bool has_text = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i), *special = json_object_get(item, "SpecialToken");
        bool is_text = json_object_get(item, "Sequence") != NULL;
        if (!special && (!is_text || has_text))
            FAIL(LAMP_MALFORMED, "%s: \"single\", entry %zu: expected a SpecialToken, or once the Sequence, found another", r->path, i);
        if (special) TRY(append_special(has_text ? end : begin, r, special_tokens, special));
        has_text |= is_text;
    }
    if (!has_text) FAIL(LAMP_MALFORMED, "%s: \"single\": expected the Sequence among its entries, found none", r->path);
    return LAMP_OK;
}

static int read_template(section_reader *r, const json_t *part) {
    json_t *single, *special_tokens;
    token_list begin = {0}, end = {0};
    int status;
    TRY(json_get_array(&single, part, "single", r->path));
    TRY(json_get_object(&special_tokens, part, "special_tokens", r->path));
    TRY_TO(done, read_single(&begin, &end, r, single, special_tokens));
    TRY_TO(done, join(&r->t->begin, &begin, true));
    TRY_TO(done, join(&r->t->end, &end, false));
done:
    token_list_release(&begin);
    token_list_release(&end);
    return status;
}

int tokenizer_read_template(tokenizer *t, const json_t *root, const char *path) {
    static const section_kind kinds[] = {{"TemplateProcessing", read_template}, {"ByteLevel", read_byte_level}, {0}};
    const json_t *part = json_object_get(root, "post_processor");
    section_reader r = {t, path, "post_processor", 0};
    return section_lacks(part) ? LAMP_OK : section_read(&r, kinds, "processors", part);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static const char *name_of(buffer *name, const tokenizer *t, int32_t id) {
    buffer_clear(name);
    buffer_append(name, t->text.bytes + t->tokens[id].start, t->tokens[id].length);
    return name->status < 0 ? "" : name->bytes;
}

static void write_entry(json_writer *w, const char *kind, const char *id, int type) {
    json_begin_object(w, NULL);
    json_begin_object(w, kind);
    json_put_text(w, "id", id);
    json_put_integer(w, "type_id", type);
    json_end_object(w);
    json_end_object(w);
}

static void write_specials(json_writer *w, const tokenizer *t, buffer *name, const token_list *list, int type) {
    for (size_t i = 0; i < list->length; i++) write_entry(w, "SpecialToken", name_of(name, t, list->id[i]), type);
}

static void write_sequence(json_writer *w, const tokenizer *t, buffer *name, const char *id, int type) {
    write_specials(w, t, name, &t->begin, type);
    write_entry(w, "Sequence", id, type);
    write_specials(w, t, name, &t->end, type);
}

static bool is_among(const token_list *list, size_t n, int32_t id) {
    for (size_t i = 0; i < n; i++)
        if (list->id[i] == id) return true;
    return false;
}

static void write_meaning(json_writer *w, const tokenizer *t, buffer *name, int32_t id) {
    json_begin_object(w, name_of(name, t, id));
    json_put_text(w, "id", name_of(name, t, id));
    json_begin_array(w, "ids");
    json_put_integer(w, NULL, id);
    json_end_array(w);
    json_begin_array(w, "tokens");
    json_put_text(w, NULL, name_of(name, t, id));
    json_end_array(w);
    json_end_object(w);
}

int tokenizer_write_template(json_writer *w, const tokenizer *t) {
    buffer name = {0};
    if (t->begin.length + t->end.length == 0) {
        json_put_null(w, "post_processor");
        return LAMP_OK;
    }
    json_begin_object(w, "post_processor");
    json_put_text(w, "type", "TemplateProcessing");
    json_begin_array(w, "single");
    write_sequence(w, t, &name, "A", 0);
    json_end_array(w);
    json_begin_array(w, "pair");
    write_sequence(w, t, &name, "A", 0);
    write_sequence(w, t, &name, "B", 1);
    json_end_array(w);
    json_begin_object(w, "special_tokens");
    for (size_t i = 0; i < t->begin.length; i++)
        if (!is_among(&t->begin, i, t->begin.id[i])) write_meaning(w, t, &name, t->begin.id[i]);
    for (size_t i = 0; i < t->end.length; i++)
        if (!is_among(&t->end, i, t->end.id[i]) && !is_among(&t->begin, t->begin.length, t->end.id[i])) write_meaning(w, t, &name, t->end.id[i]);
    json_end_object(w);
    json_end_object(w);
    int status = name.status;
    buffer_release(&name);
    return status;
}
