/* Two controls that learn nothing: what a learned router is worth shows against them. K different experts, each of weight 1 / K.
 *
 *     hash     a function of the token's id and the layer (Roller et al. 2021, arXiv:2106.04426)
 *     random   drawn for every token; without training too, from the key of step 0 */
#include "base/random.h"
#include "moe/route.h"

/* Every set of K of the E experts is as likely as any other (Floyd; in Bentley, "A sample of brilliance", 1987). */
static void draw_different(int32_t *expert, random_key key, ptrdiff_t E, ptrdiff_t K) {
    for (ptrdiff_t k = 0; k < K; k++) {
        ptrdiff_t last = E - K + k;
        int32_t drawn = (int32_t)random_below(key, (uint64_t)k, (uint64_t)last + 1);
        bool taken = false;
        for (ptrdiff_t j = 0; j < k; j++) taken |= expert[j] == drawn;
        expert[k] = taken ? (int32_t)last : drawn;
    }
}

static routing choose(tape *t, const moe_layer *l, bool by_id) {
    ptrdiff_t N = l->batch->n_tokens, K = l->c->top_k;
    routing r = routing_make(t, N, N * K, l->c->experts);
    random_key draw = tape_random_key(t, RANDOM_ROUTE, l->layer);
    r.fixed = true, r.weights = tape_tensor(t, N * K, 1);
    for (ptrdiff_t n = 0; n < N; n++) {
        uint64_t what = by_id ? (uint64_t)l->batch->token[n] : random_bits(draw, tape_random_index(t, n, 1));
        random_key key = random_key_make(what, RANDOM_ROUTE, 0, (uint64_t)l->layer);
        draw_different(r.expert + n * K, key, l->c->experts, K);
        for (ptrdiff_t i = n * K; i < (n + 1) * K; i++) r.token[i] = (int32_t)n, r.weights->x[i] = (real)(l->c->scale / (double)K);
        r.token_start[n + 1] = (n + 1) * K;
    }
    return r;
}

static routing route_hash(tape *t, tensor *x, const moe_layer *l) {
    (void)x;
    return choose(t, l, true);
}

static routing route_random(tape *t, tensor *x, const moe_layer *l) {
    (void)x;
    return choose(t, l, false);
}

const struct router router_hash = {.name = "hash", .route = route_hash, .normalize = NORMALIZE_ALWAYS, .takes_drop = true};
const struct router router_random = {.name = "random", .route = route_random, .normalize = NORMALIZE_ALWAYS, .takes_drop = true};
