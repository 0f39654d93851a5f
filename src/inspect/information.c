#include "inspect/information.h"

#include <math.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/random.h"

enum { SHUFFLES = 30 };

const char *const information_names[INFORMATIONS] = {"token", "token class", "domain", "domain beyond token", "position"};

static double n_log2_n(int64_t n) { return n > 1 ? (double)n * log2((double)n) : 0; }

/* I = log2 P + (sum n_ex log2 n_ex - sum n_e log2 n_e - sum n_x log2 n_x) / P.  count (2, values) is zero before and after. */
static double count_bits(const routed_text *r, const int32_t *value, ptrdiff_t values, int64_t *count) {
    int64_t *everywhere = count + values;
    double sum = 0;
    if (r->pairs == 0) return 0;
    for (int e = 0; e < r->experts; e++) {
        const ptrdiff_t first = r->expert_start[e], end = r->expert_start[e + 1];
        for (ptrdiff_t i = first; i < end; i++) count[value[r->pair[r->of_expert[i]].token]]++;
        for (ptrdiff_t i = first; i < end; i++) {
            int32_t x = value[r->pair[r->of_expert[i]].token];
            sum += n_log2_n(count[x]);
            everywhere[x] += count[x], count[x] = 0;
        }
        sum -= n_log2_n(end - first);
    }
    for (ptrdiff_t x = 0; x < values; x++) sum -= n_log2_n(everywhere[x]), everywhere[x] = 0;
    return log2((double)r->pairs) + sum / (double)r->pairs;
}

int information_count(double *bits, const routed_text *r, const int32_t *value, ptrdiff_t values) {
    int64_t *count = NULL;
    TRY(memory_new(&count, 2 * (size_t)values, sizeof *count, "counts of a feature's values"));
    *bits = count_bits(r, value, values, count);
    memory_free(count);
    return LAMP_OK;
}

/* What changes places: windows, or tokens within groups; group g is member[start[g]] .. member[start[g + 1]]. */
typedef struct {
    ptrdiff_t unit; /* tokens of one member */
    ptrdiff_t groups, members;
    ptrdiff_t *start, *member;
} shuffle;

static int shuffle_open(shuffle *s, const routed_text *r, ptrdiff_t unit, const feature *within) {
    ptrdiff_t groups = within ? within->values : 1, members = r->tokens / unit;
    *s = (shuffle){.unit = unit, .groups = groups, .members = members};
    TRY(memory_new(&s->start, (size_t)groups + 2, sizeof *s->start, "groups to shuffle"));
    TRY(memory_new(&s->member, (size_t)members, sizeof *s->member, "tokens to shuffle"));
    ptrdiff_t *next = s->start + 1;
    for (ptrdiff_t n = 0; n < members; n++) next[1 + (within ? within->value[n] : 0)]++;
    for (ptrdiff_t g = 0; g < groups; g++) next[g + 1] += next[g];
    for (ptrdiff_t n = 0; n < members; n++) s->member[next[within ? within->value[n] : 0]++] = n;
    return LAMP_OK;
}

static void shuffle_close(shuffle *s) {
    memory_free(s->start);
    memory_free(s->member);
    *s = (shuffle){0};
}

/* Members exchange their values (Fisher and Yates). */
static void shuffle_values(const shuffle *s, int32_t *value, random_key key) {
    for (ptrdiff_t g = 0; g < s->groups; g++)
        for (ptrdiff_t first = s->start[g], i = s->start[g + 1] - 1; i > first; i--) {
            ptrdiff_t j = first + (ptrdiff_t)random_below(key, (uint64_t)i, (uint64_t)(i - first + 1));
            int32_t *a = value + s->member[i] * s->unit, *b = value + s->member[j] * s->unit;
            for (ptrdiff_t k = 0; k < s->unit; k++) {
                int32_t kept = a[k];
                a[k] = b[k], b[k] = kept;
            }
        }
}

