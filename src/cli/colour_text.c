#include "cli/colour_text.h"

#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "cli/readable.h"

enum { COLOURS = 8, STYLES = 4 };

static const struct {
    int background, foreground; /* of the 256 of a terminal */
    const char *tint;           /* on a page, behind black */
} colours[COLOURS] = {
    {214, 16, "230 159 0"}, {74, 16, "86 180 233"},   {36, 16, "0 158 115"},     {221, 16, "240 228 66"},
    {25, 231, "0 114 178"}, {166, 231, "213 94 0"}, {175, 16, "204 121 167"}, {245, 16, "153 153 153"},
};

static const struct {
    int code;
    const char *rule;
} styles[STYLES] = {{0, ""}, {4, "text-decoration:underline"}, {1, "font-weight:bold"}, {3, "font-style:italic"}};

static int colour_of(int expert) { return expert % COLOURS; }
static int style_of(int expert) { return expert / COLOURS % STYLES; }

/* Of the token's heaviest pair, the earlier of equals; -1 if none found room. */
static int expert_of(const routed_text *r, ptrdiff_t n) {
    ptrdiff_t best = r->token[n].first;
    if (best == r->token[n + 1].first) return -1;
    for (ptrdiff_t i = best; i < r->token[n + 1].first; i++)
        if (r->pair[i].weight > r->pair[best].weight) best = i;
    return r->pair[best].expert;
}

/* ---- the three ways --------------------------------------------------------------------------------------------------------------- */

typedef struct {
    void (*begin)(buffer *out, const routed_text *r, ptrdiff_t n, int expert);
    const char *end;
    readable_form form;
    bool line_by_line; /* a terminal that scrolls fills the new line with the colour that is on */
} manner;

static void begin_colour(buffer *out, const routed_text *r, ptrdiff_t n, int expert) {
    (void)r, (void)n;
    if (expert < 0) return;
    buffer_printf(out, "\033[%d;48;5;%d;38;5;%dm", styles[style_of(expert)].code, colours[colour_of(expert)].background, colours[colour_of(expert)].foreground);
}

static void begin_mark(buffer *out, const routed_text *r, ptrdiff_t n, int expert) {
    if (n > 0 && expert_of(r, n - 1) == expert) return;
    if (expert < 0) buffer_append_text(out, "[-]");
    else buffer_printf(out, "[%d]", expert);
}

static void begin_span(buffer *out, const routed_text *r, ptrdiff_t n, int expert) {
    if (expert < 0) {
        buffer_append_text(out, "<span title=\"no expert had room\">");
        return;
    }
    buffer_printf(out, "<span class=\"e%d c%d s%d\" title=\"", expert, colour_of(expert), style_of(expert));
    for (ptrdiff_t i = r->token[n].first; i < r->token[n + 1].first; i++)
        buffer_printf(out, "%sexpert %d: %.2f", i > r->token[n].first ? ", " : "", r->pair[i].expert, (double)r->pair[i].weight);
    buffer_append_text(out, "\">");
}

static const manner on_terminal = {begin_colour, "\033[0m", READABLE_LINES, true}, with_marks = {begin_mark, "", READABLE_LINES, false},
                    on_page = {begin_span, "</span>", READABLE_MARKUP, false};

/* Tokens are runs of bytes, not of characters: a character belongs to the token with its first byte, and a token without one is not seen. */
static void append_text(buffer *out, const routed_text *r, const tokenizer *words, const manner *how) {
    buffer all = {0};
    size_t at = 0, end = 0, length;
    for (ptrdiff_t n = 0; n < r->tokens; n++) {
        const char *bytes = tokenizer_token_bytes(words, r->token[n].id, &length);
        buffer_append(&all, bytes, length);
    }
    for (ptrdiff_t n = 0; n < r->tokens && all.status >= 0; n++) {
        size_t first = at;
        tokenizer_token_bytes(words, r->token[n].id, &length);
        end += length;
        while (at < end) {
            size_t step = character_length(all.bytes + at, all.length - at, NULL);
            at += step > 0 ? step : 1;
        }
        for (size_t next; first < at; first = next) {
            const char *line_end = how->line_by_line ? memchr(all.bytes + first, '\n', at - first) : NULL;
            next = line_end ? (size_t)(line_end - all.bytes) + 1 : at;
            how->begin(out, r, n, expert_of(r, n));
            append_readable(out, how->form, all.bytes + first, next - first - (line_end != NULL));
            buffer_append_text(out, how->end);
            if (line_end) buffer_append_byte(out, '\n');
        }
    }
    if (all.status < 0) out->status = all.status;
    buffer_release(&all);
}

