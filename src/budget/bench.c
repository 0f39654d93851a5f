#include "budget/bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"

enum { PRECISIONS = 3, BANDWIDTH = PRECISIONS, PROBES }; /* a peak of each precision, and memory */
enum { ROUNDS = 9, FEW_ROUNDS = 3 /* where one takes LONG seconds and more */, LONG = 5 };
enum { STREAM_BYTES = 1 << 28, STREAM_CACHES = 4 /* what is read comes from memory if it is so many times what the last cache holds */ };

int bench_open(bench *b, double seconds) {
    *b = (bench){.threads = omp_get_max_threads(), .seconds = seconds};
    TRY(kernels_choose(&b->k));
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    b->stream_reals = (cache > STREAM_BYTES / STREAM_CACHES ? STREAM_CACHES * cache : STREAM_BYTES) / (ptrdiff_t)sizeof(real);
    TRY(memory_new_room(&b->stream, (size_t)b->stream_reals, sizeof *b->stream, "the bandwidth probe"));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < b->stream_reals; i++) b->stream[i] = 1; /* pages that were never written are all the same page */
    return LAMP_OK;
}

void bench_close(bench *b) {
    memory_free(b->stream);
    memory_free(b->row);
    *b = (bench){0};
}

/* ---- probes ------------------------------------------------------------------------------------------------------------------------ */

bench_probe bench_probe_of(const bench *b, const char *precision, int threads) {
    bench_probe p = {b, precision, NULL, threads};
    if (!strcmp(precision, "f32")) p.peak_flops = b->k->peak_flops;
    if (!strcmp(precision, "bf16")) p.peak_flops = b->k->peak_flops_bf16;
    if (!strcmp(precision, "int8")) p.peak_flops = b->k->peak_flops_int8;
    return p;
}

/* A probe for each precision; any of them also reads memory. */
static void set_probes(bench_probe p[PRECISIONS], const bench *b, int threads) {
    static const char *const precision[PRECISIONS] = {"f32", "bf16", "int8"};
    for (int i = 0; i < PRECISIONS; i++) p[i] = bench_probe_of(b, precision[i], threads);
}

static int probe_of(const bench_probe p[PRECISIONS], const char *precision) {
    int i = 0;
    while (i < PRECISIONS - 1 && strcmp(p[i].precision, precision)) i++;
    return i;
}

static double rate_in_registers(void *context, double seconds) {
    const bench_probe *p = context;
    double sum = 0;
#pragma omp parallel num_threads(p->threads) reduction(+ : sum)
    sum += p->peak_flops(seconds);
    return sum;
}

typedef real lanes __attribute__((vector_size(16)));
enum { SUMS = 8, STRIDE = SUMS * (int)(sizeof(lanes) / sizeof(real)) };

/* Goes over x (n) once. Returns something that depends on all of it. */
typedef double sweep(real *x, ptrdiff_t n);

/* Eight sums, so that no addition waits for the one before. */
static double read_once(real *x, ptrdiff_t n) {
    lanes sum[SUMS] = {0};
    for (ptrdiff_t i = 0; i + STRIDE <= n; i += STRIDE) {
        const lanes *next = (const lanes *)(const void *)(x + i);
#pragma GCC unroll 8
        for (int j = 0; j < SUMS; j++) sum[j] += next[j];
    }
    for (int j = 1; j < SUMS; j++) sum[0] += sum[j];
    return (double)sum[0][0];
}

static double rewrite_once(real *x, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i + STRIDE <= n; i += STRIDE) {
        lanes *next = (lanes *)(void *)(x + i);
#pragma GCC unroll 8
        for (int j = 0; j < SUMS; j++) next[j] = 2 - next[j]; /* 1, and again 1 */
    }
    return (double)x[0];
}

/* Sweeps per second over memory, times the bytes of one, by all of the probe's threads. */
static double rate_of_sweeps(const bench_probe *p, sweep *once, double bytes_each, double seconds) {
    double sum = 0;
#pragma omp parallel num_threads(p->threads) reduction(+ : sum)
    {
        ptrdiff_t page = 4096, pages = p->b->stream_reals / page, mine = omp_get_thread_num(), all = omp_get_num_threads();
        ptrdiff_t first = pages * mine / all * page, last = pages * (mine + 1) / all * page;
        double begin = clock_seconds(), now = begin, bytes = 0, seen = 0;
        while (now - begin < seconds || bytes == 0) {
            seen += once(p->b->stream + first, last - first);
            bytes += (double)(last - first) * bytes_each;
            now = clock_seconds();
        }
        sum += seen < 0 ? 0 : bytes / (now - begin); /* what was read is looked at, or nothing would be */
    }
    return sum;
}

static double rate_of_reading(void *context, double seconds) { return rate_of_sweeps(context, read_once, sizeof(real), seconds); }
static double rate_of_rewriting(void *context, double seconds) { return rate_of_sweeps(context, rewrite_once, 2 * sizeof(real), seconds); }

bench_case bench_peak_case(bench_probe *p) {
    return (bench_case){"multiply-adds in registers", p->precision, p->threads, BENCH_FLOPS, .rate = rate_in_registers, .context = p};
}

