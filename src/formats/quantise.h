/* Values as GGUF files store them, made from reals and read back. Every result is a function of the values alone; bytes equal those of the
 * package gguf, whatever the number of threads. Blocks are of 32 values x, neighbours in a row, and little-endian:
 *
 *     f32, f16, bf16   each value, rounded to nearest, ties to even
 *     q8_0    f16 d, i8 q[32]     x = d q                      d = max |x| / 127, q = x / d rounded half away from zero
 *     q4_0    f16 d, u8 n[16]     x = d (nibble - 8)           d = -1/8 of the value of largest magnitude; byte j has values j and j + 16
 *     mxfp4   u8 e,  u8 n[16]     x = 2^(e - 128) v[nibble]    v = 0 1 2 3 4 6 8 12 and their negatives; e from the largest magnitude, nearest v */
#ifndef QUANTISE_H
#define QUANTISE_H

#include <stdint.h>

#include "base/real.h"

typedef struct {
    const char *name;                                         /* as options and messages call it */
    int number;                                               /* of the type in GGUF files */
    int block, block_bytes;                                   /* values in a block, and the bytes it takes */
    double largest;                                           /* magnitude that it can hold */
    void (*encode)(unsigned char *bytes, const real *values); /* one block */
    void (*decode)(real *values, const unsigned char *bytes);
} stored_form;

/* NULL unless it is one of these. */
const stored_form *stored_form_named(const char *name);
const stored_form *stored_form_numbered(int number);

/* "f32, f16, ..." */
const char *stored_form_names(void);

/* n is a multiple of the block. Values that are not finite are LAMP_MALFORMED, too large ones LAMP_UNSUPPORTED; the message is to be given a
 * context. */
int quantise(unsigned char *bytes, const stored_form *form, const real *values, int64_t n);
void dequantise(real *values, const stored_form *form, const unsigned char *bytes, int64_t n);

#endif
