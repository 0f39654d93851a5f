#include "formats/placed_values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

enum { SQUARE = 128, BLOCK = 32, BLOCK_BYTES = BLOCK / 2 };

static bool is(const safetensors_entry *entry, const char *type) { return !strcmp(safetensors_type_name(entry), type); }

bool placed_scales(family_place *scales, const family_place *place, const safetensors_entry *entry) {
    *scales = (family_place){.rank = 0};
    if (*place->scales) {
        strcpy(scales->name, place->scales);
        scales->rank = place->rank - 1;
        memcpy(scales->shape, place->shape, sizeof *place->shape * (size_t)scales->rank);
        return true;
    }
    if (!is(entry, "F8_E4M3") || place->rank != 2) return false;
    snprintf(scales->name, sizeof scales->name, "%.*s_scale_inv", TENSOR_NAME_BYTES - 16, place->name);
    scales->rank = 2;
    for (int i = 0; i < 2; i++) scales->shape[i] = (place->shape[i] + SQUARE - 1) / SQUARE;
    return true;
}

/* ---- values that lie apart --------------------------------------------------------------------------------------------------- */

static int read_rows(real *values, const placed_values *v, int64_t first, ptrdiff_t rows) {
    for (ptrdiff_t o = 0; o < rows; o++) TRY(safetensors_read(values + o * v->in, v->entry, v->first + (first + o) * v->row_step, v->in));
    return LAMP_OK;
}

/* Columns lie as rows should: a few of them are read at a time, and turned. */
static int read_turned(real *values, const placed_values *v, int64_t first, ptrdiff_t rows) {
    enum { TOGETHER = 16 };
    const ptrdiff_t length = (rows - 1) * v->row_step + 1;
    const int64_t begin = v->first + first * v->row_step;
    real *columns;
    int status = LAMP_OK;
    TRY(memory_new(&columns, (size_t)(TOGETHER * length), sizeof *columns, "columns of a weight"));
    for (ptrdiff_t i0 = 0; i0 < v->in && status >= 0; i0 += TOGETHER) {
        const ptrdiff_t n = v->in - i0 < TOGETHER ? v->in - i0 : TOGETHER;
        for (ptrdiff_t i = 0; i < n && status >= 0; i++)
            status = safetensors_read(columns + i * length, v->entry, begin + (i0 + i) * v->column_step, length);
        for (ptrdiff_t o = 0; o < rows && status >= 0; o++)
            for (ptrdiff_t i = 0; i < n; i++) values[o * v->in + i0 + i] = columns[i * length + o * v->row_step];
    }
    memory_free(columns);
    return status;
}

/* Halves stay halves, in rows. A few rows at a time, whose values are neighbours where columns lie as rows should. */
static int copy_halves(void *rows, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in) {
    enum { TOGETHER = 32, BYTES = 2 };
    const placed_values *v = g->from;
    const unsigned char *from = v->entry->bytes + BYTES * (v->first + first * v->row_step);
#pragma omp parallel for
    for (ptrdiff_t o0 = 0; o0 < n; o0 += TOGETHER)
        for (ptrdiff_t i = 0; i < in; i++)
            for (ptrdiff_t o = o0; o < n && o < o0 + TOGETHER; o++)
                memcpy((char *)rows + BYTES * (o * in + i), from + BYTES * (o * v->row_step + i * v->column_step), BYTES);
    return LAMP_OK;
}

/* ---- eight bits --------------------------------------------------------------------------------------------------------------- */

/* Sign, four bits of exponent around 7, three of fraction; no infinity, and one pattern that is not a number. */
static float e4m3(int byte) {
    int exponent = byte >> 3 & 15, fraction = byte & 7;
    float size = (byte & 127) == 127 ? NAN : exponent == 0 ? ldexpf((float)fraction, -9) : ldexpf((float)(fraction | 8), exponent - 10);
    return byte & 128 ? -size : size;
}

static int read_squares(real *values, const placed_values *v, int64_t first, ptrdiff_t rows) {
    const ptrdiff_t across = (v->in + SQUARE - 1) / SQUARE;
    real *scale;
    float value[256];
    for (int b = 0; b < 256; b++) value[b] = e4m3(b);
    TRY(memory_new(&scale, (size_t)v->scales->size, sizeof *scale, "scales of a weight"));
    int status = safetensors_read(scale, v->scales, 0, v->scales->size);
#pragma omp parallel for if (status >= 0)
    for (ptrdiff_t o = 0; o < rows; o++)
        for (ptrdiff_t i = 0; i < v->in && status >= 0; i++)
            values[o * v->in + i] = (real)value[v->entry->bytes[(first + o) * v->in + i]] * scale[(first + o) / SQUARE * across + i / SQUARE];
    memory_free(scale);
    return status;
}

