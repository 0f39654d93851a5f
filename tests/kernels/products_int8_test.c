/* Products in eight bits against naive loops in double over exactly the rounded values: blocks are summed in integers, so only the float sum
 * over blocks may differ, by a few roundings relative to the sum of absolute terms. */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/random.h"
#include "kernels/kernels.h"

enum { MOST_GROUPS = 5 };

typedef struct {
    row_groups g;
    ptrdiff_t in, out, rows, sources;
    const int32_t *row; /* picks from x (sources, in) */
    float *x;
    matrix_int8 w[MOST_GROUPS];
} problem;

static void *room_for(ptrdiff_t n, size_t size) { return malloc((size_t)n * size + (n == 0)); }

static double noise(uint64_t stream, ptrdiff_t i) { return random_normal((random_key){8, stream}, (uint64_t)i); }

static problem new_problem(const ptrdiff_t *start, int groups, ptrdiff_t in, ptrdiff_t out, bool gathered) {
    problem p = {{groups, start, 0}, in, out, start[groups], gathered ? start[groups] / 2 + 1 : start[groups], NULL, NULL, {{NULL, NULL}}};
    p.x = room_for(p.sources * in, sizeof *p.x);
    for (ptrdiff_t i = 0; i < p.sources * in; i++) p.x[i] = (float)noise(1, i);
    int32_t *row = gathered ? room_for(p.rows, sizeof *row) : NULL;
    for (ptrdiff_t r = 0; gathered && r < p.rows; r++) row[r] = (int32_t)(r * 7 % p.sources);
    p.row = row;
    for (int g = 0; g < groups; g++) {
        int8_t *value = room_for(in * out, 1);
        float *scale = room_for(in * out / INT8_BLOCK, sizeof *scale);
        for (ptrdiff_t i = 0; i < in * out; i++) value[i] = (int8_t)random_below((random_key){9, (uint64_t)g}, (uint64_t)i, 256);
        for (ptrdiff_t i = 0; i < in * out / INT8_BLOCK; i++) scale[i] = (float)noise(2 + (uint64_t)g, i);
        p.w[g] = (matrix_int8){value, scale};
    }
    return p;
}

static void free_problem(problem *p) {
    free(p->x), free((void *)p->row);
    for (int g = 0; g < p->g.groups; g++) free((void *)p->w[g].value), free((void *)p->w[g].scale);
}

/* The scale of a block of x; value[i] is what its numbers become. */
static double rounded(double value[INT8_BLOCK], const float *x) {
    float largest = 0;
    for (int i = 0; i < INT8_BLOCK; i++) largest = fmaxf(largest, fabsf(x[i]));
    const float scale = largest / 127, inverse = scale < FLT_MIN ? 0 : 1 / scale;
    for (int i = 0; i < INT8_BLOCK; i++) value[i] = rint((double)x[i] * (double)inverse);
    return (double)scale;
}

static double exact(const problem *p, int g, ptrdiff_t r, ptrdiff_t o, double *absolute) {
    double sum = *absolute = 0, value[INT8_BLOCK];
    for (ptrdiff_t i = 0; i < p->in; i += INT8_BLOCK) {
        double scale = rounded(value, p->x + (p->row ? p->row[r] : r) * p->in + i) * (double)p->w[g].scale[(o * p->in + i) / INT8_BLOCK], block = 0;
        for (int j = 0; j < INT8_BLOCK; j++) block += value[j] * p->w[g].value[o * p->in + i + j];
        sum += scale * block, *absolute += fabs(scale * block);
    }
    return sum;
}

/* y (rows, out) by k; what is packed is exactly as large as k says, and groups without rows have none. */
static float *multiply(const struct kernels *k, const problem *p, int threads) {
    float *packed[MOST_GROUPS] = {NULL}, *y = room_for(p->rows * p->out, sizeof *y);
    for (int g = 0; g < p->g.groups; g++) {
        if (p->g.start[g] == p->g.start[g + 1]) continue;
        packed[g] = room_for(k->products_int8.packed_size(p->in, p->out), sizeof(real));
        k->products_int8.pack(packed[g], &p->w[g], p->in, p->out);
    }
    omp_set_num_threads(threads);
    k->products_int8.linear(y, (rows_of){p->x, p->row}, (const real *const *)packed, p->g, p->in, p->out);
    for (int g = 0; g < p->g.groups; g++) free(packed[g]);
    return y;
}

static void check(const char *what, const problem *p) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    double *expected = room_for(p->rows * p->out, sizeof *expected), *allowed = room_for(p->rows * p->out, sizeof *allowed);
    for (int g = 0; g < p->g.groups; g++)
        for (ptrdiff_t r = p->g.start[g]; r < p->g.start[g + 1]; r++)
            for (ptrdiff_t o = 0; o < p->out; o++) {
                expected[r * p->out + o] = exact(p, g, r, o, &allowed[r * p->out + o]);
                allowed[r * p->out + o] = allowed[r * p->out + o] * 4e-7 * sqrt((double)p->in / INT8_BLOCK) + (double)FLT_MIN;
            }
    for (int t = 0; t < n; t++) {
        float *y = multiply(tables[t], p, 1);
        ptrdiff_t i = 0, size = p->rows * p->out;
        while (i < size && (isfinite(expected[i]) ? fabs((double)y[i] - expected[i]) <= allowed[i] : !isfinite(y[i]))) i++;
        EXPECT(i == size, "%s, %s, %td rows, %td -> %td: element %td is %.9g, expected %.9g", tables[t]->name, what, p->rows, p->in, p->out, i,
               (double)y[i], expected[i]);
        for (int threads = 2; threads <= 3; threads++) {
            float *again = multiply(tables[t], p, threads);
            EXPECT(!memcmp(y, again, sizeof *y * (size_t)size), "%s, %s, %td -> %td: %d threads differ from one", tables[t]->name, what, p->in,
                   p->out, threads);
            free(again);
        }
        free(y);
    }
    free(expected), free(allowed);
}

