/* The option table: one row per setting drives the recipe file, --set, --help, the resolved recipe saved with a run, and the
 * hyper-parameter search space. Rows address the fields of a plain struct by offset. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* C types of the fields: int64_t, double, bool, char[OPTION_TEXT_BYTES], option_map. A choice is text from a fixed list. */
typedef enum { OPTION_INTEGER, OPTION_NUMBER, OPTION_BOOL, OPTION_TEXT, OPTION_CHOICE, OPTION_MAP } option_type;
typedef enum { SCALE_LINEAR, SCALE_LOG } option_scale; /* how a search should sample it */

enum { OPTION_TEXT_BYTES = 512, OPTION_NAME_BYTES = 64, OPTION_MAP_ROWS = 64 };

/* name.KEY = number, as in mixture.code = 2.5; in the order given */
typedef struct {
    int n;
    struct {
        char key[OPTION_NAME_BYTES];
        double value;
    } row[OPTION_MAP_ROWS];
} option_map;

typedef struct {
    const char *section, *name;
    option_type type;
    size_t offset; /* of the field in the struct */
    const char *initial; /* the default, as one would write it */
    double min, max;     /* numbers: the allowed range, both ends included */
    option_scale scale;
    const char *choices; /* OPTION_CHOICE: "a|b|c" */
    const char *unit;    /* "" for none */
    const char *help;
} option;

typedef struct {
    const option *rows;
    int n;
} option_table;

void options_set_defaults(const option_table *table, void *fields);

/* key is "section.name" (or "section.name.KEY" for a map). where names the source ("demo.ini: line 4", "--set"). An unknown key fails with
 * the nearest known one; a value of the wrong type or out of range fails with what is expected. */
int options_set(const option_table *table, void *fields, const char *key, const char *value, const char *where);

/* setting is "section.name=value", as --set takes it. */
int options_assign(const option_table *table, void *fields, const char *setting, const char *where);

/* Reads an INI file, in which a key comes once: all its problems are reported together. */
int options_read_file(const option_table *table, void *fields, const char *path);

/* An option's value as one would write it; nothing of a map. */
void options_value(char text[OPTION_TEXT_BYTES], const option *o, const void *fields);

/* Appends every option as INI text that options_read_file reads back to the same values. */
int options_write(const option_table *table, const void *fields, buffer *out);

/* Appends one line "section.name: a -> b" per option that differs; returns how many. */
int options_difference(const option_table *table, const void *a, const void *b, buffer *out);

/* Appends what values an option takes: type, range, default, unit. */
int options_describe(const option *o, buffer *out);

/* Appends the table as help: name, what values it takes, meaning. */
int options_help(const option_table *table, buffer *out);

/* Edits (insert, delete, replace) that turn a into b: for "did you mean". */
int options_edit_distance(const char *a, const char *b);

#endif
