#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/error.h"

#ifdef __x86_64__
/* Not every compiler knows it by name. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* Matrix units have 8 kB of registers, which Linux keeps for those alone who ask. */
static bool may_use_amx(void) {
    enum { BF16 = 1 << 22, TILE = 1 << 24, ASK = 0x1023, TILE_REGISTERS = 18 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & BF16 && d & TILE && syscall(SYS_arch_prctl, ASK, TILE_REGISTERS) == 0;
}
#endif

int kernels_available(const struct kernels *tables[KERNEL_TABLES]) {
    int n = 0;
    tables[n++] = &kernels_scalar;
#ifdef __x86_64__
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (avx2) tables[n++] = &kernels_avx2;
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (avx512) tables[n++] = &kernels_avx512;
    bool bf16 = avx512 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
                __builtin_cpu_supports("avx512bf16");
    if (bf16) tables[n++] = &kernels_avx512bf16;
    if (bf16 && may_use_amx()) tables[n++] = &kernels_amx;
#endif
#ifdef __aarch64__
    tables[n++] = &kernels_neon; /* every aarch64 has it */
#endif
    return n;
}

int kernels_choose(const struct kernels **table) {
    const struct kernels *tables[KERNEL_TABLES];
    int n = kernels_available(tables);
    const char *wanted = getenv("LAMP_KERNELS");
    *table = tables[n - 1];
    if (!wanted || !*wanted) return LAMP_OK;
    for (int i = 0; i < n; i++) {
        *table = tables[i];
        if (!strcmp(wanted, tables[i]->name)) return LAMP_OK;
    }
    char names[128] = "";
    for (int i = 0; i < n; i++) strcat(strcat(names, i ? ", " : ""), tables[i]->name);
    FAIL(LAMP_INVALID, "LAMP_KERNELS=%s: this machine runs %s", wanted, names);
}

/* Measured on Emerald Rapids: Intel's processors from Sapphire Rapids on, the first with FP16, do half as much with the dot instruction of bf16 as
 * with f32, since they have matrix units (AMX) for bf16, which a virtual machine may hide. AMD's from Zen 4 on do twice as much. */
#ifdef __x86_64__
static bool bf16_is_slow(const struct kernels *k) {
    enum { FP16 = 1 << 23 };
    unsigned a, b, c, d;
    return k != &kernels_amx && __builtin_cpu_is("intel") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & FP16;
}
#else
static bool bf16_is_slow(const struct kernels *k) { return (void)k, false; }
#endif

const struct products *kernels_fastest_products(const struct kernels *k) {
    return k->products_bf16 && !bf16_is_slow(k) ? k->products_bf16 : &k->products;
}

double kernels_measure_peak(double (*peak_flops)(double seconds), double seconds) {
    enum { PROBES = 8 };
    double best = 0;
    for (int i = 0; i < PROBES; i++) { /* a probe that lost its core for a moment says nothing about the machine */
        double sum = 0;
#pragma omp parallel reduction(+ : sum)
        sum += peak_flops(seconds / PROBES);
        if (sum > best) best = sum;
    }
    return best;
}
