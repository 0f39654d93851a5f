/* Numbers are dropped by the random bits of their index, forward and backward alike: nothing is kept of what was dropped. */

static void dropout(real *y, const real *x, random_key key, uint64_t first, ptrdiff_t n, double share, bool accumulate) {
    const uint32_t least = (uint32_t)(share * 0x1p32); /* of what stays */
    const real scale = (real)(1 / (1 - share));
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (ptrdiff_t start = 0; start < n; start += DRAWS) {
        const ptrdiff_t count = smaller(n - start, DRAWS);
        uint64_t index[DRAWS];
        uint32_t bits[DRAWS], unused[DRAWS];
        for (int i = 0; i < DRAWS; i++) index[i] = first + (uint64_t)(start + i);
        philox_words(bits, unused, key, index);
        for (ptrdiff_t i = 0; i < count; i++) {
            const real kept = bits[i] >= least ? x[start + i] * scale : 0;
            y[start + i] = accumulate ? y[start + i] + kept : kept;
        }
    }
}
