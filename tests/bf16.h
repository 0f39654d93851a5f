#ifndef TESTS_BF16_H
#define TESTS_BF16_H

#include <stdint.h>
#include <string.h>

static inline double bf16_value(uint16_t x) {
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* To the nearest, ties to even. */
static inline uint16_t bf16_rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

#endif
