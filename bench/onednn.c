/* yardstick [SECONDS [ROWS]]: our three products of a weight matrix beside oneDNN's, in turns within one process, each row about so long: those
 * whose name has ROWS in it ("x 8192 d-weight f32"), or all.
 * `make yardstick` builds it where libdnnl-dev 2.x is installed; nothing else needs oneDNN.
 *
 * Before the clock starts, both sides bring weights into the layout they prefer. In rows "bf16" all factors are bf16 before, on both sides; in rows
 * "to bf16" only oneDNN's are, while ours rounds rows of f32 within its time. Both sides write f32 over what is there; both factors of
 * d-weight are plain. oneDNN does groups in two ways, one after the other by all threads and side by side with a thread each; the faster
 * counts. The threads of both sides belong to the same OpenMP library. "disturbed": a side's quartiles lie more than a quarter of its
 * median apart. */
#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "budget/bench.h"

_Static_assert(DNNL_VERSION_MAJOR == 2, "written for the C interface of oneDNN 2.x");

#define DNNL(call) CHECK((call) == dnnl_success, "oneDNN refuses")

enum { GROUPS, ROWS, IN, OUT, SIZES }; /* rows of each group */
enum { OURS, DNNL_IN_TURN, DNNL_SIDE_BY_SIDE, CONTESTANTS };
enum { MOST_GROUPS = 64, MOST_THREADS = 256 };

static const ptrdiff_t shapes[][SIZES] = {
    {1, 2048, 2048, 2048}, {64, 8, 512, 2048},  {64, 32, 512, 2048}, {64, 128, 512, 2048}, {64, 512, 512, 2048},
    {1, 4096, 256, 256},   {8, 1024, 256, 512}, {64, 128, 256, 512}, {1, 4096, 256, 8192},
};

typedef struct product product;

typedef struct {
    const char *name;
    const struct products *kernels;
    dnnl_data_type_t type; /* of oneDNN's factors */
    bool rounded;          /* so are ours */
} precision;

/* One product of one shape: c (+)= a b in each group, c (M, N), a (M, K), b (K, N). */
typedef struct {
    const product *product;
    const ptrdiff_t *size;
    ptrdiff_t M, K, N;
    const struct products *kernels;
    dnnl_data_type_t type; /* of oneDNN's factors */
    real *a, *b, *c, *c_of_dnnl;
    uint16_t *a_bf16, *b_bf16;         /* a and b rounded, for ours; NULL: it takes f32 */
    real *group[MOST_GROUPS], *packed; /* of b, where it is a weight */
    matrices weight;
    ptrdiff_t start[MOST_GROUPS + 1];
} task;

struct product {
    const char *name;
    void (*ours)(task *t);
    int M, K, N; /* which of the sizes */
    bool a_transposed, b_transposed, b_is_weight;
};

static row_groups groups_of(const task *t) { return (row_groups){(int)t->size[GROUPS], t->start, 0}; }
static rows_of our_rows(const real *x, const uint16_t *bf16) { return (rows_of){.x = x, .bf16 = bf16}; }
static void our_forward(task *t) {
    t->kernels->linear(t->c, our_rows(t->a, t->a_bf16), &t->weight, groups_of(t), t->size[IN], t->size[OUT]);
}
static void our_dx(task *t) {
    t->kernels->linear_dx(t->c, our_rows(t->a, t->a_bf16), &t->weight, groups_of(t), t->size[IN], t->size[OUT], false);
}
static void our_dw(task *t) {
    t->kernels->linear_dw(t->c, NULL, our_rows(t->a, t->a_bf16), our_rows(t->b, t->b_bf16), groups_of(t), t->size[IN], t->size[OUT], false, false);
}

static const product products[] = {
    {"forward", our_forward, ROWS, IN, OUT, .b_transposed = true, .b_is_weight = true},
    {"d-input", our_dx, ROWS, OUT, IN, .b_is_weight = true},
    {"d-weight", our_dw, OUT, ROWS, IN, .a_transposed = true},
};

static int run_ours(void *context) {
    task *t = context;
    t->product->ours(t);
    return LAMP_OK;
}

/* ---- oneDNN ------------------------------------------------------------------------------------------------------------------------ */

typedef struct {
    int groups;
    bool side_by_side;
    dnnl_primitive_t matmul;
    dnnl_memory_t a[MOST_GROUPS], b[MOST_GROUPS], c[MOST_GROUPS], scratchpad[MOST_THREADS];
    dnnl_stream_t stream[MOST_THREADS];
} dnnl_way;

