#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/problems.h"

static void *field(const option *o, void *fields) { return (char *)fields + o->offset; }
static const void *field_const(const option *o, const void *fields) { return (const char *)fields + o->offset; }

static int set_value(const option *o, void *fields, const char *value, const char *where) {
    char *end;
    void *target = field(o, fields);
    errno = 0;
    switch (o->type) {
    case OPTION_INTEGER: {
        long long number = strtoll(value, &end, 10);
        if (end == value || *end || errno) FAIL(LAMP_INVALID, "%s: %s.%s: expected an integer, found \"%s\"", where, o->section, o->name, value);
        if ((double)number < o->min || (double)number > o->max)
            FAIL(LAMP_INVALID, "%s: %s.%s: expected %.15g to %.15g, found %s", where, o->section, o->name, o->min, o->max, value);
        *(int64_t *)target = number;
        return LAMP_OK;
    }
    case OPTION_NUMBER: {
        double number = strtod(value, &end);
        if (end == value || *end || !isfinite(number))
            FAIL(LAMP_INVALID, "%s: %s.%s: expected a number, found \"%s\"", where, o->section, o->name, value);
        if (number < o->min || number > o->max)
            FAIL(LAMP_INVALID, "%s: %s.%s: expected %.15g to %.15g, found %s", where, o->section, o->name, o->min, o->max, value);
        *(double *)target = number;
        return LAMP_OK;
    }
    case OPTION_BOOL: {
        bool yes = !strcmp(value, "true"), no = !strcmp(value, "false");
        if (!yes && !no) FAIL(LAMP_INVALID, "%s: %s.%s: expected true or false, found \"%s\"", where, o->section, o->name, value);
        *(bool *)target = yes;
        return LAMP_OK;
    }
    case OPTION_CHOICE: {
        size_t length = strlen(value);
        bool known = false;
        for (const char *p = o->choices; p && length; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
            known |= !strncmp(p, value, length) && (p[length] == '|' || !p[length]);
        if (!known) FAIL(LAMP_INVALID, "%s: %s.%s: expected one of %s, found \"%s\"", where, o->section, o->name, o->choices, value);
    } /* fall through */
    case OPTION_TEXT:
        if (strpbrk(value, "\r\n") || isspace((unsigned char)*value) || (*value && isspace((unsigned char)value[strlen(value) - 1])))
            FAIL(LAMP_INVALID, "%s: %s.%s: \"%s\" has blanks around it or a line break, which a recipe cannot hold", where, o->section, o->name, value);
        if (strlen(value) >= OPTION_TEXT_BYTES)
            FAIL(LAMP_INVALID, "%s: %s.%s: longer than %d bytes", where, o->section, o->name, OPTION_TEXT_BYTES - 1);
        memset(target, 0, OPTION_TEXT_BYTES);
        strcpy(target, value);
        return LAMP_OK;
    default: FAIL(LAMP_INVALID, "%s: %s.%s needs a name: %s.%s.NAME = number", where, o->section, o->name, o->section, o->name);
    }
}

static int set_map(const option *o, void *fields, const char *key, const char *value, const char *where) {
    option_map *map = field(o, fields);
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !(number >= o->min && number <= o->max))
        FAIL(LAMP_INVALID, "%s: %s.%s.%s: expected a number from %g to %g, found \"%s\"", where, o->section, o->name, key, o->min, o->max, value);
    if (!*key || strlen(key) >= OPTION_NAME_BYTES)
        FAIL(LAMP_INVALID, "%s: %s.%s.%s: expected a name of 1 to %d bytes", where, o->section, o->name, key, OPTION_NAME_BYTES - 1);
    int i = 0;
    while (i < map->n && strcmp(map->row[i].key, key)) i++;
    if (i == OPTION_MAP_ROWS) FAIL(LAMP_INVALID, "%s: %s.%s: more than %d names", where, o->section, o->name, OPTION_MAP_ROWS);
    if (i == map->n) strcpy(map->row[map->n++].key, key);
    map->row[i].value = number;
    return LAMP_OK;
}

void options_set_defaults(const option_table *table, void *fields) {
    for (int i = 0; i < table->n; i++) {
        const option *o = &table->rows[i];
        if (o->type == OPTION_MAP) memset(field(o, fields), 0, sizeof(option_map));
        else CHECK(set_value(o, fields, o->initial, "default") == LAMP_OK, "%s", lamp_error_message());
    }
}

int options_edit_distance(const char *a, const char *b) {
    int row[OPTION_NAME_BYTES * 2 + 1], n = (int)strlen(b);
    if (n > OPTION_NAME_BYTES * 2) return 1000;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = above, row[j] = best;
        }
    }
    return row[n];
}

