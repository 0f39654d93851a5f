#include "train/flips.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"

typedef struct {
    buffer chosen;   /* keys of the pairs that the rounded routers chose, in the order of routing */
    uint64_t call;   /* of a router, since the pass began */
    size_t at;       /* keys before it are of earlier tokens */
    double *flipped; /* (layers) pairs of the exact routers that are not among them */
    double *pairs;   /* (layers) */
} flips;

enum { EXPERT_BITS = 16, TOKEN_BITS = 24 };

static uint64_t key_of(const flips *f, int32_t token, int32_t expert) {
    return (f->call << TOKEN_BITS | (uint64_t)token) << EXPERT_BITS | (uint64_t)expert;
}

static void remember(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weight_of) {
    flips *f = context;
    (void)layer, (void)weight_of;
    for (ptrdiff_t i = 0; i < pairs; i++) {
        uint64_t key = key_of(f, token[i], expert[i]);
        buffer_append(&f->chosen, (const char *)&key, sizeof key);
    }
    f->call++;
}

static void compare(void *context, int layer, ptrdiff_t pairs, const int32_t *token, const int32_t *expert, const real *weight_of) {
    flips *f = context;
    const uint64_t *chosen = (const uint64_t *)(const void *)f->chosen.bytes;
    size_t n = f->chosen.length / sizeof *chosen;
    (void)weight_of;
    for (ptrdiff_t i = 0; i < pairs; i++) {
        uint64_t key = key_of(f, token[i], expert[i]), of_token = key >> EXPERT_BITS;
        bool found = false;
        while (f->at < n && chosen[f->at] >> EXPERT_BITS < of_token) f->at++;
        for (size_t j = f->at; j < n && chosen[j] >> EXPERT_BITS == of_token; j++) found |= chosen[j] == key;
        f->flipped[layer] += !found, f->pairs[layer]++;
    }
    f->call++;
}

int flips_measure(double *share, evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens) {
    const struct products *exact = t->router_products;
    flips f = {.flipped = share};
    int status = LAMP_OK, layers = e->trace.layers;
    if (!t->k->products_bf16) FAIL(LAMP_UNSUPPORTED, "flips: the %s kernels have no bf16 products to compare with", t->k->name);
    TRY_TO(done, memory_new(&f.pairs, (size_t)layers, sizeof *f.pairs, "pairs of each layer"));
    for (int l = 0; l < layers; l++) share[l] = 0;
    e->trace.watch = remember, e->trace.watch_context = &f;
    t->router_products = t->k->products_bf16;
    TRY_TO(done, evaluate_dataset(e, t, m, d, tokens));
    TRY_TO(done, f.chosen.status);
    f.call = 0;
    e->trace.watch = compare;
    t->router_products = exact;
    TRY_TO(done, evaluate_dataset(e, t, m, d, tokens));
    for (int l = 0; l < layers; l++) share[l] = f.pairs[l] > 0 ? share[l] / f.pairs[l] : 0;
done:
    t->router_products = exact;
    e->trace.watch = NULL;
    memory_free(f.pairs);
    buffer_release(&f.chosen);
    return status;
}
