#include "formats/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors are read as they lie: little-endian");

enum { LENGTH_BYTES = 8, NAME_SHOWN = 160 };

/* ---- types ------------------------------------------------------------------------------------------------------------------- */

static void convert_f32(real *values, const unsigned char *bytes, int64_t n) {
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, 4);
        values[i] = value;
    }
}

static void convert_f64(real *values, const unsigned char *bytes, int64_t n) {
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, bytes + 8 * i, 8);
        values[i] = (real)value;
    }
}

static void convert_bf16(real *values, const unsigned char *bytes, int64_t n) {
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)bytes[2 * i] << 16 | (uint32_t)bytes[2 * i + 1] << 24;
        float value;
        memcpy(&value, &bits, 4);
        values[i] = value;
    }
}

static void convert_f16(real *values, const unsigned char *bytes, int64_t n) {
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        int half = bytes[2 * i] | bytes[2 * i + 1] << 8, exponent = half >> 10 & 31, fraction = half & 1023;
        float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? ldexpf((float)fraction, -24)
                                     : ldexpf((float)(fraction | 1024), exponent - 25);
        values[i] = half & 0x8000 ? -size : size;
    }
}

struct safetensors_type {
    const char *name;
    int bits;
    void (*convert)(real *values, const unsigned char *bytes, int64_t n); /* NULL: part of the format, but not of this program */
};

static const safetensors_type types[] = {
    {"F32", 32, convert_f32}, {"F16", 16, convert_f16}, {"BF16", 16, convert_bf16}, {"F64", 64, convert_f64},
    {"BOOL", 8, NULL},        {"U8", 8, NULL},          {"I8", 8, NULL},            {"U16", 16, NULL},
    {"I16", 16, NULL},        {"U32", 32, NULL},        {"I32", 32, NULL},          {"U64", 64, NULL},
    {"I64", 64, NULL},        {"C64", 64, NULL},        {"F8_E4M3", 8, NULL},       {"F8_E5M2", 8, NULL},
    {"F8_E8M0", 8, NULL},     {"F8_E4M3FNUZ", 8, NULL}, {"F8_E5M2FNUZ", 8, NULL},   {"F6_E2M3", 6, NULL},
    {"F6_E3M2", 6, NULL},     {"F4", 4, NULL},
};

static const safetensors_type *find_type(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name)) return &types[i];
    return NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

/* The shape, and from it and the type how many bytes the array takes. */
static int parse_shape(safetensors_entry *entry, int64_t *bytes, const json_t *shape, const char *where) {
    if (json_array_size(shape) > SAFETENSORS_MAX_RANK)
        FAIL(LAMP_UNSUPPORTED, "%s: expected at most %d dimensions, found %zu", where, SAFETENSORS_MAX_RANK, json_array_size(shape));
    entry->rank = (int)json_array_size(shape);
    entry->size = 1;
    for (int i = 0; i < entry->rank; i++) {
        const json_t *dimension = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0)
            FAIL(LAMP_MALFORMED, "%s: \"shape\": expected integers of at least 0, found something else at position %d", where, i);
        entry->shape[i] = json_integer_value(dimension);
        if (__builtin_mul_overflow(entry->size, entry->shape[i], &entry->size))
            FAIL(LAMP_MALFORMED, "%s: \"shape\": expected a number of values below 2^63, found more", where);
    }
    int64_t bits;
    if (__builtin_mul_overflow(entry->size, (int64_t)entry->type->bits, &bits))
        FAIL(LAMP_MALFORMED, "%s: \"shape\": expected fewer than 2^63 bits, found more", where);
    if (bits % 8)
        FAIL(LAMP_MALFORMED, "%s: expected whole bytes, found %" PRId64 " values of %d bits", where, entry->size, entry->type->bits);
    *bytes = bits / 8;
    return LAMP_OK;
}