static dnnl_engine_t engine;

static dnnl_memory_desc_t matrix(ptrdiff_t rows, ptrdiff_t columns, dnnl_data_type_t type, dnnl_format_tag_t layout) {
    dnnl_memory_desc_t d;
    DNNL(dnnl_memory_desc_init_by_tag(&d, 2, (dnnl_dims_t){rows, columns}, type, layout));
    return d;
}

static dnnl_memory_t new_memory(const dnnl_memory_desc_t *d, void *data) {
    dnnl_memory_t m;
    DNNL(dnnl_memory_create(&m, d, engine, data));
    return m;
}

/* x itself, or a copy in another layout or number type. */
static dnnl_memory_t new_factor(real *x, const dnnl_memory_desc_t *given, const dnnl_memory_desc_t *wanted, dnnl_stream_t stream) {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t reorder;
    dnnl_memory_t from = new_memory(given, x);
    if (dnnl_memory_desc_equal(given, wanted)) return from;
    dnnl_memory_t to = new_memory(wanted, DNNL_MEMORY_ALLOCATE);
    DNNL(dnnl_reorder_primitive_desc_create(&description, given, engine, wanted, engine, NULL));
    DNNL(dnnl_primitive_create(&reorder, description));
    DNNL(dnnl_primitive_execute(reorder, stream, 2, (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}));
    DNNL(dnnl_stream_wait(stream));
    dnnl_primitive_destroy(reorder), dnnl_primitive_desc_destroy(description), dnnl_memory_destroy(from);
    return to;
}

static dnnl_primitive_desc_t describe_matmul(const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *c) {
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t description;
    DNNL(dnnl_matmul_desc_init(&matmul, a, b, NULL, c));
    DNNL(dnnl_primitive_attr_create(&attributes));
    DNNL(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user)); /* its own belongs to the thread that is here now */
    DNNL(dnnl_primitive_desc_create(&description, &matmul, attributes, engine, NULL));
    dnnl_primitive_attr_destroy(attributes);
    return description;
}

static void open_dnnl(dnnl_way *d, const task *t, bool side_by_side) {
    const product *p = t->product;
    int threads = omp_get_max_threads();
    CHECK(threads <= MOST_THREADS, "%d threads", threads);
    *d = (dnnl_way){.groups = (int)t->size[GROUPS], .side_by_side = side_by_side};
    dnnl_format_tag_t a_layout = p->a_transposed ? dnnl_ba : dnnl_ab, b_layout = p->b_transposed ? dnnl_ba : dnnl_ab;
    dnnl_memory_desc_t a = matrix(t->M, t->K, dnnl_f32, a_layout), a_wanted = matrix(t->M, t->K, t->type, a_layout);
    dnnl_memory_desc_t b = matrix(t->K, t->N, dnnl_f32, b_layout), c = matrix(t->M, t->N, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_t b_wanted = matrix(t->K, t->N, t->type, p->b_is_weight ? dnnl_format_tag_any : b_layout);
    if (side_by_side) omp_set_num_threads(1); /* oneDNN cuts its blocks for the threads it sees now */
    dnnl_primitive_desc_t description = describe_matmul(&a_wanted, &b_wanted, &c);
    DNNL(dnnl_primitive_create(&d->matmul, description));
    omp_set_num_threads(threads);
    b_wanted = *dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
    for (int i = 0; i < (side_by_side ? threads : 1); i++) {
        d->scratchpad[i] = new_memory(dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0), DNNL_MEMORY_ALLOCATE);
        DNNL(dnnl_stream_create(&d->stream[i], engine, dnnl_stream_default_flags));
    }
    for (int g = 0; g < d->groups; g++) {
        d->a[g] = new_factor(t->a + g * t->M * t->K, &a, &a_wanted, d->stream[0]);
        d->b[g] = new_factor(t->b + g * t->K * t->N, &b, &b_wanted, d->stream[0]);
        d->c[g] = new_memory(&c, t->c_of_dnnl + g * t->M * t->N);
    }
    dnnl_primitive_desc_destroy(description);
}

