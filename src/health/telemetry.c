#include "health/telemetry.h"

#include <math.h>

#include "base/error.h"

const char *const layer_number_names[LAYER_NUMBERS] = {
    "load_max_over_mean", "load_cv", "importance_cv", "entropy", "effective_experts", "dead", "starved", "dropped", "logit_norm", "logit_spread", "z", "top1",
    "margin", "uncertainty",
};

void layer_numbers(double x[LAYER_NUMBERS], const moe_summary *s) {
    const router_sums *r = &s->router;
    const double all[] = {s->load_max_over_mean, s->load_cv, s->importance_cv, s->entropy, s->effective_experts, s->dead, s->starved, s->dropped,
                          sqrt(r->logit_square), r->spread, r->z, r->top1, r->margin, r->entropy};
    for (int i = 0; i < LAYER_NUMBERS; i++) x[i] = i < FIRST_OF_ROUTER || r->tokens > 0 ? all[i] : NAN;
}

static void put_numbers(json_writer *w, const char *key, const double *x, int n) {
    json_begin_array(w, key);
    for (int i = 0; i < n; i++) json_put_rounded(w, NULL, x[i]);
    json_end_array(w);
}

static void put_counts(json_writer *w, const char *key, const int64_t *x, int n) {
    json_begin_array(w, key);
    for (int i = 0; i < n; i++) json_put_integer(w, NULL, x[i]);
    json_end_array(w);
}

void json_put_routing(json_writer *w, const moe_trace *trace, bool with_loads) {
    json_begin_array(w, "layers");
    for (int l = 0; l < trace->layers; l++) {
        moe_summary s = moe_trace_summarize(trace, l);
        ptrdiff_t first = (ptrdiff_t)l * trace->experts;
        double x[LAYER_NUMBERS];
        layer_numbers(x, &s);
        json_begin_object(w, NULL);
        for (int i = 0; i < (s.router.tokens > 0 ? LAYER_NUMBERS : FIRST_OF_ROUTER); i++) json_put_rounded(w, layer_number_names[i], x[i]);
        json_put_integer(w, "pairs", trace->pairs[l]);
        json_put_integer(w, "dropped_pairs", trace->dropped[l]);
        if (with_loads) put_counts(w, "load", trace->load + first, trace->experts);
        if (with_loads) put_numbers(w, "importance", trace->importance + first, trace->experts);
        json_end_object(w);
    }
    json_end_array(w);
}

void json_put_probe(json_writer *w, const probe_reading *r) {
    json_put_integer(w, "since", r->since);
    json_begin_array(w, "layers");
    for (int l = 0; l < r->layers; l++) {
        ptrdiff_t first = (ptrdiff_t)l * r->experts;
        json_begin_object(w, NULL);
        json_put_rounded(w, "churn", r->churn[l]);
        json_put_rounded(w, "turned", r->turned[l]);
        json_put_rounded(w, "bias_range", r->bias_range[l]);
        json_put_rounded(w, "similarity", r->similarity[l]);
        json_begin_array(w, "alike");
        for (int i = 0; i < 2; i++) json_put_integer(w, NULL, r->alike[2 * l + i]);
        json_end_array(w);
        put_numbers(w, "weight_norm", r->weight_norm + first, r->experts);
        put_numbers(w, "update_norm", r->update_norm + first, r->experts);
        json_end_object(w);
    }
    json_end_array(w);
    json_begin_object(w, "domains");
    for (int i = 0; i < r->domains; i++) {
        json_begin_array(w, r->domain_name[i]);
        for (int l = 0; l < r->layers; l++) put_counts(w, NULL, r->domain_load + ((ptrdiff_t)i * r->layers + l) * r->experts, r->experts);
        json_end_array(w);
    }
    json_end_object(w);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static int list_of(json_t **list, const json_t *object, const char *key, size_t n, const char *where) {
    TRY(json_get_array(list, object, key, where));
    if (json_array_size(*list) != n) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected %zu values, found %zu", where, key, n, json_array_size(*list));
    return LAMP_OK;
}

static const int64_t MOST_PAIRS = INT64_C(1) << 40; /* of a step, which a recipe cannot exceed; a doctor adds up thousands of them */

static int take_counts(int64_t *x, const json_t *list, int n, const char *where) {
    if (!json_is_array(list) || json_array_size(list) != (size_t)n) FAIL(LAMP_MALFORMED, "%s: expected a list of %d counts", where, n);
    for (int i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > MOST_PAIRS)
            FAIL(LAMP_MALFORMED, "%s: expected counts, found something else", where);
        x[i] = json_integer_value(value);
    }
    return LAMP_OK;
}

static int get_counts(int64_t *x, const json_t *object, const char *key, int n, const char *where) {
    json_t *list;
    TRY(list_of(&list, object, key, (size_t)n, where));
    return take_counts(x, list, n, where);
}

