/* Weights as files store them, against naive loops in double over the values that their blocks stand for, which are computed here from the
 * definition in kernels/stored.h. Where rows are rounded to eight bits, the loops go over exactly the rounded values: four neighbours and more are
 * summed in integers, so only the float sum of those may differ, by a few roundings relative to the sum of absolute terms. */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { MOST_GROUPS = 7, BLOCK = 32 };

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
    void *w[MOST_GROUPS]; /* NULL where the group has no rows */
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
        p.w[g] = room_for(out * stored_row_bytes(type, in), 1);
        fill_blocks(p.w[g], type, out * in / stored_formats[type].values, (uint64_t)g);
    }
    return p;
}

static void free_problem(problem *p) {
    free(p->x), free((void *)p->row);
    for (int g = 0; g < p->g.groups; g++) free(p->w[g]);
}

typedef double sum_of(const problem *p, int g, ptrdiff_t r, ptrdiff_t o, double *absolute);

static const float *source_row(const problem *p, ptrdiff_t r) { return p->x + (p->row ? p->row[r] : r) * p->in; }
static const unsigned char *weight_row(const problem *p, int g, ptrdiff_t o) {
    return (unsigned char *)p->w[g] + o * stored_row_bytes(p->type, p->in);
}

static double exact_sum(const problem *p, int g, ptrdiff_t r, ptrdiff_t o, double *absolute) {
    double sum = *absolute = 0;
    for (ptrdiff_t i = 0; i < p->in; i++) {
        const double term = (double)source_row(p, r)[i] * value_at(p->type, weight_row(p, g, o), i);
        sum += term, *absolute += fabs(term);
    }
    return sum;
}

/* The scale of a block of x; value[i] is what its numbers become. */
static double rounded(double value[BLOCK], const float *x) {
    float largest = 0;
    for (int i = 0; i < BLOCK; i++) largest = isnan(x[i]) ? NAN : fmaxf(largest, fabsf(x[i]));
    const float scale = largest / 127, inverse = scale < FLT_MIN ? 0 : 1 / scale;
    for (int i = 0; i < BLOCK; i++) value[i] = rint((double)x[i] * (double)inverse);
    return (double)scale;
}

static double sum_of_rounded(const problem *p, int g, ptrdiff_t r, ptrdiff_t o, double *absolute) {
    double sum = *absolute = 0, value[BLOCK];
    for (ptrdiff_t i = 0; i < p->in; i += BLOCK) {
        double scale = rounded(value, source_row(p, r) + i), four = 0;
        for (int j = 0; j < BLOCK; j++) {
            four += value[j] * value_at(p->type, weight_row(p, g, o), i + j);
            if (j % 4 == 3) sum += scale * four, *absolute += fabs(scale * four), four = 0;
        }
    }
    return sum;
}

static float *multiply(const struct products *k, const problem *p, int threads) {
    float *y = room_for(p->rows * p->out, sizeof *y);
    omp_set_num_threads(threads);
    k->linear_stored(&(stored_product){y, {.x = p->x, .row = p->row}, {p->type, (const void *const *)p->w}, p->g, p->in, p->out}, 1);
    return y;
}

/* A precision, what it sums, and how far it may be from that, relative to the sum of the terms' sizes. */
typedef struct {
    const char *name;
    const struct products *products;
    sum_of *sum;
    double tolerance;
} precision;

static void check(const precision *k, const problem *p, const char *what) {
    const ptrdiff_t size = p->rows * p->out;
    const char *type = stored_formats[p->type].name;
    float *y = multiply(k->products, p, 1);
    int wrong = 0;
    for (int g = 0; g < p->g.groups; g++)
        for (ptrdiff_t i = p->g.start[g] * p->out; i < p->g.start[g + 1] * p->out && wrong < 3; i++) {
            double absolute, expected = k->sum(p, g, i / p->out, i % p->out, &absolute);
            if (isfinite(expected) ? fabs((double)y[i] - expected) <= k->tolerance * absolute + (double)FLT_MIN : !isfinite(y[i])) continue;
            EXPECT(!++wrong, "%s, %s, %s, %td rows, %td -> %td: element %td is %.9g, expected %.9g", k->name, type, what, p->rows, p->in, p->out, i,
                   (double)y[i], expected);
        }
    for (int threads = 2; threads <= 3; threads++) {
        float *again = multiply(k->products, p, threads);
        EXPECT(!memcmp(y, again, sizeof *y * (size_t)size), "%s, %s, %s, %td -> %td: %d threads differ from one", k->name, type, what, p->in, p->out,
               threads);
        free(again);
    }
    free(y);
}

