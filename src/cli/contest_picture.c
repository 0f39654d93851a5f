#include "cli/contest_picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/contest_table.h"
#include "cli/readable.h"

enum { PANEL = 320, PITCH = 390, LEFT = 66, TOP = 66, HEIGHT = 300, PIECES = 120, SHOWN = 20 /* the last part, to 1 / SHOWN of the largest */ };

static const char *const colors[] = {"#3f7f93", "#d98e32", "#7a9a4b", "#9b5b8a", "#c2493d", "#5b6bb0", "#8a7a4f", "#4a4a4a"};
static const char *color_of(int i) { return colors[i % (int)(sizeof colors / sizeof *colors)]; }

typedef struct {
    spending by;
    int left;
    double first, last;   /* spent */
    double lowest, highest; /* loss */
} panel;

typedef struct {
    double least, mean, most;
} band;

static double spent_at(const panel *p, int piece) { return piece < PIECES ? p->first * pow(p->last / p->first, (double)piece / PIECES) : p->last; }

/* Of all seeds, or NAN where one is missing. */
static band band_at(const contest *c, const contestant *m, const panel *p, int piece) {
    band b = {INFINITY, 0, -INFINITY};
    for (int i = 0; i < m->n; i++) {
        double loss = curve_score(contest_curve(c, m->run[i]), p->by, spent_at(p, piece), SCORE_LOSS);
        b.mean += loss / m->n, b.least = fmin(b.least, loss), b.most = fmax(b.most, loss);
    }
    return b;
}

static void measure(panel *p, const contest *c) {
    p->last = 0, p->lowest = INFINITY, p->highest = -INFINITY;
    for (int i = 0; i < c->n_runs; i++) p->last = fmax(p->last, curve_end(contest_curve(c, &c->run[i]), p->by));
    p->first = p->last / SHOWN;
    for (int i = 0; i < c->n_runs; i++) {
        const learning_curve *curve = contest_curve(c, &c->run[i]);
        for (size_t j = 0; j < curve->n; j++)
            if (curve->at[j].spent[p->by] >= p->first)
                p->lowest = fmin(p->lowest, curve->at[j].score[SCORE_LOSS]), p->highest = fmax(p->highest, curve->at[j].score[SCORE_LOSS]);
    }
    double margin = fmax(0.03 * (p->highest - p->lowest), 1e-3);
    p->lowest -= margin, p->highest += margin;
}

static double x_of(const panel *p, double spent) { return p->left + PANEL * log(spent / p->first) / log(p->last / p->first); }
static double y_of(const panel *p, double loss) { return TOP + HEIGHT * (p->highest - loss) / (p->highest - p->lowest); }

/* ---- axes --------------------------------------------------------------------------------------------------------------------------- */

/* 1, 2 and 5 times powers of ten. */
static double next_round(double x) {
    double power = pow(10, floor(log10(x) + 1e-9)), digit = x / power;
    return (digit < 1.5 ? 2 : digit < 3.5 ? 5 : 10) * power;
}

static void put_spent_ticks(buffer *svg, const panel *p) {
    char text[HUMAN_BYTES];
    for (double x = pow(10, floor(log10(p->first))); x <= p->last; x = next_round(x)) {
        if (x < p->first) continue;
        buffer_printf(svg, "<path d=\"M%.1f %d v%d\" stroke=\"#ddd8c8\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#777\">%s</text>\n",
                      x_of(p, x), TOP, HEIGHT, x_of(p, x), TOP + HEIGHT + 18, contest_spent(text, p->by, x));
    }
}

static void put_loss_ticks(buffer *svg, const panel *p) {
    double rough = (p->highest - p->lowest) / 8, step = next_round(rough);
    for (double i = ceil(p->lowest / step); i * step <= p->highest; i++)
        buffer_printf(svg, "<path d=\"M%d %.1f h%d\" stroke=\"#ddd8c8\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#777\">%.4g</text>\n", p->left,
                      y_of(p, i * step), PANEL, p->left - 8, y_of(p, i * step) + 4, i * step);
}

