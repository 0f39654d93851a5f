#include "cli/print_profiles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"
#include "cli/readable.h"

enum { MOST_SHOWN = 64, SHOWN_OF_MORE = 16, WIDTH = 118, INDENT = 13 };

/* A token in quotes, any other value as it is called. */
static void append_value(buffer *out, const profiles *p, int kind, int32_t value) {
    buffer raw = {0};
    feature_describe(&raw, &p->features, kind, value);
    bool special = kind == FEATURE_TOKEN && raw.length == 0, quoted = kind == FEATURE_TOKEN && !special;
    if (special) buffer_append_text(&raw, "(end of text)");
    if (quoted) buffer_append_byte(out, '"');
    append_readable(out, READABLE_LINE, raw.bytes ? raw.bytes : "", raw.length);
    if (quoted) buffer_append_byte(out, '"');
    if (raw.status < 0) out->status = raw.status;
    buffer_release(&raw);
}

/* ---- lists that wrap -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int column; /* 0: nothing has been printed */
    buffer item;
} list;

static void print_item(list *l, const char *label) {
    if (l->item.status < 0 || !l->item.bytes) return;
    int width = count_columns(l->item.bytes);
    if (l->column == 0) l->column = printf("  %-*s", INDENT - 2, label);
    else if (l->column + 2 + width > WIDTH) l->column = printf("\n%*s", INDENT, "") - 1;
    else l->column += printf("  ");
    l->column += width;
    fputs(l->item.bytes, stdout);
    buffer_clear(&l->item);
}

static int end_list(list *l) {
    if (l->column > 0) putchar('\n');
    l->column = 0;
    return l->item.status;
}

/* ---- one expert ------------------------------------------------------------------------------------------------------------------- */

static void append_speciality(buffer *out, const profiles *p, const speciality *s) {
    enum { NAMED = 4 };
    if (s->feature == FEATURES) {
        buffer_append_text(out, profiles_too_little_text(p) ? "no speciality can be told from so little text" : "no nameable speciality");
        return;
    }
    buffer_append_text(out, s->feature == FEATURE_TOKEN ? s->values == 1 ? "the token " : "the tokens " : "mostly ");
    for (int i = 0; i < s->n && i < NAMED; i++) {
        if (i > 0) buffer_append_text(out, i == s->values - 1 ? " and " : ", ");
        append_value(out, p, s->feature, s->value[i]);
    }
    if (s->values > NAMED) buffer_printf(out, " and %d more", s->values - NAMED);
    buffer_printf(out, " (%.0f %% of its pairs, %.1f times %s share)", 100 * s->share, s->lift, s->values == 1 ? "its" : "their");
}

static void print_likes(list *l, const profiles *p, const profile *of, int kind, const char *label) {
    for (int i = 0; i < of->likes[kind].n; i++) {
        const affinity *liked = &of->likes[kind].liked[i];
        if (kind != FEATURE_TOKEN && (liked->lift < 1.1 || liked->z < p->threshold[kind])) continue; /* a few values: those it does not care for say nothing */
        append_value(&l->item, p, kind, liked->value);
        if (kind == FEATURE_TOKEN) buffer_printf(&l->item, " %.1f", liked->lift);
        else buffer_printf(&l->item, " %.0f %% (%.1f)", 100 * liked->share, liked->lift);
        print_item(l, label);
    }
}

static void append_text(buffer *out, const profiles *p, ptrdiff_t first, ptrdiff_t end) {
    buffer raw = {0};
    profiles_append_text(&raw, p, first, end);
    append_readable(out, READABLE_LINE, raw.bytes ? raw.bytes : "", raw.length);
    if (raw.status < 0) out->status = raw.status;
    buffer_release(&raw);
}

static void print_contexts(list *l, const profiles *p, const profile *of) {
    for (int i = 0; i < of->n_contexts; i++) {
        const routed_pair *pair = &p->r->pair[of->context[i]];
        ptrdiff_t first, end;
        profiles_find_context(p, pair->token, &first, &end);
        buffer_printf(&l->item, "%.2f %s: ", (double)pair->weight, p->r->e->domain[p->r->token[pair->token].domain].name);
        append_text(&l->item, p, first, pair->token);
        buffer_append_text(&l->item, "[");
        append_value(&l->item, p, FEATURE_TOKEN, p->r->token[pair->token].id);
        buffer_append_text(&l->item, "]");
        append_text(&l->item, p, pair->token + 1, end);
        print_item(l, i == 0 ? "contexts" : "");
        end_list(l);
    }
}

static void append_change(buffer *out, const char *name, const loss_change *c) {
    buffer_printf(out, "%s %+.4f", name, c->mean);
    if (isnan(c->low)) buffer_append_text(out, " (too few windows)");
    else buffer_printf(out, " (%+.4f to %+.4f)%s", c->low, c->high, c->low <= 0 && c->high >= 0 ? " ~" : "");
}

static void print_ablation(list *l, const profiles *p, const ablation *without, int expert) {
    const loss_change *c = ablation_of(without, expert);
    append_change(&l->item, "loss", c);
    if (c->high < 0) buffer_append_text(&l->item, ": better without it");
    else if (c->low <= 0) buffer_append_text(&l->item, ": not shown to be needed");
    print_item(l, "without it");
    for (int i = 0; i < without->n_domains; i++) {
        append_change(&l->item, p->r->e->domain[i].name, c + 1 + i);
        print_item(l, "");
    }
}

