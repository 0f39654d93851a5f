#include "inspect/profile.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"

int profiles_open(profiles *p, const routed_text *r, const tokenizer *words) {
    int status = LAMP_OK;
    *p = (profiles){.r = r};
    TRY_TO(done, memory_new(&p->met, (size_t)r->experts, sizeof *p->met, "partners of an expert"));
    TRY_TO(done, features_open(&p->features, r, words));
    for (int i = 0; i < FEATURES; i++) {
        TRY_TO(done, affinities_open(&p->likes[i], r, &p->features.of[i]));
        p->threshold[i] = affinity_threshold(FEATURES * (double)p->likes[i].seen * r->experts);
    }
    TRY_TO(done, information_measure(&p->information, &p->features));
done:
    if (status < 0) profiles_close(p);
    return status;
}

void profiles_close(profiles *p) {
    for (int i = 0; i < FEATURES; i++) affinities_close(&p->likes[i]);
    features_close(&p->features);
    memory_free(p->met);
    *p = (profiles){0};
}

/* ---- speciality ------------------------------------------------------------------------------------------------------------------- */

static double weight_of(const speciality *s) { return s->share > 0 ? s->share * log2(s->lift) : 0; }

/* The one value that says most. */
static speciality name_by_value(const profiles *p, int kind) {
    speciality best = {.feature = FEATURES};
    const affinities *a = &p->likes[kind];
    for (ptrdiff_t i = 0; i < a->n; i++) {
        const affinity *l = &a->liked[i];
        speciality s = {kind, 1, 1, {l->value}, l->share, l->lift};
        if (l->share >= 0.5 && l->lift >= 1.5 && l->z >= p->threshold[kind] && weight_of(&s) > weight_of(&best)) best = s;
    }
    return best;
}

static speciality name_by_tokens(const profiles *p) {
    const affinities *a = &p->likes[FEATURE_TOKEN];
    speciality s = {.feature = FEATURE_TOKEN};
    double base = 0;
    for (ptrdiff_t i = 0; i < a->n; i++) {
        const affinity *l = &a->liked[i];
        if (l->lift < 2 || l->z < p->threshold[FEATURE_TOKEN]) continue;
        if (s.n < PROFILE_LIKED) s.value[s.n++] = l->value;
        s.values++, s.share += l->share, base += l->share / l->lift;
    }
    s.lift = base > 0 ? s.share / base : 0;
    return s.share >= 1 / 3.0 ? s : (speciality){.feature = FEATURES};
}

static speciality name(const profiles *p) {
    speciality best = name_by_value(p, FEATURE_DOMAIN), tokens = name_by_tokens(p);
    for (int f = 0; f < FEATURES; f++) {
        speciality s = f == FEATURE_TOKEN ? best : name_by_value(p, f);
        if (weight_of(&s) > weight_of(&best)) best = s;
    }
    bool short_list = tokens.values == 1 || tokens.values == 2;
    double enough = weight_of(&tokens) * (short_list ? 1.01 : 2 / 3.0);
    return weight_of(&best) > 0 && weight_of(&best) >= enough ? best : tokens;
}

bool profiles_too_little_text(const profiles *p) {
    for (int f = 0; f < FEATURES; f++)
        if ((double)routed_text_windows(p->r) >= p->threshold[f] * p->threshold[f]) return false;
    return true;
}

/* ---- contexts --------------------------------------------------------------------------------------------------------------------- */

/* Around both tokens stands the same. */
static bool same_words(const routed_text *r, ptrdiff_t a, ptrdiff_t b) {
    enum { AROUND = 3 };
    for (ptrdiff_t i = -AROUND; i <= AROUND; i++) {
        bool inside = a + i >= 0 && b + i >= 0 && a + i < r->tokens && b + i < r->tokens;
        if (inside && r->token[a + i].id != r->token[b + i].id) return false;
    }
    return true;
}