bench_case bench_read_case(bench_probe *p) {
    return (bench_case){"reading from memory", "f32", p->threads, BENCH_BYTES, .rate = rate_of_reading, .context = p};
}

bench_case bench_rewrite_case(bench_probe *p) {
    return (bench_case){"reading from memory and writing there", "f32", p->threads, BENCH_BYTES, .rate = rate_of_rewriting, .context = p};
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

/* rate[i] (*rounds), ascending. All take turns of equal length, as long as the longest work: a short probe would look away from the pauses
 * that long work suffers. */
static int measure_in_rounds(double rate[][ROUNDS], int *rounds, const bench_case *cases, int n, double seconds, const char *what) {
    *rounds = ROUNDS;
    for (int i = 0; i < n; i++) {
        double begin = clock_seconds();
        if (cases[i].run) TRY(cases[i].run(cases[i].context)); /* also touches pages and wakes threads */
        double once = clock_seconds() - begin;
        if (once > LONG) *rounds = FEW_ROUNDS;
        if (once > seconds / *rounds) seconds = once * *rounds;
    }
    for (int round = 0; round < *rounds; round++) {
        log_progress("%s: round %d of %d", what, round + 1, *rounds);
        for (int i = 0; i < n; i++) {
            TRY(measure(&rate[i][round], &cases[i], seconds / *rounds));
            TRY(interrupt_check("measuring"));
        }
    }
    for (int i = 0; i < n; i++) qsort(rate[i], (size_t)*rounds, sizeof **rate, ascending);
    log_progress("%s", "");
    return LAMP_OK;
}

static int append_row(bench_row **row, bench *b) {
    TRY(memory_reserve(&b->row, &b->capacity, (size_t)b->n + 1, sizeof *b->row, "benchmark rows"));
    *row = &b->row[b->n++];
    **row = (bench_row){0};
    return LAMP_OK;
}

static void fill_row(bench_row *row, const bench_case *c, const double *rate, int rounds) {
    double units = c->rate ? 1 : c->work;
    memcpy(row->name, c->name, sizeof row->name);
    row->precision = c->precision, row->threads = c->threads, row->unit = c->unit;
    row->per_second = rate[rounds / 2] * units, row->low = rate[rounds / 4] * units, row->high = rate[rounds - 1 - rounds / 4] * units;
    row->seconds = c->rate ? 0 : 1 / rate[rounds / 2];
}

/* peak, bandwidth: what the probes reached; 0: there was none */
static void compare(bench_row *row, const bench_case *c, double peak, double bandwidth) {
    double roof = c->bytes > 0 ? c->flops / c->bytes * bandwidth : 0, flops_per_second = c->flops / row->seconds;
    if (peak > 0) row->share_of_peak = flops_per_second / peak;
    if (roof > 0 && (roof < peak || peak == 0)) row->share_of_roof = flops_per_second / roof;
}

int bench_run(bench *b, const char *what, const bench_case *cases, int n) {
    CHECK(n <= BENCH_CASES, "%d cases at once", n);
    double rate[BENCH_CASES + PROBES][ROUNDS], found[PROBES] = {0};
    bool needed[PROBES] = {false};
    bench_probe peak[PRECISIONS];
    set_probes(peak, b, b->threads);
    bench_case all[BENCH_CASES + PROBES];
    int n_all = n, rounds;
    for (int i = 0; i < n; i++) {
        all[i] = cases[i];
        const int p = probe_of(peak, cases[i].precision);
        if (cases[i].flops > 0) needed[p] = peak[p].peak_flops != NULL;
        if (cases[i].bytes > 0) needed[BANDWIDTH] = true;
    }
    for (int p = 0; p < PROBES; p++)
        if (needed[p]) all[n_all++] = p == BANDWIDTH ? bench_read_case(peak) : bench_peak_case(&peak[p]);
    TRY(measure_in_rounds(rate, &rounds, all, n_all, b->seconds, what));
    for (int p = 0, i = n; p < PROBES; p++)
        if (needed[p]) found[p] = rate[i++][rounds / 2];
    for (int i = 0; i < n; i++) {
        bench_row *row;
        TRY(append_row(&row, b));
        fill_row(row, &cases[i], rate[i], rounds);
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

int bench_add_time(bench *b, const char *name, double seconds) {
    bench_row *row;
    TRY(append_row(&row, b));
    snprintf(row->name, sizeof row->name, "%s", name);
    row->precision = "", row->threads = b->threads, row->unit = BENCH_TIME, row->seconds = seconds;
    return LAMP_OK;
}

int bench_peaks(bench *b) {
    bench_case cases[2 * (PROBES + 1)];
    bench_probe peak[2][PRECISIONS];
    int counts = b->threads > 1 ? 2 : 1, n = 0;
    for (int i = 0; i < counts; i++) {
        set_probes(peak[i], b, i ? b->threads : 1);
        for (int p = 0; p < PRECISIONS; p++)
            if (peak[i][p].peak_flops) cases[n++] = bench_peak_case(&peak[i][p]);
        cases[n++] = bench_read_case(peak[i]), cases[n++] = bench_rewrite_case(peak[i]);
    }
    return bench_run(b, "peak", cases, n);
}
