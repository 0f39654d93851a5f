#include "cli/report_charts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/human.h"
#include "cli/readable.h"

enum { UNITS = 1000 };

void put_escaped(buffer *out, const char *text) { append_readable(out, READABLE_MARKUP, text, strlen(text)); }

/* ---- scales ------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    double low, high; /* of logarithms, if it is logarithmic */
    bool logarithmic;
} scale;

static double mean_of(const span *s) { return (double)s->sum / s->n; }

static void stretch(scale *s, double x) {
    if (s->logarithmic) x = x > 0 ? log10(x) : NAN;
    if (x < s->low) s->low = x;
    if (x > s->high) s->high = x;
}

static bool scale_of(scale *s, const chart *c, int filled) {
    *s = (scale){INFINITY, -INFINITY, c->logarithmic};
    for (int i = 0; i < c->n; i++)
        for (const span *at = c->line[i]; at < c->line[i] + POINTS; at++) {
            if (at->n == 0) continue;
            stretch(s, filled == 1 ? (double)at->least : mean_of(at));
            stretch(s, filled == 1 ? (double)at->most : mean_of(at));
        }
    if (!(s->low <= s->high)) return false;
    double range = s->high - s->low, margin = 0.04 * range;
    if (range < 1e-3 * fabs(s->high)) margin = s->logarithmic ? 0.05 : 0.1 * fabs(s->high);
    if (s->logarithmic) margin = fmax(margin, 0.02);
    bool from_zero = !s->logarithmic && s->low >= 0 && s->low <= 0.35 * s->high;
    if (from_zero && s->high == 0) s->high = 1;
    s->low = from_zero ? 0 : s->low - margin, s->high += margin;
    return true;
}

static int height_of(const scale *s, double x) {
    if (s->logarithmic) x = log10(x);
    double share = (x - s->low) / (s->high - s->low);
    return (int)lrint(UNITS * (1 - fmax(-0.05, fmin(1.05, share))));
}

static int left_of(int column) { return (2 * column + 1) * UNITS / (2 * POINTS); }

static void put_tick(buffer *out, const scale *s, double x) {
    int height = height_of(s, x);
    if (height < 0 || height > UNITS) return;
    char text[HUMAN_BYTES];
    snprintf(text, sizeof text, "%.4g", x);
    if (x >= 10000) human_count(text, x);
    buffer_printf(out, "<i style=\"top:%.1f%%\">%s</i>", height / 10.0, text);
}

/* Two to six round numbers: 1, 2 and 5 times powers of ten. */
static void put_ticks(buffer *out, const scale *s) {
    buffer_append_text(out, "<div class=\"y\">");
    double range = s->high - s->low;
    if (s->logarithmic && range > 0.7) {
        int every = (int)ceil(range / 5);
        for (double power = ceil(s->low); power <= s->high; power += every) {
            put_tick(out, s, pow(10, power));
            if (range < 2) put_tick(out, s, 2 * pow(10, power)), put_tick(out, s, 5 * pow(10, power));
        }
        if (range < 2) put_tick(out, s, 2 * pow(10, ceil(s->low) - 1)), put_tick(out, s, 5 * pow(10, ceil(s->low) - 1));
    } else {
        double low = s->logarithmic ? pow(10, s->low) : s->low, high = s->logarithmic ? pow(10, s->high) : s->high;
        double rough = (high - low) / 4, power = pow(10, floor(log10(rough))), digit = rough / power;
        double step = (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10) * power;
        for (double i = ceil(low / step); i * step <= high; i++) put_tick(out, s, i * step);
    }
    buffer_append_text(out, "</div>");
}

/* ---- lines -------------------------------------------------------------------------------------------------------------------------- */

static bool is_filled(const span *line) {
    for (int column = 0; column < POINTS; column++)
        if (line[column].n > 0) return true;
    return false;
}

typedef double end_of_span(const span *s);
static double least_of(const span *s) { return (double)s->least; }
static double most_of(const span *s) { return (double)s->most; }

