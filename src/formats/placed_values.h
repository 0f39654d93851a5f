/* Groups of weights that a safetensors file does not hold as they are: their values lie apart from one another, or turned, or they are to be
 * multiplied with scales that lie in a tensor of their own:
 *
 *     NAME          F8_E4M3 (out, in)               and NAME_scale_inv  (out / 128, in / 128), rounded up        DeepSeek-V3
 *     NAME_blocks   U8 (E, out, in / 32, 16)        and NAME_scales     U8 (E, out, in / 32)                     GPT-OSS: MXFP4
 *
 * An eight-bit value is multiplied with the scale of its square. Byte j of a block holds values 2 j (low) and 2 j + 1 (high) of the 32 that are
 * multiplied with 2^(scale - 127). */
#ifndef PLACED_VALUES_H
#define PLACED_VALUES_H

#include "formats/safetensors.h"
#include "formats/stored_group.h"
#include "models/families/family.h"

/* Value (o, i) of the group is value first + o row_step + i column_step of the tensor. */
typedef struct {
    const safetensors_entry *entry, *scales; /* scales: NULL without */
    int64_t first, row_step, column_step;
    ptrdiff_t in;
} placed_values;

/* Where the scales of a tensor found at `place` must lie; false: it needs none. */
bool placed_scales(family_place *scales, const family_place *place, const safetensors_entry *entry);

/* The group; v is borrowed. */
stored_group placed_group(const placed_values *v);

#endif
