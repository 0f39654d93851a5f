/* Weights as files store them, against naive loops in double over the values that their blocks stand for, which are computed here from the
 * definition in kernels/stored.h. */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { MOST_GROUPS = 7 };

static void *room_for(ptrdiff_t n, size_t size) { return malloc((size_t)n * size + (n == 0)); }

static double noise(uint64_t stream, ptrdiff_t i) { return random_normal((random_key){8, stream}, (uint64_t)i); }

/* ---- what blocks stand for ------------------------------------------------------------------------------------------------------------ */

static double half_value(const unsigned char *bytes) {
    const int half = bytes[0] | bytes[1] << 8, exponent = half >> 10 & 31, fraction = half & 1023;
    const double size = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                        : exponent == 0 ? ldexp(fraction, -24)
                                        : ldexp(fraction | 1024, exponent - 25);
    return half & 0x8000 ? -size : size;
}

static double f16_value(const unsigned char *block, int j) { return (void)j, half_value(block); }

static double bf16_value(const unsigned char *block, int j) {
    uint32_t bits = (uint32_t)block[0] << 16 | (uint32_t)block[1] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (void)j, (double)value;
}

static int nibble(const unsigned char *bytes, int j) { return j < 16 ? bytes[j] & 15 : bytes[j - 16] >> 4; }

static double q8_0_value(const unsigned char *block, int j) { return half_value(block) * (int8_t)block[2 + j]; }
static double q4_0_value(const unsigned char *block, int j) { return half_value(block) * (nibble(block + 2, j) - 8); }