static void close_dnnl(dnnl_way *d) {
    for (int g = 0; g < d->groups; g++) dnnl_memory_destroy(d->a[g]), dnnl_memory_destroy(d->b[g]), dnnl_memory_destroy(d->c[g]);
    for (int i = 0; i < MOST_THREADS && d->stream[i]; i++) dnnl_memory_destroy(d->scratchpad[i]), dnnl_stream_destroy(d->stream[i]);
    dnnl_primitive_destroy(d->matmul);
}

static void multiply_group(const dnnl_way *d, int g, int thread) {
    const dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, d->a[g]}, {DNNL_ARG_WEIGHTS, d->b[g]}, {DNNL_ARG_DST, d->c[g]}, {DNNL_ARG_SCRATCHPAD, d->scratchpad[thread]}};
    DNNL(dnnl_primitive_execute(d->matmul, d->stream[thread], 4, arguments));
    DNNL(dnnl_stream_wait(d->stream[thread]));
}

static int run_dnnl(void *context) {
    const dnnl_way *d = context;
    if (d->side_by_side)
#pragma omp parallel for schedule(dynamic)
        for (int g = 0; g < d->groups; g++) multiply_group(d, g, omp_get_thread_num());
    else /* and in no parallel region, not even of one thread: a team inside it would be started anew each time */
        for (int g = 0; g < d->groups; g++) multiply_group(d, g, 0);
    return LAMP_OK;
}

/* ---- the comparison ---------------------------------------------------------------------------------------------------------------- */

