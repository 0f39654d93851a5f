/* The GGUF format of llama.cpp: settings and named arrays in one file, mapped for reading. Little-endian throughout.
 *
 *     "GGUF"     u32 version (3; 2 is the same), u64 number of tensors, u64 number of settings
 *     settings   text key, u32 type, value          text: u64 length, its bytes;  array: u32 type of its items, u64 count, items
 *     tensors    text name, u32 rank, u64 dimension[rank] (the first is the fastest), u32 type, u64 offset in the data
 *     data       at the next multiple of general.alignment (32), like each tensor in it, in the order of the table
 *
 * The tensors cover the data exactly, padding apart: no hole, no overlap, nothing after the last. A file that breaks any of this is refused
 * whole. Quantised types store blocks of values that are neighbours along the first dimension (formats/quantise.h). */
#ifndef GGUF_H
#define GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/real.h"

enum { GGUF_MAX_RANK = 4, GGUF_NAME_BYTES = 65, GGUF_ALIGNMENT = 32 };

/* Numbered as files number them. */
typedef enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_TEXT,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_SETTING_TYPES
} gguf_setting_type;

/* Bytes of the file, without a NUL at their end. */
typedef struct {
    const char *bytes;
    size_t length;
} gguf_text;

typedef struct {
    gguf_text key;
    gguf_setting_type type, item; /* item: of an array's items; otherwise the same as type */
    uint64_t n;                   /* items; 1 unless it is an array */
    const unsigned char *bytes;   /* of the value, or of the first item */
} gguf_setting;

/* A type of values, numbered as files number it. */
typedef struct {
    const char *name;
    int block, block_bytes; /* values in a block, and the bytes it takes */
} gguf_type;

typedef struct {
    char name[GGUF_NAME_BYTES];
    int number; /* of its type */
    const gguf_type *type;
    int rank;
    int64_t dimension[GGUF_MAX_RANK]; /* those after rank are 1 */
    int64_t size;                     /* how many values: the product of the dimensions */
    uint64_t offset;                  /* in the data */
    const unsigned char *bytes;
    int64_t n_bytes;
} gguf_tensor;

typedef struct {
    char *path;
    mapped_file map;
    gguf_setting *setting; /* (n_settings), by key */
    gguf_tensor *tensor;   /* (n_tensors), by name */
    size_t n_settings, n_tensors;
} gguf;

/* Whether a path is the name of such a file: "x.gguf". */
bool gguf_is_named(const char *path);

int gguf_open(gguf **file, const char *path);
void gguf_close(gguf *file);

/* NULL if there is none. */
const gguf_setting *gguf_find(const gguf *file, const char *key);
const gguf_tensor *gguf_find_tensor(const gguf *file, const char *name);

/* A setting as what is wanted: LAMP_MALFORMED with path and key, expected and found, if it is absent or something else. An integer of any width
 * will do for an integer, and an f32 becomes the shortest decimal number that it stands for (1e-5, not 9.99999974737875e-06); an array where one
 * number is expected is LAMP_UNSUPPORTED: layers that differ. */
int gguf_get_integer(int64_t *value, const gguf *file, const char *key, int64_t min, int64_t max);
int gguf_get_number(double *value, const gguf *file, const char *key);
int gguf_get_bool(bool *value, const gguf *file, const char *key);
int gguf_get_text(gguf_text *value, const gguf *file, const char *key);
int gguf_get_array(const gguf_setting **value, const gguf *file, const char *key, gguf_setting_type item);

/* Text that is printable and short, to be compared and shown. */
enum { GGUF_WORD_BYTES = 64 };
int gguf_get_word(char word[GGUF_WORD_BYTES], const gguf *file, const char *key);

/* The texts of an array, one after another: begin with array->bytes. */
gguf_text gguf_next_text(const unsigned char **next);

/* Bytes of a value; 0 for texts and arrays, which vary. */
size_t gguf_setting_bytes(gguf_setting_type type);

/* NULL unless it is a type of the format. */
const gguf_type *gguf_type_of(int64_t number);

/* "{64, 32}": the dimensions as the file has them, the fastest first. */
enum { GGUF_SHAPE_BYTES = 24 * GGUF_MAX_RANK };
void gguf_shape_to_text(char text[GGUF_SHAPE_BYTES], const int64_t *dimension, int rank);

#endif
