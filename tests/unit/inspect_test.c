/* What experts are said to specialise in: the measures against their closed forms on texts routed by hand, and the verdicts on models whose
 * routers are known. */
#include <math.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/dataset_build.h"
#include "inspect/ablation.h"
#include "inspect/profile.h"
#include "lamp.h"

/* ---- texts routed by hand --------------------------------------------------------------------------------------------------------- */

enum { T = 16, WINDOWS = 100, N = T * WINDOWS, E = 4, V = 8 };

typedef int32_t choice(ptrdiff_t n, int32_t token, int32_t domain);

static uint64_t draw(uint64_t stream, ptrdiff_t n, uint64_t bound) { return random_below(random_key_make(stream, RANDOM_SAMPLE, 0, 0), (uint64_t)n, bound); }

/* N tokens drawn evenly from V, windows of two domains in turn; each token to the expert that is chosen. */
static void route_by_hand(routed_text *r, evaluation *e, choice *choose) {
    *e = (evaluation){.n_domains = 2};
    *r = (routed_text){.experts = E, .T = T, .tokens = N, .pairs = N, .e = e, .token_room = N + 1, .pair_room = N};
    EXPECT_OK(memory_new(&r->token, N + 1, sizeof *r->token, "tokens"));
    EXPECT_OK(memory_new(&r->pair, N, sizeof *r->pair, "pairs"));
    for (ptrdiff_t n = 0; n < N; n++) {
        int32_t token = (int32_t)draw(1, n, V), domain = (int32_t)(n / T % 2);
        r->token[n] = (routed_token){token, domain, n};
        r->pair[n] = (routed_pair){choose(n, token, domain), 1, n};
    }
    EXPECT_OK(routed_text_sort(r));
}

/* The class of a token is whether it is even. */
static void describe_by_hand(features *f, const routed_text *r) {
    const ptrdiff_t values[FEATURES] = {V, 2, 2, 5};
    *f = (features){.r = r};
    for (int i = 0; i < FEATURES; i++) {
        f->of[i].values = values[i];
        EXPECT_OK(memory_new(&f->of[i].value, N, sizeof *f->of[i].value, "features"));
        for (ptrdiff_t n = 0; n < N; n++) {
            const int32_t value[FEATURES] = {r->token[n].id, r->token[n].id % 2, r->token[n].domain, position_class((int)(n % T))};
            f->of[i].value[n] = value[i];
        }
    }
}

static int32_t by_chance(ptrdiff_t n, int32_t token, int32_t domain) { return (void)token, (void)domain, (int32_t)draw(2, n, E); }
static int32_t by_token(ptrdiff_t n, int32_t token, int32_t domain) { return (void)n, (void)domain, token % E; }
static int32_t by_domain(ptrdiff_t n, int32_t token, int32_t domain) { return (void)token, domain * 2 + (int32_t)draw(2, n, 2); }
static int32_t by_position(ptrdiff_t n, int32_t token, int32_t domain) { return (void)token, (void)domain, n % T == 0 ? 0 : 1 + (int32_t)draw(2, n, 3); }
static int32_t by_both(ptrdiff_t n, int32_t token, int32_t domain) { return (void)n, token % 2 + 2 * domain; }

