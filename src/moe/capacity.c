/* Capacity: an expert has room for factor N K / E rows, rounded up. Pairs beyond it are dropped: their token goes on through the residual,
 * without that expert's output and without its gradient. The kept pairs are a routing like any other, so nothing behind knows of drops.
 *     kept weight_i = weight_from(i):   dweight_from(i) += dkept_i */
#include <math.h>
#include <string.h>

#include "moe/moe.h"

struct saved {
    tensor *all, *kept;
    const int32_t *from;
};

static void keep_backward(tape *t, void *saved) {
    struct saved *s = saved;
    real *dall = tape_gradient(t, s->all);
    for (ptrdiff_t i = 0; i < s->kept->rows; i++) dall[s->from[i]] += s->kept->dx[i];
}

ptrdiff_t even_share(ptrdiff_t N, const moe_config *c, double factor) {
    double room = ceil(factor * (double)N * (double)c->top_k / (double)c->experts - 1e-9); /* 1.25 * 16 / 10 is two, whatever its last bit says */
    return room < 1 ? 1 : room > (double)N ? N : (ptrdiff_t)room;
}

/* All first choices, then all second ones, ...; within each by token. */
static void keep_first(bool *keep, const routing *r, ptrdiff_t room, ptrdiff_t *used) {
    ptrdiff_t most = 0;
    for (ptrdiff_t n = 0; n < r->tokens; n++)
        if (r->token_start[n + 1] - r->token_start[n] > most) most = r->token_start[n + 1] - r->token_start[n];
    for (ptrdiff_t k = 0; k < most; k++)
        for (ptrdiff_t n = 0; n < r->tokens; n++) {
            ptrdiff_t i = r->token_start[n] + k;
            if (i < r->token_start[n + 1]) keep[i] = used[r->expert[i]]++ < room;
        }
}

/* used: counts how many pairs came before in each expert's list. */
static void keep_largest(tape *t, bool *keep, const routing *r, ptrdiff_t room, ptrdiff_t *used) {
    scored *list = tape_keep(t, sizeof *list * (size_t)r->pairs);
    for (ptrdiff_t i = 0; i < r->pairs; i++) list[i] = (scored){r->weights->x[i], (int32_t)i};
    scored_sort(list, (size_t)r->pairs);
    for (ptrdiff_t i = 0; i < r->pairs; i++) keep[list[i].index] = used[r->expert[list[i].index]]++ < room;
}

routing capacity_keep(tape *t, const routing *r, int experts, ptrdiff_t room, bool by_score) {
    bool *keep = tape_keep(t, (size_t)r->pairs);
    ptrdiff_t *used = tape_keep(t, sizeof *used * (size_t)experts), n_kept = 0;
    memset(used, 0, sizeof *used * (size_t)experts);
    if (by_score) keep_largest(t, keep, r, room, used);
    else keep_first(keep, r, room, used);
    for (ptrdiff_t i = 0; i < r->pairs; i++) n_kept += keep[i];
    if (n_kept == r->pairs) return *r;

    routing kept = routing_make(t, r->tokens, n_kept, r->experts);
    int32_t *from = tape_keep(t, sizeof *from * (size_t)n_kept);
    kept.weights = tape_tensor(t, n_kept, 1), kept.fixed = r->fixed;
    n_kept = 0;
    for (ptrdiff_t n = 0; n < r->tokens; n++) {
        for (ptrdiff_t i = r->token_start[n]; i < r->token_start[n + 1]; i++) {
            if (!keep[i]) continue;
            kept.expert[n_kept] = r->expert[i], kept.token[n_kept] = r->token[i], kept.weights->x[n_kept] = r->weights->x[i];
            from[n_kept++] = (int32_t)i;
        }
        kept.token_start[n + 1] = n_kept;
    }
    if (!r->fixed) RECORD(t, kept.weights, keep_backward, (struct saved){r->weights, kept.weights, from});
    return kept;
}
