#include "cli/print_conversion.h"

#include <stdio.h>

#include "base/human.h"

static double lost_percent(const conversion *c, int part) {
    const saved_loss loss = conversion_loss_of_part(c, part);
    return 100 * saved_loss_relative(&loss);
}

void print_conversion(const conversion *c, const char *out) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], d[HUMAN_BYTES];
    printf("%s, %s parameters, %sB of weights -> %s, %sB\n", c->model.config.family, human_count(a, (double)c->model.weights.total),
           human_count(b, (double)c->bytes_before), out, human_count(d, (double)c->bytes_after));
    for (int p = 0; p < CONVERSION_PARTS; p++)
        for (int t = 0; t < STORED_TYPES; t++) {
            double lost = lost_percent(c, p);
            if (c->bytes[p][t] == 0) continue;
            printf("%-17s %-5s %9sB", conversion_part_name[p], stored_formats[t].name, human_count(a, (double)c->bytes[p][t]));
            if (lost > 0) printf("   off by %.3g %%", lost);
            putchar('\n');
        }
}

void put_conversion(json_writer *w, const conversion *c, const conversion_request *q) {
    json_put_text(w, "model", q->from);
    json_put_text(w, "out", q->to);
    json_put_text(w, "family", c->model.config.family);
    json_put_integer(w, "parameters", c->model.weights.total);
    json_put_integer(w, "bytes_before", c->bytes_before);
    json_put_integer(w, "bytes", c->bytes_after);
    json_begin_array(w, "parts");
    for (int p = 0; p < CONVERSION_PARTS; p++)
        for (int t = 0; t < STORED_TYPES; t++) {
            if (c->bytes[p][t] == 0) continue;
            json_begin_object(w, NULL);
            json_put_text(w, "part", conversion_part_name[p]);
            json_put_text(w, "type", stored_formats[t].name);
            json_put_integer(w, "bytes", c->bytes[p][t]);
            json_put_rounded(w, "relative_error", lost_percent(c, p) / 100);
            json_end_object(w);
        }
    json_end_array(w);
}