static int parse_entry(safetensors_entry *entry, const json_t *value, const unsigned char *data, int64_t data_bytes, const char *where) {
    const char *type;
    json_t *shape, *offsets;
    int64_t bytes = 0;
    if (!json_is_object(value)) FAIL(LAMP_MALFORMED, "%s: expected an object with dtype, shape and data_offsets", where);
    TRY(json_get_word(&type, value, "dtype", where));
    TRY(json_get_array(&shape, value, "shape", where));
    TRY(json_get_array(&offsets, value, "data_offsets", where));
    if (!(entry->type = find_type(type)))
        FAIL(LAMP_MALFORMED, "%s: \"dtype\": expected a type of the format, such as F32, found \"%.40s\"", where, type);
    TRY(parse_shape(entry, &bytes, shape, where));
    if (json_array_size(offsets) != 2 || !json_is_integer(json_array_get(offsets, 0)) || !json_is_integer(json_array_get(offsets, 1)))
        FAIL(LAMP_MALFORMED, "%s: \"data_offsets\": expected two integers", where);
    entry->begin = json_integer_value(json_array_get(offsets, 0));
    entry->end = json_integer_value(json_array_get(offsets, 1));
    if (entry->begin < 0 || entry->begin > entry->end || entry->end > data_bytes)
        FAIL(LAMP_MALFORMED, "%s: \"data_offsets\": expected 0 <= begin <= end <= %" PRId64 ", found [%" PRId64 ", %" PRId64 "]", where,
             data_bytes, entry->begin, entry->end);
    if (entry->end - entry->begin != bytes)
        FAIL(LAMP_MALFORMED, "%s: expected %" PRId64 " bytes for this shape of %s, found %" PRId64, where, bytes, type,
             entry->end - entry->begin);
    entry->bytes = data + entry->begin;
    return LAMP_OK;
}

static int parse_metadata(const json_t *metadata, const char *where) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) FAIL(LAMP_MALFORMED, "%s: \"__metadata__\": expected an object of texts", where);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
        if (!json_is_string(value)) FAIL(LAMP_MALFORMED, "%s: \"__metadata__\": \"%.*s\": expected text", where, NAME_SHOWN, key);
    return LAMP_OK;
}