static double mxfp4_value(const unsigned char *block, int j) {
    static const double size[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    const int code = nibble(block + 1, j);
    return ldexp(code & 8 ? -size[code & 7] : size[code & 7], block[0] - 128);
}

static double (*const value_of[STORED_TYPES])(const unsigned char *block, int j) = {
    [STORED_F16] = f16_value, [STORED_BF16] = bf16_value, [STORED_Q8_0] = q8_0_value, [STORED_Q4_0] = q4_0_value, [STORED_MXFP4] = mxfp4_value,
};

static double value_at(stored_type type, const unsigned char *row, ptrdiff_t i) {
    const stored_format *f = &stored_formats[type];
    return value_of[type](row + i / f->values * f->bytes, (int)(i % f->values));
}

/* Any bytes are blocks, but scales shall be ordinary numbers: halves and floats with exponents near one. */
static void fill_blocks(unsigned char *bytes, stored_type type, ptrdiff_t blocks, uint64_t stream) {
    const stored_format *f = &stored_formats[type];
    for (ptrdiff_t i = 0; i < blocks * f->bytes; i++) bytes[i] = (unsigned char)random_below((random_key){9, stream}, (uint64_t)i, 256);
    for (ptrdiff_t i = 0; i < blocks; i++, bytes += f->bytes) {
        if (type == STORED_BF16) bytes[1] = (bytes[1] & 0x80) | 0x3F;
        else if (type == STORED_MXFP4) bytes[0] = 120 + bytes[0] % 16;
        else bytes[1] = (bytes[1] & 0x83) | (12 + bytes[0] % 4) << 2;
    }
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------------------- */

static void rows_are_what_their_blocks_stand_for(void) {
    enum { ROWS = 5, WIDTH = 96, PICKED = 4 };
    static const int32_t picked[PICKED] = {3, 0, 4, 3};
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (stored_type type = STORED_F16; type < STORED_TYPES; type++) {
        const ptrdiff_t bytes = stored_row_bytes(type, WIDTH);
        unsigned char *w = room_for(ROWS * bytes, 1); /* exactly what is read */
        real y[PICKED * WIDTH];
        fill_blocks(w, type, ROWS * bytes / stored_formats[type].bytes, 1);
        for (int t = 0; t < n; t++) {
            tables[t]->stored_rows(y, w, type, picked, PICKED, WIDTH);
            for (int i = 0; i < PICKED * WIDTH; i++)
                EXPECT((double)y[i] == value_at(type, w + picked[i / WIDTH] * bytes, i % WIDTH), "%s, %s: value %d is %.9g", tables[t]->name,
                       stored_formats[type].name, i, (double)y[i]);
        }
        free(w);
    }
}

/* Every half, and every scale of MXFP4. */
static void every_scale_is_right(void) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    const int32_t zero = 0;
    uint16_t *halves = room_for(65536, sizeof *halves);
    real *y = room_for(65536, sizeof *y);
    for (int i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    for (int t = 0; t < n; t++) {
        tables[t]->stored_rows(y, halves, STORED_F16, &zero, 1, 65536);
        int same = 0;
        for (int i = 0; i < 65536; i++) {
            const double expected = half_value((const unsigned char *)&halves[i]);
            same += isnan(expected) ? isnan(y[i]) : (double)y[i] == expected && !signbit(y[i]) == !signbit(expected);
        }
        EXPECT(same == 65536, "%s: %d halves of 65536", tables[t]->name, same);
        for (int e = 0; e < 256; e++) {
            unsigned char block[17] = {(unsigned char)e, 0x71};
            tables[t]->stored_rows(y, block, STORED_MXFP4, &zero, 1, 32);
            EXPECT(y[0] == (real)ldexp(1, e - 128) && y[16] == (real)ldexp(12, e - 128), "%s: scale %d gives %g and %g", tables[t]->name, e,
                   (double)y[0], (double)y[16]);
        }
    }
    free(halves), free(y);
}

/* ---- products --------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    stored_type type;
    row_groups g;
    ptrdiff_t in, out, rows, sources;
    const int32_t *row; /* picks from x (sources, in) */
    float *x;
    const void *w[MOST_GROUPS]; /* NULL where the group has no rows */
} problem;

static problem new_problem(stored_type type, const ptrdiff_t *start, int groups, ptrdiff_t in, ptrdiff_t out, bool gathered) {
    problem p = {type, {groups, start, 0}, in, out, start[groups], gathered ? start[groups] / 2 + 1 : start[groups], NULL, NULL, {NULL}};
    p.x = room_for(p.sources * in, sizeof *p.x);
    for (ptrdiff_t i = 0; i < p.sources * in; i++) p.x[i] = (float)noise(1, i);
    int32_t *row = gathered ? room_for(p.rows, sizeof *row) : NULL;
    for (ptrdiff_t r = 0; gathered && r < p.rows; r++) row[r] = (int32_t)(r * 7 % p.sources);
    p.row = row;
    for (int g = 0; g < groups; g++) {
        if (start[g] == start[g + 1]) continue;
        unsigned char *bytes = room_for(out * stored_row_bytes(type, in), 1);
        fill_blocks(bytes, type, out * in / stored_formats[type].values, (uint64_t)g);
        p.w[g] = bytes;
    }
    return p;
}

static void free_problem(problem *p) {
    free(p->x), free((void *)p->row);
    for (int g = 0; g < p->g.groups; g++) free((void *)p->w[g]);
}

static const float *source_row(const problem *p, ptrdiff_t r) { return p->x + (p->row ? p->row[r] : r) * p->in; }

static double naive(const problem *p, int g, ptrdiff_t r, ptrdiff_t o, double *absolute) {
    const unsigned char *row = (const unsigned char *)p->w[g] + o * stored_row_bytes(p->type, p->in);
    double sum = *absolute = 0;
    for (ptrdiff_t i = 0; i < p->in; i++) {
        const double term = (double)source_row(p, r)[i] * value_at(p->type, row, i);
        sum += term, *absolute += fabs(term);
    }
    return sum;
}

static float *multiply(const struct products *k, const problem *p, int threads) {
    float *y = room_for(p->rows * p->out, sizeof *y);
    omp_set_num_threads(threads);
    k->linear_stored(y, (rows_of){p->x, p->row}, &(stored_matrices){p->type, p->w}, p->g, p->in, p->out);
    return y;
}

/* tolerance: of each sum, relative to the sum of its terms' sizes. */
static void check(const char *name, const struct products *k, const problem *p, const double *expected, const double *absolute, double tolerance) {
    const ptrdiff_t size = p->rows * p->out;
    float *y = multiply(k, p, 1);
    ptrdiff_t i = 0;
    while (i < size && fabs((double)y[i] - expected[i]) <= tolerance * absolute[i]) i++;
    EXPECT(i == size, "%s, %s, %td rows, %td -> %td: element %td is %.9g, expected %.9g", name, stored_formats[p->type].name, p->rows, p->in, p->out,
           i, (double)y[i], expected[i]);
    for (int threads = 2; threads <= 3; threads++) {
        float *again = multiply(k, p, threads);
        EXPECT(!memcmp(y, again, sizeof *y * (size_t)size), "%s, %s, %td -> %td: %d threads differ from one", name, stored_formats[p->type].name,
               p->in, p->out, threads);
        free(again);
    }
    free(y);
}

static void check_all(const problem *p) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    double *expected = room_for(p->rows * p->out, sizeof *expected), *absolute = room_for(p->rows * p->out, sizeof *absolute);
    for (int g = 0; g < p->g.groups; g++)
        for (ptrdiff_t r = p->g.start[g]; r < p->g.start[g + 1]; r++)
            for (ptrdiff_t o = 0; o < p->out; o++) expected[r * p->out + o] = naive(p, g, r, o, &absolute[r * p->out + o]);
    for (int t = 0; t < n; t++) {
        check(tables[t]->name, &tables[t]->products, p, expected, absolute, 1e-6);
        if (tables[t]->products_bf16) check("bf16", tables[t]->products_bf16, p, expected, absolute, 0x1p-7);
    }
    free(expected), free(absolute);
}

