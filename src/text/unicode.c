#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "text/young_characters.h"

typedef struct {
    uint32_t first, last;
} run;

static bool is_in(const run *runs, size_t n, uint32_t point) {
    size_t low = 0;
    for (size_t high = n; low < high;) {
        size_t middle = (low + high) / 2;
        if (point > runs[middle].last) low = middle + 1;
        else high = middle;
    }
    return low < n && point >= runs[low].first;
}

bool unicode_is_space(uint32_t point) {
    return (point >= 0x9 && point <= 0xD) || point == 0x20 || point == 0x85 || point == 0xA0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
}

bool unicode_is_word(uint32_t point) {
    point = young_character_stand_in(point);
    static const run joiners_and_letters_in_circles[] = {
        {0x200C, 0x200D}, {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
    switch (utf8proc_category((utf8proc_int32_t)point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return is_in(joiners_and_letters_in_circles, sizeof joiners_and_letters_in_circles / sizeof(run), point);
    }
}

/* ---- lower case ------------------------------------------------------------------------------------------------------------------ */

/* Capitals younger than utf8proc may know: each run, and what its first becomes. */
static const struct {
    uint32_t first, last, lower;
} young_capitals[] = {{0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},    {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
                      {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},   {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x19B},
                      {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB}};

static uint32_t lower_of(uint32_t point) {
    for (size_t i = 0; point >= young_capitals[0].first && i < sizeof young_capitals / sizeof *young_capitals; i++)
        if (point >= young_capitals[i].first && point <= young_capitals[i].last) return point - young_capitals[i].first + young_capitals[i].lower;
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)point);
}

int unicode_lower(buffer *out, const char *text, size_t length) {
    static const uint32_t i_with_dot = 0x130, dot_above = 0x307; /* the one letter whose lower case is two */
    for (size_t at = 0; at < length;) {
        char lower[4];
        uint32_t point;
        at += character_length(text + at, length - at, &point);
        buffer_append(out, lower, character_write(lower, point == i_with_dot ? 'i' : lower_of(point)));
        if (point == i_with_dot) buffer_append(out, lower, character_write(lower, dot_above));
    }
    return out->status;
}

/* ---- normal forms ---------------------------------------------------------------------------------------------------------------- */

/* Characters younger than Unicode 9 that utf8proc, or one yet to come, would decompose, compose or move; and U+11A7, one below the final consonants
 * of Korean syllables, which it loses behind a syllable. */
static const run inert[] = {
    {0x558, 0x558},     {0x58B, 0x58C},     {0x5C8, 0x5C9},     {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x11A7, 0x11A7},   {0x1715, 0x1715},   {0x1ABF, 0x1AF0},   {0x1DF6, 0x1DFA},
    {0x209D, 0x209F},   {0x32FF, 0x32FF},   {0xA7F1, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x105C0, 0x105F3}, {0x10781, 0x10785},
    {0x10787, 0x107B0}, {0x107B2, 0x107BF}, {0x10D24, 0x10D27}, {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC}, {0x10ECB, 0x10ECF}, {0x10EF0, 0x10EFB},
    {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11380, 0x113E2}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16100, 0x1612F},
    {0x16D40, 0x16D79}, {0x16FF0, 0x16FF1}, {0x1B123, 0x1B126}, {0x1CCD6, 0x1CCF9}, {0x1D127, 0x1D128}, {0x1D250, 0x1D252}, {0x1D25B, 0x1D25C},
    {0x1D25F, 0x1D25F}, {0x1D280, 0x1D281}, {0x1D6A6, 0x1D6A6}, {0x1DF95, 0x1DF95}, {0x1DFCD, 0x1DFFF}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}, {0x1E6E3, 0x1E6E3}, {0x1E6E6, 0x1E6E6},
    {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
};

static bool composes(unicode_form form) { return form == UNICODE_NFC || form == UNICODE_NFKC; }

/* Bytes below it belong to characters that the form leaves alone, and behind which none of their like is changed. */
static unsigned char first_changed_byte(unicode_form form) { return form == UNICODE_NFC ? 0xCC : 0x80; }

size_t unicode_normal_prefix(const char *text, size_t length, unicode_form form) {
    unsigned char changed = first_changed_byte(form);
    size_t at = 0;
    while (at < length) {
        uint64_t eight;
        if (at + sizeof eight <= length) {
            memcpy(&eight, text + at, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                at += sizeof eight;
                continue;
            }
        }
        if ((unsigned char)text[at] >= changed) break;
        at++;
    }
    /* The last character may join with what follows. */
    if (at < length && at > 0) at--;
    while (at < length && at > 0 && (text[at] & 0xC0) == 0x80) at--;
    return at;
}

/* A character being normalised is one number, so that sorting moves it: its combining class, its place, itself. */
static uint64_t pack(uint64_t class, uint64_t place, uint32_t point) { return class << 56 | place << 24 | point; }
static uint64_t class_of(uint64_t packed) { return packed >> 56; }
static uint32_t point_of(uint64_t packed) { return packed & 0xFFFFFF; }

typedef struct {
    unicode_form form;
    uint64_t *packed;
    int32_t *points;
    size_t n, packed_capacity, point_capacity;
} normalizing;

static int compare_packed(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Marks behind a character stand in the order of their classes, those of one class in the order of the text. */
static void order_marks(normalizing *z) {
    for (size_t i = 0, end; i < z->n; i = end) {
        for (end = i; end < z->n && class_of(z->packed[end]) > 0; end++) {
        }
        if (end > i + 1) qsort(z->packed + i, end - i, sizeof *z->packed, compare_packed);
        end += end == i;
    }
}

/* Writes what was gathered, and begins anew. */
static int flush(buffer *out, normalizing *z) {
    if (z->n == 0) return LAMP_OK;
    order_marks(z);
    TRY(memory_reserve(&z->points, &z->point_capacity, z->n, sizeof *z->points, "text in a normal form"));
    for (size_t i = 0; i < z->n; i++) z->points[i] = (int32_t)point_of(z->packed[i]);
    utf8proc_ssize_t n = (utf8proc_ssize_t)z->n;
    if (composes(z->form)) n = utf8proc_normalize_utf32(z->points, n, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char character[4];
        buffer_append(out, character, character_write(character, (uint32_t)z->points[i]));
    }
    z->n = 0;
    return out->status;
}

static int gather(normalizing *z, uint32_t point) {
    enum { MOST = 32 }; /* 18 is what the longest decomposition has */
    bool is_compatible = z->form == UNICODE_NFKC || z->form == UNICODE_NFKD;
    utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compatible ? UTF8PROC_COMPAT : 0));
    int32_t parts[MOST];
    int unused;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)point, parts, MOST, options, &unused);
    CHECK(n >= 0 && n <= MOST, "U+%04X becomes %td characters", point, (ptrdiff_t)n);
    TRY(memory_reserve(&z->packed, &z->packed_capacity, z->n + (size_t)n, sizeof *z->packed, "text in a normal form"));
    for (utf8proc_ssize_t i = 0; i < n; i++, z->n++)
        z->packed[z->n] = pack((uint64_t)utf8proc_get_property(parts[i])->combining_class, z->n & 0xFFFFFFFF, (uint32_t)parts[i]);
    return LAMP_OK;
}

/* A stretch that begins with a character nothing before it joins with, and ends before one. */
static int normalize_stretch(buffer *out, normalizing *z, const char *text, size_t length) {
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t point;
        step = character_length(text + at, length - at, &point);
        if (!is_in(inert, sizeof inert / sizeof *inert, point)) {
            TRY(gather(z, point));
            continue;
        }
        TRY(flush(out, z));
        TRY(buffer_append(out, text + at, step));
    }
    return flush(out, z);
}

int unicode_normalize(buffer *out, const char *text, size_t length, unicode_form form) {
    int status = LAMP_OK;
    normalizing z = {.form = form};
    for (size_t at = 0, end; at < length; at = end) {
        size_t start = at + unicode_normal_prefix(text + at, length - at, form);
        TRY_TO(done, buffer_append(out, text + at, start - at));
        end = start + (start < length);
        while (end < length && (unsigned char)text[end] >= 0x80) end++;
        TRY_TO(done, normalize_stretch(out, &z, text + start, end - start));
    }
done:
    memory_free(z.points);
    memory_free(z.packed);
    return status;
}