static void full_name(char name[OPTION_NAME_BYTES * 2], const option *o) {
    snprintf(name, OPTION_NAME_BYTES * 2, "%s.%s", o->section, o->name);
}

static const option *find_nearest(const option_table *table, const char *key) {
    const option *best = NULL;
    int least = (int)strlen(key) / 2 + 1;
    for (int i = 0; i < table->n; i++) {
        const char *dot = strchr(key, '.');
        char name[OPTION_NAME_BYTES * 2];
        full_name(name, &table->rows[i]);
        int whole = options_edit_distance(key, name), bare = options_edit_distance(dot ? dot + 1 : key, table->rows[i].name);
        int distance = whole < bare + 1 ? whole : bare + 1; /* the right name in the wrong section is one mistake */
        if (distance < least) least = distance, best = &table->rows[i];
    }
    return best;
}

int options_set(const option_table *table, void *fields, const char *key, const char *value, const char *where) {
    for (int i = 0; i < table->n; i++) {
        const option *o = &table->rows[i];
        char name[OPTION_NAME_BYTES * 2];
        full_name(name, o);
        size_t length = strlen(name);
        if (!strcmp(key, name)) return set_value(o, fields, value, where);
        if (o->type == OPTION_MAP && !strncmp(key, name, length) && key[length] == '.')
            return set_map(o, fields, key + length + 1, value, where);
    }
    const option *near = find_nearest(table, key);
    if (near) FAIL(LAMP_INVALID, "%s: unknown key %s; did you mean %s.%s?", where, key, near->section, near->name);
    FAIL(LAMP_INVALID, "%s: unknown key %s", where, key);
}

int options_assign(const option_table *table, void *fields, const char *setting, const char *where) {
    char key[OPTION_NAME_BYTES * 3];
    const char *equals = strchr(setting, '=');
    if (!equals || (size_t)(equals - setting) >= sizeof key) FAIL(LAMP_INVALID, "%s: expected section.key=value, found \"%s\"", where, setting);
    snprintf(key, sizeof key, "%.*s", (int)(equals - setting), setting);
    return options_set(table, fields, key, equals + 1, where);
}

/* The bytes of text between begin and end without blanks around them, NUL-terminated in place. */
static char *trim(char *begin, char *end) {
    while (begin < end && isspace((unsigned char)*begin)) begin++;
    while (end > begin && isspace((unsigned char)end[-1])) end--;
    *end = 0;
    return begin;
}

enum { LINE_BYTES = 4096 };

/* A file as it is read. Keys that were accepted are few, however long the file is: each may come once. */
typedef struct {
    const option_table *table;
    void *fields;
    char section[OPTION_NAME_BYTES];
    buffer keys; /* "\nmodel.hidden_size 12": the line it stood on */
} reader;

static int check_comes_once(reader *r, const char *key, long number, const char *where) {
    size_t before = r->keys.length;
    TRY(buffer_printf(&r->keys, "\n%s ", key));
    const char *added = r->keys.bytes + before, *first = strstr(r->keys.bytes, added);
    if (first < added)
        FAIL(LAMP_MALFORMED, "%s: %s: expected once, found again after line %ld", where, key, strtol(first + strlen(added), NULL, 10));
    return buffer_printf(&r->keys, "%ld", number);
}

/* One line: a comment (# or ;), [section], or key = value, where the value is all that follows the sign. */
static int read_line(reader *r, const char *bytes, size_t length, long number, const char *where) {
    char line[LINE_BYTES], key[OPTION_NAME_BYTES * 3];
    if (length >= sizeof line) FAIL(LAMP_MALFORMED, "%s: expected at most %d bytes, found %zu", where, LINE_BYTES - 1, length);
    if (memchr(bytes, 0, length)) FAIL(LAMP_MALFORMED, "%s: expected text, found a NUL byte", where);
    memcpy(line, bytes, length);
    char *text = trim(line, line + length), *equals = strchr(text, '=');
    if (!*text || *text == '#' || *text == ';') return LAMP_OK;
    if (*text == '[' && text[strlen(text) - 1] == ']') {
        snprintf(r->section, sizeof r->section, "%s", trim(text + 1, text + strlen(text) - 1));
        return LAMP_OK;
    }
    if (!equals) FAIL(LAMP_MALFORMED, "%s: expected [section] or key = value, found \"%.40s\"", where, text);
    char *value = trim(equals + 1, equals + strlen(equals));
    snprintf(key, sizeof key, "%s%s%s", r->section, *r->section ? "." : "", trim(text, equals));
    TRY(options_set(r->table, r->fields, key, value, where));
    return check_comes_once(r, key, number, where);
}