static int compare_places(const void *a, const void *b) {
    const safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

static int check_covers(const safetensors *file, int64_t data_bytes) {
    int64_t end = 0;
    for (size_t i = 0; i < file->n; i++) {
        const safetensors_entry *entry = &file->entry[i];
        if (entry->begin != end)
            FAIL(LAMP_MALFORMED, "%s: tensor %.*s: expected its data at byte %" PRId64 ", found it at %" PRId64 ": %s", file->path,
                 NAME_SHOWN, entry->name, end, entry->begin, entry->begin > end ? "a hole" : "an overlap");
        end = entry->end;
    }
    if (end != data_bytes)
        FAIL(LAMP_MALFORMED, "%s: expected the file to end with its last tensor, found %" PRId64 " bytes more", file->path,
             data_bytes - end);
    return LAMP_OK;
}

/* Names go into messages and logs: control characters would let a file write on a terminal. */
static int check_name(const char *name, const char *path) {
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            FAIL(LAMP_MALFORMED, "%s: expected tensor names of printable characters, found byte 0x%02x in one", path, *c);
    return LAMP_OK;
}

static int parse_header(safetensors *file, const json_t *header, const unsigned char *data, int64_t data_bytes) {
    const char *name;
    json_t *value;
    char *next = file->names;
    size_t capacity = 0;
    json_object_foreach((json_t *)(uintptr_t)header, name, value) {
        if (!strcmp(name, "__metadata__")) {
            TRY(parse_metadata(value, file->path));
            continue;
        }
        TRY(check_name(name, file->path));
        TRY(memory_reserve(&file->entry, &capacity, file->n + 1, sizeof *file->entry, "the table of tensors")); /* grows with what was proven */
        safetensors_entry *entry = &file->entry[file->n++];
        *entry = (safetensors_entry){.name = strcpy(next, name)};
        next += strlen(name) + 1;
        char where[NAME_SHOWN + 16];
        snprintf(where, sizeof where, "tensor %.*s", NAME_SHOWN, name);
        int status = parse_entry(entry, value, data, data_bytes, where);
        if (status < 0) return error_add_context(status, "%s", file->path);
    }
    if (file->n) qsort(file->entry, file->n, sizeof *file->entry, compare_places);
    TRY(check_covers(file, data_bytes));
    if (file->n) qsort(file->entry, file->n, sizeof *file->entry, compare_names);
    return LAMP_OK;
}

/* The three parts of the file, before looking into any. */
typedef struct {
    const char *header;
    size_t header_bytes; /* without the spaces at its end */
    const unsigned char *data;
    int64_t data_bytes;
} frame;

static int find_frame(frame *parts, const mapped_file *map, const char *path) {
    static const char pointer[] = "version https://git-lfs";
    if (map->length >= sizeof pointer && !memcmp(map->bytes, pointer, sizeof pointer - 1))
        FAIL(LAMP_MALFORMED, "%s: expected tensors, found a Git LFS pointer to them: run git lfs pull in the folder it came from", path);
    if (map->length < LENGTH_BYTES) FAIL(LAMP_MALFORMED, "%s: expected at least %d bytes, found %zu", path, LENGTH_BYTES, map->length);
    uint64_t length;
    memcpy(&length, map->bytes, LENGTH_BYTES);
    if (length > SAFETENSORS_MAX_HEADER_BYTES)
        FAIL(LAMP_MALFORMED, "%s: expected a header of at most %d bytes, found %" PRIu64, path, SAFETENSORS_MAX_HEADER_BYTES, length);
    if (length > map->length - LENGTH_BYTES)
        FAIL(LAMP_MALFORMED, "%s: expected a header of %" PRIu64 " bytes, found a file of %zu: cut short?", path, length, map->length);
    const char *header = (const char *)map->bytes + LENGTH_BYTES;
    *parts = (frame){header, length, map->bytes + LENGTH_BYTES + length, (int64_t)(map->length - LENGTH_BYTES - length)};
    while (parts->header_bytes > 0 && header[parts->header_bytes - 1] == ' ') parts->header_bytes--;
    if (parts->header_bytes < 2 || header[0] != '{' || header[parts->header_bytes - 1] != '}')
        FAIL(LAMP_MALFORMED, "%s: expected a header that begins with '{' and ends with '}' and spaces, found something else", path);
    return LAMP_OK;
}

int safetensors_open(safetensors **result, const char *path) {
    int status = LAMP_OK;
    safetensors *file = NULL;
    json_t *root = NULL;
    frame parts = {0};
    TRY_TO(done, memory_new(&file, 1, sizeof *file, "an open safetensors file"));
    TRY_TO(done, memory_copy_text(&file->path, path, "a path"));
    TRY_TO(done, file_map(&file->map, path));
    TRY_TO(done, find_frame(&parts, &file->map, path));
    TRY_TO(done, json_read_bytes(&root, parts.header, parts.header_bytes, path));
    TRY_TO(done, memory_new(&file->names, parts.header_bytes, 1, "the names of tensors")); /* they fit: each lost two quotes */
    TRY_TO(done, parse_header(file, root, parts.data, parts.data_bytes));
    *result = file;
done:
    json_decref(root);
    if (status < 0) safetensors_close(file);
    return status;
}

void safetensors_close(safetensors *file) {
    if (!file) return;
    file_unmap(&file->map);
    memory_free(file->names);
    memory_free(file->entry);
    memory_free(file->path);
    memory_free(file);
}

const safetensors_entry *safetensors_find(const safetensors *file, const char *name) {
    safetensors_entry wanted = {.name = name};
    return file->n ? bsearch(&wanted, file->entry, file->n, sizeof wanted, compare_names) : NULL;
}

const char *safetensors_type_name(const safetensors_entry *entry) { return entry->type->name; }

int safetensors_read(real *values, const safetensors_entry *entry, int64_t first, int64_t n) {
    CHECK(first >= 0 && n >= 0 && n <= entry->size - first, "%s: %" PRId64 " + %" PRId64 " of %" PRId64, entry->name, first, n,
          entry->size);
    if (!entry->type->convert)
        FAIL(LAMP_UNSUPPORTED, "tensor %.*s: expected values of F32, F16, BF16 or F64, found %s", NAME_SHOWN, entry->name,
             entry->type->name);
    entry->type->convert(values, entry->bytes + first * entry->type->bits / 8, n);
    return LAMP_OK;
}

const void *safetensors_borrow(stored_type *type, const safetensors_entry *entry, int64_t first) {
    const unsigned char *bytes = entry->bytes + first * entry->type->bits / 8;
    for (*type = STORED_REAL; *type < STORED_TYPES; ++*type)
        if (!strcasecmp(stored_formats[*type].name, entry->type->name)) return (uintptr_t)bytes % (size_t)stored_formats[*type].bytes == 0 ? bytes : NULL;
    return NULL;
}

void safetensors_shape_to_text(char text[SHAPE_TEXT_BYTES], const int64_t *shape, int rank) {
    char *end = text;
    for (int i = 0; i < rank; i++) end += sprintf(end, "%s%" PRId64, i ? ", " : "[", shape[i]);
    strcpy(end, rank ? "]" : "[]");
}
