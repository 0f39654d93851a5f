#include "budget/stored_bytes.h"

#include "base/error.h"
#include "formats/model_source.h"

static void add(stored_share *s, double held, double touched) { s->held += held, s->touched += touched; }

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
            const stored_type type = group->bytes ? group->type : STORED_REAL;
            const double bytes = (double)(w->out * w->in) / (double)stored_formats[type].values * (double)stored_formats[type].bytes;
            add(&s->share[price_part_of(m, w)][type], bytes, active * bytes);
            add(&s->all, bytes, active * bytes);
        }
    }
    model_source_close(source);
    return status;
}
