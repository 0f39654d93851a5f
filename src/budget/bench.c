#include "budget/bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"

enum { PRECISIONS = 3, BANDWIDTH = PRECISIONS, PROBES }; /* a peak of each precision, and memory */
enum { ROUNDS = 9, STREAM_BYTES = 1 << 28, STREAM_REALS = STREAM_BYTES / (int)sizeof(real) };

int bench_open(bench *b, double seconds) {
    *b = (bench){.threads = omp_get_max_threads(), .seconds = seconds};
    TRY(kernels_choose(&b->k));
    TRY(memory_new(&b->stream, STREAM_REALS, sizeof *b->stream, "the bandwidth probe"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < STREAM_REALS; i++) b->stream[i] = 1; /* pages that were never written are all the same page */
    return LAMP_OK;
}

void bench_close(bench *b) {
    memory_free(b->stream);
    memory_free(b->row);
    *b = (bench){0};
}

/* ---- probes ------------------------------------------------------------------------------------------------------------------------ */

typedef struct {
    const bench *b;
    const char *precision;
    double (*peak_flops)(double seconds); /* NULL: there is none */
    int threads;
} probe;

/* A probe for each precision; any of them also reads memory. */
static void set_probes(probe p[PRECISIONS], const bench *b, int threads) {
    p[0] = (probe){b, "f32", b->k->peak_flops, threads};
    p[1] = (probe){b, "bf16", b->k->peak_flops_bf16, threads};
    p[2] = (probe){b, "int8", b->k->peak_flops_int8, threads};
}

static int probe_of(const probe p[PRECISIONS], const char *precision) {
    int i = 0;
    while (i < PRECISIONS - 1 && strcmp(p[i].precision, precision)) i++;
    return i;
}

static double rate_in_registers(void *context, double seconds) {
    const probe *p = context;
    double sum = 0;
#pragma omp parallel num_threads(p->threads) reduction(+ : sum)
    sum += p->peak_flops(seconds);
    return sum;
}

/* Bytes per second. Eight sums, so that no addition waits for the one before. */
static double read_again_and_again(const real *x, ptrdiff_t n, double seconds) {
    typedef real lanes __attribute__((vector_size(16)));
    enum { SUMS = 8, STRIDE = SUMS * (int)(sizeof(lanes) / sizeof(real)) };
    lanes sum[SUMS] = {0};
    double begin = clock_seconds(), now = begin, bytes = 0;
    while (now - begin < seconds || bytes == 0) {
        for (ptrdiff_t i = 0; i + STRIDE <= n; i += STRIDE) {
            const lanes *next = (const lanes *)(const void *)(x + i);
#pragma GCC unroll 8
            for (int j = 0; j < SUMS; j++) sum[j] += next[j];
        }
        bytes += (double)n * sizeof(real);
        now = clock_seconds();
    }
    for (int j = 1; j < SUMS; j++) sum[0] += sum[j];
    return (double)sum[0][0] < 0 ? 0 : bytes / (now - begin); /* the sum is looked at, or nothing would be read */
}

static double rate_from_memory(void *context, double seconds) {
    const probe *p = context;
    double sum = 0;
#pragma omp parallel num_threads(p->threads) reduction(+ : sum)
    {
        ptrdiff_t page = 4096, pages = STREAM_REALS / page, mine = omp_get_thread_num(), all = omp_get_num_threads();
        ptrdiff_t first = pages * mine / all, last = pages * (mine + 1) / all;
        sum += read_again_and_again(p->b->stream + first * page, (last - first) * page, seconds);
    }
    return sum;
}

static bench_case flops_case(probe *p) {
    bench_case c = {"multiply-adds in registers", p->precision, p->threads, BENCH_FLOPS, .rate = rate_in_registers, .context = p};
    return c;
}

static bench_case bandwidth_case(probe *p) {
    bench_case c = {"reading from memory", "f32", p->threads, BENCH_BYTES, .rate = rate_from_memory, .context = p};
    return c;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs of c per second; of a probe, units. */
static int measure(double *rate, const bench_case *c, double seconds) {
    if (c->rate) {
        *rate = c->rate(c->context, seconds);
        return LAMP_OK;
    }
    int runs = 0;
    double begin = clock_seconds(), now = begin;
    for (; now - begin < seconds || runs == 0; now = clock_seconds(), runs++) {
        TRY(c->run(c->context));
        TRY(interrupt_check("measuring"));
    }
    *rate = runs / (now - begin);
    return LAMP_OK;
}

/* rate[i] (ROUNDS), ascending. All take turns of equal length, as long as the longest work: a short probe would look away from the pauses
 * that long work suffers. */
static int measure_in_rounds(double rate[][ROUNDS], const bench_case *cases, int n, double seconds, const char *what) {
    for (int i = 0; i < n; i++) {
        double begin = clock_seconds();
        if (cases[i].run) TRY(cases[i].run(cases[i].context)); /* also touches pages and wakes threads */
        double once = clock_seconds() - begin;
        if (once > seconds / ROUNDS) seconds = once * ROUNDS;
    }
    for (int round = 0; round < ROUNDS; round++) {
        log_progress("%s: round %d of %d", what, round + 1, ROUNDS);
        for (int i = 0; i < n; i++) {
            TRY(measure(&rate[i][round], &cases[i], seconds / ROUNDS));
            TRY(interrupt_check("measuring"));
        }
    }
    for (int i = 0; i < n; i++) qsort(rate[i], ROUNDS, sizeof **rate, ascending);
    log_progress("%s", "");
    return LAMP_OK;
}

static int append_row(bench_row **row, bench *b) {
    TRY(memory_reserve(&b->row, &b->capacity, (size_t)b->n + 1, sizeof *b->row, "benchmark rows"));
    *row = &b->row[b->n++];
    **row = (bench_row){0};
    return LAMP_OK;
}

static void fill_row(bench_row *row, const bench_case *c, const double rate[ROUNDS]) {
    double units = c->rate ? 1 : c->work;
    memcpy(row->name, c->name, sizeof row->name);
    row->precision = c->precision, row->threads = c->threads, row->unit = c->unit;
    row->per_second = rate[ROUNDS / 2] * units, row->low = rate[ROUNDS / 4] * units, row->high = rate[ROUNDS - 1 - ROUNDS / 4] * units;
    row->seconds = c->rate ? 0 : 1 / rate[ROUNDS / 2];
}

/* peak, bandwidth: what the probes reached; 0: there was none */
static void compare(bench_row *row, const bench_case *c, double peak, double bandwidth) {
    double roof = c->bytes > 0 ? c->flops / c->bytes * bandwidth : 0, flops_per_second = c->flops / row->seconds;
    if (peak > 0) row->share_of_peak = flops_per_second / peak;
    if (roof > 0 && roof < peak) row->share_of_roof = flops_per_second / roof;
}

int bench_run(bench *b, const char *what, const bench_case *cases, int n) {
    CHECK(n <= BENCH_CASES, "%d cases at once", n);
    double rate[BENCH_CASES + PROBES][ROUNDS], found[PROBES] = {0};
    bool needed[PROBES] = {false};
    probe peak[PRECISIONS];
    set_probes(peak, b, b->threads);
    bench_case all[BENCH_CASES + PROBES];
    int n_all = n;
    for (int i = 0; i < n; i++) {
        all[i] = cases[i];
        const int p = probe_of(peak, cases[i].precision);
        if (cases[i].flops > 0) needed[p] = peak[p].peak_flops != NULL;
        if (cases[i].bytes > 0) needed[BANDWIDTH] = true;
    }
    for (int p = 0; p < PROBES; p++)
        if (needed[p]) all[n_all++] = p == BANDWIDTH ? bandwidth_case(peak) : flops_case(&peak[p]);
    TRY(measure_in_rounds(rate, all, n_all, b->seconds, what));
    for (int p = 0, i = n; p < PROBES; p++)
        if (needed[p]) found[p] = rate[i++][ROUNDS / 2];
    for (int i = 0; i < n; i++) {
        bench_row *row;
        TRY(append_row(&row, b));
        fill_row(row, &cases[i], rate[i]);
        if (cases[i].flops > 0) compare(row, &cases[i], found[probe_of(peak, cases[i].precision)], found[BANDWIDTH]);
    }
    return LAMP_OK;
}

int bench_add_part(bench *b, const char *name, const bench_row *whole, double share_of_time) {
    bench_row *row, copy = *whole; /* whole may move as the table grows */
    TRY(append_row(&row, b));
    snprintf(row->name, sizeof row->name, "%s", name);
    row->precision = copy.precision, row->threads = copy.threads, row->unit = BENCH_TIME;
    row->seconds = copy.seconds * share_of_time, row->share_of_time = share_of_time;
    return LAMP_OK;
}

int bench_peaks(bench *b) {
    bench_case cases[2 * PROBES];
    probe peak[2][PRECISIONS];
    int counts = b->threads > 1 ? 2 : 1, n = 0;
    for (int i = 0; i < counts; i++) {
        set_probes(peak[i], b, i ? b->threads : 1);
        for (int p = 0; p < PRECISIONS; p++)
            if (peak[i][p].peak_flops) cases[n++] = flops_case(&peak[i][p]);
        cases[n++] = bandwidth_case(peak[i]);
    }
    return bench_run(b, "peak", cases, n);
}
