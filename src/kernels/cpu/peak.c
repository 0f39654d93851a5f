/* The machine's peak: one instruction again and again in registers, in as many chains as hide its latency. */

/* next: the instruction, of so many multiply-adds a lane */
static inline __attribute__((always_inline)) double peak_by(V (*next)(V sum, V factor), V factor, int multiply_adds, double seconds) {
    enum { CHAINS = VECTOR_BYTES == 64 ? 24 : 12, ROUNDS = 1000 };
    V sum[CHAINS];
    for (int i = 0; i < CHAINS; i++) sum[i] = (V){0} + (real)i;
    double begin = clock_seconds(), now = begin, operations = 0;
    while (now - begin < seconds) {
        for (int round = 0; round < ROUNDS; round++)
#pragma GCC unroll 24
            for (int i = 0; i < CHAINS; i++) sum[i] = next(sum[i], factor);
        operations += 2.0 * multiply_adds * ROUNDS * CHAINS * LANES;
        now = clock_seconds();
    }
    V total = {0};
    for (int i = 0; i < CHAINS; i++) total += sum[i];
    return sum_lanes(total) == 0 ? 0 : operations / (now - begin);
}

static inline V multiply_add(V sum, V factor) { return sum * factor + factor; }
static double peak_flops(double seconds) { return peak_by(multiply_add, (V){0} + (real)0.999, 1, seconds); }
