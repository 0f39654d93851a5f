#include "base/characters.h"

#include <stdbool.h>
#include <string.h>

size_t character_length(const char *text, size_t length, uint32_t *found) {
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xE0, 0xC0, 0x80}, {0xF0, 0xE0, 0x800}, {0xF8, 0xF0, 0x10000}};
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t extra = 0; extra < 4; extra++) {
        if ((bytes[0] & forms[extra].mask) != forms[extra].lead) continue;
        if (extra >= length) return 0;
        uint32_t point = bytes[0] & (unsigned char)~forms[extra].mask;
        for (size_t i = 1; i <= extra; i++) {
            if ((bytes[i] & 0xC0) != 0x80) return 0;
            point = point << 6 | (bytes[i] & 0x3F);
        }
        bool surrogate = point >= 0xD800 && point < 0xE000;
        if (found) *found = point;
        return point < forms[extra].least || point > 0x10FFFF || surrogate ? 0 : extra + 1;
    }
    return 0;
}

size_t character_write(char *bytes, uint32_t point) {
    static const struct {
        uint32_t beyond;
        unsigned char lead;
    } forms[] = {{0x80, 0x00}, {0x800, 0xC0}, {0x10000, 0xE0}, {0x110000, 0xF0}};
    size_t extra = 0;
    while (extra < 3 && point >= forms[extra].beyond) extra++;
    for (size_t i = extra; i > 0; i--, point >>= 6) bytes[i] = (char)(0x80 | (point & 0x3F));
    bytes[0] = (char)(forms[extra].lead | point);
    return extra + 1;
}

size_t characters_valid(const char *bytes, size_t length) {
    size_t at = 0, step;
    while (at < length) {
        uint64_t eight;
        if (at + sizeof eight <= length) {
            memcpy(&eight, bytes + at, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                at += sizeof eight;
                continue;
            }
        }
        if (!(step = character_length(bytes + at, length - at, NULL))) break;
        at += step;
    }
    return at;
}

size_t characters_broken(const char *bytes, size_t length) {
    size_t at = 0;
    while (at < length && !character_length(bytes + at, length - at, NULL)) at++;
    return at;
}

size_t character_before(const char *bytes, size_t length, uint32_t *point) {
    for (size_t n = 1; n <= 4 && n <= length; n++)
        if (character_length(bytes + length - n, n, point) == n) return n;
    return 0;
}

size_t characters_unfinished(const char *bytes, size_t length) {
    static const unsigned char least[] = {0xC2, 0xE0, 0xF0}; /* first bytes of characters of 2, 3 and 4 bytes */
    for (size_t n = 1; n <= 3 && n <= length; n++) {
        unsigned char first = (unsigned char)bytes[length - n];
        if (first >= 0xC0) return first >= least[n - 1] && first < 0xF5 ? n : 0;
        if (first < 0x80) return 0;
    }
    return 0;
}
