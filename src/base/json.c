#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/file.h"

/* jansson's lexer does not notice when its buffer for a token cannot grow, and asserts that it did. That buffer grows by powers of two, so where
 * memory has run out such sizes come from a reserve, whose blocks are in use until they are freed: the next node then fails in good order. */
enum { RESERVED_BLOCKS = 8, RESERVED_BYTES = 1 << 16 };
static _Alignas(16) char reserve[RESERVED_BLOCKS][RESERVED_BYTES];
static bool reserve_taken[RESERVED_BLOCKS];

static void *allocate(size_t bytes) {
    void *block = malloc(bytes);
    if (block || bytes < 32 || bytes > RESERVED_BYTES || (bytes & (bytes - 1))) return block;
    for (int i = 0; i < RESERVED_BLOCKS; i++)
        if (!__atomic_exchange_n(&reserve_taken[i], true, __ATOMIC_ACQUIRE)) return reserve[i];
    return NULL;
}

static void release(void *block) {
    char *bytes = block, *first = (char *)reserve;
    if (bytes >= first && bytes < first + sizeof reserve) __atomic_store_n(&reserve_taken[(bytes - first) / RESERVED_BYTES], false, __ATOMIC_RELEASE);
    else free(block);
}

static json_t *load(const void *bytes, size_t length, json_error_t *problem) {
    static bool ready; /* once, so that a program which gives jansson memory of its own has the last word */
    if (!__atomic_exchange_n(&ready, true, __ATOMIC_RELAXED)) json_set_alloc_funcs(allocate, release);
    return json_loadb(length ? bytes : "", length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, problem);
}

int json_read_bytes(json_t **document, const void *bytes, size_t length, const char *where) {
    json_error_t problem;
    *document = load(bytes, length, &problem);
    if (!*document && json_error_code(&problem) == json_error_out_of_memory)
        FAIL(LAMP_NO_MEMORY, "%s: no memory for %zu bytes of JSON", where, length);
    if (!*document) FAIL(LAMP_MALFORMED, "%s: line %d, column %d: not valid JSON: %s", where, problem.line, problem.column, problem.text);
    return LAMP_OK;
}

/* Sound JSON has no more values and keys than this: one at its start, and one after each of [ { , : outside strings. */
static size_t count_values(const char *bytes, size_t length) {
    size_t n = 1;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        if (in_string && c == '\\') i++;
        else if (c == '"') in_string = !in_string;
        else if (!in_string) n += c == '[' || c == '{' || c == ',' || c == ':';
    }
    return n;
}

int json_read_line(json_t **document, const char *line, size_t length, const char *where) {
    json_error_t problem;
    *document = NULL;
    if (length > JSON_LINE_VALUES && count_values(line, length) > JSON_LINE_VALUES)
        FAIL(LAMP_UNSUPPORTED, "%s: expected at most %d values in a line, found more; leave out fields that are not text", where, JSON_LINE_VALUES);
    if ((*document = load(line, length, &problem))) return LAMP_OK;
    switch (json_error_code(&problem)) {
    case json_error_out_of_memory: FAIL(LAMP_NO_MEMORY, "%s: no memory for %zu bytes of JSON", where, length);
    case json_error_stack_overflow: FAIL(LAMP_UNSUPPORTED, "%s: expected JSON nested at most %d deep, found deeper", where, JSON_PARSER_MAX_DEPTH);
    case json_error_numeric_overflow:
        FAIL(LAMP_UNSUPPORTED, "%s: column %d: expected numbers of at most 64 bits: %s", where, problem.column, problem.text);
    default: FAIL(LAMP_MALFORMED, "%s: column %d: not valid JSON: %s", where, problem.column, problem.text);
    }
}

int json_read_file(json_t **document, const char *path) {
    mapped_file map;
    TRY(file_map(&map, path));
    int status = map.length > JSON_MAX_FILE_BYTES
                     ? error_set(LAMP_UNSUPPORTED, "%s: expected at most %d bytes of JSON, found %zu", path, JSON_MAX_FILE_BYTES, map.length)
                     : json_read_bytes(document, map.bytes, map.length, path);
    file_unmap(&map);
    return status;
}

