/* A benchmark as a picture: one bar a row, as long as its share of what the machine can do. Plain SVG. */
#ifndef BENCH_PICTURE_H
#define BENCH_PICTURE_H

#include "base/buffer.h"
#include "budget/bench.h"

void bench_picture(buffer *svg, const bench *b, const char *title);

/* "123 G/s", "4321 tokens/s", "12.3 ms" */
enum { BENCH_RATE_BYTES = 32 };
const char *bench_rate(char text[BENCH_RATE_BYTES], const bench_row *row);

/* What a row is compared with, and its share of that: the roof of memory where it is the lower one. */
double bench_share(const bench_row *row, const char **of);

#endif
