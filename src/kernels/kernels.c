#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int kernels_available(const struct kernels *tables[4]) {
    int n = 0;
    tables[n++] = &kernels_scalar;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[n++] = &kernels_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) tables[n++] = &kernels_avx512;
#endif
    return n;
}

int kernels_choose(const struct kernels **table) {
    const struct kernels *tables[4];
    int n = kernels_available(tables);
    const char *wanted = getenv("LAMP_KERNELS");
    *table = tables[n - 1];
    if (!wanted || !*wanted) return LAMP_OK;
    for (int i = 0; i < n; i++) {
        *table = tables[i];
        if (!strcmp(wanted, tables[i]->name)) return LAMP_OK;
    }
    FAIL(LAMP_INVALID, "LAMP_KERNELS=%s: this machine runs %s%s%s%s%s", wanted, tables[0]->name, n > 1 ? ", " : "", n > 1 ? tables[1]->name : "",
         n > 2 ? ", " : "", n > 2 ? tables[2]->name : "");
}

double kernels_measure_peak(const struct kernels *k, double seconds) {
    enum { PROBES = 8 };
    double best = 0;
    for (int i = 0; i < PROBES; i++) { /* a probe that lost its core for a moment says nothing about the machine */
        double sum = 0;
#pragma omp parallel reduction(+ : sum)
        sum += k->peak_flops(seconds / PROBES);
        if (sum > best) best = sum;
    }
    return best;
}