static void information_tells_token_from_domain(void) {
    static const struct {
        const char *name, *verdict;
        choice *choose;
        double share[INFORMATIONS]; /* -1: not said */
    } rows[] = {
        {"chance", "neither", by_chance, {0, 0, 0, 0, 0}},
        {"token", "the token itself", by_token, {1, -1, 0, 0, 0}},
        {"domain", "topic", by_domain, {0, 0, 0.5, -1, 0}},
        {"position", "position", by_position, {0, 0, 0, 0, -1}},
        {"both", "both", by_both, {0.5, 0.5, 0.5, 0.5, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        routed_text r;
        evaluation e;
        features f;
        information_report report;
        test_row(rows[i].name);
        route_by_hand(&r, &e, rows[i].choose);
        describe_by_hand(&f, &r);
        EXPECT_OK(information_measure(&report, &f));
        for (int j = 0; j < INFORMATIONS; j++) {
            double expected = rows[i].share[j], found = report.of[j].share;
            if (expected >= 0) EXPECT(fabs(found - expected) < (expected == 0 ? 1e-9 : 0.02), "%s: %g, expected %g", information_names[j], found, expected);
        }
        EXPECT(!strncmp(information_verdict(&report), rows[i].verdict, strlen(rows[i].verdict)), "%s", information_verdict(&report));
        features_close(&f), routed_text_release(&r);
    }
}

static void information_has_its_closed_forms(void) {
    routed_text r;
    evaluation e;
    double bits, entropy = 0;
    int32_t value[N];
    route_by_hand(&r, &e, by_chance);
    for (ptrdiff_t n = 0; n < N; n++) value[n] = 7;
    EXPECT_OK(information_count(&bits, &r, value, V));
    EXPECT(fabs(bits) < 1e-12, "of a constant: %g", bits);
    for (ptrdiff_t n = 0; n < N; n++) value[n] = r.pair[n].expert;
    for (int i = 0; i < E; i++) {
        double share = (double)(r.expert_start[i + 1] - r.expert_start[i]) / N;
        entropy -= share * log2(share);
    }
    EXPECT_OK(information_count(&bits, &r, value, V));
    EXPECT(fabs(bits - entropy) < 1e-12, "of itself: %g, expected %g", bits, entropy);
    routed_text_release(&r);

    /* Two experts, two values, right in three of four: 1 - H(1/4) */
    static const int32_t experts[] = {0, 0, 0, 0, 1, 1, 1, 1}, values[] = {0, 0, 0, 1, 1, 1, 1, 0};
    routed_token token[9];
    routed_pair pair[8];
    routed_text small = {.experts = 2, .T = 8, .tokens = 8, .pairs = 8, .token = token, .pair = pair, .token_room = 9, .pair_room = 8};
    for (int i = 0; i < 8; i++) token[i] = (routed_token){0, 0, i}, pair[i] = (routed_pair){experts[i], 1, i};
    EXPECT_OK(routed_text_sort(&small));
    EXPECT_OK(information_count(&bits, &small, values, 2));
    EXPECT(fabs(bits - 0.18872187554) < 1e-9, "a noisy channel: %g", bits);
    memory_free(small.of_expert), memory_free(small.expert_start);
}

static void affinities_count_lifts(void) {
    routed_text r;
    evaluation e;
    features f;
    affinities a;
    route_by_hand(&r, &e, by_token);
    describe_by_hand(&f, &r);
    EXPECT_OK(affinities_open(&a, &r, &f.of[FEATURE_TOKEN]));
    for (int expert = 0; expert < E; expert++) {
        affinities_ask(&a, expert);
        double mine = (double)(r.expert_start[expert + 1] - r.expert_start[expert]);
        EXPECT(a.n == 2 && a.liked[0].value % E == expert && a.liked[1].value % E == expert, "expert %d: %td tokens", expert, a.n);
        EXPECT(fabs(a.liked[0].share + a.liked[1].share - 1) < 1e-12, "shares do not sum to one");
        EXPECT(fabs(a.liked[0].lift - N / mine) < 1e-9, "lift %g, expected %g", a.liked[0].lift, N / mine);
        EXPECT(a.liked[0].z > 5 && a.liked[0].z <= sqrt(WINDOWS), "z %g", a.liked[0].z);
    }
    affinities_close(&a);
    EXPECT_OK(affinities_open(&a, &r, &f.of[FEATURE_DOMAIN]));
    affinities_ask(&a, 1);
    EXPECT(a.n == 2 && fabs(a.liked[0].z) < 4, "z %g where the expert does not care", a.liked[0].z);
    affinities_close(&a), features_close(&f), routed_text_release(&r);
    EXPECT(fabs(affinity_threshold(1) - 2.3263479) < 1e-6, "one test: %g", affinity_threshold(1));
    EXPECT(fabs(affinity_threshold(1000) - 4.2648908) < 1e-6, "a thousand tests: %g", affinity_threshold(1000));
}

/* ---- models whose routers are known ----------------------------------------------------------------------------------------------- */

typedef struct {
    dataset *d;
    model m;
    tape t;
    evaluation e;
} world;

static void write_domain(const char *name, uint64_t seed) {
    static const char words[][8] = {"river", "stone", "lamp", "house", "Night", "bridge", "42", "sings", "of", "the", ",", ".\n"};
    for (int i = 0; i < 60; i++) {
        char file[64];
        buffer text = {0};
        for (ptrdiff_t j = 0; j < 400; j++) buffer_printf(&text, "%s ", words[seed * 3 + draw(seed + 10, i * 400 + j, 9)]);
        snprintf(file, sizeof file, "%s/%d.txt", name, i);
        test_write(file, text.bytes, text.length);
        buffer_release(&text);
    }
}

static const char *data_folder(void) {
    static char path[PATH_BYTES];
    char paths[2][PATH_BYTES];
    static const char *const names[] = {"wet", "dry"};
    dataset_build_options options;
    dataset_build_report report;
    if (*path) return path;
    dataset_build_defaults(&options);
    strcpy(path, test_path("data"));
    options.out = path, options.n_domains = 2, options.vocabulary_size = 300, options.validation_share = 0.5;
    for (int i = 0; i < 2; i++) {
        write_domain(names[i], (uint64_t)i);
        strcpy(paths[i], test_path(names[i]));
        options.domain[i].name = names[i], options.domain[i].path = paths[i];
    }
    EXPECT_OK(dataset_build(&options, &report));
    return path;
}

static void world_open(world *w, const struct router *router, int top_k) {
    const struct kernels *k;
    *w = (world){0};
    EXPECT_OK(dataset_open(&w->d, data_folder()));
    const model_config c = {
        .family = "lamplighter", .vocab_size = w->d->vocabulary_size, .hidden_size = 16, .intermediate_size = 12, .num_hidden_layers = 2, .num_attention_heads = 2,
        .num_key_value_heads = 2, .head_dim = 8, .max_position_embeddings = 32, .rope_theta = 10000, .rms_norm_eps = 1e-6, .initializer_range = 0.2,
        .end_of_text = -1, .moe = {.router = router, .experts = 4, .top_k = top_k, .scale = 1},
    };
    EXPECT_OK(kernels_choose(&k));
    EXPECT_OK(tape_open(&w->t, k));
    EXPECT_OK(model_open(&w->m, &c));
    EXPECT_OK(weights_allocate_values(&w->m.weights));
    weights_initialize(&w->m.weights, 3);
    EXPECT_OK(evaluation_open(&w->e, &w->m, 8, 32));
}

static void world_close(world *w) {
    evaluation_close(&w->e), model_close(&w->m), tape_close(&w->t);
    dataset_free(w->d);
}

static void profile_router(const struct router *router, int top_k, const char *verdict, int expected) {
    world w;
    routed_text r;
    profiles p;
    world_open(&w, router, top_k);
    test_row(router->name);
    EXPECT_OK(routed_text_of_dataset(&r, &w.e, &w.t, &w.m, 1, w.d, 1 << 14));
    EXPECT(r.tokens > 10000 && r.pairs == r.tokens * top_k, "%td tokens, %td pairs", r.tokens, r.pairs);
    EXPECT_OK(profiles_open(&p, &r, w.d->tokenizer));
    EXPECT(!profiles_too_little_text(&p), "%td windows", routed_text_windows(&r));
    EXPECT(!strncmp(information_verdict(&p.information), verdict, strlen(verdict)), "%s", information_verdict(&p.information));
    for (int i = 0; i < r.experts; i++) {
        profile of;
        profile_make(&of, &p, i);
        EXPECT(of.speciality.feature == expected, "expert %d: %d, share %g, lift %g", i, of.speciality.feature, of.speciality.share, of.speciality.lift);
        EXPECT(of.n_contexts == 0, "expert %d: weights are all equal", i);
    }
    profiles_close(&p), routed_text_release(&r), world_close(&w);
}

static void a_random_router_has_no_specialities(void) {
    profile_router(&router_random, 1, "neither", FEATURES);
    profile_router(&router_random, 2, "neither", FEATURES);
}

static void a_hash_router_follows_tokens(void) { profile_router(&router_hash, 1, "the token itself", FEATURE_TOKEN); }

/* Expert 1 gets three tokens a window with expert 0, of weight 0.5; but in window 2 the second has weight 0.9, in window 5 the first 0.8, and
 * in window 7 stand the words of window 5. */
static void contexts_are_heavy_and_different(void) {
    enum { ROWS = 8, WIDTH = 10 };
    world w;
    routed_text r = {.experts = 3, .T = WIDTH, .tokens = ROWS * WIDTH};
    profiles p;
    profile of;
    world_open(&w, &router_random, 1);
    w.e.n_domains = 1, r.e = &w.e;
    EXPECT_OK(memory_new(&r.token, ROWS * WIDTH + 1, sizeof *r.token, "tokens"));
    EXPECT_OK(memory_new(&r.pair, 2 * ROWS * WIDTH, sizeof *r.pair, "pairs"));
    r.token_room = ROWS * WIDTH + 1, r.pair_room = 2 * ROWS * WIDTH;
    for (int n = 0; n < ROWS * WIDTH; n++) {
        int window = n / WIDTH, at = n % WIDTH, same = window == 7 ? 5 : window;
        real heavy = window == 2 && at == 1 ? (real)0.9 : same == 5 && at == 0 ? (real)0.8 : (real)0.5;
        r.token[n] = (routed_token){20 + same * WIDTH + at, 0, r.pairs};
        r.pair[r.pairs++] = (routed_pair){at < 3 ? 1 : 2, heavy, n};
        if (at < 3) r.pair[r.pairs++] = (routed_pair){0, 1 - heavy, n};
    }
    r.token[4 * WIDTH - 1].id = r.token[6 * WIDTH - 1].id = r.token[7 * WIDTH - 1].id = 19; /* before windows 5 and 7 stands the same */
    r.token[7 * WIDTH - 2].id = r.token[5 * WIDTH - 2].id = r.token[7 * WIDTH - 3].id = r.token[5 * WIDTH - 3].id = 18;
    r.token[5 * WIDTH - 1].id = 19;
    EXPECT_OK(routed_text_sort(&r));
    EXPECT_OK(profiles_open(&p, &r, w.d->tokenizer));
    profile_make(&of, &p, 1);
    static const ptrdiff_t expected[] = {2 * WIDTH + 1, 5 * WIDTH, 0};
    EXPECT(of.n_contexts == 3, "%d contexts", of.n_contexts);
    for (int i = 0; i < of.n_contexts; i++) EXPECT(r.pair[of.context[i]].token == expected[i], "context %d is token %td", i, r.pair[of.context[i]].token);
    /* Of what is not expert 1's, 3 pairs of 10 are expert 0's, and all it meets are. */
    EXPECT(of.n_partners == 1 && of.partners[0].expert == 0 && of.partners[0].count == 3 * ROWS, "%d partners", of.n_partners);
    EXPECT(fabs(of.partners[0].lift - 10 / 3.0) < 1e-9, "lift %g", of.partners[0].lift);
    EXPECT(profiles_too_little_text(&p) && of.speciality.feature == FEATURES, "eight windows are enough to name a speciality");
    profiles_close(&p), routed_text_release(&r), world_close(&w);
}

/* ---- ablation --------------------------------------------------------------------------------------------------------------------- */

static void intervals_are_students(void) {
    loss_change c = loss_change_of((const double[]){1, 2, 3}, 3);
    EXPECT(c.mean == 2 && fabs(c.high - c.mean - 2.484) < 0.08 && fabs(c.mean - c.low - (c.high - c.mean)) < 1e-12, "%g to %g", c.low, c.high);
    c = loss_change_of((const double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 11); /* deviation sqrt(11), root of n too: t itself */
    EXPECT(c.mean == 6 && fabs(c.high - c.mean - 2.2281) < 0.001, "%g to %g", c.low, c.high);
    c = loss_change_of((const double[]){1, 2}, 2);
    EXPECT(c.mean == 1.5 && isnan(c.low) && isnan(c.high), "%g to %g of two windows", c.low, c.high);
}

static weight *down_of(const model *m, int layer) {
    for (int i = 0; i < m->weights.n; i++)
        if (m->weights.row[i]->layer == layer && !strcmp(m->weights.row[i]->kind, "moe.down")) return m->weights.row[i];
    return NULL;
}

static void a_silent_expert_is_one_of_zeros(void) {
    enum { TOKENS = 512 };
    world w;
    ablation a;
    world_open(&w, &router_softmax, 2);
    size_t bytes = (size_t)w.m.weights.total * sizeof(real);
    real *before = NULL, *address[4];
    EXPECT_OK(memory_new(&before, bytes, 1, "a copy of the weights"));
    memcpy(before, w.m.weights.values, bytes);
    weight *down = down_of(&w.m, 1);
    memcpy(address, down->value, sizeof address);
    EXPECT_OK(ablation_measure(&a, &w.e, &w.t, &w.m, 1, w.d, TOKENS));
    EXPECT(!memcmp(before, w.m.weights.values, bytes) && !memcmp(address, down->value, sizeof address), "the model has changed");
    double whole = score_loss(&w.e.total);
    for (int expert = 0; expert < 4; expert++) {
        memset(down->value[expert], 0, sizeof(real) * (size_t)(down->out * down->in));
        EXPECT_OK(evaluate_dataset(&w.e, &w.t, &w.m, w.d, TOKENS));
        memcpy(w.m.weights.values, before, bytes);
        const loss_change *c = ablation_of(&a, expert);
        EXPECT(fabs(c->mean - (score_loss(&w.e.total) - whole)) < 1e-10, "expert %d: %g, expected %g", expert, c->mean, score_loss(&w.e.total) - whole);
        EXPECT(c->mean != 0 && c->low < c->mean && c->mean < c->high, "expert %d: %g to %g", expert, c->low, c->high);
        EXPECT(c[1].windows + c[2].windows == c[0].windows && c[0].windows == w.e.total.tokens / 32, "expert %d: %td windows", expert, c->windows);
        double domains = (c[1].mean * (double)c[1].windows + c[2].mean * (double)c[2].windows) / (double)c[0].windows;
        EXPECT(fabs(domains - c->mean) < 1e-12, "expert %d: domains make %g, all %g", expert, domains, c->mean);
    }
    memory_free(before);
    ablation_release(&a), world_close(&w);
}

static const test_case cases[] = {
    {"information tells token from domain", information_tells_token_from_domain},
    {"information has its closed forms", information_has_its_closed_forms},
    {"affinities count lifts", affinities_count_lifts},
    {"a random router has no specialities", a_random_router_has_no_specialities},
    {"a hash router follows tokens", a_hash_router_follows_tokens},
    {"contexts are heavy and different", contexts_are_heavy_and_different},
    {"intervals are Student's", intervals_are_students},
    {"a silent expert is one of zeros", a_silent_expert_is_one_of_zeros},
};

int main(void) { return test_run("inspection", cases, sizeof cases / sizeof *cases); }
