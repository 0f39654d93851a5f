#include "moe/route.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "moe/moe.h"

static const double USUAL_SWITCH = 0.01; /* Fedus et al. 2021, section 2.2 */

/* ---- the table ----------------------------------------------------------------------------------------------------------------- */

/* Ends at the first NULL; what lamp_router_add adds comes behind ours. */
enum { MOST_ROUTERS = 32 };
static const struct router *routers[MOST_ROUTERS + 1] = {&router_softmax,     &router_switch,       &router_gshard,    &router_sigmoid,
                                                         &router_noisy_top_k, &router_hierarchical, &router_batchwise, &router_expert_choice,
                                                         &router_hash,        &router_random};

char router_kinds[MOST_ROUTERS * OPTION_NAME_BYTES] = "softmax|switch|gshard|sigmoid|noisy_top_k|hierarchical|batchwise|expert_choice|hash|random";

int router_table(const struct router *const **table) {
    int n = 0;
    while (routers[n]) n++;
    *table = routers;
    return n;
}

const struct router *router_find(const char *name) {
    for (const struct router *const *r = routers; *r; r++)
        if (!strcmp((*r)->name, name)) return *r;
    return NULL;
}

int router_add(const struct router *added) {
    const struct router *const *table;
    int n = router_table(&table);
    if (router_find(added->name)) FAIL(LAMP_INVALID, "router \"%s\": there is one of this name; expected a new name", added->name);
    if (n == MOST_ROUTERS) FAIL(LAMP_INVALID, "router \"%s\": there are %d routers already, and room for no more", added->name, n);
    routers[n] = added;
    strcat(strcat(router_kinds, "|"), added->name);
    return LAMP_OK;
}

static int check_groups(const moe_config *c, const char *where) {
    const struct router *r = c->router;
    if (c->groups == 0) {
        if (r->needs_groups)
            FAIL(LAMP_INVALID, "%s: router.kind %s needs groups of experts; set router.groups and router.top_groups", where, r->name);
        return LAMP_OK;
    }
    if (!r->takes_groups)
        FAIL(LAMP_INVALID,
             "%s: router.groups: expected 0 with router.kind %s, which knows no groups; found %lld. softmax, sigmoid and hierarchical do", where,
             r->name, (long long)c->groups);
    if (c->experts % c->groups)
        FAIL(LAMP_INVALID, "%s: router.groups: expected a divisor of router.experts (%lld), found %lld", where, (long long)c->experts,
             (long long)c->groups);
    if (c->top_groups < 1 || c->top_groups > c->groups)
        FAIL(LAMP_INVALID, "%s: router.top_groups: expected 1 to router.groups (%lld), found %lld", where, (long long)c->groups,
             (long long)c->top_groups);
    if (r->needs_groups && c->top_k % c->top_groups)
        FAIL(LAMP_INVALID, "%s: router.top_k: expected a multiple of router.top_groups (%lld), as many experts from each group; found %lld", where,
             (long long)c->top_groups, (long long)c->top_k);
    if (c->top_k > c->top_groups * (c->experts / c->groups))
        FAIL(LAMP_INVALID, "%s: router.top_k: expected at most %lld, the experts in router.top_groups groups; found %lld", where,
             (long long)(c->top_groups * (c->experts / c->groups)), (long long)c->top_k);
    return LAMP_OK;
}

bool router_takes_loss(const struct router *r, balance_loss loss) {
    return r->takes_shares || (loss != BALANCE_SWITCH && loss != BALANCE_SEQUENCE);
}

