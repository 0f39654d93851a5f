#include "data/loader.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/mixture.h"

struct loader {
    const dataset *d; /* borrowed */
    int T;
    uint64_t seed;
    double probability[DATASET_DOMAINS];
    loader_state state;
};

int batch_init(batch *b, int B, int T) {
    size_t N = (size_t)B * (size_t)T;
    *b = (batch){.B = B, .T = T};
    int status = memory_new(&b->token, N, sizeof *b->token, "a batch of tokens");
    if (status == LAMP_OK) status = memory_new(&b->target, N, sizeof *b->target, "a batch of targets");
    if (status == LAMP_OK) status = memory_new(&b->domain, (size_t)B, sizeof *b->domain, "a batch of domains");
    if (status < 0) batch_release(b);
    return status;
}

void batch_release(batch *b) {
    memory_free(b->token);
    memory_free(b->target);
    memory_free(b->domain);
    *b = (batch){0};
}

int64_t window_count(const shard *s, int T) { return s->n > 0 ? (s->n - 1) / T : 0; }

static int read_window(batch *b, int row, const shard *s, int domain, int64_t window) {
    ptrdiff_t at = (ptrdiff_t)row * b->T;
    b->domain[row] = domain;
    TRY(shard_read(b->token + at, s, window * b->T, b->T));
    return shard_read(b->target + at, s, window * b->T + 1, b->T);
}

int loader_new(loader **l, const dataset *d, const option_map *mixture, int T, uint64_t seed) {
    double probability[DATASET_DOMAINS];
    *l = NULL;
    if (T < 1) FAIL(LAMP_INVALID, "expected sequences of 1 token or more, found %d", T);
    TRY(mixture_resolve(probability, mixture, d, (int64_t)T + 1));
    TRY(memory_new(l, 1, sizeof **l, "a loader"));
    (*l)->d = d, (*l)->T = T, (*l)->seed = seed;
    for (int i = 0; i < d->n_domains; i++) (*l)->probability[i] = probability[i];
    return LAMP_OK;
}

void loader_free(loader *l) { memory_free(l); }

double loader_probability(const loader *l, int domain) { return l->probability[domain]; }

static int draw_domain(const loader *l, int64_t sequence) {
    double u = random_uniform(random_key_make(l->seed, RANDOM_MIXTURE, 0, 0), (uint64_t)sequence);
    int last = 0;
    for (int i = 0; i < l->d->n_domains; i++) {
        if (l->probability[i] == 0) continue;
        if (u < l->probability[i]) return i;
        u -= l->probability[i];
        last = i;
    }
    return last; /* u was within rounding of 1 */
}

int loader_next(loader *l, batch *b) {
    CHECK(b->T == l->T, "a batch of T %d for a loader of T %d", b->T, l->T);
    for (int row = 0; row < b->B; row++) {
        int domain = draw_domain(l, l->state.sequence);
        const shard *s = &l->d->domain[domain].train;
        uint64_t cursor = (uint64_t)l->state.cursor[domain], windows = (uint64_t)window_count(s, l->T);
        random_key order = random_key_make(l->seed, RANDOM_ORDER, cursor / windows, (uint64_t)domain);
        TRY(read_window(b, row, s, domain, (int64_t)random_permute(order, cursor % windows, windows)));
        l->state.sequence++, l->state.cursor[domain]++;
    }
    return LAMP_OK;
}

void loader_get_state(const loader *l, loader_state *state) { *state = l->state; }

int loader_set_state(loader *l, const loader_state *state) {
    int64_t left = state->sequence;
    for (int i = 0; i < DATASET_DOMAINS; i++) {
        bool possible = state->cursor[i] == 0 || (i < l->d->n_domains && l->probability[i] > 0);
        if (!possible || state->cursor[i] < 0 || state->cursor[i] > left)
            FAIL(LAMP_CHECKPOINT, "data position: %lld sequences of domain %d do not fit this dataset and mixture", (long long)state->cursor[i], i);
        left -= state->cursor[i];
    }
    if (left != 0) FAIL(LAMP_CHECKPOINT, "data position: %lld of %lld sequences belong to no domain", (long long)left, (long long)state->sequence);
    l->state = *state;
    return LAMP_OK;
}

int validation_read(batch *b, const dataset *d, int domain, int64_t first) {
    for (int row = 0; row < b->B; row++) TRY(read_window(b, row, &d->domain[domain].validation, domain, first + row));
    return LAMP_OK;
}
