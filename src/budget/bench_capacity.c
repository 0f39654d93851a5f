/* One layer of ReLU experts, of which each token takes four, with more and more of them: forward, backward, update. The work for a token stays the
 * same; what grows is the memory that is passed through. Its roof is the sum over phases of what is narrower, arithmetic or memory:
 *
 *     router     its products there and back; its weights are read three times
 *     forward    two products a pair; every expert is read
 *     backward   four products a pair; every expert is read
 *     update     every expert is read and written
 *
 * Gradients are in none of them, since they need never leave the caches (moe/experts.c). */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/human.h"
#include "base/log.h"
#include "base/memory.h"
#include "budget/bench.h"
#include "budget/bench_layer.h"

enum { WIDTH = 512, INNER = 512, CHOSEN = 4, GROUPED = 1024 /* experts, from which on gates are hierarchical */, TOP_GROUPS = 2 };
enum { UPDATE_FLOPS = 10 /* of a parameter */ };
enum { LAYERS = 6 };
static const int EXPERTS[LAYERS] = {4, 16, 64, 256, 1024, 4096};
static const optimizer_config FACTORED = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .clip = 1, .clip_matrix = 1, .experts = "factored"};

/* Groups of about the square root: as many choices above as below. */
static moe_config layer_config(int experts, bool recompute) {
    moe_config c = {.experts = experts, .top_k = CHOSEN, .kind = "noisy_top_k", .normalize = true, .scale = 1, .relu = true, .recompute = recompute};
    c.balance[BALANCE_IMPORTANCE] = c.balance[BALANCE_LOAD] = 0.1;
    if (experts < GROUPED) return c;
    strcpy(c.kind, "hierarchical");
    c.top_groups = TOP_GROUPS;
    for (c.groups = 1; c.groups * c.groups < experts;) c.groups *= 2;
    return c;
}

static double parameters(int experts) { return 2.0 * experts * WIDTH * INNER; }

/* Bytes, roughly: of each token the rows of its pairs, there and back, and some of its own. */
static double bytes_of_tokens(ptrdiff_t tokens, bool recompute) {
    return sizeof(real) * (double)tokens * ((recompute ? 1.0 : 2.0) * CHOSEN * INNER + 8.0 * WIDTH);
}

/* What the machine reached beside the layers. */
typedef struct {
    double peak, router_peak, reading, rewriting; /* per second */
} roofs;

static double longer(double flops, double peak, double bytes, double bandwidth) {
    return flops / peak > bytes / bandwidth ? flops / peak : bytes / bandwidth;
}

/* Seconds of an update that every phase would take at what limits it. */
static double roof_seconds(const bench_layer *l, const roofs *r) {
    const moe_config *c = &l->config;
    const double N = (double)l->tokens, pair_product = 2.0 * N * CHOSEN * WIDTH * INNER, weight_bytes = sizeof(real) * parameters((int)c->experts);
    const double gates = c->groups > 0 ? (double)(c->groups + c->top_groups * (c->experts / c->groups)) : (double)c->experts;
    const double gate_product = 2 * 2.0 * N * WIDTH * gates /* and as much for the noise */;
    const double gate_bytes = sizeof(real) * 2.0 * WIDTH * (double)(c->experts + c->groups);
    return longer(3 * gate_product, r->router_peak, 3 * gate_bytes, r->reading) + longer(2 * pair_product, r->peak, weight_bytes, r->reading) +
           longer(4 * pair_product, r->peak, weight_bytes, r->reading) +
           longer(UPDATE_FLOPS * parameters((int)c->experts), r->router_peak, 2 * weight_bytes, r->rewriting);
}

/* Layers of EXPERTS[0], EXPERTS[step] ... that run in turn on one tape, whose memory is that of the largest so far. */
typedef struct {
    bench_layer layer[LAYERS];
    int n;
    bool with_roof; /* beside the probes that say it; where a run is long, probes as long are too much */
    ptrdiff_t tokens;
    tape t;
    real *x;
} sweep;

