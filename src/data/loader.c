#include "data/loader.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/mixture.h"

/* Where a stream is. */
typedef struct {
    int domain;
    int64_t window; /* the next one */
} stream_place;

struct loader {
    const dataset *d; /* borrowed */
    int T;
    loader_order order;
    uint64_t seed;
    double probability[DATASET_DOMAINS];
    loader_state state;
    int64_t begun;       /* stretches: the sum of the cursors */
    stream_place *place; /* (streams) */
};

int batch_init(batch *b, int B, int T) {
    size_t N = (size_t)B * (size_t)T;
    *b = (batch){.B = B, .T = T};
    int status = memory_new(&b->token, N, sizeof *b->token, "a batch of tokens");
    if (status == LAMP_OK) status = memory_new(&b->target, N, sizeof *b->target, "a batch of targets");
    if (status == LAMP_OK) status = memory_new(&b->domain, (size_t)B, sizeof *b->domain, "a batch of domains");
    if (status == LAMP_OK) status = memory_new(&b->begins, (size_t)B, sizeof *b->begins, "a batch of beginnings");
    if (status < 0) batch_release(b);
    return status;
}

void batch_release(batch *b) {
    memory_free(b->token);
    memory_free(b->target);
    memory_free(b->domain);
    memory_free(b->begins);
    *b = (batch){0};
}

int64_t window_count(const shard *s, int T) { return s->n > 0 ? (s->n - 1) / T : 0; }

static int read_window(batch *b, int row, const shard *s, int domain, int64_t window) {
    ptrdiff_t at = (ptrdiff_t)row * b->T;
    b->domain[row] = domain;
    TRY(shard_read(b->token + at, s, window * b->T, b->T));
    return shard_read(b->target + at, s, window * b->T + 1, b->T);
}

int loader_new(loader **l, const dataset *d, const option_map *mixture, int T, loader_order order, uint64_t seed) {
    double probability[DATASET_DOMAINS];
    int status = LAMP_OK;
    *l = NULL;
    if (T < 1) FAIL(LAMP_INVALID, "expected sequences of 1 token or more, found %d", T);
    CHECK(order.streams > 0 && order.stretch > 0 && order.stretch <= MOST_STRETCH, "%d streams of %d windows", order.streams, order.stretch);
    TRY(mixture_resolve(probability, mixture, d, (int64_t)T + 1));
    TRY(memory_new(l, 1, sizeof **l, "a loader"));
    TRY_TO(done, memory_new(&(*l)->place, (size_t)order.streams, sizeof *(*l)->place, "places of streams"));
    (*l)->d = d, (*l)->T = T, (*l)->order = order, (*l)->seed = seed;
    for (int i = 0; i < d->n_domains; i++) (*l)->probability[i] = probability[i];
done:
    if (status < 0) loader_free(*l), *l = NULL;
    return status;
}

void loader_free(loader *l) {
    if (l) memory_free(l->place);
    memory_free(l);
}

double loader_probability(const loader *l, int domain) { return l->probability[domain]; }

static int draw_domain(const loader *l, int64_t stretch) {
    double u = random_uniform(random_key_make(l->seed, RANDOM_MIXTURE, 0, 0), (uint64_t)stretch);
    int last = 0;
    for (int i = 0; i < l->d->n_domains; i++) {
        if (l->probability[i] == 0) continue;
        if (u < l->probability[i]) return i;
        u -= l->probability[i];
        last = i;
    }
    return last; /* u was within rounding of 1 */
}

/* How far into a stretch a stream is with its n-th window. Their first ones begin somewhere inside, each elsewhere. */
static int64_t offset_of(const loader *l, int64_t stream, int64_t n) { return (n + stream * l->order.stretch / l->order.streams) % l->order.stretch; }

static bool begins_stretch(const loader *l, int64_t sequence) {
    const int64_t n = sequence / l->order.streams;
    return n == 0 || offset_of(l, sequence % l->order.streams, n) == 0;
}

