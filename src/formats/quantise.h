/* Values as files store them (kernels/stored.h), made from reals. Bytes are a function of the values alone, and equal those of the package gguf:
 *
 *     f16, bf16   to nearest, ties to even
 *     q8_0        d = max |x| / 127,  q = x / d rounded half away from zero
 *     q4_0        d = x / -8 of the x of largest magnitude, the first of equals,  q = the whole part of x / d + 8.5, at most 15
 *     mxfp4       e = the whole part of log2 max |x|, - 2 + 127,  q = the nearest, the first of equals */
#ifndef QUANTISE_H
#define QUANTISE_H

#include <stdint.h>

#include "base/real.h"
#include "kernels/stored.h"

/* Whole blocks. Values that are not finite are LAMP_MALFORMED, those too large for the type LAMP_UNSUPPORTED, with the place of the first. */
int quantise(void *bytes, stored_type type, const real *values, int64_t n);

/* STORED_TYPES unless it is the name of one. */
stored_type quantise_type_named(const char *name);

#endif
