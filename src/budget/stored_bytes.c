#include "budget/stored_bytes.h"

#include <string.h>

#include "base/error.h"
#include "formats/model_source.h"

static stored_share *share_of(stored_bytes *s, price_part part, const char *form) {
    int i = 0;
    while (i < s->n && (s->share[i].part < part || (s->share[i].part == part && strcmp(s->share[i].form, form)))) i++;
    if (i < s->n && s->share[i].part == part) return &s->share[i];
    CHECK(s->n < STORED_SHARES, "more than %d forms of weights", STORED_SHARES);
    memmove(s->share + i + 1, s->share + i, sizeof *s->share * (size_t)(s->n++ - i));
    s->share[i] = (stored_share){.part = part, .form = form};
    return &s->share[i];
}

int stored_bytes_count(stored_bytes *s, const model *m, const char *path) {
    model_source *source;
    *s = (stored_bytes){0};
    TRY(model_source_open(&source, path));
    int status = model_source_find(source, &m->weights);
    const stored_group *group = model_source_groups(source);
    for (int i = 0; i < m->weights.n && status >= 0; i++) {
        const weight *w = m->weights.row[i];
        const double active = (double)model_active_values(m, w) / (double)weight_size(w);
        for (ptrdiff_t g = 0; g < w->groups; g++, group++) {
            const double bytes = (double)(w->out * w->in) * group->value_bytes;
            stored_share *share = share_of(s, price_part_of(m, w), group->form);
            share->held += bytes, share->touched += active * bytes;
            s->held += bytes, s->touched += active * bytes;
        }
    }
    model_source_close(source);
    return status;
}
