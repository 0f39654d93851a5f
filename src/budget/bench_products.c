/* The three products of a weight matrix, and its forward product in eight bits, at the shapes that matter: a large dense one, groups as experts of
 * many sizes see them, and the yardstick model's (bench/model_p.ini). */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "budget/bench.h"

typedef struct {
    const char *name;
    ptrdiff_t groups, rows, in, out; /* rows of each group */
} product_shape;

static const product_shape shapes[] = {
    {"dense", 1, 2048, 2048, 2048},
    {"experts, few rows", 64, 8, 512, 2048},
    {"experts", 64, 32, 512, 2048},
    {"experts", 64, 128, 512, 2048},
    {"experts, many rows", 64, 512, 512, 2048},
    {"model P, attention", 1, 4096, 256, 256},
    {"model P, 8 experts", 8, 1024, 256, 512},
    {"model P, 64 experts", 64, 128, 256, 512},
    {"model P, head", 1, 4096, 256, 8192},
};

enum { MOST_GROUPS = 64 };

typedef struct {
    product_shape shape;
    real *x, *y, *w, *dx, *dw; /* y is also dy */
    real *group[MOST_GROUPS];  /* of w */
    ptrdiff_t start[MOST_GROUPS + 1];
} factors;

typedef struct {
    factors *a;
    const struct products *products;
    real *packed; /* w, as between two updates of a training run */
} product_case;

/* A weight as q8_0; every group's matrix lies where a file would have it. */
typedef struct {
    factors *a;
    const struct products *products;
    unsigned char *bytes;
    const void *group[MOST_GROUPS];
} product_case_int8;

static row_groups groups_of(const factors *a) { return (row_groups){(int)a->shape.groups, a->start, 0}; }

static int run_forward(void *context) {
    const product_case *c = context;
    c->products->linear(c->a->y, (rows_of){.x = c->a->x}, &(matrices){c->a->group, c->packed}, groups_of(c->a), c->a->shape.in, c->a->shape.out);
    return LAMP_OK;
}

static int run_dx(void *context) {
    const product_case *c = context;
    c->products->linear_dx(c->a->dx, (rows_of){.x = c->a->y}, &(matrices){c->a->group, c->packed}, groups_of(c->a), c->a->shape.in, c->a->shape.out,
                           false);
    return LAMP_OK;
}

static int run_dw(void *context) {
    const product_case *c = context;
    c->products->linear_dw(c->a->dw, NULL, (rows_of){.x = c->a->y}, (rows_of){.x = c->a->x}, groups_of(c->a), c->a->shape.in, c->a->shape.out,
                           false, false);
    return LAMP_OK;
}

static int run_forward_int8(void *context) {
    const product_case_int8 *c = context;
    const product_shape *s = &c->a->shape;
    c->products->linear_stored(&(stored_product){c->a->y, {.x = c->a->x}, {STORED_Q8_0, c->group}, groups_of(c->a), s->in, s->out}, 1);
    return LAMP_OK;
}