static void check_int8(const problem *p, const char *what) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int t = 0; t < n; t++)
        check(&(precision){tables[t]->name, &tables[t]->products_int8, sum_of_rounded, 4e-7 * sqrt((double)p->in / BLOCK)}, p, what);
}

static void check_all(const problem *p) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int t = 0; t < n; t++) {
        check(&(precision){tables[t]->name, &tables[t]->products, exact_sum, 1e-6}, p, "exact");
        if (tables[t]->products_bf16) check(&(precision){tables[t]->name, tables[t]->products_bf16, exact_sum, 0x1p-7}, p, "bf16");
    }
    if (stored_formats[p->type].values == BLOCK) check_int8(p, "int8");
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

/* Deeper than a thread holds of a row, and than a tile is. */
static void deep_products_are_right(void) {
    for (stored_type type = STORED_Q8_0; type < STORED_TYPES; type++)
        for (ptrdiff_t rows = 3; rows <= 6; rows++) {
            problem p = new_problem(type, (ptrdiff_t[]){0, 1, rows}, 2, 9 * 1024 + 32, 34, true);
            check_all(&p);
            free_problem(&p);
        }
}

/* Products of different types, shapes and groups in one call are those of many calls. */
static void several_products_are_each_what_they_are_alone(void) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int rows = 1; rows <= 5; rows += 4)
        for (int mixed = 0; mixed < 2; mixed++) {
            problem p[] = {new_problem(STORED_Q4_0, (ptrdiff_t[]){0, 0, 1, rows}, 3, 288, 300, false),
                           new_problem(mixed ? STORED_BF16 : STORED_MXFP4, (ptrdiff_t[]){0, rows}, 1, 64, 33, true),
                           new_problem(STORED_Q8_0, (ptrdiff_t[]){0, 1, 1, 2}, 3, 96, 129, true)};
            for (int t = 0; t < n; t++) {
                stored_product each[3];
                for (int i = 0; i < 3; i++)
                    each[i] = (stored_product){room_for(p[i].rows * p[i].out, sizeof(real)),
                                               {.x = p[i].x, .row = p[i].row},
                                               {p[i].type, (const void *const *)p[i].w},
                                               p[i].g,
                                               p[i].in,
                                               p[i].out};
                tables[t]->products_int8.linear_stored(each, 3);
                for (int i = 0; i < 3; i++) {
                    float *alone = multiply(&tables[t]->products_int8, &p[i], 2);
                    EXPECT(!memcmp(alone, each[i].y, sizeof *alone * (size_t)(p[i].rows * p[i].out)), "%s: product %d", tables[t]->name, i);
                    free(alone), free(each[i].y);
                }
            }
            for (int i = 0; i < 3; i++) free_problem(&p[i]);
        }
}

/* Every number of rows that a short panel can have. */
static void every_panel_height_is_right(void) {
    for (ptrdiff_t rows = 1; rows <= 25; rows++) {
        problem p = new_problem(STORED_Q8_0 + rows % 3, (ptrdiff_t[]){0, rows}, 1, 64, 35, false);
        check_int8(&p, "short panels");
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
                tables[t]->products.linear(expected, (rows_of){.x = p.x}, &(matrices){&w, NULL}, p.g, p.in, p.out);
                float *y = multiply(&tables[t]->products, &p, 2);
                EXPECT(!memcmp(y, expected, sizeof *y * (size_t)(rows * p.out)), "%s, %s, %td rows", tables[t]->name, stored_formats[type].name,
                       rows);
                free(y);
            }
            free(w), free(expected), free_problem(&p);
        }
}

/* ---- rounding to eight bits ------------------------------------------------------------------------------------------------------------- */

/* As many rows as panels take, or as few as are multiplied one by one. */
enum { MANY = 14, FEW = 3 };