int options_read_file(const option_table *table, void *fields, const char *path) {
    enum { MOST_BYTES = 1 << 20 };
    reader r = {.table = table, .fields = fields};
    int status = LAMP_OK;
    char where[600];
    buffer content = {0};
    problem_list problems = {0};
    TRY_TO(done, file_read(&content, path, MOST_BYTES));
    const char *line = content.bytes, *end = line + content.length;
    for (long number = 1; problems.n < PROBLEMS_LISTED && line < end; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *line_end = newline ? newline : end;
        snprintf(where, sizeof where, "%s: line %ld", path, number);
        if (read_line(&r, line, (size_t)(line_end - line), number, where) < 0) problems_add(&problems, LAMP_MALFORMED);
        line = line_end + (newline != NULL);
    }
    if (problems.n == PROBLEMS_LISTED) buffer_printf(&problems.text, "\n%s: the rest was not read; is this a recipe?", path);
    status = problems_end(&problems);
done:
    buffer_release(&r.keys);
    buffer_release(&content);
    return status;
}

/* A number as short as it reads back equal. */
static void number_text(char text[40], double value) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return;
    }
}

void options_value(char text[OPTION_TEXT_BYTES], const option *o, const void *fields) {
    const void *source = field_const(o, fields);
    switch (o->type) {
    case OPTION_INTEGER: snprintf(text, OPTION_TEXT_BYTES, "%" PRId64, *(const int64_t *)source); break;
    case OPTION_NUMBER: number_text(text, *(const double *)source); break;
    case OPTION_BOOL: strcpy(text, *(const bool *)source ? "true" : "false"); break;
    case OPTION_MAP: *text = 0; break;
    default: strcpy(text, source);
    }
}

int options_write(const option_table *table, const void *fields, buffer *out) {
    const char *section = "";
    for (int i = 0; i < table->n; i++) {
        const option *o = &table->rows[i];
        char text[OPTION_TEXT_BYTES];
        if (strcmp(section, o->section)) buffer_printf(out, "%s[%s]\n", *section ? "\n" : "", o->section);
        section = o->section;
        if (o->type != OPTION_MAP) {
            options_value(text, o, fields);
            buffer_printf(out, "%s = %s\n", o->name, text);
            continue;
        }
        const option_map *map = field_const(o, fields);
        for (int j = 0; j < map->n; j++) {
            number_text(text, map->row[j].value);
            buffer_printf(out, "%s.%s = %s\n", o->name, map->row[j].key, text);
        }
    }
    return out->status;
}

int options_difference(const option_table *table, const void *a, const void *b, buffer *out) {
    int n = 0;
    for (int i = 0; i < table->n; i++) {
        const option *o = &table->rows[i];
        char left[OPTION_TEXT_BYTES], right[OPTION_TEXT_BYTES];
        if (o->type == OPTION_MAP) {
            if (memcmp(field_const(o, a), field_const(o, b), sizeof(option_map)) && ++n)
                buffer_printf(out, "  %s.%s: the weights differ\n", o->section, o->name);
            continue;
        }
        options_value(left, o, a), options_value(right, o, b);
        if (strcmp(left, right) && ++n) buffer_printf(out, "  %s.%s: %s -> %s\n", o->section, o->name, left, right);
    }
    return n;
}

int options_describe(const option *o, buffer *out) {
    static const char *const types[] = {"integer", "number", "true|false", "text", "", "name = number"};
    char range[96] = "", initial[96] = "";
    if (o->type == OPTION_INTEGER || o->type == OPTION_NUMBER)
        snprintf(range, sizeof range, o->max < 1e9 ? ", %.10g to %.10g" : ", %.3g to %.3g", o->min, o->max);
    if (o->initial && *o->initial) snprintf(initial, sizeof initial, ", default %s", o->initial);
    return buffer_printf(out, "%s%s%s%s%s", o->type == OPTION_CHOICE ? o->choices : types[o->type], range, initial, *o->unit ? ", in " : "", o->unit);
}

int options_help(const option_table *table, buffer *out) {
    const char *section = "";
    for (int i = 0; i < table->n; i++) {
        const option *o = &table->rows[i];
        if (strcmp(section, o->section)) buffer_printf(out, "\n[%s]\n", o->section);
        section = o->section;
        buffer_printf(out, "  %-26s ", o->name);
        options_describe(o, out);
        buffer_printf(out, "\n      %s\n", o->help);
    }
    return out->status;
}