int router_choose(moe_config *c, const char *where) {
    const struct router *r = router_find(c->kind);
    if (!r) FAIL(LAMP_INVALID, "%s: router.kind: unknown router \"%.64s\"; expected one of %s", where, c->kind, router_kinds);
    c->router = r;
    if (c->balance[BALANCE_SWITCH] < 0) c->balance[BALANCE_SWITCH] = r->takes_shares ? USUAL_SWITCH : 0;
    if (r->normalize == NORMALIZE_ALWAYS) c->normalize = true;
    if (r->normalize == NORMALIZE_NEVER && c->normalize)
        FAIL(LAMP_INVALID, "%s: router.normalize: expected false with router.kind %s, found true; a single weight scaled to one could not learn",
             where, r->name);
    if (r->top_k && c->top_k != r->top_k)
        FAIL(LAMP_INVALID, "%s: router.top_k: expected %lld with router.kind %s, found %lld", where, (long long)r->top_k, r->name,
             (long long)c->top_k);
    TRY(check_groups(c, where));
    if (c->bias_rate > 0 && (!r->takes_bias || c->unbiased))
        FAIL(LAMP_INVALID, "%s: balance.bias_rate: expected 0 with router.kind %s, which has no bias%s", where, r->name,
             c->unbiased ? " in this family" : "; sigmoid has one");
    if (c->jitter > 0 && !r->takes_jitter) FAIL(LAMP_INVALID, "%s: router.jitter: expected 0 with router.kind %s; switch takes it", where, r->name);
    if ((c->capacity > 0 || c->eval_capacity > 0) && !r->takes_drop)
        FAIL(LAMP_INVALID, "%s: router.capacity: expected 0 with router.kind %s, whose experts all receive the same number of tokens", where,
             r->name);
    for (int i = 0; i < BALANCE_LOSSES; i++)
        if (c->balance[i] > 0 && !router_takes_loss(r, i))
            FAIL(LAMP_INVALID, "%s: balance.%s: expected 0 with router.kind %s, which has no probability of every expert; found %g", where,
                 balance_terms[i].name, r->name, c->balance[i]);
    return LAMP_OK;
}

/* ---- choosing ------------------------------------------------------------------------------------------------------------------ */

routing routing_make(tape *t, ptrdiff_t tokens, ptrdiff_t pairs, ptrdiff_t experts) {
    routing r = {.tokens = tokens, .pairs = pairs, .experts = experts};
    r.expert = tape_keep(t, sizeof *r.expert * (size_t)pairs);
    r.token = tape_keep(t, sizeof *r.token * (size_t)pairs);
    r.token_start = tape_keep(t, sizeof *r.token_start * (size_t)(tokens + 1));
    r.token_start[0] = 0;
    return r;
}

/* allowed (N, E) = score, and minus infinity outside the best groups. */
static void keep_best_groups(tape *t, real *allowed, const real *score, ptrdiff_t N, const moe_config *c, int group_best) {
    ptrdiff_t a = c->groups, size = c->experts / a, K = group_best < size ? group_best : size;
    int32_t *best = tape_keep(t, sizeof *best * (size_t)(N * a * K)), *kept = tape_keep(t, sizeof *kept * (size_t)(N * c->top_groups));
    real *group_score = tape_borrow(t, N * a);
    t->k->choose(best, score, N * a, size, K);
#pragma omp parallel for schedule(static) if (N * c->experts > 4096)
    for (ptrdiff_t g = 0; g < N * a; g++) {
        group_score[g] = 0;
        for (ptrdiff_t k = 0; k < K; k++) group_score[g] += score[g * size + best[g * K + k]];
    }
    t->k->choose(kept, group_score, N, a, c->top_groups);
#pragma omp parallel for schedule(static) if (N * c->experts > 4096)
    for (ptrdiff_t n = 0; n < N; n++) {
        for (ptrdiff_t e = n * c->experts; e < (n + 1) * c->experts; e++) allowed[e] = (real)-INFINITY;
        for (ptrdiff_t k = 0; k < c->top_groups; k++) {
            ptrdiff_t at = (n * a + kept[n * c->top_groups + k]) * size;
            memcpy(allowed + at, score + at, sizeof(real) * (size_t)size);
        }
    }
    tape_return(t, group_score);
}

routing routing_choose(tape *t, const real *score, ptrdiff_t N, const moe_config *c, int group_best) {
    ptrdiff_t E = c->experts, K = c->top_k;
    routing r = routing_make(t, N, N * K, E);
    real *allowed = c->groups > 0 ? tape_borrow(t, N * E) : NULL;
    if (allowed) keep_best_groups(t, allowed, score, N, c, group_best); /* all others are out of the question */
    t->k->choose(r.expert, allowed ? allowed : score, N, E, K);
    tape_return(t, allowed);
    for (ptrdiff_t i = 0; i < N * K; i++) r.token[i] = (int32_t)(i / K);
    for (ptrdiff_t n = 0; n < N; n++) r.token_start[n + 1] = (n + 1) * K;
    return r;
}