/* One that is alone, with nothing on either side, is a dot: a line of no length, with round ends. */
static void put_points(buffer *out, const scale *s, const span *line, end_of_span *value, bool back, bool begins) {
    bool any = !begins;
    for (int i = 0; i < POINTS; i++) {
        int column = back ? POINTS - 1 - i : i;
        if (line[column].n == 0) continue;
        buffer_printf(out, "%c%d %d", any ? 'L' : 'M', left_of(column), height_of(s, value(&line[column])));
        if (!any) buffer_printf(out, "h0");
        any = true;
    }
}

static void put_line(buffer *out, const scale *s, const span *line, const char *class) {
    buffer_printf(out, "<path class=\"line %s\" d=\"", class);
    put_points(out, s, line, mean_of, false, true);
    buffer_append_text(out, "\"/>");
}

static void put_band(buffer *out, const scale *s, const span *line, const char *class) {
    buffer_printf(out, "<path class=\"band %s\" d=\"", class);
    put_points(out, s, line, least_of, false, true);
    put_points(out, s, line, most_of, true, false);
    buffer_append_text(out, "z\"/>");
}

/* Means of the columns around each, the nearer the heavier. */
static void put_smooth_line(buffer *out, const scale *s, const span *line) {
    enum { REACH = 12 };
    span smooth[POINTS] = {0};
    for (int i = 0; i < POINTS; i++) {
        double sum = 0, all = 0;
        int reach = i < REACH ? i : POINTS - 1 - i < REACH ? POINTS - 1 - i : REACH; /* evenly to both sides, or a slope would bend */
        for (int j = i - reach; j <= i + reach && line[i].n > 0; j++) {
            double part = reach + 1 - abs(j - i);
            if (line[j].n > 0) sum += part * mean_of(&line[j]), all += part;
        }
        if (all > 0) smooth[i] = (span){.sum = (float)(sum / all), .n = 1};
    }
    put_line(out, s, smooth, "c0 bold");
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Over the lines, column by column. */
static void put_quantiles(buffer *out, const scale *s, const chart *c) {
    span whole[POINTS] = {0}, middle[POINTS] = {0};
    double x[1 << 12];
    for (int column = 0; column < POINTS; column++) {
        int n = 0;
        for (int i = 0; i < c->n && n < 1 << 12; i++)
            if (c->line[i][column].n > 0) x[n++] = mean_of(&c->line[i][column]);
        if (n == 0) continue;
        qsort(x, (size_t)n, sizeof *x, ascending);
        whole[column] = (span){(float)x[0], (float)x[n - 1], (float)x[n / 2], 1};
        middle[column] = (span){(float)x[n / 4], (float)x[n - 1 - n / 4], (float)x[n / 2], 1};
    }
    put_band(out, s, whole, "c0 wide");
    put_band(out, s, middle, "c0");
    put_line(out, s, middle, "c0 bold");
}

static void put_marks(buffer *out, const report_facts *f) {
    buffer_append_text(out, "<path class=\"bad\" d=\"");
    for (int i = 0; i < POINTS; i++)
        if (f->not_applied[i]) buffer_printf(out, "M%d 0v%d", left_of(i), UNITS);
    buffer_append_text(out, "\"/><path class=\"found\" d=\"");
    for (int i = 0; i < f->n_episodes && i < MOST_EPISODES; i++)
        buffer_printf(out, "M%d 0v%d", (int)((double)f->episode[i].since / (double)(f->last > 0 ? f->last : 1) * UNITS), UNITS / 20);
    buffer_append_text(out, "\"/>");
}

/* From the least to the largest last value of a line. */
static void put_last(buffer *out, const chart *c) {
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < c->n; i++)
        for (int column = POINTS - 1; column >= 0; column--)
            if (c->line[i][column].n > 0) {
                double x = mean_of(&c->line[i][column]);
                least = fmin(least, x), most = fmax(most, x);
                break;
            }
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    bool large = most >= 10000;
    bool one = least == most;
    snprintf(a, sizeof a, one ? "%.4g" : "%.3g", least), snprintf(b, sizeof b, "%.3g", most);
    if (large) human_count(a, least), human_count(b, most);
    buffer_printf(out, "<output>%s%s%s%s%s</output>", a, one ? "" : " to ", one ? "" : b, *c->unit ? " " : "", c->unit);
}