static int open_sweep(sweep *s, const bench *b, const struct products *products, ptrdiff_t tokens, int step, bool large) {
    double needed = 0, there = (double)arena_machine_bytes();
    char a[HUMAN_BYTES], m[HUMAN_BYTES];
    *s = (sweep){.tokens = tokens, .with_roof = !large};
    TRY(tape_open(&s->t, b->k));
    s->t.products = products;
    TRY(bench_layer_tokens(&s->x, tokens, WIDTH));
    for (int i = 0; i < LAYERS; i += step) {
        const moe_config c = layer_config(EXPERTS[i], large);
        needed += sizeof(real) * parameters(EXPERTS[i]);
        if (needed + bytes_of_tokens(tokens, large) > 0.95 * there) {
            log_warning("%d experts are left out: with %td tokens they need about %sB, and %sB are there", EXPERTS[i], tokens,
                        human_count(a, needed + bytes_of_tokens(tokens, large)), human_count(m, there));
            break;
        }
        bench_layer *l = &s->layer[s->n];
        TRY(bench_layer_open(l, &c, &s->t, s->x, tokens, WIDTH, INNER, &FACTORED));
        s->n++;
    }
    return LAMP_OK;
}

static void close_sweep(sweep *s) {
    for (int i = 0; i < LAYERS; i++) bench_layer_close(&s->layer[i]);
    memory_free(s->x);
    if (s->t.k) tape_close(&s->t);
}

static int measure_sweep(bench *b, sweep *s, const char *precision) {
    bench_case cases[LAYERS + 4];
    bench_probe peak = bench_probe_of(b, precision, b->threads), router_peak = bench_probe_of(b, "f32", b->threads);
    const int first_row = b->n, n = s->n;
    int64_t held[LAYERS];
    for (int i = 0; i < n; i++) {
        bench_layer *l = &s->layer[i];
        char count[HUMAN_BYTES];
        TRY(bench_layer_run(l)); /* reserves memory */
        held[i] = (int64_t)(weights_bytes(&l->table) + l->optimizer.bytes + sizeof(real) * (size_t)(s->tokens * WIDTH) + tape_bytes(&s->t));
        cases[i] = (bench_case){"", precision, b->threads, BENCH_TOKENS, (double)s->tokens, 0, 0, bench_layer_run, NULL, l};
        snprintf(cases[i].name, sizeof cases[i].name, "%lld experts, %s parameters, %td tokens an update", (long long)l->config.experts,
                 human_count(count, parameters((int)l->config.experts)), s->tokens);
    }
    cases[n] = bench_peak_case(&peak), cases[n + 1] = bench_peak_case(&router_peak);
    cases[n + 2] = bench_read_case(&router_peak), cases[n + 3] = bench_rewrite_case(&router_peak);
    TRY(bench_run(b, "capacity", cases, s->with_roof ? n + 4 : n));
    bench_row *row = b->row + first_row;
    for (int i = 0; i < n; i++) {
        row[i].experts = s->layer[i].config.experts, row[i].tokens = s->tokens, row[i].bytes_held = held[i];
        row[i].share_of_first = row[i].per_second / row[0].per_second;
        if (!s->with_roof) continue;
        const roofs r = {row[n].per_second, row[n + 1].per_second, row[n + 2].per_second, row[n + 3].per_second};
        row[i].share_of_roof = roof_seconds(&s->layer[i], &r) / row[i].seconds;
    }
    return LAMP_OK;
}

int bench_capacity(bench *b, const char *precision) {
    static const struct {
        ptrdiff_t tokens;
        int step; /* through EXPERTS */
        bool large; /* memory is short, and time: inner values are made again */
    } sweeps[] = {{16384, 1, false}, {300000, LAYERS - 1, true}}; /* as many tokens as an update had in 2017, with the fewest experts and the most */
    const struct products *bf16 = b->k->products_bf16, *products = kernels_fastest_products(b->k);
    if (precision && strcmp(precision, "f32") && strcmp(precision, "bf16"))
        FAIL(LAMP_INVALID, "lamp bench capacity: --precision: expected f32 or bf16, found \"%.32s\"", precision);
    if (precision && !strcmp(precision, "bf16") && !bf16)
        FAIL(LAMP_UNSUPPORTED, "lamp bench capacity: this machine has no instructions for products in bf16; try --precision f32");
    if (precision) products = strcmp(precision, "bf16") ? &b->k->products : bf16;
    int status = LAMP_OK;
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps && status >= 0; i++) {
        sweep s;
        status = open_sweep(&s, b, products, sweeps[i].tokens, sweeps[i].step, sweeps[i].large);
        if (status >= 0) status = measure_sweep(b, &s, products == bf16 ? "bf16" : "f32");
        close_sweep(&s);
    }
    return status;
}
