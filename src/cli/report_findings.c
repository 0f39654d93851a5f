/* The part of a report that says what is wrong, and when. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "cli/report_charts.h"
#include "cli/report_page.h"
#include "train/run_logs.h"

typedef struct {
    buffer *out;
    bool passed;      /* those that have passed, or those that last */
    const char *code; /* of the card that is open, or NULL */
    int listed, left_out;
} finding_list;

enum { MOST_PLACES = 12 };

static void end_card(finding_list *l) {
    if (!l->code) return;
    if (l->left_out > 0) buffer_printf(l->out, "<li>and %d more layers</li>", l->left_out);
    buffer_append_text(l->out, "</ul></div>\n");
    l->code = NULL, l->listed = l->left_out = 0;
}

/* They come condition by condition: a card each. */
static void put_finding(void *context, const finding *f) {
    finding_list *l = context;
    if ((f->until >= 0) != l->passed) return;
    if (l->code != f->code) {
        end_card(l);
        l->code = f->code;
        buffer_printf(l->out, "<div class=\"card%s\"><b>%s</b>: %s. <span class=\"dim\">Try:</span> %s.<ul>", l->passed ? "" : " ill", f->name,
                      f->why, f->remedy);
    }
    if (l->listed++ >= MOST_PLACES) {
        l->left_out++;
        return;
    }
    buffer_append_text(l->out, "<li>");
    if (f->layer >= 0) buffer_printf(l->out, "layer %d, ", f->layer);
    if (f->until >= 0) buffer_printf(l->out, "steps %lld to %lld: ", (long long)f->since, (long long)f->until);
    else buffer_printf(l->out, "since step %lld: ", (long long)f->since);
    put_escaped(l->out, f->evidence);
    buffer_append_text(l->out, "</li>");
}

void put_verdict(buffer *out, const report_facts *f) {
    bool ill = doctor_finds_illness(f->doctor);
    finding_list lasting = {.out = out}, passed = {.out = out, .passed = true};
    buffer_printf(out, "<div class=\"verdict%s\">%s; the loss is %s</div>\n", ill ? " ill" : "", ill ? "not healthy" : "nothing is wrong",
                  loss_verdict_names[doctor_verdict(f->doctor)]);
    doctor_each(f->doctor, false, put_finding, &lasting);
    end_card(&lasting);
    if (f->n_episodes == 0) return;
    buffer_append_text(out, "<details><summary>what has passed</summary>\n");
    size_t before = out->length;
    doctor_each(f->doctor, false, put_finding, &passed);
    end_card(&passed);
    if (out->length == before) buffer_append_text(out, "<p>Nothing: what was found still lasts.</p>");
    buffer_append_text(out, "</details>\n");
}

/* ---- when ------------------------------------------------------------------------------------------------------------------------------ */

static double percent_of(const report_facts *f, int64_t step) { return f->last > 0 ? 100 * fmin(1, (double)step / (double)f->last) : 0; }

/* Whatever else happened, treatments too: marks on a lane of their own. A start's detail is its command, which is no news. */
static int put_events(buffer *out, const report_facts *f) {
    log_reader events = {0};
    int status, n = 0;
    enum { MOST_EVENTS = 1000 };
    buffer_append_text(out, "<span>events</span><div class=\"lane\">");
    TRY_TO(done, log_open(&events, f->run, "events.jsonl"));
    while (events.line && n < MOST_EVENTS) {
        const char *event = json_string_value(json_object_get(events.line, "event"));
        if (event && strncmp(event, "finding", 7) && strcmp(event, "checkpoint")) {
            bool bad = !strcmp(event, "step not applied") || !strcmp(event, "stopped");
            const char *detail = json_string_value(json_object_get(events.line, "detail"));
            buffer_printf(out, "<u%s style=\"left:%.2f%%\" title=\"step %lld: ", bad ? " class=\"bad\"" : "", fmin(99.7, percent_of(f, events.step)),
                          (long long)events.step);
            put_escaped(out, event);
            if (detail && strcmp(event, "start") && strcmp(event, "resume")) buffer_append_text(out, ": "), put_escaped(out, detail);
            buffer_append_text(out, "\"></u>");
            n++;
        }
        TRY_TO(done, log_next(&events));
    }
done:
    log_close(&events);
    buffer_append_text(out, "</div>\n");
    return status;
}

int put_time_line(buffer *out, const report_facts *f) {
    int n = f->n_episodes < MOST_EPISODES ? f->n_episodes : MOST_EPISODES;
    buffer_append_text(out, "<h2>Alarms</h2>\n<p>When each condition was there; darker, where more layers had it at once.</p>\n<div class=\"card time\">\n");
    for (int i = 0; i < n; i++) {
        const finding *first = &f->episode[i];
        bool shown = false;
        for (int j = 0; j < i; j++) shown = shown || f->episode[j].code == first->code;
        if (shown) continue;
        buffer_printf(out, "<span>%s</span><div class=\"lane\">", first->name);
        for (int j = i; j < n; j++) {
            const finding *g = &f->episode[j];
            if (g->code != first->code) continue;
            double left = percent_of(f, g->since), right = g->until < 0 ? 100 : percent_of(f, g->until);
            buffer_printf(out, "<b style=\"left:%.2f%%;width:%.2f%%\" title=\"", fmin(99.5, left), fmax(0.3, right - left));
            if (g->layer >= 0) buffer_printf(out, "layer %d, ", g->layer);
            buffer_printf(out, "from step %lld", (long long)g->since);
            if (g->until >= 0) buffer_printf(out, " to %lld", (long long)g->until);
            buffer_append_text(out, "\"></b>");
        }
        buffer_append_text(out, "</div>\n");
    }
    TRY(put_events(out, f));
    buffer_printf(out, "<span></span><div class=\"columns\"><span>step 1</span><span>%lld</span></div></div>\n", (long long)f->last);
    if (f->n_episodes > n) buffer_printf(out, "<p class=\"dim\">And %d later ones.</p>\n", f->n_episodes - n);
    return LAMP_OK;
}
