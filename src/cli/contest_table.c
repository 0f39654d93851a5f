#include "cli/contest_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/human.h"
#include "cli/readable.h"

enum { NARROWEST = 6, WIDEST = 29, CELL_BYTES = 64 };

/* "210 s", "3.02 TFLOP", "2.46M tokens" */
static const char *spent_text(char text[HUMAN_BYTES], spending by, double spent) {
    char number[HUMAN_BYTES];
    human_count(number, spent);
    if (by == SPENT_SECONDS) snprintf(text, HUMAN_BYTES, spent < 10 ? "%.2f s" : "%.0f s", spent);
    else if (by == SPENT_TOKENS) snprintf(text, HUMAN_BYTES, "%.16s tokens", number);
    else {
        char *unit = strpbrk(number, "kMGTP");
        snprintf(text, HUMAN_BYTES, "%.*s %sFLOP", (int)(unit ? (size_t)(unit - number) : strlen(number)), number, unit ? unit : "");
    }
    return text;
}

/* ---- cells -------------------------------------------------------------------------------------------------------------------------- */

static void put_blanks(buffer *out, int columns) {
    if (columns > 0) buffer_printf(out, "%*s", columns, "");
}

static void put_right(buffer *out, const char *text, int columns) {
    put_blanks(out, columns - count_columns(text));
    buffer_append_text(out, text);
}

/* And blanks up to that many columns. */
static void put_name(buffer *out, const char *name, int columns) {
    size_t begin = out->length;
    append_readable(out, READABLE_LINE, name, strlen(name));
    if (out->status >= 0) put_blanks(out, columns - count_columns(out->bytes + begin));
}

static int name_columns(const contest *c) {
    int widest = NARROWEST;
    for (int i = 0; i < c->n; i++)
        if (count_columns(c->model[i].name) > widest) widest = count_columns(c->model[i].name);
    return widest < WIDEST ? widest : WIDEST;
}

static void put_interval(buffer *out, interval x, const char *format, int columns) {
    char mean[CELL_BYTES] = "-", margin[CELL_BYTES] = "", all[2 * CELL_BYTES];
    if (isfinite(x.mean)) snprintf(mean, sizeof mean, format, x.mean);
    if (isfinite(x.mean) && isfinite(x.margin)) snprintf(margin, sizeof margin, " ± %.4f", x.margin);
    snprintf(all, sizeof all, "%s%s", mean, margin);
    put_right(out, all, columns);
}

static void put_count(buffer *out, double number, const char *unit, int columns) {
    char text[HUMAN_BYTES], all[CELL_BYTES];
    snprintf(all, sizeof all, "%s%s", human_count(text, number), unit);
    put_right(out, all, columns);
}

static void put_ratio(buffer *out, double ratio) {
    char text[CELL_BYTES] = "-";
    if (isfinite(ratio)) snprintf(text, sizeof text, "%.2fx %s", ratio < 1 ? 1 / ratio : ratio, ratio < 1 ? "more" : "less");
    put_right(out, text, 16);
}

/* ---- tables ------------------------------------------------------------------------------------------------------------------------- */

static void put_models(buffer *out, const contest *c, int columns) {
    buffer_printf(out, "%-*s%8s%13s%11s%15s%12s\n", columns, "model", "seeds", "parameters", "active", "FLOP a token", "most held");
    for (const contestant *m = c->model; m < c->model + c->n; m++) {
        const run_record *r = m->run[0];
        put_name(out, m->name, columns);
        buffer_printf(out, "%8d", m->n);
        put_count(out, (double)r->parameters, "", 13), put_count(out, (double)r->active_parameters, "", 11);
        put_count(out, r->flops_per_token, "", 15), put_count(out, (double)m->bytes, "B", 12);
        buffer_append_byte(out, '\n');
    }
}

static void put_standings(buffer *out, const contest *c, spending by, int columns) {
    static const char *const of[SPENDINGS] = {" of training", "", ""};
    char spent[HUMAN_BYTES];
    buffer_printf(out, "\nafter %s%s, where ", spent_text(spent, by, c->budget[by]), of[by]);
    put_name(out, c->shortest[by]->path, 0);
    buffer_printf(out, " ends\n%-*s%18s%18s%19s%16s\n", columns, "model", "loss", "bits per byte", "from the first", "for equal loss");
    for (const contestant *m = c->model; m < c->model + c->n; m++) {
        const standing *s = &m->at[by];
        put_name(out, m->name, columns);
        put_interval(out, s->score[SCORE_LOSS], "%.4f", 18), put_interval(out, s->score[SCORE_BITS], "%.4f", 18);
        if (m > c->model) put_interval(out, s->difference, "%+.4f", 19), put_ratio(out, s->ratio);
        buffer_append_byte(out, '\n');
    }
}

/* The least memory first; a model enters where no smaller one was as good. */
static void put_memory(buffer *out, const contest *c, int columns) {
    char spent[HUMAN_BYTES];
    int64_t shown = -1;
    buffer_printf(out, "\nwithin memory, after %s (*: no model that holds as little is better)\n%-*s%13s%13s%11s\n",
                  spent_text(spent, SPENT_TOKENS, c->budget[SPENT_TOKENS]), columns, "model", "most held", "parameters", "loss");
    for (int left = c->n; left > 0;) {
        int64_t least = INT64_MAX;
        for (int i = 0; i < c->n; i++)
            if (c->model[i].bytes > shown && c->model[i].bytes < least) least = c->model[i].bytes;
        for (const contestant *m = c->model; m < c->model + c->n; m++) {
            if (m->bytes != least) continue;
            put_name(out, m->name, columns);
            put_count(out, (double)m->bytes, "B", 13), put_count(out, (double)m->run[0]->parameters, "", 13);
            put_interval(out, (interval){m->at[SPENT_TOKENS].score[SCORE_LOSS].mean, NAN}, "%.4f", 11);
            buffer_append_text(out, m->on_front ? " *\n" : "\n");
            left--;
        }
        shown = least;
    }
}

void contest_table(buffer *out, const contest *c) {
    int columns = name_columns(c);
    put_models(out, c, columns);
    for (int by = 0; by < SPENDINGS; by++) put_standings(out, c, by, columns);
    put_memory(out, c, columns);
    if (c->has_effective)
        buffer_printf(out, "\neffective parameters: active^%.2f x total^%.2f; loss = %.3f - %.3f log of them, within %.4f\n",
                      1 - c->effective.share_of_total, c->effective.share_of_total, c->effective.a, c->effective.b, c->effective.error);
    buffer_printf(out, "\n%s loss in nats per token, means over seeds ± 95 %%. For equal loss: what it spends, against the first.\n",
                  c->validated ? "Validation" : "Training");
}
