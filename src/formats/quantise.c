#include "formats/quantise.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

enum { BLOCK = 32, HALF_BLOCK = BLOCK / 2 };

static const double LARGEST_HALF = 65504;

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

static float float_of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return float_of(sign | 0x7F800000 | fraction << 13);
    if (exponent > 0) return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
    float size = (float)fraction * 0x1p-24f;
    return sign ? -size : size;
}

static void put_half(unsigned char *bytes, float value) {
    uint16_t half = half_of(value);
    memcpy(bytes, &half, sizeof half);
}

static float take_half(const unsigned char *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return float_of_half(half);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------ */

static void encode_f32(unsigned char *bytes, const real *values) {
    float value = (float)*values;
    memcpy(bytes, &value, sizeof value);
}

static void decode_f32(real *values, const unsigned char *bytes) {
    float value;
    memcpy(&value, bytes, sizeof value);
    *values = value;
}

static void encode_f16(unsigned char *bytes, const real *values) { put_half(bytes, (float)*values); }
static void decode_f16(real *values, const unsigned char *bytes) { *values = take_half(bytes); }

static void encode_bf16(unsigned char *bytes, const real *values) {
    uint16_t upper = (uint16_t)round_off(bits_of((float)*values), 16);
    memcpy(bytes, &upper, sizeof upper);
}

static void decode_bf16(real *values, const unsigned char *bytes) {
    uint16_t upper;
    memcpy(&upper, bytes, sizeof upper);
    *values = float_of((uint32_t)upper << 16);
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

static void decode_q8_0(real *values, const unsigned char *bytes) {
    float scale = take_half(bytes);
    for (int i = 0; i < BLOCK; i++) values[i] = scale * (float)(int8_t)bytes[2 + i];
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

static void decode_q4_0(real *values, const unsigned char *bytes) {
    float scale = take_half(bytes);
    for (int i = 0; i < HALF_BLOCK; i++) {
        values[i] = scale * (float)((bytes[2 + i] & 15) - 8);
        values[i + HALF_BLOCK] = scale * (float)((bytes[2 + i] >> 4) - 8);
    }
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

static void decode_mxfp4(real *values, const unsigned char *bytes) {
    float scale = mxfp4_scale(bytes[0]);
    for (int i = 0; i < HALF_BLOCK; i++) {
        values[i] = scale * mxfp4_values[bytes[1 + i] & 15];
        values[i + HALF_BLOCK] = scale * mxfp4_values[bytes[1 + i] >> 4];
    }
}

/* ---- forms ------------------------------------------------------------------------------------------------------------------- */

static const stored_form forms[] = {
    {"f32", 0, 1, 4, 0x1.fffffep127, encode_f32, decode_f32},           {"f16", 1, 1, 2, LARGEST_HALF, encode_f16, decode_f16},
    {"bf16", 30, 1, 2, 0x1.fep127, encode_bf16, decode_bf16},           {"q8_0", 8, BLOCK, 34, 127 * LARGEST_HALF, encode_q8_0, decode_q8_0},
    {"q4_0", 2, BLOCK, 18, 8 * LARGEST_HALF, encode_q4_0, decode_q4_0}, {"mxfp4", 39, BLOCK, 17, 0x1.fp127, encode_mxfp4, decode_mxfp4},
};

enum { N_FORMS = sizeof forms / sizeof *forms };

const stored_form *stored_form_named(const char *name) {
    for (int i = 0; i < N_FORMS; i++)
        if (!strcmp(forms[i].name, name)) return &forms[i];
    return NULL;
}

const stored_form *stored_form_numbered(int number) {
    for (int i = 0; i < N_FORMS; i++)
        if (forms[i].number == number) return &forms[i];
    return NULL;
}

const char *stored_form_names(void) { return "f32, f16, bf16, q8_0, q4_0, mxfp4"; }

/* The place of the first value that the form cannot hold, or n. */
static int64_t find_unfit(const stored_form *form, const real *values, int64_t n) {
    int64_t first = n;
#pragma omp parallel for reduction(min : first)
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)values[i]) <= form->largest) && i < first) first = i;
    return first;
}

int quantise(unsigned char *bytes, const stored_form *form, const real *values, int64_t n) {
    CHECK(n % form->block == 0, "%" PRId64 " values of %s", n, form->name);
    int64_t unfit = find_unfit(form, values, n);
    if (unfit < n)
        FAIL(isfinite(values[unfit]) ? LAMP_UNSUPPORTED : LAMP_MALFORMED,
             "place %" PRId64 ": expected a number of at most %g, which %s can hold, found %g", unfit, form->largest, form->name,
             (double)values[unfit]);
#pragma omp parallel for
    for (int64_t b = 0; b < n / form->block; b++) form->encode(bytes + b * form->block_bytes, values + b * form->block);
    return LAMP_OK;
}

void dequantise(real *values, const stored_form *form, const unsigned char *bytes, int64_t n) {
    CHECK(n % form->block == 0, "%" PRId64 " values of %s", n, form->name);
#pragma omp parallel for
    for (int64_t b = 0; b < n / form->block; b++) form->decode(values + b * form->block, bytes + b * form->block_bytes);
}
