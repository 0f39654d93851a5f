#include "cli/readable.h"

#include <stdbool.h>
#include <string.h>

#include "base/characters.h"

/* Also those that change the direction of writing: with them, text can look like other text. */
static bool controls(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

void append_readable(buffer *out, readable_form form, const char *text, size_t length) {
    static const struct {
        char character;
        const char *written;
    } markup[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (size_t i = 0, step; i < length; i += step) {
        uint32_t c;
        const char *written = NULL;
        step = character_length(text + i, length - i, &c);
        if (step == 0) c = 0xFFFD, written = "\xEF\xBF\xBD", step = 1;
        else if (c == '\n' || c == '\t') written = form != READABLE_LINE ? NULL : c == '\n' ? "\\n" : "\\t";
        else if (controls(c)) {
            buffer_printf(out, "\\u%04x", c);
            continue;
        }
        for (size_t j = 0; form == READABLE_MARKUP && j < sizeof markup / sizeof *markup; j++)
            if (c == (unsigned char)markup[j].character) written = markup[j].written;
        if (written) buffer_append_text(out, written);
        else buffer_append(out, text + i, step);
    }
}

int count_columns(const char *text) {
    int n = 0;
    for (; *text; text++) n += (*text & 0xC0) != 0x80;
    return n;
}
