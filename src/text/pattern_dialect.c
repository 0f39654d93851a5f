/* From Oniguruma's regular expressions to PCRE2's. Most of what tokenizers write is common to both; here is what differs:
 *
 *     \w \b     letters, marks, digits and connectors of any script, and a few signs of Latin-1; PCRE2's are narrower, and differ by version
 *     \v        the vertical tab; in PCRE2 any line end
 *     \u00e9    \x{00e9}
 *     \p{Han}   characters of the script itself; in PCRE2 also those that it shares with others
 *
 * (^ and $, which stand at every line, are set when the pattern is compiled.) What the two read differently and nobody needs is refused. */
#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "text/pattern.h"

static const char WORD[] = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";

typedef struct {
    buffer *out;
    const char *regex, *at;
    bool in_class;
} translation;

#define REFUSE(t, what) FAIL(LAMP_UNSUPPORTED, "the pattern cannot be used: %s at byte %zu of %s", what, (size_t)((t)->at - (t)->regex), (t)->regex)

static bool is_one_of(const char *const *names, const char *name, size_t length) {
    while (*names && (strlen(*names) != length || memcmp(*names, name, length))) names++;
    return *names != NULL;
}

/* \p{L}, \P{^Lu}, \p{Han}: names of one or two letters are categories, longer ones but these are scripts. at: the brace. */
static int translate_property(translation *t, char letter) {
    const char *end = strchr(t->at, '}'), *name = t->at + 1;
    if (*t->at != '{' || !end) REFUSE(t, "a property without braces");
    static const char *const traits[] = {"Alphabetic", "Join_Control", "White_Space", NULL};
    const char *caret = *name == '^' ? "^" : "";
    name += strlen(caret);
    size_t length = (size_t)(end - name);
    const char *script = length > 2 && !is_one_of(traits, name, length) ? "sc:" : "";
    t->at = end + 1;
    return buffer_printf(t->out, "\\%c{%s%s%.*s}", letter, caret, script, (int)length, name);
}

static int translate_code_point(translation *t) {
    size_t digits = strspn(t->at, "0123456789abcdefABCDEF");
    if (digits < 4) REFUSE(t, "\\u without four digits");
    buffer_printf(t->out, "\\x{%.4s}", t->at);
    t->at += 4;
    return LAMP_OK;
}

static int translate_word(translation *t, char letter) {
    if (t->in_class && letter == 'W') REFUSE(t, "\\W in a class");
    if (t->in_class) return buffer_append_text(t->out, WORD);
    return buffer_printf(t->out, "[%s%s]", letter == 'W' ? "^" : "", WORD);
}

static int translate_boundary(translation *t, char letter) {
    if (t->in_class) REFUSE(t, "\\b in a class");
    bool is_edge = letter == 'b';
    return buffer_printf(t->out, "(?:(?<=[%s])(?%c[%s])|(?<![%s])(?%c[%s]))", WORD, is_edge ? '!' : '=', WORD, WORD, is_edge ? '=' : '!', WORD);
}

/* at: behind the backslash. */
static int translate_escape(translation *t) {
    unsigned char letter = (unsigned char)*t->at;
    if (!letter) REFUSE(t, "a backslash before nothing");
    t->at++;
    switch (letter) {
    case 'p':
    case 'P': return translate_property(t, (char)letter);
    case 'u': return translate_code_point(t);
    case 'w':
    case 'W': return translate_word(t, (char)letter);
    case 'b':
    case 'B': return translate_boundary(t, (char)letter);
    case 'v': return buffer_append_text(t->out, "\\x0B");
    case 'x':
        if (*t->at != '{' && !(*t->at >= '0' && *t->at <= '7' && isxdigit((unsigned char)t->at[1]))) REFUSE(t, "a byte that is no character");
        break;
    case 'A':
    case 'z':
    case 'Z':
        if (t->in_class) REFUSE(t, "an anchor in a class");
        break;
    default:
        if (isalnum(letter) && !strchr("sSdDnrtfae", letter)) REFUSE(t, "an escape that engines read in different ways");
    }
    return buffer_printf(t->out, "\\%c", letter);
}

static int translate_in_class(translation *t) {
    if (*t->at == '[') REFUSE(t, "a class within a class");
    if (*t->at == '&' && t->at[1] == '&') REFUSE(t, "an intersection of classes");
    if (*t->at == ']') t->in_class = false;
    return buffer_append_byte(t->out, *t->at++);
}

static int begin_class(translation *t) {
    t->in_class = true;
    size_t n = t->at[1] == '^' ? 2 : 1;
    if (t->at[n] == ']') REFUSE(t, "a class that begins with ]");
    TRY(buffer_append(t->out, t->at, n));
    t->at += n;
    return LAMP_OK;
}

/* (?: (?= (?! (?> (?<= (?<! (?i: (?-i: and, at the very beginning, (?i) */
static int check_group(const translation *t) {
    const char *kind = t->at + 2;
    if (t->at[1] == '*') REFUSE(t, "a command to the engine");
    if (t->at[1] != '?' || (*kind && strchr(":=!>", *kind)) || !strncmp(kind, "<=", 2) || !strncmp(kind, "<!", 2)) return LAMP_OK;
    if (!strncmp(kind, "i:", 2) || !strncmp(kind, "-i:", 3) || (!strncmp(kind, "i)", 2) && t->at == t->regex)) return LAMP_OK;
    REFUSE(t, "a group that engines read in different ways");
}

static int check_interval(const translation *t) {
    const char *end = t->at + 1 + strspn(t->at + 1, "0123456789,");
    if (t->at[1] == ',') REFUSE(t, "an interval without a beginning");
    if (*end == '}' && end[1] == '+') REFUSE(t, "an interval that is repeated, or possessive,");
    return LAMP_OK;
}

int pattern_translate(buffer *out, const char *regex) {
    translation t = {out, regex, regex, false};
    while (*t.at) {
        char c = *t.at;
        if (c == '\\') {
            t.at++;
            TRY(translate_escape(&t));
        } else if (t.in_class) {
            TRY(translate_in_class(&t));
        } else if (c == '[') {
            TRY(begin_class(&t));
        } else {
            if (c == '(') TRY(check_group(&t));
            if (c == '{') TRY(check_interval(&t));
            TRY(buffer_append_byte(out, c));
            t.at++;
        }
    }
    if (t.in_class) REFUSE(&t, "a class without an end");
    return LAMP_OK;
}
