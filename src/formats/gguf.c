#include "formats/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF files are read as they lie: little-endian");

enum { KEY_SHOWN = 100, MAX_KEY_BYTES = 65535, MAX_ALIGNMENT = 1 << 16 };

/* ---- types ------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t bytes; /* 0: they vary */
} setting_types[GGUF_SETTING_TYPES] = {
    [GGUF_U8] = {"u8", 1},   [GGUF_I8] = {"i8", 1},   [GGUF_U16] = {"u16", 2},     [GGUF_I16] = {"i16", 2},   [GGUF_U32] = {"u32", 4},
    [GGUF_I32] = {"i32", 4}, [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"a bool", 1}, [GGUF_TEXT] = {"text", 0}, [GGUF_ARRAY] = {"an array", 0},
    [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8}, [GGUF_F64] = {"f64", 8},
};

size_t gguf_setting_bytes(gguf_setting_type type) { return setting_types[type].bytes; }

/* Gaps are types that older programs wrote. */
static const gguf_type types[] = {
    [0] = {"F32", 1, 4},        [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},    [3] = {"Q4_1", 32, 20},    [6] = {"Q5_0", 32, 22},
    [7] = {"Q5_1", 32, 24},     [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 40},    [10] = {"Q2_K", 256, 84},  [11] = {"Q3_K", 256, 110},
    [12] = {"Q4_K", 256, 144},  [13] = {"Q5_K", 256, 176},   [14] = {"Q6_K", 256, 210}, [15] = {"Q8_K", 256, 292}, [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74}, [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50}, [20] = {"IQ4_NL", 32, 18}, [21] = {"IQ3_S", 256, 110},
    [22] = {"IQ2_S", 256, 82},  [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},       [25] = {"I16", 1, 2},      [26] = {"I32", 1, 4},
    [27] = {"I64", 1, 8},       [28] = {"F64", 1, 8},        [29] = {"IQ1_M", 256, 56}, [30] = {"BF16", 1, 2},     [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},  [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},  [41] = {"Q1_0", 128, 18},
};

const gguf_type *gguf_type_of(int64_t number) {
    bool known = number >= 0 && number < (int64_t)(sizeof types / sizeof *types) && types[number].name;
    return known ? &types[number] : NULL;
}

void gguf_shape_to_text(char text[GGUF_SHAPE_BYTES], const int64_t *dimension, int rank) {
    char *end = text;
    for (int i = 0; i < rank; i++) end += sprintf(end, "%s%" PRId64, i ? ", " : "{", dimension[i]);
    strcpy(end, rank ? "}" : "{}");
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const unsigned char *next, *end;
    const char *path;
} cursor;

static size_t left(const cursor *c) { return (size_t)(c->end - c->next); }

static int take(void *value, cursor *c, size_t bytes, const char *what) {
    if (bytes > left(c)) FAIL(LAMP_MALFORMED, "%s: expected %zu bytes of %s, found %zu: cut short?", c->path, bytes, what, left(c));
    memcpy(value, c->next, bytes);
    c->next += bytes;
    return LAMP_OK;
}

static int take_text(gguf_text *text, cursor *c, const char *what) {
    uint64_t length = 0;
    TRY(take(&length, c, sizeof length, what));
    if (length > left(c)) FAIL(LAMP_MALFORMED, "%s: expected %" PRIu64 " bytes of %s, found %zu: cut short?", c->path, length, what, left(c));
    *text = (gguf_text){(const char *)c->next, length};
    c->next += length;
    return LAMP_OK;
}

/* Names go into messages and logs: control characters would let a file write on a terminal. */
static int take_name(gguf_text *name, cursor *c, size_t most, const char *what) {
    TRY(take_text(name, c, what));
    if (name->length < 1 || name->length > most)
        FAIL(LAMP_MALFORMED, "%s: expected 1 to %zu bytes of %s, found %zu", c->path, most, what, name->length);
    for (size_t i = 0; i < name->length; i++)
        if ((unsigned char)name->bytes[i] < 0x20 || name->bytes[i] == 0x7F)
            FAIL(LAMP_MALFORMED, "%s: expected printable characters in %s, found byte 0x%02x", c->path, what, (unsigned char)name->bytes[i]);
    return LAMP_OK;
}

#define SHOWN(text) ((int)((text).length < KEY_SHOWN ? (text).length : KEY_SHOWN)), (text).bytes