static int print_profile(profiles *p, const ablation *without, int expert) {
    static const char *const labels[FEATURES] = {"tokens", "classes", "domains", "positions"};
    profile of;
    list l = {0};
    int status = LAMP_OK;
    profile_make(&of, p, expert);
    append_speciality(&l.item, p, &of.speciality);
    TRY_TO(done, l.item.status);
    printf("\nexpert %-4d  %.1f %% of all pairs: %s\n", expert, 100 * (double)of.pairs / (double)p->r->pairs,
           of.pairs ? l.item.bytes : "dead, it received nothing");
    buffer_clear(&l.item);
    for (int f = 0; f < FEATURES && of.pairs > 0; f++) {
        if (f == FEATURE_DOMAIN && p->r->e->n_domains == 1) continue;
        print_likes(&l, p, &of, f, labels[f]);
        TRY_TO(done, end_list(&l));
    }
    for (int i = 0; i < of.n_partners; i++) {
        buffer_printf(&l.item, "expert %d (%.1f)", of.partners[i].expert, of.partners[i].lift);
        print_item(&l, "together");
    }
    TRY_TO(done, end_list(&l));
    if (of.pairs > 0) print_contexts(&l, p, &of);
    if (without && of.pairs > 0) print_ablation(&l, p, without, expert);
    TRY_TO(done, end_list(&l));
done:
    buffer_release(&l.item);
    return status;
}

/* ---- the layer -------------------------------------------------------------------------------------------------------------------- */

static void print_information(const information_report *report) {
    printf("what the choice of experts depends on, in bits of the %.2f that a place decides (entropy of the experts: %.2f)\n", report->most, report->entropy);
    printf("%-22s %9s %10s %15s\n", "", "counted", "by chance", "adjusted share");
    for (int i = 0; i < INFORMATIONS; i++)
        printf("%-22s %9.3f %10.3f %13.1f %%\n", information_names[i], report->of[i].bits, report->of[i].chance, 100 * report->of[i].share);
    printf("%s\n", information_verdict(report));
}

static int more_pairs(const void *a, const void *b) {
    const ptrdiff_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] < y[0] ? 1 : -1) : x[1] < y[1] ? -1 : x[1] > y[1];
}

int print_profiles(profiles *p, const ablation *without, bool all) {
    const routed_text *r = p->r;
    ptrdiff_t(*by_load)[2] = NULL;
    int E = r->experts, status = LAMP_OK;
    printf("layer %d: %td tokens in windows of %d; ", r->layer, r->tokens, r->T);
    print_information(&p->information);
    printf("\nin parentheses, and behind tokens: times the expert's share of everything; a change of loss with its 95 %% interval, ~ where that contains 0\n");
    TRY(memory_new(&by_load, (size_t)E, sizeof *by_load, "experts by load"));
    for (int e = 0; e < E; e++) by_load[e][0] = r->expert_start[e + 1] - r->expert_start[e], by_load[e][1] = e;
    bool some = E > MOST_SHOWN && !all;
    if (some) qsort(by_load, (size_t)E, sizeof *by_load, more_pairs);
    for (int i = 0; i < E; i++) {
        if (some && i == SHOWN_OF_MORE / 2) {
            printf("\n(%d experts between these: --all shows them)\n", E - SHOWN_OF_MORE);
            i = E - SHOWN_OF_MORE / 2;
        }
        TRY_TO(done, print_profile(p, without, (int)by_load[i][1]));
    }
done:
    memory_free(by_load);
    return status;
}

static void append_cell(buffer *out, buffer *text) {
    buffer_append_text(out, "<td class=\"left\">");
    if (text->bytes) append_readable(out, READABLE_MARKUP, text->bytes, text->length);
    buffer_append_text(out, "</td>");
    if (text->status < 0) out->status = text->status;
    buffer_clear(text);
}

int append_profiles_table(buffer *out, profiles *p) {
    const routed_text *r = p->r;
    buffer text = {0};
    buffer_printf(out, "<h2>What experts of layer %d specialise in</h2>\n<p>%s. Behind tokens: times the expert's share of everything.</p>\n"
                       "<div class=\"scroll\"><table><tr><th>expert</th><th>pairs</th><th class=\"left\">speciality</th><th class=\"left\">likes</th></tr>\n",
                  r->layer, information_verdict(&p->information));
    for (int e = 0; e < r->experts && e < MOST_SHOWN; e++) {
        profile of;
        profile_make(&of, p, e);
        buffer_printf(out, "<tr><td>%d</td><td>%.1f %%</td>", e, 100 * (double)of.pairs / (double)r->pairs);
        if (of.pairs) append_speciality(&text, p, &of.speciality);
        else buffer_append_text(&text, "dead, it received nothing");
        append_cell(out, &text);
        for (int i = 0; i < of.likes[FEATURE_TOKEN].n; i++) {
            const affinity *liked = &of.likes[FEATURE_TOKEN].liked[i];
            append_value(&text, p, FEATURE_TOKEN, liked->value);
            buffer_printf(&text, " %.1f%s", liked->lift, i + 1 < of.likes[FEATURE_TOKEN].n ? ", " : "");
        }
        append_cell(out, &text);
        buffer_append_text(out, "</tr>\n");
    }
    buffer_append_text(out, "</table></div>\n");
    if (r->experts > MOST_SHOWN) buffer_printf(out, "<p class=\"dim\">The first %d of %d experts.</p>\n", MOST_SHOWN, r->experts);
    buffer_release(&text);
    return out->status;
}
