/* Measurements of this machine and of our kernels on it.
 *
 * A measurement is a list of cases. Every round runs each of them in turn, and beside them the probes that say what the machine could do at
 * that moment: multiply-adds in registers, and reading from memory. A core that is lent elsewhere for a while then slows cases and probes
 * alike; a row holds medians over rounds, and its shares compare medians of the same rounds. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

typedef enum { BENCH_FLOPS, BENCH_BYTES, BENCH_TOKENS, BENCH_TIME } bench_unit;

enum { BENCH_NAME_BYTES = 96, BENCH_CASES = 16 };

typedef struct {
    char name[BENCH_NAME_BYTES];
    const char *precision; /* "f32", "bf16", "int8"; borrowed */
    int threads;
    bench_unit unit;
    double work;         /* units in one run */
    double flops, bytes; /* in one run, bytes that must be moved at least; 0: nothing to compare with */
    int (*run)(void *context); /* does the work once */
    double (*rate)(void *context, double seconds); /* instead of run: units per second, watched for about so long */
    void *context;
} bench_case;

typedef struct {
    char name[BENCH_NAME_BYTES];
    const char *precision;
    int threads;
    bench_unit unit;
    double per_second, low, high; /* units: median and quartiles; of BENCH_TIME nothing */
    double seconds;               /* of one run; of a probe, 0 */
    double share_of_peak;         /* of the probe in registers, of the same number type; 0: not compared */
    double share_of_roof;         /* where memory is the narrower: of intensity x bandwidth; 0 elsewhere */
    double share_of_time;         /* of the row it is a part of; 0: no part */
    double share_of_first;        /* of the first row's rate in a sweep; 0: no sweep */
    int64_t experts, tokens;      /* of a sweep */
    int64_t bytes_held;           /* memory that the work needed; 0: not counted */
} bench_row;

typedef struct {
    const struct kernels *k;
    int threads;
    double seconds; /* for each row, in all rounds together */
    real *stream;   /* what is read to learn the bandwidth */
    ptrdiff_t stream_reals;
    bench_row *row;
    int n;
    size_t capacity;
} bench;

int bench_open(bench *b, double seconds);
void bench_close(bench *b);

/* A probe as a case of its own, for who compares with more than one. They borrow p. */
typedef struct {
    const bench *b;
    const char *precision;
    double (*peak_flops)(double seconds); /* NULL: there is none */
    int threads;
} bench_probe;
bench_probe bench_probe_of(const bench *b, const char *precision, int threads);
bench_case bench_peak_case(bench_probe *p);    /* multiply-adds in registers */
bench_case bench_read_case(bench_probe *p);    /* reading from memory */
bench_case bench_rewrite_case(bench_probe *p); /* reading from memory and writing there: the bytes of both */

/* A row for each case, in order. what: for the progress line. */
int bench_run(bench *b, const char *what, const bench_case *cases, int n);

/* The row of a part of the last run of cases. */
int bench_add_part(bench *b, const char *name, const bench_row *whole, double share_of_time);

/* The row of what is done once. */
int bench_add_time(bench *b, const char *name, double seconds);

/* What `lamp bench` measures. */
int bench_peaks(bench *b);
int bench_products(bench *b);
int bench_train(bench *b, const char *recipe_path, const char *data_path);
int bench_moe(bench *b);
int bench_capacity(bench *b, const char *precision);
int bench_decode(bench *b, const char *model_path);
int bench_prefill(bench *b, const char *model_path, ptrdiff_t tokens); /* 0: the usual number */

#endif