static const char *type_name(const json_t *value) {
    if (!value) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "text";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

const json_t *json_find(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

#define EXPECT(test, expected)                                                                                                                       \
    if (!(test)) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected %s, found %s", where, key, expected, type_name(found))

int json_get_object(json_t **value, const json_t *object, const char *key, const char *where) {
    json_t *found = json_object_get(object, key);
    EXPECT(json_is_object(found), "an object");
    *value = found;
    return LAMP_OK;
}

int json_get_array(json_t **value, const json_t *object, const char *key, const char *where) {
    json_t *found = json_object_get(object, key);
    EXPECT(json_is_array(found), "an array");
    *value = found;
    return LAMP_OK;
}

int json_get_text(const char **value, const json_t *object, const char *key, const char *where) {
    json_t *found = json_object_get(object, key);
    EXPECT(json_is_string(found), "text");
    *value = json_string_value(found);
    return LAMP_OK;
}

int json_get_word(const char **value, const json_t *object, const char *key, const char *where) {
    TRY(json_get_text(value, object, key, where));
    if (strlen(*value) != json_string_length(json_object_get(object, key)))
        FAIL(LAMP_MALFORMED, "%s: \"%s\": expected text without NUL, found one after \"%.100s\"", where, key, *value);
    return LAMP_OK;
}

int json_get_integer(int64_t *value, const json_t *object, const char *key, int64_t min, int64_t max, const char *where) {
    json_t *found = json_object_get(object, key);
    EXPECT(json_is_integer(found), "an integer");
    int64_t number = json_integer_value(found);
    if (number < min || number > max)
        FAIL(LAMP_MALFORMED, "%s: \"%s\": expected %" PRId64 " to %" PRId64 ", found %" PRId64, where, key, min, max, number);
    *value = number;
    return LAMP_OK;
}

int json_get_number(double *value, const json_t *object, const char *key, const char *where) {
    json_t *found = json_object_get(object, key);
    EXPECT(json_is_number(found), "a number");
    *value = json_number_value(found);
    return LAMP_OK;
}

int json_get_bool(bool *value, const json_t *object, const char *key, const char *where) {
    json_t *found = json_object_get(object, key);
    EXPECT(json_is_boolean(found), "a boolean");
    *value = json_is_true(found);
    return LAMP_OK;
}

static void break_line(json_writer *w) {
    if (!w->indented) return;
    buffer_append_byte(w->out, '\n');
    for (int i = 0; i < w->depth; i++) buffer_append_text(w->out, "  ");
}

static void put_quoted(json_writer *w, const char *text, size_t length) {
    buffer_append_byte(w->out, '"');
    for (size_t i = 0; i < length;) {
        size_t step = character_length(text + i, length - i, NULL);
        if (step == 0) {
            buffer_append_text(w->out, "\xEF\xBF\xBD");
            i++;
        } else if (step > 1) {
            buffer_append(w->out, text + i, step);
            i += step;
        } else {
            unsigned char c = (unsigned char)text[i++];
            if (c == '"' || c == '\\') buffer_printf(w->out, "\\%c", c);
            else if (c == '\n') buffer_append_text(w->out, "\\n");
            else if (c == '\t') buffer_append_text(w->out, "\\t");
            else if (c < 0x20 || c == 0x7F) buffer_printf(w->out, "\\u%04x", c);
            else buffer_append_byte(w->out, (char)c);
        }
    }
    buffer_append_byte(w->out, '"');
}

static void begin_value(json_writer *w, const char *key) {
    if (w->has_members) buffer_append_text(w->out, w->indented ? "," : ", ");
    if (w->depth > 0) break_line(w);
    w->has_members = true;
    if (!key) return;
    put_quoted(w, key, strlen(key));
    buffer_append_text(w->out, ": ");
}

static void begin(json_writer *w, const char *key, char bracket) {
    begin_value(w, key);
    buffer_append_byte(w->out, bracket);
    w->depth++, w->has_members = false;
}

static void end(json_writer *w, char bracket) {
    bool had_members = w->has_members;
    w->depth--, w->has_members = true;
    if (had_members) break_line(w);
    buffer_append_byte(w->out, bracket);
}

void json_begin_object(json_writer *w, const char *key) { begin(w, key, '{'); }
void json_end_object(json_writer *w) { end(w, '}'); }
void json_begin_array(json_writer *w, const char *key) { begin(w, key, '['); }
void json_end_array(json_writer *w) { end(w, ']'); }

void json_put_bytes(json_writer *w, const char *key, const char *bytes, size_t length) {
    begin_value(w, key);
    put_quoted(w, bytes, length);
}

void json_put_text(json_writer *w, const char *key, const char *text) { json_put_bytes(w, key, text, strlen(text)); }

void json_put_number(json_writer *w, const char *key, double value) {
    if (!isfinite(value)) {
        json_put_null(w, key);
        return;
    }
    begin_value(w, key);
    char text[40];
    for (int digits = 6; digits <= 17; digits += digits == 6 ? 3 : 8) { /* the shortest of 6, 9 and 17 digits that reads back equal */
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    buffer_append_text(w->out, text);
    if (!strpbrk(text, ".e")) buffer_append_text(w->out, ".0");
}

void json_put_rounded(json_writer *w, const char *key, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.6g", value);
    json_put_number(w, key, strtod(text, NULL));
}

void json_put_integer(json_writer *w, const char *key, int64_t value) {
    begin_value(w, key);
    buffer_printf(w->out, "%" PRId64, value);
}

void json_put_bool(json_writer *w, const char *key, bool value) {
    begin_value(w, key);
    buffer_append_text(w->out, value ? "true" : "false");
}

void json_put_null(json_writer *w, const char *key) {
    begin_value(w, key);
    buffer_append_text(w->out, "null");
}