/* One value, or the items of an array, which are passed over: they lie in the file as they are. */
static int pass_items(cursor *c, const gguf_setting *s) {
    gguf_text text;
    size_t bytes = setting_types[s->item].bytes;
    if (s->n > left(c) / (bytes ? bytes : sizeof(uint64_t)))
        FAIL(LAMP_MALFORMED, "%s: %.*s: expected %" PRIu64 " values of %s, found %zu bytes: cut short?", c->path, SHOWN(s->key), s->n,
             setting_types[s->item].name, left(c));
    for (uint64_t i = 0; i < s->n && bytes == 0; i++) TRY(take_text(&text, c, "text"));
    for (uint64_t i = 0; i < s->n && s->item == GGUF_BOOL; i++)
        if (c->next[i] > 1) FAIL(LAMP_MALFORMED, "%s: %.*s: expected a bool of 0 or 1, found %d", c->path, SHOWN(s->key), c->next[i]);
    c->next += s->n * bytes;
    return LAMP_OK;
}

static int take_type(gguf_setting_type *type, cursor *c, const gguf_setting *s) {
    uint32_t number = 0;
    TRY(take(&number, c, sizeof number, "the type of a setting"));
    if (number >= GGUF_SETTING_TYPES)
        FAIL(LAMP_MALFORMED, "%s: %.*s: expected a type from 0 to %d, found %" PRIu32, c->path, SHOWN(s->key), GGUF_SETTING_TYPES - 1, number);
    *type = (gguf_setting_type)number;
    return LAMP_OK;
}

static int take_setting(gguf_setting *s, cursor *c) {
    s->n = 1;
    TRY(take_name(&s->key, c, MAX_KEY_BYTES, "a setting's key"));
    TRY(take_type(&s->type, c, s));
    s->item = s->type;
    if (s->type == GGUF_ARRAY) {
        TRY(take_type(&s->item, c, s));
        TRY(take(&s->n, c, sizeof s->n, "an array's length"));
        if (s->item == GGUF_ARRAY) FAIL(LAMP_UNSUPPORTED, "%s: %.*s: expected an array of values, found one of arrays", c->path, SHOWN(s->key));
    }
    s->bytes = c->next;
    return pass_items(c, s);
}

/* How many values and bytes; both fit. */
static int measure_tensor(gguf_tensor *t, const char *path) {
    bool overflows = false;
    t->size = 1;
    for (int i = 0; i < GGUF_MAX_RANK; i++) {
        if (t->dimension[i] < 0)
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected dimensions below 2^63, found %" PRIu64, path, t->name, (uint64_t)t->dimension[i]);
        overflows |= __builtin_mul_overflow(t->size, t->dimension[i], &t->size);
    }
    if (overflows) FAIL(LAMP_MALFORMED, "%s: tensor %s: expected a number of values below 2^63, found more", path, t->name);
    if (t->dimension[0] % t->type->block)
        FAIL(LAMP_MALFORMED, "%s: tensor %s: expected rows of a multiple of %d values for %s, found %" PRId64, path, t->name, t->type->block,
             t->type->name, t->dimension[0]);
    if (__builtin_mul_overflow(t->size / t->type->block, (int64_t)t->type->block_bytes, &t->n_bytes))
        FAIL(LAMP_MALFORMED, "%s: tensor %s: expected fewer than 2^63 bytes, found more", path, t->name);
    return LAMP_OK;
}

static int take_tensor(gguf_tensor *t, cursor *c) {
    uint32_t rank = 0, number = 0;
    gguf_text name;
    TRY(take_name(&name, c, GGUF_NAME_BYTES - 1, "a tensor's name"));
    memcpy(t->name, name.bytes, name.length);
    TRY(take(&rank, c, sizeof rank, "a tensor's rank"));
    if (rank > GGUF_MAX_RANK)
        FAIL(LAMP_MALFORMED, "%s: tensor %s: expected at most %d dimensions, found %" PRIu32, c->path, t->name, GGUF_MAX_RANK, rank);
    t->rank = (int)rank;
    for (int i = 0; i < GGUF_MAX_RANK; i++) t->dimension[i] = 1;
    TRY(take(t->dimension, c, rank * sizeof *t->dimension, "a tensor's dimensions"));
    TRY(take(&number, c, sizeof number, "a tensor's type"));
    if (!(t->type = gguf_type_of(number)))
        FAIL(LAMP_UNSUPPORTED, "%s: tensor %s: type %" PRIu32 " is unknown: older than GGUF, or newer than this program", c->path, t->name, number);
    t->number = (int)number;
    TRY(take(&t->offset, c, sizeof t->offset, "a tensor's offset"));
    return measure_tensor(t, c->path);
}