void put_key(buffer *out, const chart *c) {
    buffer_append_text(out, "<ul class=\"key\">");
    for (int i = 0, colour = 0; i < c->n; i++) {
        if (!is_filled(c->line[i])) continue;
        buffer_printf(out, "<li class=\"c%d\">", colour++);
        put_escaped(out, c->name[i]);
        buffer_append_text(out, "</li>");
    }
    buffer_append_text(out, "</ul>");
}

static int count_filled(const chart *c) {
    int n = 0;
    for (int i = 0; i < c->n; i++) n += is_filled(c->line[i]);
    return n;
}

bool chart_shows_each(const chart *c) { return count_filled(c) <= EACH_LINE; }

void put_chart(buffer *out, const chart *c) {
    scale s;
    int filled = count_filled(c), colour = 0;
    bool each = filled <= EACH_LINE;
    if (filled == 0 || !scale_of(&s, c, filled)) return;
    buffer_printf(out, "<figure><figcaption><b>%s</b>", c->title);
    put_last(out, c);
    buffer_printf(out, "<p>%s</p></figcaption><div class=\"plot\">", c->meaning);
    put_ticks(out, &s);
    buffer_printf(out, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"%s\">", UNITS, UNITS, c->title);
    if (c->marked) put_marks(out, c->marked);
    if (!each) put_quantiles(out, &s, c);
    for (int i = 0; i < c->n && each; i++) {
        char class[16];
        if (!is_filled(c->line[i])) continue;
        snprintf(class, sizeof class, "c%d", colour++);
        if (filled == 1) put_band(out, &s, c->line[i], class);
        put_line(out, &s, c->line[i], c->smooth ? "c0 faint" : class);
        if (c->smooth) put_smooth_line(out, &s, c->line[i]);
    }
    buffer_printf(out, "</svg><div class=\"x\"><i>1</i><i>step</i><i>%lld</i></div></div>", (long long)c->last);
    if (c->key && each) put_key(out, c);
    buffer_append_text(out, "</figure>\n");
}

/* ---- cells -------------------------------------------------------------------------------------------------------------------------- */

void put_cells(buffer *out, const cells *c) {
    double gap = c->columns <= 64 ? 0.04 : 0;
    buffer_printf(out, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"heat map\" data-columns=\"%d\">", c->columns, c->rows,
                  c->columns);
    for (char letter = COLOUR_NOTHING; letter <= COLOUR_NONE; letter++) {
        buffer_printf(out, "<path class=\"q%c\" d=\"", letter);
        for (int i = 0; i < c->rows * c->columns; i++)
            if (c->cell[i] == letter && gap > 0)
                buffer_printf(out, "M%.2f %.2fh%.2fv%.2fh-%.2fz", i % c->columns + gap, i / c->columns + gap, 1 - 2 * gap, 1 - 2 * gap, 1 - 2 * gap);
            else if (c->cell[i] == letter) buffer_printf(out, "M%d %dh1v1h-1z", i % c->columns, i / c->columns);
        buffer_append_text(out, "\"/>");
    }
    buffer_append_text(out, "</svg>");
}

void put_cells_legend(buffer *out) {
    static const char *const said[] = {"1/8", "", "1/4", "", "1/2", "", "1", "", "2", "", "4", "", "8"};
    buffer_append_text(out, "<div class=\"legend\"><span><i class=\"qa\"></i>nothing</span><span>");
    for (char letter = COLOUR_NOTHING + 1; letter < COLOUR_NONE; letter++)
        buffer_printf(out, "<i class=\"q%c\">%s</i>", letter, said[letter - COLOUR_NOTHING - 1]);
    buffer_append_text(out, "times its even share</span><span><i class=\"qo\"></i>no experts</span></div>");
}
