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

static const struct {
    const char *key;
    option_type type;
    size_t offset;
    double max; /* numbers: from 0 to this */
    bool younger; /* than the first checkpoints, in which it may be absent */
} fields[] = {
    {"kind", OPTION_TEXT, AT(moe.kind), 0, false},
    {"scale", OPTION_NUMBER, AT(moe.scale), 1e6, false},
    {"weigh_input", OPTION_BOOL, AT(moe.weigh_input), 0, false},
    {"groups", OPTION_INTEGER, AT(moe.groups), 1 << 20, false},
    {"top_groups", OPTION_INTEGER, AT(moe.top_groups), 1 << 20, false},
    {"jitter", OPTION_NUMBER, AT(moe.jitter), 1, false},
    {"capacity", OPTION_NUMBER, AT(moe.capacity), 1e6, false},
    {"eval_capacity", OPTION_NUMBER, AT(moe.eval_capacity), 1e6, false},
    {"drop_by_score", OPTION_BOOL, AT(moe.drop_by_score), 0, false},
    {"shared_experts", OPTION_INTEGER, AT(moe.shared_experts), 1 << 10, false},
    {"shared_size", OPTION_INTEGER, AT(moe.shared_size), 1 << 22, false},
    {"shared_gate", OPTION_BOOL, AT(moe.shared_gate), 0, false},
    {"dense_layers", OPTION_INTEGER, AT(dense_layers), 1 << 14, false},
    {"sparse_step", OPTION_INTEGER, AT(sparse_step), 1 << 14, false},
    {"dense_size", OPTION_INTEGER, AT(dense_size), 1 << 22, false},
    {"importance_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_IMPORTANCE]), 1e6, false},
    {"load_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_LOAD]), 1e6, false},
    {"sequence_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_SEQUENCE]), 1e6, false},
    {"z_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_Z]), 1e6, false},
    {"threshold_loss", OPTION_NUMBER, AT(moe.balance[BALANCE_THRESHOLD]), 1e6, false},
    {"bias_rate", OPTION_NUMBER, AT(moe.bias_rate), 1e6, false},
    {"relu", OPTION_BOOL, AT(moe.relu), 0, true},
};

enum { N_FIELDS = sizeof fields / sizeof *fields };

bool lamplighter_is_needed(const model_config *c, const family *f) {
    const moe_config *m = &c->moe;
    if (m->experts == 1) return false;
    bool normalizes_alike = !f->always_normalizes || m->normalize, has_dense = c->dense_layers > 0 || c->sparse_step > 1;
    return !m->router->serves_as_softmax || !normalizes_alike || m->groups > 0 || m->scale != 1 || m->relu || m->eval_capacity > 0 || m->weigh_input ||
           m->shared_experts > 0 || (has_dense && !f->dense_key);
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
    TRY(problems_end(&problems));
    const struct router *r = router_find(c->moe.kind);
    for (int i = 0; r && i < BALANCE_LOSSES; i++)
        if (!router_takes_loss(r, i)) c->moe.balance[i] = 0; /* earlier programs wrote the default, which did nothing or little here */
    return LAMP_OK;
}
