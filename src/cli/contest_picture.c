#include "cli/contest_picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/human.h"
#include "cli/readable.h"

enum { PANEL = 320, PITCH = 390, LEFT = 66, TOP = 66, HEIGHT = 300, PIECES = 120, SHOWN = 20 /* the last part, to 1 / SHOWN of the largest */ };

static const char *const colors[] = {"#3f7f93", "#d98e32", "#7a9a4b", "#9b5b8a", "#c2493d", "#5b6bb0", "#8a7a4f", "#4a4a4a"};
static const char *color_of(int i) { return colors[i % (int)(sizeof colors / sizeof *colors)]; }

typedef struct {
    spending by;
    int left;
    double first, last;     /* spent */
    double lowest, highest; /* loss */
} panel;

typedef struct {
    double least, mean, most;
} band;

/* As far as all seeds of the model came. */
static double end_of(const contest *c, const contestant *m, spending by) {
    double end = INFINITY;
    for (int i = 0; i < m->n; i++) end = fmin(end, curve_end(contest_curve(c, m->run[i]), by));
    return end;
}

static double spent_at(const panel *p, double end, int piece) {
    return piece < PIECES ? p->first * pow(end / p->first, (double)piece / PIECES) : end;
}

/* Of all seeds, or NAN where one is missing. */
static band band_at(const contest *c, const contestant *m, spending by, double spent) {
    band b = {INFINITY, 0, -INFINITY};
    for (int i = 0; i < m->n; i++) {
        double loss = curve_score(contest_curve(c, m->run[i]), by, spent, SCORE_LOSS);
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

/* The least of 1, 2 and 5 times powers of ten that is not below x. */
static double round_up(double x) {
    double power = pow(10, floor(log10(x))), digit = x / power;
    return (digit <= 1.001 ? 1 : digit <= 2.001 ? 2 : digit <= 5.001 ? 5 : 10) * power;
}

/* Round numbers in few letters: "500", "2k", "1T". */
static void put_short(buffer *svg, double x) {
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
    int unit = 0;
    while (x >= 999 && unit < 6) x /= 1000, unit++;
    buffer_printf(svg, "%g%s", x, units[unit]);
}

static void put_spent_ticks(buffer *svg, const panel *p) {
    for (double x = round_up(p->first); x <= p->last; x = round_up(1.5 * x)) {
        buffer_printf(svg, "<path d=\"M%.1f %d v%d\" stroke=\"#ddd8c8\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#777\">", x_of(p, x),
                      TOP, HEIGHT, x_of(p, x), TOP + HEIGHT + 18);
        put_short(svg, x);
        buffer_append_text(svg, "</text>\n");
    }
}

static void put_loss_ticks(buffer *svg, const panel *p) {
    double step = round_up((p->highest - p->lowest) / 8);
    for (double i = ceil(p->lowest / step); i * step <= p->highest; i++)
        buffer_printf(svg, "<path d=\"M%d %.1f h%d\" stroke=\"#ddd8c8\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#777\">%.4g</text>\n",
                      p->left, y_of(p, i * step), PANEL, p->left - 8, y_of(p, i * step) + 4, i * step);
}

/* ---- lines -------------------------------------------------------------------------------------------------------------------------- */

static void put_line(buffer *svg, const contest *c, const contestant *m, const panel *p) {
    const char *color = color_of((int)(m - c->model));
    const char *begins = "M";
    double end = end_of(c, m, p->by);
    buffer_printf(svg, "<path fill=\"%s\" fill-opacity=\"0.2\" d=\"", color);
    for (int i = 0; i <= 2 * PIECES + 1; i++) { /* there along the least, back along the most */
        bool back = i > PIECES;
        double spent = spent_at(p, end, back ? 2 * PIECES + 1 - i : i);
        band b = band_at(c, m, p->by, spent);
        if (!isfinite(b.mean)) continue;
        buffer_printf(svg, "%s%.1f %.1f", begins, x_of(p, spent), y_of(p, back ? b.most : b.least));
        begins = "L";
    }
    buffer_printf(svg, "\"/><path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", color);
    begins = "M";
    for (int i = 0; i <= PIECES; i++) {
        double spent = spent_at(p, end, i), mean = band_at(c, m, p->by, spent).mean;
        if (!isfinite(mean)) continue;
        buffer_printf(svg, "%s%.1f %.1f", begins, x_of(p, spent), y_of(p, mean));
        begins = "L";
    }
    buffer_append_text(svg, "\"/>\n");
}

static void put_panel(buffer *svg, const contest *c, spending by) {
    static const char *const titles[SPENDINGS] = {"seconds of training", "FLOPs", "tokens"};
    panel p = {.by = by, .left = LEFT + by * PITCH};
    measure(&p, c);
    buffer_printf(svg, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", p.left, TOP - 14, titles[by]);
    put_spent_ticks(svg, &p), put_loss_ticks(svg, &p);
    buffer_printf(svg, "<path d=\"M%.1f %d v%d\" stroke=\"#777\" stroke-dasharray=\"4 4\"/>\n", x_of(&p, c->budget[by]), TOP, HEIGHT);
    buffer_printf(svg, "<clipPath id=\"p%d\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>\n<g clip-path=\"url(#p%d)\">\n", by,
                  p.left, TOP, PANEL, HEIGHT, by);
    for (const contestant *m = c->model; m < c->model + c->n; m++) put_line(svg, c, m, &p);
    buffer_append_text(svg, "</g>\n");
}

static void put_key(buffer *svg, const contest *c) {
    enum { ROW = 22, PLACE = 390 };
    for (int i = 0; i < c->n; i++) {
        int x = LEFT + i % SPENDINGS * PLACE, y = TOP + HEIGHT + 52 + i / SPENDINGS * ROW;
        buffer_printf(svg, "<rect x=\"%d\" y=\"%d\" width=\"18\" height=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">", x, y - 6, color_of(i), x + 26,
                      y);
        append_readable(svg, READABLE_MARKUP, c->model[i].name, strlen(c->model[i].name));
        char all[HUMAN_BYTES], active[HUMAN_BYTES];
        buffer_printf(svg, ": %s parameters, %s active</text>\n", human_count(all, (double)c->model[i].run[0]->parameters),
                      human_count(active, (double)c->model[i].run[0]->active_parameters));
    }
}

void contest_picture(buffer *svg, const contest *c) {
    int width = LEFT + SPENDINGS * PITCH, height = TOP + HEIGHT + 62 + (c->n + SPENDINGS - 1) / SPENDINGS * 22;
    buffer_printf(svg,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"Helvetica, Arial, "
                  "sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fdfcf8\"/>\n"
                  "<text x=\"%d\" y=\"28\" font-size=\"18\">%s loss against what was spent</text>\n",
                  width, height, width, height, width, height, LEFT, c->validated ? "Validation" : "Training");
    for (int by = 0; by < SPENDINGS; by++) put_panel(svg, c, by);
    put_key(svg, c);
    buffer_append_text(svg, "</svg>\n");
}