/* ---- lines -------------------------------------------------------------------------------------------------------------------------- */

static void put_line(buffer *svg, const contest *c, const contestant *m, const panel *p) {
    const char *color = color_of((int)(m - c->model));
    const char *begins = "M";
    buffer_printf(svg, "<path fill=\"%s\" fill-opacity=\"0.2\" d=\"", color);
    for (int i = 0; i <= 2 * PIECES + 1; i++) { /* there along the least, back along the most */
        bool back = i > PIECES;
        band b = band_at(c, m, p, back ? 2 * PIECES + 1 - i : i);
        if (!isfinite(b.mean)) continue;
        buffer_printf(svg, "%s%.1f %.1f", begins, x_of(p, spent_at(p, back ? 2 * PIECES + 1 - i : i)), y_of(p, back ? b.most : b.least));
        begins = "L";
    }
    buffer_printf(svg, "\"/><path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", color);
    begins = "M";
    for (int i = 0; i <= PIECES; i++) {
        band b = band_at(c, m, p, i);
        if (!isfinite(b.mean)) continue;
        buffer_printf(svg, "%s%.1f %.1f", begins, x_of(p, spent_at(p, i)), y_of(p, b.mean));
        begins = "L";
    }
    buffer_append_text(svg, "\"/>\n");
}

static void put_panel(buffer *svg, const contest *c, spending by) {
    static const char *const titles[SPENDINGS] = {"seconds of training", "floating-point operations", "tokens"};
    panel p = {.by = by, .left = LEFT + by * PITCH};
    measure(&p, c);
    buffer_printf(svg, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", p.left, TOP - 14, titles[by]);
    put_spent_ticks(svg, &p), put_loss_ticks(svg, &p);
    buffer_printf(svg, "<path d=\"M%.1f %d v%d\" stroke=\"#777\" stroke-dasharray=\"4 4\"/>\n<clipPath id=\"p%d\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath><g "
                  "clip-path=\"url(#p%d)\">\n",
                  x_of(&p, c->budget[by]), TOP, HEIGHT, by, p.left, TOP, PANEL, HEIGHT, by);
    for (const contestant *m = c->model; m < c->model + c->n; m++) put_line(svg, c, m, &p);
    buffer_append_text(svg, "</g>\n");
}

static void put_key(buffer *svg, const contest *c) {
    enum { ROW = 22, PLACE = 390 };
    for (int i = 0; i < c->n; i++) {
        int x = LEFT + i % SPENDINGS * PLACE, y = TOP + HEIGHT + 52 + i / SPENDINGS * ROW;
        buffer_printf(svg, "<rect x=\"%d\" y=\"%d\" width=\"18\" height=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">", x, y - 6, color_of(i), x + 26, y);
        append_readable(svg, READABLE_MARKUP, c->model[i].name, strlen(c->model[i].name));
        char all[HUMAN_BYTES], active[HUMAN_BYTES];
        buffer_printf(svg, ": %s parameters, %s active</text>\n", human_count(all, (double)c->model[i].run[0]->parameters),
                      human_count(active, (double)c->model[i].run[0]->active_parameters));
    }
}

void contest_picture(buffer *svg, const contest *c) {
    int width = LEFT + SPENDINGS * PITCH, height = TOP + HEIGHT + 62 + (c->n + SPENDINGS - 1) / SPENDINGS * 22;
    buffer_printf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"Helvetica, Arial, "
                       "sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fdfcf8\"/>\n"
                       "<text x=\"%d\" y=\"28\" font-size=\"18\">%s loss against what was spent</text>\n",
                  width, height, width, height, width, height, LEFT, c->validated ? "Validation" : "Training");
    for (int by = 0; by < SPENDINGS; by++) put_panel(svg, c, by);
    put_key(svg, c);
    buffer_append_text(svg, "</svg>\n");
}