/* value (N), which is shuffled; with `joined`, the value is one of the pair of both, and what joined says alone is taken off. */
static int measure(information *info, const routed_text *r, int32_t *value, ptrdiff_t values, const feature *joined, const shuffle *s, int row) {
    int32_t *joint = NULL;
    int64_t *count = NULL;
    double sum = 0, squares = 0, alone = 0;
    ptrdiff_t all = joined ? values * joined->values : values;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&count, 2 * (size_t)all, sizeof *count, "counts of a feature's values"));
    if (joined) {
        TRY_TO(done, memory_new(&joint, (size_t)r->tokens, sizeof *joint, "joint values"));
        alone = count_bits(r, joined->value, joined->values, count);
    }
    for (int i = 0; i <= SHUFFLES; i++) {
        TRY_TO(done, interrupt_check("measuring information"));
        if (i > 0) shuffle_values(s, value, random_key_make(0, RANDOM_SHUFFLE, (uint64_t)i, (uint64_t)row));
        for (ptrdiff_t n = 0; joined && n < r->tokens; n++) joint[n] = joined->value[n] * (int32_t)values + value[n];
        double bits = count_bits(r, joined ? joint : value, all, count) - alone;
        if (i == 0) info->bits = bits;
        else sum += bits - info->bits, squares += (bits - info->bits) * (bits - info->bits);
    }
    info->chance = info->bits + sum / SHUFFLES;
    info->deviation = sqrt(fmax(0, squares - sum * sum / SHUFFLES) / (SHUFFLES - 1));
done:
    memory_free(joint);
    memory_free(count);
    return status;
}

static void measure_experts(information_report *report, const routed_text *r) {
    double entropy = 0, left = 0;
    for (int e = 0; e < r->experts; e++) entropy -= n_log2_n(r->expert_start[e + 1] - r->expert_start[e]);
    for (ptrdiff_t n = 0; n < r->tokens; n++) left += n_log2_n(r->token[n + 1].first - r->token[n].first);
    if (r->pairs > 0) report->entropy = log2((double)r->pairs) + entropy / (double)r->pairs, report->most = report->entropy - left / (double)r->pairs;
}

int information_measure(information_report *report, const features *f) {
    const struct {
        int feature;
        bool whole_windows, beyond_token;
    } rows[INFORMATIONS] = {
        {FEATURE_TOKEN, false, false}, {FEATURE_CLASS, false, false},    {FEATURE_DOMAIN, true, false},
        {FEATURE_DOMAIN, false, true}, {FEATURE_POSITION, false, false},
    };
    const routed_text *r = f->r;
    int32_t *value = NULL;
    int status;
    *report = (information_report){0};
    measure_experts(report, r);
    TRY(memory_new(&value, (size_t)r->tokens, sizeof *value, "values to shuffle"));
    for (int i = 0; i < INFORMATIONS; i++) {
        const feature *x = &f->of[rows[i].feature], *token = rows[i].beyond_token ? &f->of[FEATURE_TOKEN] : NULL;
        information *info = &report->of[i];
        shuffle s;
        for (ptrdiff_t n = 0; n < r->tokens; n++) value[n] = x->value[n];
        status = shuffle_open(&s, r, rows[i].whole_windows ? r->T : 1, token);
        if (status >= 0) status = measure(info, r, value, x->values, token, &s, i);
        shuffle_close(&s);
        TRY_TO(done, status);
        double above = info->bits - info->chance, room = report->most - info->chance;
        info->share = above > 5 * info->deviation && above > 1e-9 && room > 1e-9 ? above / room : 0;
    }
done:
    memory_free(value);
    return status;
}

const char *information_verdict(const information_report *report) {
    enum { TOKEN, SYNTAX, TOPIC, BOTH, POSITION, NONE };
    static const char *const sentences[] = {
        [TOKEN] = "the token itself: equal tokens go to the same experts, whatever the domain and the place",
        [SYNTAX] = "syntax rather than topic: which token it is says more than twice what its domain says, alone or among equal tokens",
        [TOPIC] = "topic rather than syntax: the domain says more than the token does",
        [BOTH] = "both syntax and topic: which token it is says more than its domain, but not twice as much",
        [POSITION] = "position rather than syntax or topic",
        [NONE] = "neither syntax nor topic: none of these says 2 % of what a place decides",
    };
    const information *of = report->of;
    double token = of[INFORMATION_TOKEN].share, topic = fmax(of[INFORMATION_DOMAIN].share, of[INFORMATION_BEYOND].share);
    if (token < 0.02 && topic < 0.02) return sentences[of[INFORMATION_POSITION].share < 0.02 ? NONE : POSITION];
    if (token > 0.9 && of[INFORMATION_BEYOND].share < 0.02) return sentences[TOKEN];
    return sentences[token > 2 * topic ? SYNTAX : topic > token ? TOPIC : BOTH];
}
