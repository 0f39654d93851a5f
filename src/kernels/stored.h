/* Weights as files store them: every row in blocks of neighbouring values, little-endian, byte for byte as GGUF has them.
 *
 *     real     real                       what training has
 *     f16      u16                        an IEEE half
 *     bf16     u16                        the upper half of a float
 *     q8_0     f16 d,  i8 q[32]           x[j] = d q[j]
 *     q4_0     f16 d,  u8 q[16]           x[j] = d ((q[j] & 15) - 8),               x[j + 16] = d ((q[j] >> 4) - 8)
 *     mxfp4    u8 e,   u8 q[16]           x[j] = 2^(e - 128) mxfp4[q[j] & 15],      x[j + 16] = 2^(e - 128) mxfp4[q[j] >> 4]
 *
 * To add one: its place here and in stored.c, and for each instruction set what turns it into reals (cpu/stored_rows.c) and its products
 * (cpu/few_rows.c). */
#ifndef STORED_H
#define STORED_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { STORED_REAL, STORED_F16, STORED_BF16, STORED_Q8_0, STORED_Q4_0, STORED_MXFP4, STORED_TYPES } stored_type;

typedef struct {
    const char *name;
    ptrdiff_t values, bytes; /* of a block */
} stored_format;

extern const stored_format stored_formats[STORED_TYPES];

/* A row of `in` values, which is whole blocks of them. */
static inline bool stored_has_rows(stored_type type, ptrdiff_t in) { return in % stored_formats[type].values == 0; }
static inline ptrdiff_t stored_row_bytes(stored_type type, ptrdiff_t in) { return in / stored_formats[type].values * stored_formats[type].bytes; }

#endif
