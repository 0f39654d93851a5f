#include "cli/json_profiles.h"

#include "base/error.h"

static const char *const feature_keys[FEATURES] = {"token", "token_class", "domain", "position"};
static const char *const information_keys[INFORMATIONS] = {"token", "token_class", "domain", "domain_given_token", "position"};

static void put_bytes(json_writer *w, const char *key, buffer *raw) {
    json_put_bytes(w, key, raw->bytes ? raw->bytes : "", raw->length);
    if (raw->status < 0) w->out->status = raw->status;
    buffer_release(raw);
}

static void put_value(json_writer *w, const char *key, const profiles *p, int kind, int32_t value) {
    buffer raw = {0};
    feature_describe(&raw, &p->features, kind, value);
    put_bytes(w, key, &raw);
}

static void put_text(json_writer *w, const char *key, const profiles *p, ptrdiff_t first, ptrdiff_t end) {
    buffer raw = {0};
    profiles_append_text(&raw, p, first, end);
    put_bytes(w, key, &raw);
}

static void put_information(json_writer *w, const information_report *report) {
    json_put_number(w, "entropy_bits", report->entropy);
    json_put_number(w, "reachable_bits", report->most);
    json_begin_object(w, "mutual_information");
    for (int i = 0; i < INFORMATIONS; i++) {
        const information *info = &report->of[i];
        json_begin_object(w, information_keys[i]);
        json_put_number(w, "bits", info->bits);
        json_put_number(w, "chance_bits", info->chance);
        json_put_number(w, "chance_deviation", info->deviation);
        json_put_number(w, "adjusted", info->share);
        json_end_object(w);
    }
    json_end_object(w);
    json_put_text(w, "verdict", information_verdict(report));
}

static void put_speciality(json_writer *w, const profiles *p, const speciality *s) {
    if (s->feature == FEATURES) {
        json_put_null(w, "speciality");
        return;
    }
    json_begin_object(w, "speciality");
    json_put_text(w, "feature", feature_keys[s->feature]);
    json_begin_array(w, "values");
    for (int i = 0; i < s->n; i++) put_value(w, NULL, p, s->feature, s->value[i]);
    json_end_array(w);
    json_put_integer(w, "values_in_all", s->values);
    json_put_number(w, "share", s->share);
    json_put_number(w, "lift", s->lift);
    json_end_object(w);
}

static void put_likes(json_writer *w, const profiles *p, const profile *of, int kind) {
    json_begin_array(w, feature_keys[kind]);
    for (int i = 0; i < of->likes[kind].n; i++) {
        const affinity *liked = &of->likes[kind].liked[i];
        json_begin_object(w, NULL);
        if (kind == FEATURE_TOKEN) json_put_integer(w, "id", liked->value);
        put_value(w, "value", p, kind, liked->value);
        json_put_integer(w, "count", liked->count);
        json_put_number(w, "share", liked->share);
        json_put_number(w, "lift", liked->lift);
        json_put_number(w, "z", liked->z);
        json_end_object(w);
    }
    json_end_array(w);
}

static void put_contexts(json_writer *w, const profiles *p, const profile *of) {
    json_begin_array(w, "contexts");
    for (int i = 0; i < of->n_contexts; i++) {
        const routed_pair *pair = &p->r->pair[of->context[i]];
        ptrdiff_t first, end;
        profiles_find_context(p, pair->token, &first, &end);
        json_begin_object(w, NULL);
        json_put_number(w, "weight", (double)pair->weight);
        put_value(w, "domain", p, FEATURE_DOMAIN, p->r->token[pair->token].domain);
        json_put_integer(w, "position", pair->token % p->r->T);
        put_text(w, "before", p, first, pair->token);
        put_text(w, "token", p, pair->token, pair->token + 1);
        put_text(w, "after", p, pair->token + 1, end);
        json_end_object(w);
    }
    json_end_array(w);
}

static void put_change(json_writer *w, const loss_change *c) {
    json_put_number(w, "delta_loss", c->mean);
    json_begin_array(w, "ci95");
    json_put_number(w, NULL, c->low);
    json_put_number(w, NULL, c->high);
    json_end_array(w);
    json_put_integer(w, "windows", c->windows);
}

static void put_ablation(json_writer *w, const profiles *p, const ablation *without, int expert) {
    const loss_change *c = ablation_of(without, expert);
    json_begin_object(w, "ablation");
    put_change(w, c);
    json_begin_array(w, "domains");
    for (int i = 0; i < without->n_domains; i++) {
        json_begin_object(w, NULL);
        json_put_text(w, "domain", p->r->e->domain[i].name);
        put_change(w, c + 1 + i);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

static void put_profile(json_writer *w, profiles *p, const ablation *without, int expert) {
    profile of;
    profile_make(&of, p, expert);
    json_begin_object(w, NULL);
    json_put_integer(w, "expert", expert);
    json_put_integer(w, "pairs", of.pairs);
    put_speciality(w, p, &of.speciality);
    for (int kind = 0; kind < FEATURES; kind++) put_likes(w, p, &of, kind);
    json_begin_array(w, "coactivation");
    for (int i = 0; i < of.n_partners; i++) {
        json_begin_object(w, NULL);
        json_put_integer(w, "expert", of.partners[i].expert);
        json_put_integer(w, "count", of.partners[i].count);
        json_put_number(w, "lift", of.partners[i].lift);
        json_end_object(w);
    }
    json_end_array(w);
    put_contexts(w, p, &of);
    if (without) put_ablation(w, p, without, expert);
    json_end_object(w);
}

int json_put_profiles(json_writer *w, profiles *p, const ablation *without) {
    json_begin_object(w, "specialization");
    json_put_integer(w, "layer", p->r->layer);
    json_put_integer(w, "tokens", p->r->tokens);
    json_put_integer(w, "pairs", p->r->pairs);
    json_put_integer(w, "window", p->r->T);
    put_information(w, &p->information);
    json_begin_object(w, "z_threshold");
    for (int kind = 0; kind < FEATURES; kind++) json_put_number(w, feature_keys[kind], p->threshold[kind]);
    json_end_object(w);
    json_begin_array(w, "experts");
    for (int expert = 0; expert < p->r->experts; expert++) put_profile(w, p, without, expert);
    json_end_array(w);
    json_end_object(w);
    return w->out->status;
}