static int new_numbers(real **x, ptrdiff_t n, double scale) {
    TRY(memory_new_block(x, (size_t)n, sizeof **x, "factors of a product"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) (*x)[i] = (real)(scale * (double)((int64_t)((uint32_t)i * 2654435761u >> 20) - 2048) / 2048);
    return LAMP_OK;
}

static int open_factors(factors *a, const product_shape *s) {
    ptrdiff_t rows = s->groups * s->rows;
    a->shape = *s;
    TRY(new_numbers(&a->x, rows * s->in, 1));
    TRY(new_numbers(&a->y, rows * s->out, 1));
    TRY(new_numbers(&a->dx, rows * s->in, 0));
    TRY(new_numbers(&a->w, s->groups * s->out * s->in, 0.05));
    TRY(new_numbers(&a->dw, s->groups * s->out * s->in, 0));
    for (ptrdiff_t g = 0; g < s->groups; g++) a->group[g] = a->w + g * s->out * s->in, a->start[g + 1] = (g + 1) * s->rows;
    return LAMP_OK;
}

static int pack_factors(product_case *c) {
    const product_shape *s = &c->a->shape;
    ptrdiff_t size = c->products->packed_size(s->in, s->out);
    TRY(memory_new_block(&c->packed, (size_t)(s->groups * size), sizeof *c->packed, "packed factors"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t g = 0; g < s->groups; g++) c->products->pack_rows(c->packed + g * size, c->a->group[g], 0, s->out, s->in, s->out);
    return LAMP_OK;
}

static int store_factors(product_case_int8 *c) {
    static const unsigned char scale[2] = {0, 0x10}; /* 0.0005 as a half */
    const product_shape *s = &c->a->shape;
    const ptrdiff_t size = s->out * stored_row_bytes(STORED_Q8_0, s->in), each = stored_formats[STORED_Q8_0].bytes;
    TRY(memory_new_block(&c->bytes, (size_t)(s->groups * size), 1, "a weight in eight bits"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < s->groups * size; i++) c->bytes[i] = i % each < 2 ? scale[i % each] : (unsigned char)((uint32_t)i * 2654435761u >> 24);
    for (ptrdiff_t g = 0; g < s->groups; g++) c->group[g] = c->bytes + g * size;
    return LAMP_OK;
}

static void release_factors(factors *a) { memory_free(a->x), memory_free(a->y), memory_free(a->dx), memory_free(a->w), memory_free(a->dw); }

static bench_case case_of(const bench *b, const product_shape *s, const char *what, const char *precision, double reals, int (*run)(void *context),
                          void *context) {
    double flops = 2.0 * (double)(s->groups * s->rows) * (double)s->in * (double)s->out;
    bench_case c = {"", precision, b->threads, BENCH_FLOPS, flops, flops, reals * sizeof(real), run, NULL, context};
    snprintf(c.name, sizeof c.name, "%s: %td x %td x %td x %td, %s", s->name, s->groups, s->rows, s->in, s->out, what);
    return c;
}

static int measure_shape(bench *b, const product_shape *s) {
    factors a = {0};
    bench_case cases[7];
    product_case f32 = {&a, &b->k->products, NULL}, bf16 = {&a, b->k->products_bf16, NULL};
    product_case_int8 int8 = {.a = &a, .products = &b->k->products_int8};
    double rows = (double)(s->groups * s->rows), x = rows * (double)s->in, y = rows * (double)s->out, w = (double)(s->groups * s->in * s->out);
    int n = 0, status;
    TRY_TO(done, open_factors(&a, s));
    TRY_TO(done, pack_factors(&f32));
    if (bf16.products) TRY_TO(done, pack_factors(&bf16));
    for (product_case *p = &f32; p; p = p == &f32 && bf16.products ? &bf16 : NULL) {
        const char *precision = p == &f32 ? "f32" : "bf16";
        const double packed = p == &f32 ? w : w / 2;
        cases[n++] = case_of(b, s, "forward", precision, x + packed + y, run_forward, p);
        cases[n++] = case_of(b, s, "d-input", precision, x + packed + y, run_dx, p);
        cases[n++] = case_of(b, s, "d-weight", precision, x + w + y, run_dw, p);
    }
    if (b->k->peak_flops_int8) { /* plain integer arithmetic would only take long */
        TRY_TO(done, store_factors(&int8));
        cases[n++] = case_of(b, s, "forward", "int8", x + w * 34 / 128 + y, run_forward_int8, &int8);
    }
    TRY_TO(done, bench_run(b, cases[0].name, cases, n));
done:
    memory_free(f32.packed), memory_free(bf16.packed), memory_free(int8.bytes);
    release_factors(&a);
    return status;
}

int bench_products(bench *b) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) TRY(measure_shape(b, &shapes[i]));
    return LAMP_OK;
}