static void begin_stretch(loader *l, int64_t sequence) {
    const int64_t stream = sequence % l->order.streams, stretch = l->order.stretch;
    const int domain = draw_domain(l, l->begun++);
    const uint64_t cursor = (uint64_t)l->state.cursor[domain]++;
    const int64_t windows = window_count(&l->d->domain[domain].train, l->T);
    const uint64_t stretches = (uint64_t)((windows + stretch - 1) / stretch);
    const random_key order = random_key_make(l->seed, RANDOM_ORDER, cursor / stretches, (uint64_t)domain);
    const int64_t chosen = (int64_t)random_permute(order, cursor % stretches, stretches);
    l->place[stream] = (stream_place){domain, (chosen * stretch + offset_of(l, stream, sequence / l->order.streams)) % windows};
}

static void advance(loader *l, stream_place *p) {
    if (++p->window == window_count(&l->d->domain[p->domain].train, l->T)) p->window = 0;
}

int loader_next(loader *l, batch *b) {
    CHECK(b->T == l->T, "a batch of T %d for a loader of T %d", b->T, l->T);
    for (int row = 0; row < b->B; row++) {
        stream_place *p = &l->place[l->state.sequence % l->order.streams];
        b->begins[row] = begins_stretch(l, l->state.sequence);
        if (b->begins[row]) begin_stretch(l, l->state.sequence);
        b->begins[row] |= p->window == 0;
        TRY(read_window(b, row, &l->d->domain[p->domain].train, p->domain, p->window));
        advance(l, p);
        l->state.sequence++;
    }
    return LAMP_OK;
}

void loader_get_state(const loader *l, loader_state *state) { *state = l->state; }

static int64_t count_begun(const loader *l, int64_t sequence) {
    int64_t begun = 0;
    for (int64_t stream = 0; stream < l->order.streams && stream < sequence; stream++) {
        const int64_t windows = (sequence - stream - 1) / l->order.streams + 1;
        begun += 1 + (offset_of(l, stream, 0) + windows - 1) / l->order.stretch;
    }
    return begun;
}

static int check_state(const loader *l, const loader_state *state) {
    int64_t left = count_begun(l, state->sequence);
    for (int i = 0; i < DATASET_DOMAINS; i++) {
        bool possible = state->cursor[i] == 0 || (i < l->d->n_domains && l->probability[i] > 0);
        if (!possible || state->cursor[i] < 0 || state->cursor[i] > left)
            FAIL(LAMP_CHECKPOINT, "data position: %lld stretches of domain %d do not fit this dataset and mixture", (long long)state->cursor[i], i);
        left -= state->cursor[i];
    }
    if (left != 0)
        FAIL(LAMP_CHECKPOINT, "data position: %lld stretches of %lld sequences belong to no domain", (long long)left, (long long)state->sequence);
    return LAMP_OK;
}

/* The stretches that streams are in, or have just left, were begun within the last `stretch` windows of each. The walk goes back to before
 * these and comes again. */
int loader_set_state(loader *l, const loader_state *state) {
    const int64_t span = (int64_t)l->order.streams * l->order.stretch, from = state->sequence > span ? state->sequence - span : 0;
    TRY(check_state(l, state));
    l->state = *state;
    l->begun = count_begun(l, from);
    for (int64_t i = from, q = l->begun; i < state->sequence; i++)
        if (begins_stretch(l, i)) l->state.cursor[draw_domain(l, q++)]--;
    for (int i = 0; i < DATASET_DOMAINS; i++)
        if (l->state.cursor[i] < 0) FAIL(LAMP_CHECKPOINT, "data position: %lld stretches of domain %d are too few", (long long)state->cursor[i], i);
    for (int64_t i = from; i < state->sequence; i++) {
        if (begins_stretch(l, i)) begin_stretch(l, i);
        advance(l, &l->place[i % l->order.streams]);
    }
    return LAMP_OK;
}

int validation_read(batch *b, const dataset *d, int domain, int64_t first, int64_t apart) {
    for (int row = 0; row < b->B; row++) TRY(read_window(b, row, &d->domain[domain].validation, domain, first + row * apart));
    return LAMP_OK;
}