static void products_equal_naive_loops(void) {
    static const ptrdiff_t starts[][MOST_GROUPS + 1] = {{0, 0},  {0, 1}, {0, 13}, {0, 3, 3, 40}, {0, 0, 1, 1, 3, 3, 5}, {0, 0, 2, 30, 30, 71},
                                                        {0, 250}};
    static const int groups[] = {1, 1, 1, 3, 6, 5, 1};
    static const ptrdiff_t sizes[][2] = {{32, 1}, {32, 31}, {64, 17}, {96, 100}, {288, 33}, {544, 35}};
    for (stored_type type = STORED_F16; type < STORED_TYPES; type++)
        for (int s = 0; s < 7; s++)
            for (int i = 0; i < 6; i++) {
                const ptrdiff_t odd = stored_formats[type].values == 1 ? 3 : 0; /* rows of pairs may have any length */
                problem p = new_problem(type, starts[s], groups[s], sizes[i][0] - odd, sizes[i][1], (s + i) % 2);
                check_all(&p);
                free_problem(&p);
            }
}

/* f16 and bf16 give the bits that the same values give as reals. */
static void pairs_of_bytes_give_the_bits_of_reals(void) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    const int32_t zero = 0;
    for (stored_type type = STORED_F16; type <= STORED_BF16; type++)
        for (ptrdiff_t rows = 1; rows <= 40; rows += 13) {
            problem p = new_problem(type, (ptrdiff_t[]){0, rows}, 1, 301, 50, false);
            real *w = room_for(p.in * p.out, sizeof *w), *expected = room_for(rows * p.out, sizeof *expected);
            for (int t = 0; t < n; t++) {
                tables[t]->stored_rows(w, p.w[0], type, &zero, 1, p.in * p.out);
                tables[t]->products.linear(expected, (rows_of){p.x, NULL}, &(matrices){&w, NULL}, p.g, p.in, p.out);
                float *y = multiply(&tables[t]->products, &p, 2);
                EXPECT(!memcmp(y, expected, sizeof *y * (size_t)(rows * p.out)), "%s, %s, %td rows", tables[t]->name, stored_formats[type].name,
                       rows);
                free(y);
            }
            free(w), free(expected), free_problem(&p);
        }
}

static const test_case cases[] = {
    {"rows are what their blocks stand for", rows_are_what_their_blocks_stand_for},
    {"every scale is right", every_scale_is_right},
    {"products equal naive loops", products_equal_naive_loops},
    {"pairs of bytes give the bits of reals", pairs_of_bytes_give_the_bits_of_reals},
};

int main(void) { return test_run("stored products", cases, sizeof cases / sizeof *cases); }