static int find_alignment(uint64_t *alignment, const gguf *file) {
    int64_t value = GGUF_ALIGNMENT;
    const gguf_setting *s = gguf_find(file, "general.alignment");
    if (s && s->type != GGUF_U32) FAIL(LAMP_MALFORMED, "%s: general.alignment: expected u32, found %s", file->path, setting_types[s->type].name);
    if (s) TRY(gguf_get_integer(&value, file, "general.alignment", 0, UINT32_MAX));
    if (value < 8 || value > MAX_ALIGNMENT || (value & (value - 1)))
        FAIL(LAMP_MALFORMED, "%s: general.alignment: expected a power of two from 8 to %d, found %" PRId64, file->path, MAX_ALIGNMENT, value);
    *alignment = (uint64_t)value;
    return LAMP_OK;
}

static uint64_t align(uint64_t offset, uint64_t alignment) { return (offset + alignment - 1) / alignment * alignment; }

/* Where the tensors lie, while they are still in the file's order. No sum overflows: every part is below 2^63. */
static int place_tensors(gguf *file, const unsigned char *table_end) {
    uint64_t alignment = GGUF_ALIGNMENT, length = file->map.length, end = 0;
    TRY(find_alignment(&alignment, file));
    uint64_t start = align((uint64_t)(table_end - file->map.bytes), alignment);
    if (file->n_tensors > 0 && start > length)
        FAIL(LAMP_MALFORMED, "%s: expected data at byte %" PRIu64 ", found a file of %" PRIu64 ": cut short?", file->path, start, length);
    for (size_t i = 0; i < file->n_tensors; i++) {
        gguf_tensor *t = &file->tensor[i];
        if (t->offset != align(end, alignment))
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected its data at byte %" PRIu64 ", found it at %" PRIu64 ": %s", file->path, t->name,
                 align(end, alignment), t->offset, t->offset > end ? "a hole" : "an overlap");
        if ((uint64_t)t->n_bytes > length - start || t->offset > length - start - (uint64_t)t->n_bytes)
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected %" PRId64 " bytes of data at byte %" PRIu64 ", found a file of %" PRIu64 ": cut short?",
                 file->path, t->name, t->n_bytes, start + t->offset, length);
        t->bytes = file->map.bytes + start + t->offset;
        end = t->offset + (uint64_t)t->n_bytes;
    }
    if (length > align(start + end, alignment))
        FAIL(LAMP_MALFORMED, "%s: expected the file to end with its last tensor, found %" PRIu64 " bytes more", file->path, length - start - end);
    return LAMP_OK;
}

