#include "formats/gguf_blocks.h"

#include <string.h>

#include "base/error.h"
#include "kernels/kernels.h"

enum { HALF = 16, LARGE = 256, LARGE_HALF = 128 };

static float half_at(const unsigned char *bytes) {
    const int32_t row = 0;
    real value;
    kernels_scalar.stored_rows(&value, bytes, STORED_F16, &row, 1, 1);
    return (float)value;
}

static uint32_t word_at(const unsigned char *bytes) {
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* ---- 32 values ----------------------------------------------------------------------------------------------------------------- */

/* fifth: 16 where value j has its fifth bit. */
static int fifth(uint32_t bits, int j) { return (int)(bits >> j & 1) << 4; }

static void read_q4_1(real *x, const unsigned char *block) {
    const float d = half_at(block), m = half_at(block + 2);
    const unsigned char *q = block + 4;
    for (int j = 0; j < HALF; j++) x[j] = d * (float)(q[j] & 15) + m, x[j + HALF] = d * (float)(q[j] >> 4) + m;
}

static void read_q5_0(real *x, const unsigned char *block) {
    const float d = half_at(block);
    const uint32_t h = word_at(block + 2);
    const unsigned char *q = block + 6;
    for (int j = 0; j < HALF; j++) {
        x[j] = d * (float)((q[j] & 15) + fifth(h, j) - 16);
        x[j + HALF] = d * (float)((q[j] >> 4) + fifth(h, j + HALF) - 16);
    }
}

static void read_q5_1(real *x, const unsigned char *block) {
    const float d = half_at(block), m = half_at(block + 2);
    const uint32_t h = word_at(block + 4);
    const unsigned char *q = block + 8;
    for (int j = 0; j < HALF; j++) {
        x[j] = d * (float)((q[j] & 15) + fifth(h, j)) + m;
        x[j + HALF] = d * (float)((q[j] >> 4) + fifth(h, j + HALF)) + m;
    }
}

/* ---- 256 values ---------------------------------------------------------------------------------------------------------------- */

/* Four planes of two bits in 32 bytes are 128 values; a group is 16 bytes of one plane. */
static void read_q2_k(real *x, const unsigned char *block) {
    const unsigned char *s = block, *q = block + 16;
    const float d = half_at(block + 80), m = half_at(block + 82);
    for (int i = 0; i < LARGE; i++) {
        const int scale = s[i / HALF], plane = i % LARGE_HALF / 32, n = q[i / LARGE_HALF * 32 + i % 32] >> 2 * plane & 3;
        x[i] = d * (float)(scale & 15) * (float)n - m * (float)(scale >> 4);
    }
}

static int scale_q3_k(const unsigned char *s, int group) {
    const int low = group < 8 ? s[group] & 15 : s[group - 8] >> 4, high = s[8 + group % 4] >> 2 * (group / 4) & 3;
    return (low | high << 4) - 32;
}

static void read_q3_k(real *x, const unsigned char *block) {
    const unsigned char *h = block, *q = block + 32, *s = block + 96;
    const float d = half_at(block + 108);
    for (int i = 0; i < LARGE; i++) {
        const int plane = i % LARGE_HALF / 32, bit = h[i % 32] >> i / 32 & 1, n = q[i / LARGE_HALF * 32 + i % 32] >> 2 * plane & 3;
        x[i] = d * (float)scale_q3_k(s, i / HALF) * (float)(n - 4 * !bit);
    }
}

/* Scale and least of 32 values, six bits each, of which the last four pairs lie in pieces. */
static void scale_and_least(int *scale, int *least, const unsigned char *s, int group) {
    *scale = group < 4 ? s[group] & 63 : (s[group + 4] & 15) | s[group - 4] >> 6 << 4;
    *least = group < 4 ? s[group + 4] & 63 : s[group + 4] >> 4 | s[group] >> 6 << 4;
}

static void read_k(real *x, const unsigned char *block, const unsigned char *h, const unsigned char *q) {
    const float d = half_at(block), m = half_at(block + 2);
    for (int i = 0; i < LARGE; i++) {
        const int group = i / 32, byte = q[group / 2 * 32 + i % 32], nibble = group % 2 ? byte >> 4 : byte & 15;
        const int n = nibble + (h ? (h[i % 32] >> group & 1) << 4 : 0);
        int scale, least;
        scale_and_least(&scale, &least, block + 4, group);
        x[i] = d * (float)scale * (float)n - m * (float)least;
    }
}

static void read_q4_k(real *x, const unsigned char *block) { read_k(x, block, NULL, block + 16); }
static void read_q5_k(real *x, const unsigned char *block) { read_k(x, block, block + 16, block + 48); }

/* Of each 128 values, 64 bytes of nibbles, of which the low ones come first, and 32 bytes of four pairs of upper bits. */
static void read_q6_k(real *x, const unsigned char *block) {
    const unsigned char *q = block, *h = block + 128, *s = block + 192;
    const float d = half_at(block + 208);
    for (int i = 0; i < LARGE; i++) {
        const int part = i / LARGE_HALF, within = i % LARGE_HALF, byte = q[part * 64 + within % 64];
        const int n = (within < 64 ? byte & 15 : byte >> 4) | (h[part * 32 + within % 32] >> 2 * (within / 32) & 3) << 4;
        x[i] = d * (float)(int8_t)s[i / HALF] * (float)(n - 32);
    }
}

/* ---- all of them --------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*read)(real *x, const unsigned char *block);
} readers[] = {
    {"Q4_1", read_q4_1}, {"Q5_0", read_q5_0}, {"Q5_1", read_q5_1}, {"Q2_K", read_q2_k},
    {"Q3_K", read_q3_k}, {"Q4_K", read_q4_k}, {"Q5_K", read_q5_k}, {"Q6_K", read_q6_k},
};

enum { N_READERS = sizeof readers / sizeof *readers };

static int find(const gguf_type *type) {
    int i = 0;
    while (i < N_READERS && strcmp(readers[i].name, type->name)) i++;
    return i;
}

bool gguf_blocks_known(const gguf_type *type) { return find(type) < N_READERS; }

void gguf_blocks_read(real *values, const gguf_type *type, const unsigned char *bytes, int64_t first, int64_t n) {
    const int i = find(type);
    CHECK(i < N_READERS && first % type->block == 0 && n % type->block == 0, "%lld values of %s from %lld on", (long long)n, type->name,
          (long long)first);
#pragma omp parallel for
    for (int64_t b = 0; b < n / type->block; b++) readers[i].read(values + b * type->block, bytes + (first / type->block + b) * type->block_bytes);
}
