/* The types of GGUF that kernels do not read in place, and many files have: they become reals when they are loaded. f16 is little-endian. Of 32
 * values x, neighbours in a row, in two halves of 16:
 *
 *     Q4_1    f16 d, f16 m, u8 q[16]              x = d n + m         n: nibble j of q for value j, the other one for value j + 16
 *     Q5_0    f16 d, u32 h, u8 q[16]              x = d (n - 16)      n: the same nibble, and bit j of h as its fifth
 *     Q5_1    f16 d, f16 m, u32 h, u8 q[16]       x = d n + m
 *
 * Of 256, in 16 groups of 16 (or 8 of 32) that have a scale each:
 *
 *     Q2_K    u8 s[16], u8 q[64], f16 d, f16 m                x = d (s & 15) n - m (s >> 4)
 *     Q3_K    u8 h[32], u8 q[64], u8 s[12], f16 d             x = d (scale - 32) (n - 4 unless h has the bit)      scales of 6 bits
 *     Q4_K    f16 d, f16 m, u8 s[12], u8 q[128]               x = d scale n - m least                              scales and leasts of 6 bits
 *     Q5_K    f16 d, f16 m, u8 s[12], u8 h[32], u8 q[128]     the same with a fifth bit from h
 *     Q6_K    u8 q[128], u8 h[64], i8 s[16], f16 d            x = d s (n - 32) */
#ifndef GGUF_BLOCKS_H
#define GGUF_BLOCKS_H

#include <stdint.h>

#include "base/real.h"
#include "formats/gguf.h"

/* Whether this is one of them. */
bool gguf_blocks_known(const gguf_type *type);

/* n values from `first` on, both whole blocks. */
void gguf_blocks_read(real *values, const gguf_type *type, const unsigned char *bytes, int64_t first, int64_t n);

#endif