static int larger_first(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void scored_sort(scored *list, size_t n) { qsort(list, n, sizeof *list, larger_first); }

routing routing_of_mask(tape *t, const bool *mask, ptrdiff_t N, ptrdiff_t E) {
    ptrdiff_t pairs = 0;
    for (ptrdiff_t i = 0; i < N * E; i++) pairs += mask[i];
    routing r = routing_make(t, N, pairs, E);
    pairs = 0;
    for (ptrdiff_t n = 0; n < N; n++) {
        for (ptrdiff_t e = 0; e < E; e++)
            if (mask[n * E + e]) r.expert[pairs] = (int32_t)e, r.token[pairs++] = (int32_t)n;
        r.token_start[n + 1] = pairs;
    }
    return r;
}

routing routing_choose_tokens(tape *t, const real *score, ptrdiff_t N, ptrdiff_t E, ptrdiff_t room) {
    scored *list = tape_keep(t, sizeof *list * (size_t)(N * E));
    bool *mask = tape_keep(t, (size_t)(N * E));
    memset(mask, 0, (size_t)(N * E));
#pragma omp parallel for schedule(dynamic) if (N * E > 4096)
    for (ptrdiff_t e = 0; e < E; e++) {
        for (ptrdiff_t n = 0; n < N; n++) list[e * N + n] = (scored){score[n * E + e], (int32_t)n};
        scored_sort(list + e * N, (size_t)N);
        for (ptrdiff_t i = 0; i < room; i++) mask[list[e * N + i].index * E + e] = true;
    }
    return routing_of_mask(t, mask, N, E);
}

/* ---- weights of pairs ---------------------------------------------------------------------------------------------------------- */

struct pick_saved {
    tensor *x, *y;
    const int32_t *row, *col;
    real factor;
};

/* y_i = f x[row_i, col_i]:   dx[row_i, col_i] += f dy_i */
static void pick_backward(tape *t, void *saved) {
    struct pick_saved *s = saved;
    real *dx = tape_gradient(t, s->x);
    for (ptrdiff_t i = 0; i < s->y->rows; i++) dx[s->row[i] * s->x->cols + s->col[i]] += s->factor * s->y->dx[i];
}

tensor *pick(tape *t, tensor *x, const int32_t *row, const int32_t *col, ptrdiff_t n, double factor) {
    tensor *y = tape_tensor(t, n, 1);
    for (ptrdiff_t i = 0; i < n; i++) y->x[i] = (real)factor * x->x[row[i] * x->cols + col[i]];
    RECORD(t, y, pick_backward, (struct pick_saved){x, y, row, col, (real)factor});
    return y;
}

struct normalize_saved {
    tensor *x, *y;
    const ptrdiff_t *start;
    ptrdiff_t segments;
    real total;
};

/* y_i = a x_i / s with s = sum_j x_j:   dx_i += (a dy_i - sum_j y_j dy_j) / s */
static void normalize_backward(tape *t, void *saved) {
    struct normalize_saved *s = saved;
    const real *x = s->x->x, *y = s->y->x, *dy = s->y->dx;
    real *dx = tape_gradient(t, s->x);
    for (ptrdiff_t g = 0; g < s->segments; g++) {
        real sum = 0, mean = 0;
        for (ptrdiff_t i = s->start[g]; i < s->start[g + 1]; i++) sum += x[i], mean += y[i] * dy[i];
        for (ptrdiff_t i = s->start[g]; i < s->start[g + 1]; i++) dx[i] += (s->total * dy[i] - mean) / sum;
    }
}

tensor *normalize(tape *t, tensor *x, const ptrdiff_t *start, ptrdiff_t segments, double total) {
    tensor *y = tape_tensor(t, x->rows, 1);
    for (ptrdiff_t g = 0; g < segments; g++) {
        real sum = 0;
        for (ptrdiff_t i = start[g]; i < start[g + 1]; i++) sum += x->x[i];
        for (ptrdiff_t i = start[g]; i < start[g + 1]; i++) y->x[i] = (real)total * x->x[i] / sum;
    }
    RECORD(t, y, normalize_backward, (struct normalize_saved){x, y, start, segments, (real)total});
    return y;
}

tensor *routing_weigh(tape *t, const routing *r, tensor *score, const moe_config *c) {
    tensor *w = pick(t, score, r->token, r->expert, r->pairs, c->normalize ? 1 : c->scale);
    return c->normalize ? normalize(t, w, r->token_start, r->tokens, c->scale) : w;
}