static int new_numbers(real **x, ptrdiff_t n, uint64_t seed) {
    random_key key = random_key_make(seed, RANDOM_SAMPLE, 0, 0);
    TRY(memory_new_block(x, (size_t)n, sizeof **x, "factors of a product"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) (*x)[i] = (real)(random_uniform(key, (uint64_t)i) - 0.5);
    return LAMP_OK;
}

static int new_rounded(uint16_t **y, const real *x, ptrdiff_t n) {
    TRY(memory_new_block(y, (size_t)n, sizeof **y, "factors of a product"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        (*y)[i] = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16); /* to the nearest, ties to even */
    }
    return LAMP_OK;
}

static int open_task(task *t, const ptrdiff_t *size, const product *p, const precision *in) {
    const struct products *kernels = in->kernels;
    *t = (task){.product = p, .size = size, .M = size[p->M], .K = size[p->K], .N = size[p->N], .kernels = kernels, .type = in->type};
    TRY(new_numbers(&t->a, size[GROUPS] * t->M * t->K, 1));
    TRY(new_numbers(&t->b, size[GROUPS] * t->K * t->N, 2));
    TRY(new_numbers(&t->c, size[GROUPS] * t->M * t->N, 3));
    TRY(new_numbers(&t->c_of_dnnl, size[GROUPS] * t->M * t->N, 3));
    if (in->rounded) TRY(new_rounded(&t->a_bf16, t->a, size[GROUPS] * t->M * t->K));
    if (in->rounded && !p->b_is_weight) TRY(new_rounded(&t->b_bf16, t->b, size[GROUPS] * t->K * t->N));
    for (ptrdiff_t g = 0; g < size[GROUPS]; g++) t->group[g] = t->b + g * t->K * t->N, t->start[g + 1] = (g + 1) * size[ROWS];
    if (!p->b_is_weight) return LAMP_OK;
    ptrdiff_t packed_size = kernels->packed_size(size[IN], size[OUT]);
    TRY(memory_new_block(&t->packed, (size_t)(size[GROUPS] * packed_size), sizeof *t->packed, "packed weights"));
    for (ptrdiff_t g = 0; g < size[GROUPS]; g++) kernels->pack_rows(t->packed + g * packed_size, t->group[g], 0, size[OUT], size[IN], size[OUT]);
    t->weight = (matrices){t->group, t->packed};
    return LAMP_OK;
}

static int check_agreement(const task *t, const char *name) {
    double difference = 0, ours = 0;
#pragma omp parallel for schedule(static) reduction(+ : difference, ours)
    for (ptrdiff_t i = 0; i < t->size[GROUPS] * t->M * t->N; i++) {
        double apart = (double)t->c[i] - (double)t->c_of_dnnl[i];
        difference += apart * apart, ours += (double)t->c[i] * (double)t->c[i];
    }
    if (!(sqrt(difference / ours) < 1e-5)) FAIL(LAMP_INVALID, "%s: ours and oneDNN's differ by %.2g", name, sqrt(difference / ours));
    return LAMP_OK;
}

static bool is_disturbed(const bench_row *row) { return row->high - row->low > 0.25 * row->per_second; }

static void print_row(const char *label, const bench_row *ours, int ways) {
    const bench_row *in_turn = ours + DNNL_IN_TURN, *side_by_side = ours + DNNL_SIDE_BY_SIDE;
    const bench_row *theirs = ways > 1 && side_by_side->per_second > in_turn->per_second ? side_by_side : in_turn;
    const char *way = ways == 1 ? "" : theirs == in_turn ? "in turn" : "side by side";
    printf("%-32s %-7s %7.0f %9.0f %% %8.0f  %-12s %11.2f%s\n", ours->name, label, ours->per_second / 1e9, 100 * ours->share_of_peak,
           theirs->per_second / 1e9, way, ours->per_second / theirs->per_second, is_disturbed(ours) || is_disturbed(theirs) ? "  disturbed" : "");
    fflush(stdout);
}

static int compare(bench *b, const ptrdiff_t *size, const product *p, const precision *in, const char *wanted) {
    task t;
    dnnl_way way[2] = {{0}};
    int ways = size[GROUPS] > 1 ? 2 : 1, status;
    double flops = 2.0 * (double)(size[GROUPS] * size[ROWS]) * (double)size[IN] * (double)size[OUT];
    bench_case all[CONTESTANTS] = {{"", in->type == dnnl_f32 ? "f32" : "bf16", b->threads, BENCH_FLOPS, flops, flops, 0, run_ours, NULL, &t}};
    char row[sizeof all->name + 16];
    snprintf(all->name, sizeof all->name, "%td x %td x %td x %td %s", size[GROUPS], size[ROWS], size[IN], size[OUT], p->name);
    snprintf(row, sizeof row, "%s %s", all->name, in->name);
    if (!strstr(row, wanted)) return LAMP_OK;
    TRY_TO(done, open_task(&t, size, p, in));
    for (int i = 0; i < ways; i++) {
        open_dnnl(&way[i], &t, i > 0);
        all[1 + i] = *all, all[1 + i].run = run_dnnl, all[1 + i].context = &way[i];
        run_ours(&t), run_dnnl(&way[i]);
        TRY_TO(done, check_agreement(&t, all->name));
    }
    TRY_TO(done, bench_run(b, all->name, all, 1 + ways));
    print_row(in->name, b->row + b->n - (1 + ways), ways);
done:
    for (int i = 0; i < ways; i++) close_dnnl(&way[i]);
    memory_free(t.a), memory_free(t.b), memory_free(t.c), memory_free(t.c_of_dnnl), memory_free(t.packed);
    memory_free(t.a_bf16), memory_free(t.b_bf16);
    return status;
}

static int compare_all(bench *b, const char *wanted) {
    const dnnl_version_t *v = dnnl_version();
    printf("%s, oneDNN %d.%d.%d, %d threads; GFLOP/s\n%-32s %-7s %7s %11s %8s  %-12s %s\n", b->k->name, v->major, v->minor, v->patch, b->threads,
           "groups x rows x in x out", "", "ours", "of peak", "oneDNN", "its groups", "ours/oneDNN");
    const precision all[] = {{"f32", &b->k->products, dnnl_f32, false},
                             {"to bf16", b->k->products_bf16, dnnl_bf16, false},
                             {"bf16", b->k->products_bf16, dnnl_bf16, true}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t k = 0; k < sizeof all / sizeof *all && all[k].kernels; k++)
            for (size_t j = 0; j < sizeof products / sizeof *products; j++) TRY(compare(b, shapes[i], &products[j], &all[k], wanted));
    if (b->n == 0) FAIL(LAMP_INVALID, "no row has \"%s\" in its name; one is called \"1 x 4096 x 256 x 8192 d-weight f32\"", wanted);
    return LAMP_OK;
}

int main(int argc, char **argv) {
    bench b = {0};
    int status;
    if (!getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT"))
        setenv("GOMP_SPINCOUNT", "10000", 1), execv("/proc/self/exe", argv); /* as lamp does */
    DNNL(dnnl_engine_create(&engine, dnnl_cpu, 0));
    TRY_TO(done, bench_open(&b, argc > 1 ? atof(argv[1]) : 0.3));
    TRY_TO(done, compare_all(&b, argc > 2 ? argv[2] : ""));
done:
    if (status < 0) fprintf(stderr, "error: %s\n", lamp_error_message());
    bench_close(&b);
    return -status;
}
