/* JSON. Reading goes through jansson, strictly (no duplicate keys, no trailing bytes, bounded depth): json_read_* return a document that
 * the caller releases with json_decref, and the getters below say which key of which file was wrong. Writing is a small emitter into a
 * buffer, so that a line of metrics costs no tree. */
#ifndef JSON_H
#define JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

int json_read_bytes(json_t **document, const void *bytes, size_t length, const char *where);
int json_read_file(json_t **document, const char *path); /* LAMP_UNSUPPORTED above JSON_MAX_FILE_BYTES */

/* A document in memory takes some twenty times its bytes; the largest tokenizers have 35 MB. */
enum { JSON_MAX_FILE_BYTES = 256 << 20 };

/* One line of a file of many; `where` names the line as well. Its shape is the writer's business: sound JSON that is nested too deep, or
 * has numbers too large or too many values for this program, is LAMP_UNSUPPORTED. */
enum { JSON_LINE_VALUES = 1 << 18 }; /* {} takes two bytes of a line and over two hundred of memory */
int json_read_line(json_t **document, const char *line, size_t length, const char *where);

/* object[key]; NULL if it is absent or null. */
const json_t *json_find(const json_t *object, const char *key);

/* object[key] as the named type; LAMP_MALFORMED with where, key, expected and found if it is absent or of another type. */
int json_get_object(json_t **value, const json_t *object, const char *key, const char *where);
int json_get_array(json_t **value, const json_t *object, const char *key, const char *where);
int json_get_text(const char **value, const json_t *object, const char *key, const char *where); /* borrowed from the document; may hold NUL */
int json_get_word(const char **value, const json_t *object, const char *key, const char *where); /* the same, but refused if it holds NUL */
int json_get_integer(int64_t *value, const json_t *object, const char *key, int64_t min, int64_t max, const char *where);
int json_get_number(double *value, const json_t *object, const char *key, const char *where);
int json_get_bool(bool *value, const json_t *object, const char *key, const char *where);

typedef struct {
    buffer *out;
    bool indented;
    int depth;
    bool has_members;
} json_writer;

/* key is NULL inside arrays and at the top. The buffer remembers a failure (buffer.status). Numbers that are not finite become null. */
void json_begin_object(json_writer *w, const char *key);
void json_end_object(json_writer *w);
void json_begin_array(json_writer *w, const char *key);
void json_end_array(json_writer *w);
void json_put_text(json_writer *w, const char *key, const char *text);
void json_put_bytes(json_writer *w, const char *key, const char *bytes, size_t length); /* invalid UTF-8 becomes U+FFFD */
void json_put_number(json_writer *w, const char *key, double value);
void json_put_rounded(json_writer *w, const char *key, double value); /* to six digits: what is measured, not computed on */
void json_put_integer(json_writer *w, const char *key, int64_t value);
void json_put_bool(json_writer *w, const char *key, bool value);
void json_put_null(json_writer *w, const char *key);

#endif