static int get_numbers(double *x, const json_t *object, const char *key, int n, const char *where) {
    json_t *list;
    TRY(list_of(&list, object, key, (size_t)n, where));
    for (int i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        if (!json_is_number(value) && !json_is_null(value)) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected numbers", where, key);
        x[i] = json_is_null(value) ? NAN : json_number_value(value);
    }
    return LAMP_OK;
}

/* null stands for what was not finite. */
static int get_number(double *x, const json_t *object, const char *key, const char *where) {
    *x = NAN;
    return json_is_null(json_object_get(object, key)) ? LAMP_OK : json_get_number(x, object, key, where);
}

/* Absent: not examined. */
static int get_router(router_sums *s, const json_t *layer, const char *where) {
    double norm = 0;
    *s = (router_sums){0};
    if (!json_object_get(layer, "logit_norm")) return LAMP_OK;
    TRY(get_number(&norm, layer, "logit_norm", where));
    TRY(get_number(&s->spread, layer, "logit_spread", where));
    TRY(get_number(&s->z, layer, "z", where));
    TRY(get_number(&s->top1, layer, "top1", where));
    TRY(get_number(&s->margin, layer, "margin", where));
    TRY(get_number(&s->entropy, layer, "uncertainty", where));
    s->logit_square = norm * norm, s->tokens = 1;
    return LAMP_OK;
}

int json_get_layers(int *layers, int *experts, const json_t *line, const char *where) {
    json_t *list, *load;
    TRY(json_get_array(&list, line, "layers", where));
    if (json_array_size(list) == 0 || json_array_size(list) > 1 << 16)
        FAIL(LAMP_MALFORMED, "%s: \"layers\": expected 1 to 65536, found %zu", where, json_array_size(list));
    TRY(json_get_array(&load, json_array_get(list, 0), "load", where));
    if (json_array_size(load) < 2 || json_array_size(load) > 1 << 16)
        FAIL(LAMP_MALFORMED, "%s: \"load\": expected 2 to 65536 experts, found %zu", where, json_array_size(load));
    *layers = (int)json_array_size(list), *experts = (int)json_array_size(load);
    return LAMP_OK;
}

int json_get_routing(moe_trace *trace, const json_t *line, const char *where) {
    json_t *list;
    moe_trace_clear(trace);
    TRY(list_of(&list, line, "layers", (size_t)trace->layers, where));
    for (int l = 0; l < trace->layers; l++) {
        const json_t *layer = json_array_get(list, (size_t)l);
        ptrdiff_t first = (ptrdiff_t)l * trace->experts;
        TRY(get_counts(trace->load + first, layer, "load", trace->experts, where));
        TRY(get_numbers(trace->importance + first, layer, "importance", trace->experts, where));
        TRY(json_get_integer(&trace->pairs[l], layer, "pairs", 0, MOST_PAIRS, where));
        TRY(json_get_integer(&trace->dropped[l], layer, "dropped_pairs", 0, MOST_PAIRS, where));
        TRY(get_router(&trace->router[l], layer, where));
    }
    return LAMP_OK;
}

int json_get_probe(probe_reading *r, const json_t *line, const char *where) {
    json_t *list, *domains, *loads;
    TRY(json_get_integer(&r->step, line, "step", 0, INT64_MAX, where));
    TRY(json_get_integer(&r->since, line, "since", -1, INT64_MAX, where));
    TRY(list_of(&list, line, "layers", (size_t)r->layers, where));
    for (int l = 0; l < r->layers; l++) {
        const json_t *layer = json_array_get(list, (size_t)l);
        ptrdiff_t first = (ptrdiff_t)l * r->experts;
        int64_t alike[2];
        TRY(get_number(&r->churn[l], layer, "churn", where));
        TRY(get_number(&r->turned[l], layer, "turned", where));
        TRY(get_number(&r->bias_range[l], layer, "bias_range", where));
        TRY(get_number(&r->similarity[l], layer, "similarity", where));
        TRY(get_counts(alike, layer, "alike", 2, where));
        for (int i = 0; i < 2; i++) r->alike[2 * l + i] = (int32_t)(alike[i] < r->experts ? alike[i] : 0);
        TRY(get_numbers(r->weight_norm + first, layer, "weight_norm", r->experts, where));
        TRY(get_numbers(r->update_norm + first, layer, "update_norm", r->experts, where));
    }
    TRY(json_get_object(&domains, line, "domains", where));
    for (int i = 0; i < r->domains; i++) {
        TRY(json_get_array(&loads, domains, r->domain_name[i], where));
        for (int l = 0; l < r->layers; l++)
            TRY(take_counts(r->domain_load + ((ptrdiff_t)i * r->layers + l) * r->experts, json_array_get(loads, (size_t)l), r->experts, where));
    }
    return LAMP_OK;
}
