#include "kernels/stored.h"

#include "base/real.h"

const stored_format stored_formats[STORED_TYPES] = {
    [STORED_REAL] = {sizeof(real) == sizeof(float) ? "f32" : "f64", 1, sizeof(real)},
    [STORED_F16] = {"f16", 1, 2},
    [STORED_BF16] = {"bf16", 1, 2},
    [STORED_Q8_0] = {"q8_0", 32, 34},
    [STORED_Q4_0] = {"q4_0", 32, 18},
    [STORED_MXFP4] = {"mxfp4", 32, 17},
};