/* The heaviest pairs, of different windows and different words; of equal weights the first. */
static void find_contexts(profile *of, const routed_text *r) {
    real least = INFINITY, most = 0;
    for (ptrdiff_t i = r->expert_start[of->expert]; i < r->expert_start[of->expert + 1]; i++) {
        ptrdiff_t pair = r->of_expert[i], token = r->pair[pair].token;
        real heavy = r->pair[pair].weight;
        int n = 0;
        bool beaten = false;
        if (heavy < least) least = heavy;
        if (heavy > most) most = heavy;
        if (of->n_contexts == PROFILE_CONTEXTS && heavy <= r->pair[of->context[PROFILE_CONTEXTS - 1]].weight) continue;
        for (int j = 0; j < of->n_contexts; j++) {
            const routed_pair *other = &r->pair[of->context[j]];
            bool alike = other->token / r->T == token / r->T || same_words(r, other->token, token);
            beaten |= alike && other->weight >= heavy;
        }
        if (beaten) continue;
        for (int j = 0; j < of->n_contexts; j++) {
            const routed_pair *other = &r->pair[of->context[j]];
            if (other->token / r->T != token / r->T && !same_words(r, other->token, token)) of->context[n++] = of->context[j];
        }
        if (n == PROFILE_CONTEXTS) n--;
        int at = n;
        for (; at > 0 && r->pair[of->context[at - 1]].weight < heavy; at--) of->context[at] = of->context[at - 1];
        of->context[at] = pair, of->n_contexts = n + 1;
    }
    if (!(most > least)) of->n_contexts = 0;
}

void profiles_find_context(const profiles *p, ptrdiff_t token, ptrdiff_t *first, ptrdiff_t *end) {
    enum { BEFORE = 12, AFTER = 8 };
    const routed_text *r = p->r;
    const tokenizer *words = p->features.words;
    for (*first = token; *first > token - BEFORE && *first % r->T > 0; --*first)
        if (tokenizer_is_special(words, r->token[*first - 1].id)) break;
    for (*end = token + 1; *end <= token + AFTER && *end % r->T > 0; ++*end)
        if (tokenizer_is_special(words, r->token[*end].id)) break;
}

void profiles_append_text(buffer *out, const profiles *p, ptrdiff_t first, ptrdiff_t end) {
    for (ptrdiff_t n = first; n < end; n++) feature_describe(out, &p->features, FEATURE_TOKEN, p->r->token[n].id);
}

/* ---- partners --------------------------------------------------------------------------------------------------------------------- */

/* With k experts to a token, each of the k - 1 others would be f with f's share of what is not this expert's. */
static void find_partners(profile *of, const routed_text *r, int64_t *met) {
    double others = 0, rest = (double)(r->pairs - of->pairs);
    for (ptrdiff_t i = r->expert_start[of->expert]; i < r->expert_start[of->expert + 1]; i++) {
        const routed_token *t = &r->token[r->pair[r->of_expert[i]].token];
        for (ptrdiff_t j = t[0].first; j < t[1].first; j++)
            if (r->pair[j].expert != of->expert) met[r->pair[j].expert]++, others++;
    }
    double rank[PROFILE_PARTNERS];
    for (int e = 0; e < r->experts; met[e++] = 0) {
        if (met[e] == 0) continue;
        double expected = others * (double)(r->expert_start[e + 1] - r->expert_start[e]) / rest, lift = (double)met[e] / expected;
        double mine = (double)met[e] * log(lift);
        if (mine <= 0) continue;
        int at = of->n_partners < PROFILE_PARTNERS ? of->n_partners++ : PROFILE_PARTNERS;
        for (; at > 0 && rank[at - 1] < mine; at--)
            if (at < PROFILE_PARTNERS) rank[at] = rank[at - 1], of->partners[at] = of->partners[at - 1];
        if (at < PROFILE_PARTNERS) rank[at] = mine, of->partners[at] = (partner){e, met[e], lift};
    }
}

void profile_make(profile *of, profiles *p, int expert) {
    const routed_text *r = p->r;
    *of = (profile){.expert = expert, .pairs = r->expert_start[expert + 1] - r->expert_start[expert], .speciality.feature = FEATURES};
    if (of->pairs == 0) return;
    for (int f = 0; f < FEATURES; f++) {
        affinities *a = &p->likes[f];
        affinities_ask(a, expert);
        for (ptrdiff_t i = 0; i < a->n && of->likes[f].n < PROFILE_LIKED && a->liked[i].lift > 1; i++) of->likes[f].liked[of->likes[f].n++] = a->liked[i];
    }
    of->speciality = name(p);
    find_contexts(of, r);
    find_partners(of, r, p->met);
}
