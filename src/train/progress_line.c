#include "train/progress_line.h"

#include "base/human.h"

void progress_line(buffer *line, const trainer *tr, const step_report *r) {
    char text[HUMAN_BYTES];
    buffer_printf(line, "step %lld", (long long)r->step);
    if (tr->recipe.steps > 0) buffer_printf(line, "/%lld", (long long)tr->recipe.steps);
    buffer_printf(line, " %.0f%% | loss %.3f (%+.1fz) | gnorm %.2f | lr %.1e | %.0f ms", 100 * r->used, r->loss, r->loss_z, r->gradient_norm, r->learning_rate,
                  1000 * r->step_seconds);
    buffer_printf(line, " | %s tok/s | %.0f%% peak", human_count(text, r->tokens_per_second), 100 * r->share_of_peak);
    if (tr->trace.load) buffer_printf(line, " | balance %.2f drop %.1f%% dead %d", r->balance, 100 * r->dropped, r->dead);
    buffer_printf(line, " | mem %sB", human_count(text, (double)r->bytes));
    buffer_printf(line, " | ETA %s", human_duration(text, r->seconds_left));
    if (r->skipped > 0) buffer_printf(line, " | %d MATRICES SKIPPED: not finite", r->skipped);
    if (!r->applied) buffer_append_text(line, " | NOT APPLIED: not finite");
}
