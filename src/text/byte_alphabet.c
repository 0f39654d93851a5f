#include "text/byte_alphabet.h"

#include "base/characters.h"

static bool prints(uint32_t byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255); }

/* The 68 bytes that do not print are 0 to 32, 127 to 160 and 173. */
static uint32_t character_of(unsigned char byte) {
    if (prints(byte)) return byte;
    return 0x100 + (byte <= 32 ? byte : byte == 173 ? 67 : byte - 127u + 33);
}

static int byte_of(uint32_t character) {
    if (prints(character)) return (int)character;
    if (character < 0x100 || character > 0x100 + 67) return -1;
    int i = (int)character - 0x100;
    return i <= 32 ? i : i == 67 ? 173 : i - 33 + 127;
}

int byte_alphabet_spell(buffer *out, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char character[4];
        buffer_append(out, character, character_write(character, character_of((unsigned char)bytes[i])));
    }
    return out->status;
}

bool byte_alphabet_read(buffer *out, const char *spelling, size_t length) {
    buffer_clear(out);
    for (size_t i = 0, step; i < length; i += step) {
        uint32_t character;
        step = character_length(spelling + i, length - i, &character);
        int byte = step ? byte_of(character) : -1;
        if (byte < 0) return false;
        buffer_append_byte(out, (char)byte);
    }
    return true;
}
