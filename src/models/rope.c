#include "models/rope.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

const rope_scaling rope_usual = {
    .kind = "default", .factor = 1, .low_frequency = 1, .high_frequency = 4, .beta_fast = 32, .beta_slow = 1, .truncate = true};

/* Positions in steps of 1 / factor (Chen et al. 2023, arXiv:2306.15595). */
static void stretch_linear(double *f, const model_config *c, int64_t dim) {
    for (int64_t i = 0; i < dim / 2; i++) f[i] /= c->rope.factor;
}

/* Llama-3.1: waves longer than original / low are stretched, those shorter than original / high are not, and between them it is gradual. */
static void stretch_llama3(double *f, const model_config *c, int64_t dim) {
    const rope_scaling *s = &c->rope;
    for (int64_t i = 0; i < dim / 2; i++) {
        double waves = (double)s->original * f[i] / (2 * M_PI), share = (waves - s->low_frequency) / (s->high_frequency - s->low_frequency);
        share = fmin(fmax(share, 0), 1);
        f[i] *= (1 - share) / s->factor + share;
    }
}

/* The pair, as a real number, that turns `rotations` times in the original context. */
static double pair_of(double rotations, const model_config *c, int64_t dim) {
    return (double)dim * log((double)c->rope.original / (rotations * 2 * M_PI)) / (2 * log(c->rope_theta));
}

/* YaRN (Peng et al. 2023, arXiv:2309.00071): pairs before the one that turns beta_fast times stay, those behind the one that turns beta_slow times
 * are stretched, and between them it is gradual. truncate: between whole pairs. */
static void stretch_yarn(double *f, const model_config *c, int64_t dim) {
    const rope_scaling *s = &c->rope;
    double low = pair_of(s->beta_fast, c, dim), high = pair_of(s->beta_slow, c, dim);
    if (s->truncate) low = floor(low), high = ceil(high);
    low = fmax(low, 0), high = fmin(high, (double)dim - 1);
    if (low == high) high += 0.001;
    for (int64_t i = 0; i < dim / 2; i++) {
        double stretched = fmin(fmax(((double)i - low) / (high - low), 0), 1);
        f[i] *= stretched / s->factor + 1 - stretched;
    }
}

/* "dynamic" changes frequencies only beyond max_position_embeddings, where nobody reads. */
static const struct {
    const char *name;
    void (*stretch)(double *f, const model_config *c, int64_t dim);
} kinds[] = {{"default", NULL}, {"linear", stretch_linear}, {"dynamic", NULL}, {"llama3", stretch_llama3}, {"yarn", stretch_yarn}};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

static bool is(const rope_scaling *s, const char *kind) { return !strcmp(s->kind, kind); }

void rope_frequencies(double *f, const model_config *c, int64_t dim) {
    for (int64_t i = 0; i < dim / 2; i++) f[i] = pow(c->rope_theta, -2.0 * (double)i / (double)dim);
    for (int k = 0; k < N_KINDS; k++)
        if (is(&c->rope, kinds[k].name) && kinds[k].stretch) kinds[k].stretch(f, c, dim);
}

/* YaRN's m = 0.1 mscale ln(factor) + 1. */
static double yarn_mscale(const rope_scaling *s, double mscale) { return s->factor > 1 ? 0.1 * mscale * log(s->factor) + 1 : 1; }

double rope_length(const rope_scaling *s) {
    if (!is(s, "yarn")) return 1;
    if (s->attention_factor > 0) return s->attention_factor;
    bool both = s->mscale > 0 && s->mscale_all_dim > 0;
    return both ? yarn_mscale(s, s->mscale) / yarn_mscale(s, s->mscale_all_dim) : yarn_mscale(s, 1);
}

double rope_score_factor(const rope_scaling *s) {
    double m = is(s, "yarn") && s->mscale_all_dim > 0 ? yarn_mscale(s, s->mscale_all_dim) : 1;
    return m * m;
}

static int check_number(const char *key, double value, double min, double max, const char *where) {
    if (!(value >= min && value <= max)) FAIL(LAMP_MALFORMED, "%s: rope: \"%s\": expected %g to %g, found %g", where, key, min, max, value);
    return LAMP_OK;
}

static int check_order(const char *key, double value, const char *other, double less, const char *where) {
    if (!(value > less)) FAIL(LAMP_MALFORMED, "%s: rope: \"%s\": expected more than \"%s\" (%g), found %g", where, key, other, less, value);
    return LAMP_OK;
}

int rope_complete(model_config *c, const char *where) {
    rope_scaling *s = &c->rope;
    if (!*s->kind) strcpy(s->kind, "default");
    if (is(s, "default")) return LAMP_OK;
    TRY(check_number("factor", s->factor, 1, 1e6, where));
    if (!is(s, "llama3") && !is(s, "yarn")) return LAMP_OK;
    if (s->original == 0) s->original = c->max_position_embeddings;
    TRY(check_number("original_max_position_embeddings", (double)s->original, 1, 1 << 30, where));
    if (is(s, "llama3")) {
        TRY(check_number("low_freq_factor", s->low_frequency, 1e-6, 1e6, where));
        TRY(check_number("high_freq_factor", s->high_frequency, 1e-6, 1e6, where));
        TRY(check_order("high_freq_factor", s->high_frequency, "low_freq_factor", s->low_frequency, where));
    }
    if (is(s, "llama3")) return LAMP_OK;
    TRY(check_number("beta_fast", s->beta_fast, 1e-6, 1e6, where));
    TRY(check_number("beta_slow", s->beta_slow, 1e-6, 1e6, where));
    TRY(check_order("beta_fast", s->beta_fast, "beta_slow", s->beta_slow, where));
    TRY(check_number("attention_factor", s->attention_factor, 0, 1e6, where));
    TRY(check_number("mscale", s->mscale, 0, 1e6, where));
    TRY(check_number("mscale_all_dim", s->mscale_all_dim, 0, 1e6, where));
    return check_order("rope_theta", c->rope_theta, "1", 1, where);
}
