/* What no Hugging Face family expresses is saved as model_type "lamplighter": the sizes under the names of the family it is built like
 * ("backbone", which also names its tensors), and what is our own in one object,
 *
 *     "mixture": {"kind": "sigmoid", "scale": 2.5, "groups": 4, ...} */
#include "models/families/lamplighter.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/problems.h"
#include "moe/route.h"

#define AT(field) offsetof(model_config, field)

/* What a field is to the function that a model computes: part of it; part of it where there are shared experts; or beside it, known to training
 * alone or said by the others. */
typedef enum { OF_FUNCTION, OF_SHARED, BESIDE } purpose;

static const struct {
    const char *key;
    option_type type;
    size_t offset;
    double max; /* numbers: from 0 to this */
    purpose purpose;
    bool younger; /* than the first checkpoints, in which it may be absent */
} fields[] = {
    {"kind", OPTION_TEXT, AT(moe.kind), 0, OF_FUNCTION, false},
    {"scale", OPTION_NUMBER, AT(moe.scale), 1e6, OF_FUNCTION, false},
    {"weigh_input", OPTION_BOOL, AT(moe.weigh_input), 0, OF_FUNCTION, false},
    {"groups", OPTION_INTEGER, AT(moe.groups), 1 << 20, OF_FUNCTION, false},
    {"top_groups", OPTION_INTEGER, AT(moe.top_groups), 1 << 20, BESIDE, false},
    {"jitter", OPTION_NUMBER, AT(moe.jitter), 1, BESIDE, false},
    {"capacity", OPTION_NUMBER, AT(moe.capacity), 1e6, BESIDE, false},
    {"eval_capacity", OPTION_NUMBER, AT(moe.eval_capacity), 1e6, OF_FUNCTION, false},
    {"drop_by_score", OPTION_BOOL, AT(moe.drop_by_score), 0, BESIDE, false},
    {"shared_experts", OPTION_INTEGER, AT(moe.shared_experts), 1 << 10, OF_FUNCTION, false},
    {"shared_size", OPTION_INTEGER, AT(moe.shared_size), 1 << 22, OF_SHARED, false},
    {"shared_gate", OPTION_BOOL, AT(moe.shared_gate), 0, OF_SHARED, false},
    {"dense_layers", OPTION_INTEGER, AT(dense_layers), 1 << 14, OF_FUNCTION, false},
    {"sparse_step", OPTION_INTEGER, AT(sparse_step), 1 << 14, OF_FUNCTION, false},
    {"dense_size", OPTION_INTEGER, AT(dense_size), 1 << 22, BESIDE, false},
    {"importance_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_IMPORTANCE]), 1e6, BESIDE, false},
    {"load_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_LOAD]), 1e6, BESIDE, false},
    {"sequence_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_SEQUENCE]), 1e6, BESIDE, false},
    {"z_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_Z]), 1e6, BESIDE, false},
    {"threshold_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_THRESHOLD]), 1e6, BESIDE, false},
    {"bias_rate", OPTION_NUMBER, AT(moe.bias_rate), 1e6, BESIDE, false},
    {"relu", OPTION_BOOL, AT(moe.relu), 0, OF_FUNCTION, true},
    {"mlp_depth", OPTION_INTEGER, AT(mlp_depth), MOST_MLP_DEPTH, OF_FUNCTION, true},
};

enum { N_FIELDS = sizeof fields / sizeof *fields };

static bool differs(const model_config *a, const model_config *b, int i) {
    const char *x = (const char *)a + fields[i].offset, *y = (const char *)b + fields[i].offset;
    switch (fields[i].type) {
    case OPTION_INTEGER: return *(const int64_t *)(const void *)x != *(const int64_t *)(const void *)y;
    case OPTION_NUMBER: return *(const double *)(const void *)x != *(const double *)(const void *)y;
    case OPTION_BOOL: return *(const bool *)x != *(const bool *)y;
    default: return strcmp(x, y) && !(router_find(x)->serves_as_softmax && router_find(y)->serves_as_softmax);
    }
}

/* The layers with experts are in keys of their own (family_write.c). */
static bool family_says(const family *f, size_t offset) {
    return family_has_field(f, offset) || (f->dense_key && (offset == AT(dense_layers) || offset == AT(sparse_step)));
}

bool lamplighter_is_needed(const model_config *c, const family *f) {
    model_config usual = family_defaults(f);
    usual.moe.shared_size = c->intermediate_size;
    if (f->recurrent || c->moe.experts == 1) return f->recurrent;
    if (c->moe.normalize ? f->never_normalizes : f->always_normalizes) return true;
    for (int i = 0; i < N_FIELDS; i++) {
        bool counts = fields[i].purpose == OF_FUNCTION || (fields[i].purpose == OF_SHARED && c->moe.shared_experts > 0);
        if (counts && !family_says(f, fields[i].offset) && differs(c, &usual, i)) return true;
    }
    return false;
}

void lamplighter_write(json_writer *w, const model_config *c) {
    json_begin_object(w, "mixture");
    for (int i = 0; i < N_FIELDS; i++) {
        const void *at = (const char *)c + fields[i].offset;
        switch (fields[i].type) {
        case OPTION_INTEGER: json_put_integer(w, fields[i].key, *(const int64_t *)at); break;
        case OPTION_NUMBER: json_put_number(w, fields[i].key, *(const double *)at); break;
        case OPTION_BOOL: json_put_bool(w, fields[i].key, *(const bool *)at); break;
        default: json_put_text(w, fields[i].key, at);
        }
    }
    json_end_object(w);
}

static int read_field(model_config *c, const json_t *mixture, int i, const char *where) {
    void *at = (char *)c + fields[i].offset;
    const char *key = fields[i].key, *text;
    if (fields[i].younger && !json_object_get(mixture, key)) return LAMP_OK;
    switch (fields[i].type) {
    case OPTION_INTEGER: return json_get_integer(at, mixture, key, 0, (int64_t)fields[i].max, where);
    case OPTION_NUMBER:
        TRY(json_get_number(at, mixture, key, where));
        if (!(*(double *)at >= 0 && *(double *)at <= fields[i].max))
            FAIL(LAMP_MALFORMED, "%s: \"%s\": expected 0 to %g, found %g", where, key, fields[i].max, *(double *)at);
        return LAMP_OK;
    case OPTION_BOOL: return json_get_bool(at, mixture, key, where);
    default:
        TRY(json_get_word(&text, mixture, key, where));
        if (strlen(text) >= OPTION_TEXT_BYTES) FAIL(LAMP_MALFORMED, "%s: \"%s\": longer than %d bytes", where, key, OPTION_TEXT_BYTES - 1);
        strcpy(at, text);
        return LAMP_OK;
    }
}

int lamplighter_read(model_config *c, const json_t *root, const char *where) {
    json_t *mixture;
    char place[256];
    problem_list problems = {0};
    TRY(json_get_object(&mixture, root, "mixture", where));
    snprintf(place, sizeof place, "%s: \"mixture\"", where);
    for (int i = 0; i < N_FIELDS; i++) problems_add(&problems, read_field(c, mixture, i, place));
    if (json_object_get(root, "norm_topk_prob")) problems_add(&problems, json_get_bool(&c->moe.normalize, root, "norm_topk_prob", where));
    TRY(problems_end(&problems));
    const struct router *r = router_find(c->moe.kind);
    for (int i = 0; r && i < BALANCE_LOSSES; i++)
        if (!router_takes_loss(r, i)) c->moe.balance[i] = 0; /* earlier programs wrote the default, which did nothing or little here */
    return LAMP_OK;
}
