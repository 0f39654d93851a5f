#include "base/characters.h"

#include <stdbool.h>

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
