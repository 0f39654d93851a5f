/* Charts of a report: an SVG of 1000 x 1000 units that stretches to its place, its labels as HTML around it, so that text keeps its size on
 * any screen. Colours are classes; the style sheet (report_look.c) knows light and dark. */
#ifndef REPORT_CHARTS_H
#define REPORT_CHARTS_H

#include "base/buffer.h"
#include "cli/report_facts.h"

void put_escaped(buffer *out, const char *text);

enum { EACH_LINE = 8 /* of more lines, a band: least, quartiles, median, largest */ };

typedef struct {
    const char *title, *meaning;
    bool logarithmic, smooth, key; /* smooth: also a line of the means around; key: which colour is which line */
    const char *unit;
    int n;
    const span *const *line; /* (n) of POINTS; those without a value are passed over */
    const char *const *name; /* (n) */
    int64_t last;            /* step */
    const report_facts *marked; /* whose bad steps and findings to mark; may be NULL */
} chart;

/* Nothing, if there is no value. */
void put_chart(buffer *out, const chart *c);

/* For many charts of the same lines. */
void put_key(buffer *out, const chart *c);
bool chart_shows_each(const chart *c);

/* One class a colour, all of its cells in one path. */
void put_cells(buffer *out, const cells *c);
void put_cells_legend(buffer *out);

#endif