/* The largest products there are, of all four signs: blocks of -128 or 127. */
static void extremes_are_exact(void) {
    for (int sign = 0; sign < 4; sign++)
        for (ptrdiff_t rows = FEW; rows <= MANY; rows += MANY - FEW) {
            problem p = new_problem(STORED_Q8_0, (ptrdiff_t[]){0, rows}, 1, 96, 37, false);
            unsigned char *w = p.w[0];
            for (ptrdiff_t i = 0; i < p.rows * p.in; i++) p.x[i] = sign & 1 ? -127 : 127;
            for (ptrdiff_t i = 0; i < p.out * p.in / BLOCK; i++, w += 34) memcpy(w, "\0\x3C", 2), memset(w + 2, sign & 2 ? -128 : 127, BLOCK);
            check_int8(&p, "extremes");
            float *y = multiply(&kernels_scalar.products_int8, &p, 1);
            const float expected = 96.0f * (sign & 1 ? -127 : 127) * (sign & 2 ? -128 : 127);
            EXPECT(y[0] == expected, "%.9g, expected %.9g", (double)y[0], (double)expected);
            free(y), free_problem(&p);
        }
}

/* One such number in a row, or a whole row of them. */
static void odd_numbers_are_rounded_as_they_should(void) {
    static const float odd[] = {0, 1e30f, 1e-30f, FLT_MIN, 1e-40f, NAN, INFINITY};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int whole = 0; whole < 2; whole++)
            for (ptrdiff_t rows = FEW; rows <= MANY; rows += MANY - FEW) {
                problem p = new_problem(STORED_Q8_0 + (int)i % 3, (ptrdiff_t[]){0, rows}, 1, 96, 37, false);
                for (ptrdiff_t j = 0; j < (whole ? p.in : 1); j++) p.x[2 * p.in + 40 * !whole + j] = odd[i];
                check_int8(&p, "odd numbers");
                free_problem(&p);
            }
}

/* A half goes to the even neighbour. */
static void halves_are_rounded_to_even(void) {
    const float x[BLOCK] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f};
    const double expected[] = {127, 0, 2, 2, 0, -2, -2, 126};
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (ptrdiff_t rows = 1; rows <= MANY; rows += MANY - 1) {
        problem p = new_problem(STORED_Q8_0, (ptrdiff_t[]){0, rows}, 1, BLOCK, 1, false);
        unsigned char *w = p.w[0];
        memcpy(p.x + (rows - 1) * BLOCK, x, sizeof x);
        memcpy(w, "\0\x3C", 2);
        for (int i = 0; i < 8; i++) {
            memset(w + 2, 0, BLOCK), w[2 + i] = 1;
            for (int t = 0; t < n; t++) {
                float *y = multiply(&tables[t]->products_int8, &p, 1);
                EXPECT((double)y[rows - 1] == expected[i], "%s: %g becomes %g", tables[t]->name, (double)x[i], (double)y[rows - 1]);
                free(y);
            }
        }
        free_problem(&p);
    }
}

static void a_machine_with_the_instruction_has_a_peak(void) {
    const struct kernels *tables[KERNEL_TABLES];
    const int n = kernels_available(tables);
    for (int i = 0; i < n; i++)
        if (tables[i]->peak_flops_int8) EXPECT(tables[i]->peak_flops_int8(0.001) > 0, "%s", tables[i]->name);
}

static const test_case cases[] = {
    {"rows are what their blocks stand for", rows_are_what_their_blocks_stand_for},
    {"every scale is right", every_scale_is_right},
    {"products equal naive loops", products_equal_naive_loops},
    {"deep products are right", deep_products_are_right},
    {"several products are each what they are alone", several_products_are_each_what_they_are_alone},
    {"every panel height is right", every_panel_height_is_right},
    {"pairs of bytes give the bits of reals", pairs_of_bytes_give_the_bits_of_reals},
    {"extremes are exact", extremes_are_exact},
    {"odd numbers are rounded as they should", odd_numbers_are_rounded_as_they_should},
    {"halves are rounded to even", halves_are_rounded_to_even},
    {"a machine with the instruction has a peak", a_machine_with_the_instruction_has_a_peak},
};

int main(void) { return test_run("stored products", cases, sizeof cases / sizeof *cases); }
