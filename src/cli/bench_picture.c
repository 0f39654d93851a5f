#include "cli/bench_picture.h"

#include <stdio.h>
#include <string.h>

#include "cli/readable.h"

const char *bench_rate(char text[BENCH_RATE_BYTES], const bench_row *row) {
    switch (row->unit) {
    case BENCH_FLOPS: snprintf(text, BENCH_RATE_BYTES, "%.0f GFLOP/s", row->per_second * 1e-9); break;
    case BENCH_BYTES: snprintf(text, BENCH_RATE_BYTES, "%.1f GB/s", row->per_second * 1e-9); break;
    case BENCH_TOKENS: snprintf(text, BENCH_RATE_BYTES, row->per_second < 100 ? "%.1f tokens/s" : "%.0f tokens/s", row->per_second); break;
    case BENCH_TIME: snprintf(text, BENCH_RATE_BYTES, "%.1f ms", row->seconds * 1e3); break;
    }
    return text;
}

double bench_share(const bench_row *row, const char **of) {
    *of = row->share_of_time > 0 ? "time" : row->share_of_roof > 0 ? "roof" : row->share_of_peak > 0 ? "peak" : "";
    return row->share_of_time > 0 ? row->share_of_time : row->share_of_roof > 0 ? row->share_of_roof : row->share_of_peak;
}

/* Rows that are compared with nothing are drawn against the largest of their unit. */
static double bar_length(const bench *b, const bench_row *row) {
    const char *of;
    double share = bench_share(row, &of), largest = 0;
    for (int i = 0; i < b->n; i++)
        if (b->row[i].unit == row->unit && b->row[i].per_second > largest) largest = b->row[i].per_second;
    if (!*of) share = largest > 0 ? row->per_second / largest : 0;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

void bench_picture(buffer *svg, const bench *b, const char *title) {
    enum { LEFT = 460, BAR = 400, WIDTH = 1140, TOP = 72, PITCH = 24, THICK = 16 };
    int height = TOP + b->n * PITCH + 20;
    buffer_printf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" ", WIDTH, height, WIDTH, height);
    buffer_append_text(svg, "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n");
    buffer_printf(svg, "<rect width=\"%d\" height=\"%d\" fill=\"#fdfcf8\"/>\n<text x=\"20\" y=\"30\" font-size=\"18\">", WIDTH, height);
    append_readable(svg, READABLE_MARKUP, title, strlen(title));
    buffer_append_text(svg, "</text>\n");
    for (int percent = 0; percent <= 100; percent += 25) {
        int x = LEFT + BAR * percent / 100;
        buffer_printf(svg, "<path d=\"M%d %d V%d\" stroke=\"#ddd8c8\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#777\">%d %%</text>\n",
                      x, TOP - 6, height - 16, x, TOP - 12, percent);
    }
    for (int i = 0; i < b->n; i++) {
        const bench_row *row = &b->row[i];
        char rate[BENCH_RATE_BYTES];
        const char *of, *color = row->unit == BENCH_TIME ? "#b7b09c" : row->precision[0] == 'b' ? "#d98e32" : row->precision[0] == 'i' ? "#7a9a4b" : "#3f7f93";
        int y = TOP + i * PITCH;
        double share = bench_share(row, &of), length = bar_length(b, row) * BAR;
        buffer_printf(svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 12, y + 13);
        append_readable(svg, READABLE_MARKUP, row->name, strlen(row->name));
        buffer_printf(svg, "</text><rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>", LEFT, y, length, THICK, color);
        buffer_printf(svg, "<text x=\"%d\" y=\"%d\">%s, %s", LEFT + BAR + 14, y + 13, bench_rate(rate, row), row->precision);
        if (*of) buffer_printf(svg, ", %.0f %% of %s", share * 100, of);
        else buffer_printf(svg, ", %d thread%s", row->threads, row->threads == 1 ? "" : "s");
        buffer_append_text(svg, "</text>\n");
    }
    buffer_append_text(svg, "</svg>\n");
}
