/* The conditions, worst first. Each test holds its thresholds; docs/doctor.md shows how they fared on sick and healthy runs. */
#include "health/conditions.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buffer.h"

static bool say(char *evidence, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* True, for tests that end in a sentence. */
static bool say(char *evidence, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(evidence, FINDING_BYTES, format, arguments);
    va_end(arguments);
    return true;
}

/* Of the highest: where a schedule has all but ended, little is expected to move. */
static bool learning_is_slow(const chart *c) { return c->vitals.learning_rate < 0.15 * c->patient.highest_rate; }

/* ---- the loss ---------------------------------------------------------------------------------------------------------------- */

enum { REMEMBERED = 100 /* steps that an event stays on the chart */ };

static bool not_finite(const chart *c, int layer, char *evidence) {
    (void)layer;
    return c->bad_step >= 0 && c->step - c->bad_step <= REMEMBERED &&
           say(evidence, "loss or gradient was not finite in %lld step%s, last in step %lld", (long long)c->bad_steps, c->bad_steps == 1 ? "" : "s",
               (long long)c->bad_step);
}

static bool loss_spike(const chart *c, int layer, char *evidence) {
    (void)layer;
    return c->spike_step >= 0 && c->step - c->spike_step <= REMEMBERED &&
           say(evidence, "the loss was %.1f standard deviations above its last 128 in step %lld", c->spike, (long long)c->spike_step);
}

/* The rate has at least doubled since some step that is remembered, and the loss now lies above what it was until then, by four standard errors
 * and a hundredth. A warmup from random weights does not: there the loss falls. A step's loss is what the rates of the steps before it have
 * made: that of the first step, whose weights may have been trained elsewhere, is made by none. */
static bool restart_damage(const chart *c, int layer, char *evidence) {
    enum { WINDOW = 20 };
    double now, deviation, highest = 0, worst = 0;
    (void)layer;
    if (!loss_course_recent(&c->course, 0, WINDOW, &now, &deviation)) return false;
    for (int back = 0; back + 1 < RECENT_LOSSES && back < c->course.steps; back++) {
        double before, noise, rate = loss_course_rate(&c->course, back + 1);
        int n = (int)fmin(WINDOW, (double)(c->course.steps - back));
        highest = fmax(highest, rate);
        if (back < WINDOW || 2 * rate > highest || !loss_course_recent(&c->course, back, n, &before, &noise)) continue;
        if (now - before <= 4 * deviation * sqrt(1.0 / n + 1.0 / WINDOW) || now - before <= 0.01 * before || now - before <= worst) continue;
        worst = now - before;
        say(evidence, "the learning rate rose from %.2g to %.2g, and the loss from %.3f to %.3f", rate, highest, before, now);
    }
    return worst > 0;
}

/* It does not fall beyond doubt, and moved by less than a hundredth even if two standard errors are added. A line through much noise, a jump or
 * a wave is too uncertain for that. */
static bool stalled_loss(const chart *c, int layer, char *evidence) {
    loss_trend trend;
    (void)layer;
    return !learning_is_slow(c) && loss_course_trend(&trend, &c->course) && trend.slope > -2 * trend.error &&
           (2 * trend.error + fabs(trend.slope)) * trend.steps < 0.01 * trend.level &&
           say(evidence, "in the last %.0f steps the loss moved by %+.2g per 100 steps, give or take %.2g", trend.steps, 100 * trend.slope, 200 * trend.error);
}

static bool diverging_loss(const chart *c, int layer, char *evidence) {
    double mean, deviation;
    (void)layer;
    return loss_course_verdict(&c->course) == LOSS_DIVERGING && loss_course_recent(&c->course, 0, 50, &mean, &deviation) &&
           say(evidence, "the mean of the last 50 steps is %.3f, well above the best", mean);
}

/* ---- who is used ------------------------------------------------------------------------------------------------------------- */

static bool dead_experts(const chart *c, int layer, char *evidence) {
    enum { NAMED = 6, ENOUGH = 2 /* pairs of a mean expert in a step */ };
    const patient *p = &c->patient;
    const int64_t *seen = c->last_seen + (ptrdiff_t)layer * p->experts;
    buffer names = {0};
    int dead = 0;
    if (!p->learns || p->batch_tokens * p->top_k < ENOUGH * p->experts) return false;
    for (int e = 0; e < p->experts; e++) {
        if (!chart_says_dead(c, layer, e)) continue;
        if (dead++ < NAMED) buffer_printf(&names, "%s%d (%s%lld)", dead > 1 ? ", " : "", e, seen[e] > 0 ? "last used in step " : "never used, by step ",
                                          (long long)(seen[e] > 0 ? seen[e] : c->step));
    }
    if (dead > NAMED) buffer_printf(&names, " and %d more", dead - NAMED);
    if (dead) say(evidence, "%d of %d experts get no token: %s", dead, p->experts, names.bytes ? names.bytes : "");
    buffer_release(&names);
    return dead > 0;
}

/* Of the largest CV there can be, where K experts take everything. */
static double most_lopsided(const patient *p) { return sqrt(fmax(0, (double)p->experts / p->top_k - 1)); }

enum { SETTLED = 100 /* steps: in the first fifty nearly every router collapses for a while, and the window holds as many */ };

static bool lopsided_importance(const chart *c, int layer, char *evidence) {
    const moe_summary *s = &c->now[layer];
    return c->step >= SETTLED && c->patient.learns && s->importance_cv > fmin(1, 0.6 * most_lopsided(&c->patient)) &&
           say(evidence, "the weight experts receive has CV %.2f, their loads reach %.1f times the mean; %d experts do the work of %.1f",
               s->importance_cv, s->load_max_over_mean, c->patient.experts, s->effective_experts);
}

/* Healthy routers give importance at least as unevenly as tokens. A third less is what a loss on importance alone leaves behind. */
static bool lopsided_load(const chart *c, int layer, char *evidence) {
    const moe_summary *s = &c->now[layer];
    return c->step >= SETTLED && c->patient.learns && s->load_cv > 0.3 && s->importance_cv < s->load_cv * 2 / 3 &&
           say(evidence, "loads have CV %.2f and reach %.1f times the mean, while importance is more even (CV %.2f)", s->load_cv, s->load_max_over_mean,
               s->importance_cv);
}

static bool drops(const chart *c, int layer, char *evidence) {
    const moe_summary *s = &c->now[layer];
    return c->step >= SETTLED && s->dropped > 0.05 && say(evidence, "%.1f %% of the pairs find no room", 100 * s->dropped);
}

static bool captured_domain(const chart *c, int layer, char *evidence) {
    const layer_chart *l = &c->layer[layer];
    const patient *p = &c->patient;
    return p->learns && p->domains > 1 && p->experts >= 4 * p->top_k && c->step >= SETTLED && l->captured_share > 0.9 && l->others_share < 0.7 &&
           say(evidence, "%.0f %% of what domain %s sends goes to its %d busiest experts, of other domains %.0f %%", 100 * l->captured_share,
               p->domain_name[l->captured], p->top_k, 100 * l->others_share);
}

static bool too_few_tokens(const chart *c, int layer, char *evidence) {
    const patient *p = &c->patient;
    enum { TRIAL = 100 /* steps: a shorter run is not meant to learn */ };
    double tokens = p->budget_tokens * p->top_k / p->experts;
    (void)layer;
    return p->experts > 0 && p->budget_tokens >= (double)(TRIAL * p->batch_tokens) && tokens < p->expert_parameters &&
           say(evidence, "an expert of %.3g parameters will see %.3g tokens in the whole budget", p->expert_parameters, tokens);
}

/* ---- how the router speaks --------------------------------------------------------------------------------------------------- */

static bool exploding_logits(const chart *c, int layer, char *evidence) {
    const router_sums *r = &c->now[layer].router;
    double norm = sqrt(r->logit_square), early = c->layer[layer].early_norm;
    bool exploded = !isfinite(norm) || norm > 30 || (norm > 10 && norm > 10 * early);
    return r->tokens > 0 && c->patient.learns && exploded &&
           say(evidence, "the router's logits have norm %.3g (%.2g at first), z is %.3g", norm, early, r->z);
}

/* At a spread of 0.2 the best of 16 experts has 1.4 times an even probability. Sigmoids are nearly even by nature, routers that draw noise may
 * have small logits: only both together say that a router has no opinion. */
static bool uniform_routing(const chart *c, int layer, char *evidence) {
    const router_sums *r = &c->now[layer].router;
    return r->tokens > 0 && c->patient.learns && c->step >= SETTLED && r->spread < 0.2 && r->entropy > 0.99 &&
           say(evidence, "a token's logits differ by %.2g: its best expert has probability %.3f, %d even ones would have %.3f", r->spread, r->top1,
               c->patient.experts, 1.0 / c->patient.experts);
}

static bool frozen_routing(const chart *c, int layer, char *evidence) {
    const layer_chart *l = &c->layer[layer];
    if (!c->patient.learns || l->churn < 0 || learning_is_slow(c)) return false;
    if (l->turned < 0.001) return say(evidence, "the router has turned by %.1g radians since the last look", l->turned);
    return l->churn < 0.002 && say(evidence, "%.2f %% of the tokens changed an expert since the last look", 100 * l->churn);
}

/* A cosine of 0.85 is three quarters of what both compute. A sketch of 64 sums is off by 0.035 there; among 120 pairs of unrelated experts the
 * most alike reach 0.4. */
static bool duplicate_experts(const chart *c, int layer, char *evidence) {
    const layer_chart *l = &c->layer[layer];
    return l->similarity > 0.85 && say(evidence, "experts %d and %d have cosine %.2f", l->alike[0], l->alike[1], l->similarity);
}

static bool drifted_balance(const chart *c, int layer, char *evidence) {
    const moe_summary *s = &c->now[layer];
    const layer_chart *l = &c->layer[layer];
    if (!c->patient.learns || c->step < SETTLED) return false;
    if (l->bias_range > BIASES_TOO_WIDE) return say(evidence, "the biases of experts span %.2f, more than scores can", l->bias_range);
    if (c->excess_balance > BALANCE_TOO_HEAVY) return say(evidence, "balance losses add %.0f %% to the loss", 100 * c->excess_balance);
    if (s->load_cv > 0.5 && s->load_cv > 3 * l->most_even)
        return say(evidence, "loads had CV %.2f at their most even, now %.2f", l->most_even, s->load_cv);
    return l->swing > 0.5 && l->swing > 3 * l->least_swing &&
           say(evidence, "loads swing: in a single step they have CV %.2f, and had %.2f", l->swing, l->least_swing);
}

/* ---- the table --------------------------------------------------------------------------------------------------------------- */

enum { RUN = false, LAYER = true };

const struct condition conditions[] = {
    {"not_finite", "NaN", RUN, 1, not_finite, "nothing is learned from such a step, and three in a row end the run",
     "lower optim.learning_rate, lengthen optim.warmup, set optim.clip or balance.z"},
    {"diverging_loss", "diverging loss", RUN, 3, diverging_loss, "the run unlearns what it knew",
     "lower optim.learning_rate, or go back to an earlier checkpoint"},
    {"loss_spike", "loss spike", RUN, 1, loss_spike, "some spikes are never recovered from",
     "train.guard = treat skips such steps; a lower optim.learning_rate or optim.clip makes them rare"},
    {"restart_damage", "damage by a rising learning rate", RUN, 2, restart_damage,
     "what the lower rate had settled is lost, and routers collapse at such restarts", "begin with a lower optim.learning_rate, or a longer optim.warmup"},
    {"stalled_loss", "stalled loss", RUN, 3, stalled_loss, "the budget is being spent on nothing", "raise optim.learning_rate, or stop here"},
    {"exploding_logits", "exploding router logits", LAYER, 2, exploding_logits, "a saturated router no longer learns, and NaN is next",
     "set balance.z (0.001), or lower optim.learning_rate"},
    {"dead_experts", "dead experts", LAYER, 1, dead_experts, "their parameters are paid for and never used",
     "set balance.switch (0.01) or raise it, or use router.kind = sigmoid with balance.bias_rate"},
    {"lopsided_importance", "lopsided importance", LAYER, 3, lopsided_importance, "a few experts learn for all, and the rich get richer",
     "set balance.importance or balance.switch (0.01), or raise it"},
    {"lopsided_load", "lopsided load under balanced importance", LAYER, 3, lopsided_load,
     "many tokens with small weights crowd some experts, and these set the time of a step",
     "balance the load too: balance.switch (0.01), or balance.load with router.kind = noisy_top_k"},
    {"drops", "dropped pairs", LAYER, 3, drops, "dropped tokens pass the layer by untouched", "raise router.capacity, or balance the loads"},
    {"uniform_routing", "uniform routing", LAYER, 3, uniform_routing, "experts that see the same tokens learn the same",
     "lower the balance coefficients, or raise optim.learning_rate"},
    {"frozen_routing", "frozen routing", LAYER, 1, frozen_routing, "who goes where was settled before experts knew anything",
     "with top_k = 1 do not normalise; set balance.z if logits are large"},
    {"duplicate_experts", "duplicate experts", LAYER, 1, duplicate_experts, "two experts do the work of one",
     "more noise when upcycling, or re-seed one of them"},
    {"captured_domain", "a domain captured by few experts", LAYER, 1, captured_domain, "the domain has no more capacity than a small dense model",
     "mix the data more evenly, or balance within sequences: balance.sequence"},
    {"drifted_balance", "drifted balance", LAYER, 3, drifted_balance, "the coefficient no longer fits: routing is pushed too hard, or not enough",
     "change balance.switch or balance.importance by a factor of three, or balance.bias_rate"},
    {"too_few_tokens", "too few tokens per expert", RUN, 1, too_few_tokens, "an expert that sees fewer tokens than it has parameters learns little",
     "fewer or smaller experts, a larger router.top_k, or a larger budget"},
};

const int n_conditions = sizeof conditions / sizeof *conditions;