static int compare_texts(gguf_text a, gguf_text b) {
    int order = memcmp(a.bytes, b.bytes, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_settings(const void *a, const void *b) { return compare_texts(((const gguf_setting *)a)->key, ((const gguf_setting *)b)->key); }
static int compare_tensors(const void *a, const void *b) { return strcmp(((const gguf_tensor *)a)->name, ((const gguf_tensor *)b)->name); }

static int take_settings(gguf *file, cursor *c, uint64_t n) {
    enum { LEAST_BYTES = 8 + 1 + 4 + 1 };
    if (n > left(c) / LEAST_BYTES)
        FAIL(LAMP_MALFORMED, "%s: expected %" PRIu64 " settings, found room for %zu: cut short?", c->path, n, left(c) / LEAST_BYTES);
    TRY(memory_new(&file->setting, n, sizeof *file->setting, "the table of settings"));
    while (file->n_settings < n) TRY(take_setting(&file->setting[file->n_settings++], c));
    if (n > 0) qsort(file->setting, n, sizeof *file->setting, compare_settings);
    for (size_t i = 1; i < n; i++)
        if (!compare_settings(&file->setting[i - 1], &file->setting[i]))
            FAIL(LAMP_MALFORMED, "%s: %.*s: expected once, found twice", c->path, SHOWN(file->setting[i].key));
    return LAMP_OK;
}

static int take_tensors(gguf *file, cursor *c, uint64_t n) {
    enum { LEAST_BYTES = 8 + 1 + 4 + 4 + 8 };
    if (n > left(c) / LEAST_BYTES)
        FAIL(LAMP_MALFORMED, "%s: expected %" PRIu64 " tensors, found room for %zu: cut short?", c->path, n, left(c) / LEAST_BYTES);
    TRY(memory_new(&file->tensor, n, sizeof *file->tensor, "the table of tensors"));
    while (file->n_tensors < n) TRY(take_tensor(&file->tensor[file->n_tensors++], c));
    TRY(place_tensors(file, c->next));
    if (n > 0) qsort(file->tensor, n, sizeof *file->tensor, compare_tensors);
    for (size_t i = 1; i < n; i++)
        if (!compare_tensors(&file->tensor[i - 1], &file->tensor[i]))
            FAIL(LAMP_MALFORMED, "%s: tensor %s: expected once, found twice", c->path, file->tensor[i].name);
    return LAMP_OK;
}

static int check_version(uint32_t version, const char *path) {
    if (version == 2 || version == 3) return LAMP_OK;
    if (version == 0) FAIL(LAMP_MALFORMED, "%s: expected GGUF version 3, found 0", path);
    if (version % 0x10000 == 0) FAIL(LAMP_UNSUPPORTED, "%s: expected a little-endian file, found a big-endian one", path);
    FAIL(LAMP_UNSUPPORTED, "%s: expected GGUF version 3, found %" PRIu32, path, version);
}

static int read_all(gguf *file) {
    static const char magic[] = "GGUF", pointer[] = "version https://git-lfs";
    char found[sizeof magic - 1];
    uint32_t version = 0;
    uint64_t n_tensors = 0, n_settings = 0;
    if (file->map.length == 0) FAIL(LAMP_MALFORMED, "%s: expected a GGUF file, found an empty one", file->path);
    cursor c = {file->map.bytes, file->map.bytes + file->map.length, file->path};
    if (file->map.length >= sizeof pointer && !memcmp(c.next, pointer, sizeof pointer - 1))
        FAIL(LAMP_MALFORMED, "%s: expected a GGUF file, found a Git LFS pointer to it: run git lfs pull in the folder it came from", c.path);
    TRY(take(found, &c, sizeof found, "the word GGUF"));
    if (memcmp(found, magic, sizeof found)) FAIL(LAMP_MALFORMED, "%s: expected a file that begins with GGUF, found another", c.path);
    TRY(take(&version, &c, sizeof version, "a version"));
    TRY(check_version(version, c.path));
    TRY(take(&n_tensors, &c, sizeof n_tensors, "the number of tensors"));
    TRY(take(&n_settings, &c, sizeof n_settings, "the number of settings"));
    TRY(take_settings(file, &c, n_settings));
    return take_tensors(file, &c, n_tensors);
}

bool gguf_is_named(const char *path) {
    size_t length = strlen(path), suffix = strlen(".gguf");
    return length > suffix && !strcmp(path + length - suffix, ".gguf");
}

int gguf_open(gguf **result, const char *path) {
    int status = LAMP_OK;
    gguf *file = NULL;
    TRY_TO(done, memory_new(&file, 1, sizeof *file, "an open GGUF file"));
    TRY_TO(done, memory_copy_text(&file->path, path, "a path"));
    TRY_TO(done, file_map(&file->map, path));
    TRY_TO(done, read_all(file));
    *result = file;
done:
    if (status < 0) gguf_close(file);
    return status;
}

void gguf_close(gguf *file) {
    if (!file) return;
    file_unmap(&file->map);
    memory_free(file->setting);
    memory_free(file->tensor);
    memory_free(file->path);
    memory_free(file);
}

/* ---- finding ----------------------------------------------------------------------------------------------------------------- */

const gguf_setting *gguf_find(const gguf *file, const char *key) {
    gguf_setting wanted = {.key = {key, strlen(key)}};
    return file->n_settings ? bsearch(&wanted, file->setting, file->n_settings, sizeof wanted, compare_settings) : NULL;
}

const gguf_tensor *gguf_find_tensor(const gguf *file, const char *name) {
    gguf_tensor wanted = {0};
    if (strlen(name) >= sizeof wanted.name || !file->n_tensors) return NULL;
    strcpy(wanted.name, name);
    return bsearch(&wanted, file->tensor, file->n_tensors, sizeof wanted, compare_tensors);
}

static int find_wanted(const gguf_setting **s, const gguf *file, const char *key, const char *expected) {
    if (!(*s = gguf_find(file, key))) FAIL(LAMP_MALFORMED, "%s: %s: expected %s, found nothing", file->path, key, expected);
    return LAMP_OK;
}

static int refuse_type(const gguf_setting *s, const gguf *file, const char *key, const char *expected) {
    bool array = s->type == GGUF_ARRAY;
    FAIL(array ? LAMP_UNSUPPORTED : LAMP_MALFORMED, "%s: %s: expected %s, found %s%s", file->path, key, expected, setting_types[s->type].name,
         array ? ": layers that differ" : "");
}

/* Those above 2^63 become INT64_MAX, which no caller takes. */
static int64_t integer_of(const gguf_setting *s) {
    uint64_t bits = 0;
    memcpy(&bits, s->bytes, setting_types[s->type].bytes);
    switch (s->type) {
    case GGUF_I8: return (int8_t)bits;
    case GGUF_I16: return (int16_t)bits;
    case GGUF_I32: return (int32_t)bits;
    case GGUF_I64: return (int64_t)bits;
    default: return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    }
}

int gguf_get_integer(int64_t *value, const gguf *file, const char *key, int64_t min, int64_t max) {
    const gguf_setting *s;
    TRY(find_wanted(&s, file, key, "an integer"));
    bool fractional = s->type == GGUF_F32 || s->type == GGUF_F64 || s->type == GGUF_BOOL;
    if (fractional || setting_types[s->type].bytes == 0) return refuse_type(s, file, key, "an integer");
    *value = integer_of(s);
    if (*value < min || *value > max)
        FAIL(LAMP_MALFORMED, "%s: %s: expected %" PRId64 " to %" PRId64 ", found %" PRId64, file->path, key, min, max, *value);
    return LAMP_OK;
}

static double shortest_decimal(float value) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return strtod(text, NULL);
}

int gguf_get_number(double *value, const gguf *file, const char *key) {
    const gguf_setting *s;
    float narrow;
    TRY(find_wanted(&s, file, key, "a number"));
    if (s->type == GGUF_F64) memcpy(value, s->bytes, sizeof *value);
    else if (s->type == GGUF_F32) memcpy(&narrow, s->bytes, sizeof narrow), *value = shortest_decimal(narrow);
    else return refuse_type(s, file, key, "f32 or f64");
    return LAMP_OK;
}

int gguf_get_bool(bool *value, const gguf *file, const char *key) {
    const gguf_setting *s;
    TRY(find_wanted(&s, file, key, "a bool"));
    if (s->type != GGUF_BOOL) return refuse_type(s, file, key, "a bool");
    *value = *s->bytes;
    return LAMP_OK;
}

int gguf_get_text(gguf_text *value, const gguf *file, const char *key) {
    const gguf_setting *s;
    TRY(find_wanted(&s, file, key, "text"));
    if (s->type != GGUF_TEXT) return refuse_type(s, file, key, "text");
    const unsigned char *next = s->bytes;
    *value = gguf_next_text(&next);
    return LAMP_OK;
}

int gguf_get_word(char word[GGUF_WORD_BYTES], const gguf *file, const char *key) {
    gguf_text text = {0};
    TRY(gguf_get_text(&text, file, key));
    bool printable = text.length > 0 && text.length < GGUF_WORD_BYTES;
    for (size_t i = 0; i < text.length && printable; i++) printable = text.bytes[i] > 0x20 && text.bytes[i] < 0x7F;
    if (!printable) FAIL(LAMP_MALFORMED, "%s: %s: expected a word of 1 to %d letters, found something else", file->path, key, GGUF_WORD_BYTES - 1);
    snprintf(word, GGUF_WORD_BYTES, "%.*s", (int)text.length, text.bytes);
    return LAMP_OK;
}

int gguf_get_array(const gguf_setting **value, const gguf *file, const char *key, gguf_setting_type item) {
    TRY(find_wanted(value, file, key, "an array"));
    if ((*value)->type != GGUF_ARRAY || (*value)->item != item)
        FAIL(LAMP_MALFORMED, "%s: %s: expected an array of %s, found %s%s", file->path, key, setting_types[item].name,
             (*value)->type == GGUF_ARRAY ? "one of " : "", setting_types[(*value)->item].name);
    return LAMP_OK;
}

gguf_text gguf_next_text(const unsigned char **next) {
    uint64_t length;
    memcpy(&length, *next, sizeof length);
    gguf_text text = {(const char *)*next + sizeof length, length};
    *next += sizeof length + length;
    return text;
}