/* Tokens whose heaviest expert it is. */
static int64_t count_tokens(const routed_text *r, int expert) {
    int64_t count = 0;
    for (ptrdiff_t i = r->expert_start[expert]; i < r->expert_start[expert + 1]; i++) count += expert_of(r, r->pair[r->of_expert[i]].token) == expert;
    return count;
}

void append_coloured_text(buffer *out, const routed_text *r, const tokenizer *words, bool coloured) {
    const manner *how = coloured ? &on_terminal : &with_marks;
    append_text(out, r, words, how);
    if (out->length > 0 && out->bytes[out->length - 1] != '\n') buffer_append_byte(out, '\n');
    buffer_printf(out, "\nlayer %d; each token's heaviest expert, and its share of the %td tokens:\n", r->layer, r->tokens);
    for (int e = 0, shown = 0; e < r->experts; e++) {
        int64_t count = count_tokens(r, e);
        if (count == 0) continue;
        if (shown > 0) buffer_append_text(out, shown % 8 == 0 ? "\n" : "  ");
        if (coloured) begin_colour(out, r, 0, e);
        buffer_printf(out, "%4d", e);
        if (coloured) buffer_append_text(out, how->end);
        buffer_printf(out, " %4.1f %%", 100 * (double)count / (double)r->tokens);
        shown++;
    }
    buffer_append_byte(out, '\n');
}

void append_coloured_page(buffer *out, const routed_text *r, const tokenizer *words, const char *title) {
    buffer_append_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    append_readable(out, READABLE_MARKUP, title, strlen(title));
    buffer_append_text(out, "</title>\n<style>\nbody{max-width:60rem;margin:2rem auto;padding:0 1rem;font:1rem/1.7 Georgia,serif;color:#111;background:#fff}\n"
                            "h1{font-size:1.2rem}\npre{white-space:pre-wrap;overflow-wrap:anywhere;font:.95rem/1.8 monospace}\n"
                            "ul{padding:0;list-style:none}\nli{display:inline-block;margin:.1rem .3rem .1rem 0;padding:0 .4rem;cursor:default}\n");
    for (int i = 0; i < COLOURS; i++) buffer_printf(out, ".c%d{background:rgb(%s / .5)}", i, colours[i].tint);
    for (int i = 1; i < STYLES; i++) buffer_printf(out, ".s%d{%s}", i, styles[i].rule);
    buffer_append_byte(out, '\n');
    for (int e = 0; e < r->experts; e++)
        if (count_tokens(r, e) > 0) buffer_printf(out, "body:has(li.e%d:hover) pre span:not(.e%d){background:none;opacity:.4}\n", e, e);
    buffer_append_text(out, "</style>\n<h1>");
    append_readable(out, READABLE_MARKUP, title, strlen(title));
    buffer_printf(out, "</h1>\n<p>Layer %d, %td tokens, each in the colour of its heaviest expert. Rest on a token for all its experts and their weights, "
                       "on an expert to see its tokens alone.</p>\n<ul>\n",
                  r->layer, r->tokens);
    for (int e = 0; e < r->experts; e++) {
        int64_t count = count_tokens(r, e);
        if (count == 0) continue;
        buffer_printf(out, "<li class=\"e%d c%d s%d\">expert %d: %.1f %%</li>\n", e, colour_of(e), style_of(e), e, 100 * (double)count / (double)r->tokens);
    }
    buffer_append_text(out, "</ul>\n<pre>\n");
    append_text(out, r, words, &on_page);
    buffer_append_text(out, "</pre>\n</html>\n");
}

void json_put_routed_text(json_writer *w, const routed_text *r, const tokenizer *words) {
    size_t length;
    json_begin_object(w, "text");
    json_put_integer(w, "layer", r->layer);
    json_begin_array(w, "tokens");
    for (ptrdiff_t n = 0; n < r->tokens; n++) {
        const char *bytes = tokenizer_token_bytes(words, r->token[n].id, &length);
        json_begin_object(w, NULL);
        json_put_integer(w, "id", r->token[n].id);
        json_put_bytes(w, "token", bytes, length);
        json_begin_array(w, "experts");
        for (ptrdiff_t i = r->token[n].first; i < r->token[n + 1].first; i++) json_put_integer(w, NULL, r->pair[i].expert);
        json_end_array(w);
        json_begin_array(w, "weights");
        for (ptrdiff_t i = r->token[n].first; i < r->token[n + 1].first; i++) json_put_number(w, NULL, (double)r->pair[i].weight);
        json_end_array(w);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}
