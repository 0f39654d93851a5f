#include "formats/quantise.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

enum { BLOCK = 32, HALF_BLOCK = BLOCK / 2 };

#define LARGEST_HALF 65504.0

/* ---- halves ------------------------------------------------------------------------------------------------------------------ */

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bits / 2^places, to nearest, ties to even. */
static uint32_t round_off(uint32_t bits, int places) {
    uint32_t half = 1u << (places - 1), rest = bits & ((1u << places) - 1), whole = bits >> places;
    return whole + (rest > half || (rest == half && (whole & 1)));
}

/* Of what is at most LARGEST_HALF. A fraction that rounds up to 1 carries into the exponent, as it should. */
static uint16_t half_of(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    int exponent = (int)(size >> 23) - 127, small = -14 - exponent;
    if (small > 11) return (uint16_t)sign;
    if (small > 0) return (uint16_t)(sign | round_off((size & 0x7FFFFF) | 0x800000, 13 + small));
    return (uint16_t)(sign | round_off(size - ((127 - 15) << 23), 13));
}

static void put_half(unsigned char *bytes, float value) {
    uint16_t half = half_of(value);
    memcpy(bytes, &half, sizeof half);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------ */

static void encode_real(unsigned char *bytes, const real *values) { memcpy(bytes, values, sizeof *values); }

static void encode_f16(unsigned char *bytes, const real *values) { put_half(bytes, (float)*values); }

static void encode_bf16(unsigned char *bytes, const real *values) {
    uint16_t upper = (uint16_t)round_off(bits_of((float)*values), 16);
    memcpy(bytes, &upper, sizeof upper);
}

/* The value of largest magnitude, the first of equals. */
static float largest_of(const real *values) {
    float largest = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf((float)values[i]) > fabsf(largest)) largest = (float)values[i];
    return largest;
}

static float inverse_of(float scale) {
    float inverse = scale == 0 ? 0 : 1 / scale;
    return isfinite(inverse) ? inverse : 0; /* all values are next to nothing */
}

/* Rounded to float before anything is added: a fused multiplication and addition would give other bytes. */
static float product(float a, float b) { return (float)((double)a * (double)b); }

static void encode_q8_0(unsigned char *bytes, const real *values) {
    float scale = fabsf(largest_of(values)) / 127, inverse = inverse_of(scale);
    put_half(bytes, scale);
    for (int i = 0; i < BLOCK; i++) bytes[2 + i] = (unsigned char)(int8_t)roundf(product((float)values[i], inverse));
}

static unsigned nibble_q4_0(float value, float inverse) {
    int level = (int)(product(value, inverse) + 8.5F);
    return (unsigned)(level < 15 ? level : 15);
}

static void encode_q4_0(unsigned char *bytes, const real *values) {
    float scale = largest_of(values) / -8, inverse = inverse_of(scale);
    put_half(bytes, scale);
    for (int i = 0; i < HALF_BLOCK; i++)
        bytes[2 + i] = (unsigned char)(nibble_q4_0((float)values[i], inverse) | nibble_q4_0((float)values[i + HALF_BLOCK], inverse) << 4);
}

static const float mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.F, -1, -2, -3, -4, -6, -8, -12};

/* 2^(e - 128), which of small e is below the normal numbers. */
static float mxfp4_scale(unsigned e) { return float_of(e < 2 ? 0x00200000u << e : (e - 1) << 23); }

/* The first of the nearest. */
static unsigned nibble_mxfp4(float value, float scale) {
    unsigned best = 0;
    for (unsigned i = 1; i < 16; i++)
        if (fabsf(scale * mxfp4_values[i] - value) < fabsf(scale * mxfp4_values[best] - value)) best = i;
    return best;
}

/* log2f, not the exponent: just below a power of two it rounds up, here as in the package. */
static void encode_mxfp4(unsigned char *bytes, const real *values) {
    float largest = fabsf(largest_of(values)), e = largest > 0 ? floorf(log2f(largest)) - 2 + 127 : 0;
    bytes[0] = (unsigned char)(e > 0 ? e : 0);
    float scale = mxfp4_scale(bytes[0]);
    for (int i = 0; i < HALF_BLOCK; i++)
        bytes[1 + i] = (unsigned char)(nibble_mxfp4((float)values[i], scale) | nibble_mxfp4((float)values[i + HALF_BLOCK], scale) << 4);
}

/* ---- types ------------------------------------------------------------------------------------------------------------------- */

static const struct {
    double largest;                                           /* magnitude that it can hold */
    void (*encode)(unsigned char *bytes, const real *values); /* a block */
} encodings[STORED_TYPES] = {
    [STORED_REAL] = {INFINITY, encode_real},           [STORED_F16] = {LARGEST_HALF, encode_f16},       [STORED_BF16] = {0x1.fep127, encode_bf16},
    [STORED_Q8_0] = {127 * LARGEST_HALF, encode_q8_0}, [STORED_Q4_0] = {8 * LARGEST_HALF, encode_q4_0}, [STORED_MXFP4] = {0x1.fp127, encode_mxfp4},
};

stored_type quantise_type_named(const char *name) {
    stored_type type = STORED_REAL;
    while (type < STORED_TYPES && strcmp(stored_formats[type].name, name)) type++;
    return type;
}

/* The place of the first value that the type cannot hold, or n. */
static int64_t find_unfit(stored_type type, const real *values, int64_t n) {
    int64_t first = n;
#pragma omp parallel for reduction(min : first)
    for (int64_t i = 0; i < n; i++)
        if (!(isfinite(values[i]) && fabs((double)values[i]) <= encodings[type].largest) && i < first) first = i;
    return first;
}

int quantise(void *bytes, stored_type type, const real *values, int64_t n) {
    const stored_format *format = &stored_formats[type];
    CHECK(n % format->values == 0, "%" PRId64 " values of %s", n, format->name);
    int64_t unfit = find_unfit(type, values, n);
    if (unfit < n && !isfinite(values[unfit]))
        FAIL(LAMP_MALFORMED, "place %" PRId64 ": expected finite numbers, found %g", unfit, (double)values[unfit]);
    if (unfit < n)
        FAIL(LAMP_UNSUPPORTED, "place %" PRId64 ": expected at most %g, which %s can hold, found %g", unfit, encodings[type].largest, format->name,
             (double)values[unfit]);
#pragma omp parallel for
    for (int64_t b = 0; b < n / format->values; b++) encodings[type].encode((unsigned char *)bytes + b * format->bytes, values + b * format->values);
    return LAMP_OK;
}