/* ---- four bits ---------------------------------------------------------------------------------------------------------------- */

/* Of row o: its first block, of all of the tensor. */
static int64_t block_of(const placed_values *v, int64_t o) { return (v->first + o * v->row_step) / BLOCK; }

static int check_blocks(const placed_values *v) {
    if (v->in % BLOCK) FAIL(LAMP_MALFORMED, "tensor %s: expected rows of whole blocks of %d values, found %td", v->entry->name, BLOCK, v->in);
    if (is(v->entry, "U8") && is(v->scales, "U8")) return LAMP_OK;
    FAIL(LAMP_UNSUPPORTED, "tensor %s: expected blocks and scales of U8, found %s and %s", v->entry->name, safetensors_type_name(v->entry),
         safetensors_type_name(v->scales));
}

static int read_blocks(real *values, const placed_values *v, int64_t first, ptrdiff_t rows) {
    static const real value[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, (real)-0.0, -0.5, -1, -1.5, -2, -3, -4, -6};
    TRY(check_blocks(v));
#pragma omp parallel for
    for (ptrdiff_t o = 0; o < rows; o++)
        for (ptrdiff_t i = 0; i < v->in; i++) {
            const int64_t block = block_of(v, first + o) + i / BLOCK;
            const int byte = v->entry->bytes[block * BLOCK_BYTES + i % BLOCK / 2], scale = v->scales->bytes[block];
            values[o * v->in + i] = scale == 255 ? (real)NAN : value[i % 2 ? byte >> 4 : byte & 15] * (real)ldexp(1, scale - 127);
        }
    return LAMP_OK;
}

/* As kernels/stored.h has them: the scale first, and values j and j + 16 in a byte. */
static int copy_blocks(void *rows, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in) {
    const placed_values *v = g->from;
    const ptrdiff_t blocks = in / BLOCK;
    TRY(check_blocks(v));
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < n * blocks; i++) {
        const int64_t block = block_of(v, first + i / blocks) + i % blocks;
        const unsigned char *from = v->entry->bytes + block * BLOCK_BYTES;
        unsigned char *to = (unsigned char *)rows + i * (1 + BLOCK_BYTES);
        *to++ = v->scales->bytes[block];
        for (int j = 0; j < BLOCK_BYTES; j++) { /* values j and j + 16 */
            int low = from[j / 2] >> (j % 2 * 4) & 15, high = from[j / 2 + BLOCK_BYTES / 2] >> (j % 2 * 4) & 15;
            to[j] = (unsigned char)(low | high << 4);
        }
    }
    return LAMP_OK;
}

/* ---- groups ------------------------------------------------------------------------------------------------------------------- */

static int read_values(real *values, const stored_group *g, int64_t first, int64_t n) {
    const placed_values *v = g->from;
    CHECK(first % v->in == 0 && n % v->in == 0, "%lld values from %lld, of rows of %td", (long long)n, (long long)first, v->in);
    if (n == 0) return LAMP_OK;
    if (v->scales) return (is(v->entry, "F8_E4M3") ? read_squares : read_blocks)(values, v, first / v->in, n / v->in);
    return (v->column_step > 1 ? read_turned : read_rows)(values, v, first / v->in, n / v->in);
}

static double bytes_of(const safetensors_entry *entry) { return (double)(entry->end - entry->begin); }

stored_group placed_group(const placed_values *v) {
    stored_group g = {.tensor = v->entry->name, .first = v->first, .read = read_values, .from = v, .form = safetensors_type_name(v->entry)};
    g.value_bytes = bytes_of(v->entry) / (double)v->entry->size;
    if (v->scales) g.value_bytes = (bytes_of(v->entry) + bytes_of(v->scales)) / (double)v->entry->size;
    if (!v->scales && is(v->entry, "F16")) g.type = STORED_F16, g.copy = copy_halves;
    if (!v->scales && is(v->entry, "BF16")) g.type = STORED_BF16, g.copy = copy_halves;
    if (!v->scales || is(v->entry, "F8_E4M3")) return g;
    g.type = STORED_MXFP4, g.copy = copy_blocks;
    g.form = "MXFP4", g.value_bytes /= 2; /* of which a byte holds two */
    return g;
}
