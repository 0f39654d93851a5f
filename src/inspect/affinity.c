#include "inspect/affinity.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"

/* Of one value and one expert; ab and squares are the sums over windows of a b and a^2. */
struct affinity_cell {
    int64_t here, count; /* here: in this window */
    double ab, squares;
};

int affinities_open(affinities *a, const routed_text *r, const feature *f) {
    *a = (affinities){.r = r, .f = f};
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&a->everywhere, (size_t)f->values, sizeof *a->everywhere, "counts of a feature's values"));
    TRY_TO(done, memory_new(&a->cell, (size_t)f->values, sizeof *a->cell, "counts of an expert's values"));
    TRY_TO(done, memory_new(&a->liked, (size_t)f->values, sizeof *a->liked, "what an expert likes"));
    for (ptrdiff_t i = 0; i < r->pairs; i++) a->seen += a->everywhere[f->value[r->pair[i].token]]++ == 0;
done:
    if (status < 0) affinities_close(a);
    return status;
}

void affinities_close(affinities *a) {
    memory_free(a->everywhere);
    memory_free(a->cell);
    memory_free(a->liked);
    *a = (affinities){0};
}

static int by_rank(const void *a, const void *b) {
    const affinity *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? 1 : -1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* Adds one window's pairs, first .. end of the expert's; returns b squared. */
static double add_window(affinities *a, ptrdiff_t first, ptrdiff_t end) {
    double b = (double)(end - first);
    for (ptrdiff_t i = first; i < end; i++) a->cell[a->f->value[a->r->pair[a->r->of_expert[i]].token]].here++;
    for (ptrdiff_t i = first; i < end; i++) {
        int32_t x = a->f->value[a->r->pair[a->r->of_expert[i]].token];
        struct affinity_cell *c = &a->cell[x];
        double here = (double)c->here;
        if (c->here == 0) continue;
        if (c->count == 0) a->liked[a->n++].value = x;
        c->count += c->here, c->ab += here * b, c->squares += here * here, c->here = 0;
    }
    return b * b;
}

void affinities_ask(affinities *a, int expert) {
    const routed_text *r = a->r;
    ptrdiff_t first = r->expert_start[expert], end = r->expert_start[expert + 1];
    double own = (double)(end - first), squares = 0;
    a->n = 0;
    for (ptrdiff_t i = first, next; i < end; i = next) {
        ptrdiff_t window = r->pair[r->of_expert[i]].token / r->T;
        for (next = i + 1; next < end && r->pair[r->of_expert[next]].token / r->T == window;) next++;
        squares += add_window(a, i, next);
    }
    for (ptrdiff_t i = 0; i < a->n; i++) {
        affinity *l = &a->liked[i];
        struct affinity_cell *c = &a->cell[l->value];
        double q = (double)a->everywhere[l->value] / (double)r->pairs, count = (double)c->count;
        double variance = c->squares - 2 * q * c->ab + q * q * squares;
        l->count = c->count, l->share = count / own, l->lift = l->share / q, l->rank = count * log(l->lift);
        l->z = variance > 0 ? (count - q * own) / sqrt(variance) : 0;
        *c = (struct affinity_cell){0};
    }
    qsort(a->liked, (size_t)a->n, sizeof *a->liked, by_rank);
}

double affinity_threshold(double tests) {
    double low = 0, high = 40, mistake = 0.01 / fmax(tests, 1);
    for (int i = 0; i < 100; i++) {
        double z = (low + high) / 2;
        if (erfc(z / M_SQRT2) / 2 > mistake) low = z;
        else high = z;
    }
    return high;
}