static void products_equal_naive_loops(void) {
    static const ptrdiff_t starts[][MOST_GROUPS + 1] = {{0, 0}, {0, 1}, {0, 13}, {0, 3, 3, 40}, {0, 0, 2, 30, 30, 71}, {0, 520}, {0, 1, 2, 2, 3, 5}};
    static const int groups[] = {1, 1, 1, 3, 5, 1, 5};
    static const ptrdiff_t sizes[][2] = {{32, 1}, {32, 31}, {64, 17}, {96, 100}, {160, 33}, {864, 7}, {896, 40}, {1760, 3}, {64, 530}};
    for (int s = 0; s < 7; s++)
        for (int i = 0; i < 9; i++) {
            problem p = new_problem(starts[s], groups[s], sizes[i][0], sizes[i][1], (s + i) % 2);
            check("noise", &p);
            free_problem(&p);
        }
}

/* Every number of rows that a short panel can have. */
static void every_panel_height_is_right(void) {
    for (ptrdiff_t rows = 1; rows <= 25; rows++) {
        problem p = new_problem((ptrdiff_t[]){0, rows}, 1, 64, 35, false);
        check("short panels", &p);
        free_problem(&p);
    }
}

static void extremes_are_exact(void) {
    static const ptrdiff_t start[] = {0, 14};
    for (int sign = 0; sign < 4; sign++) { /* the largest products there are, of all four signs */
        problem p = new_problem(start, 1, 96, 37, false);
        for (ptrdiff_t i = 0; i < p.rows * p.in; i++) p.x[i] = sign & 1 ? -127 : 127;
        memset((void *)p.w[0].value, sign & 2 ? -128 : 127, (size_t)(p.in * p.out));
        for (ptrdiff_t i = 0; i < p.in * p.out / INT8_BLOCK; i++) ((float *)p.w[0].scale)[i] = 1;
        check("extremes", &p);
        float *y = multiply(&kernels_scalar, &p, 1);
        const float expected = 96.0f * (sign & 1 ? -127 : 127) * (sign & 2 ? -128 : 127);
        EXPECT(y[0] == expected, "%.9g, expected %.9g", (double)y[0], (double)expected);
        free(y), free_problem(&p);
    }
    static const float odd[] = {0, 1e30f, FLT_MAX, 1e-30f, FLT_MIN, 1e-40f, NAN, INFINITY};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int whole = 0; whole < 2; whole++) { /* one such number in a row, or a whole row of them */
            problem p = new_problem(start, 1, 96, 37, false);
            for (ptrdiff_t j = 0; j < (whole ? p.in : 1); j++) p.x[5 * p.in + 40 * !whole + j] = odd[i];
            if (odd[i] == FLT_MAX)
                for (ptrdiff_t j = 0; j < p.in * p.out / INT8_BLOCK; j++) ((float *)p.w[0].scale)[j] = 1e-8f;
            check("odd numbers", &p);
            free_problem(&p);
        }
}

/* A half goes to the even neighbour. */
static void halves_are_rounded_to_even(void) {
    problem p = new_problem((ptrdiff_t[]){0, 1}, 1, 32, 1, false);
    const float x[INT8_BLOCK] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f};
    memcpy(p.x, x, sizeof x);
    const double expected[] = {127, 0, 2, 2, 0, -2, -2, 126};
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    ((float *)p.w[0].scale)[0] = 1;
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < INT8_BLOCK; j++) ((int8_t *)p.w[0].value)[j] = i == j;
        for (int t = 0; t < n; t++) {
            float *y = multiply(tables[t], &p, 1);
            EXPECT((double)y[0] == expected[i], "%s: %g becomes %g", tables[t]->name, (double)x[i], (double)y[0]);
            free(y);
        }
    }
    free_problem(&p);
}

static void a_machine_with_the_instruction_has_a_peak(void) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    for (int i = 0; i < n; i++)
        if (tables[i]->peak_flops_int8) EXPECT(tables[i]->peak_flops_int8(0.001) > 0, "%s", tables[i]->name);
}

static const test_case cases[] = {
    {"products equal naive loops", products_equal_naive_loops},
    {"every panel height is right", every_panel_height_is_right},
    {"extremes are exact", extremes_are_exact},
    {"halves are rounded to even", halves_are_rounded_to_even},
    {"a machine with the instruction has a peak", a_machine_with_the_instruction_has_a_peak},
};

int main(void) { return test_run("int8 products", cases, sizeof cases / sizeof *cases); }
