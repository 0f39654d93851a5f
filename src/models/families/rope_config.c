#include "models/families/rope_config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "models/rope.h"

#define AT(field) offsetof(rope_scaling, field)

static const struct {
    const char *kind, *key;
    size_t offset;
    bool optional; /* absent or null: as in rope_usual */
} numbers[] = {
    {"linear", "factor", AT(factor), false},
    {"dynamic", "factor", AT(factor), false},
    {"llama3", "factor", AT(factor), false},
    {"llama3", "low_freq_factor", AT(low_frequency), false},
    {"llama3", "high_freq_factor", AT(high_frequency), false},
    {"yarn", "factor", AT(factor), true},
    {"yarn", "beta_fast", AT(beta_fast), true},
    {"yarn", "beta_slow", AT(beta_slow), true},
    {"yarn", "attention_factor", AT(attention_factor), true},
    {"yarn", "mscale", AT(mscale), true},
    {"yarn", "mscale_all_dim", AT(mscale_all_dim), true},
};

enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

static bool is_stretched(const rope_scaling *s) { return !strcmp(s->kind, "llama3") || !strcmp(s->kind, "yarn"); }

static int read_kind(rope_scaling *s, const json_t *rope, const char *where) {
    const char *key = json_find(rope, "rope_type") ? "rope_type" : "type", *kind = "default";
    if (json_find(rope, key)) TRY(json_get_word(&kind, rope, key, where));
    for (const char *known = ROPE_KINDS; known; known = strchr(known, '|') ? strchr(known, '|') + 1 : NULL)
        if (!strncmp(known, kind, strlen(kind)) && strchr("|", known[strlen(kind)])) return strcpy(s->kind, kind), LAMP_OK;
    FAIL(LAMP_UNSUPPORTED, "%s: \"%s\": expected one of %s, found \"%.40s\"", where, key, ROPE_KINDS, kind);
}

/* Phi-3 has it beside the others, where it is also looked for first. */
static int read_original(model_config *c, const json_t *root, const json_t *rope, const char *where) {
    static const char key[] = "original_max_position_embeddings";
    const json_t *object = json_find(root, key) ? root : rope;
    if (json_find(object, key)) TRY(json_get_integer(&c->rope.original, object, key, 1, 1 << 30, where));
    return LAMP_OK;
}

static int read_numbers(model_config *c, const json_t *root, const json_t *rope, const char *where) {
    rope_scaling *s = &c->rope;
    for (int i = 0; i < N_NUMBERS; i++) {
        double *number = (double *)(void *)((char *)s + numbers[i].offset);
        bool wanted = !strcmp(numbers[i].kind, s->kind) && (!numbers[i].optional || json_find(rope, numbers[i].key));
        if (wanted) TRY(json_get_number(number, rope, numbers[i].key, where));
    }
    if (is_stretched(s)) TRY(read_original(c, root, rope, where));
    if (strcmp(s->kind, "yarn")) return LAMP_OK;
    if (json_find(rope, "truncate")) TRY(json_get_bool(&s->truncate, rope, "truncate", where));
    if (!json_find(rope, "factor") && s->original > 0) s->factor = (double)c->max_position_embeddings / (double)s->original;
    return LAMP_OK;
}

static int read_object(model_config *c, const json_t *root, const char *key, const char *where) {
    const json_t *rope = json_object_get(root, key), *value;
    const char *member;
    char place[256];
    snprintf(place, sizeof place, "%s: \"%s\"", where, key);
    if (!rope || json_is_null(rope)) return LAMP_OK;
    if (!json_is_object(rope)) FAIL(LAMP_UNSUPPORTED, "%s: expected an object", place);
    json_object_foreach((json_t *)(uintptr_t)rope, member, value) if (json_is_object(value))
        FAIL(LAMP_UNSUPPORTED, "%s: \"%.60s\": expected one RoPE for all layers, found another object", place, member);
    if (json_find(rope, "partial_rotary_factor") && json_number_value(json_object_get(rope, "partial_rotary_factor")) != 1)
        FAIL(LAMP_UNSUPPORTED, "%s: \"partial_rotary_factor\": expected 1", place);
    c->rope = rope_usual;
    if (json_find(rope, "rope_theta")) TRY(json_get_number(&c->rope_theta, rope, "rope_theta", place));
    TRY(read_kind(&c->rope, rope, place));
    return read_numbers(c, root, rope, place);
}

int rope_config_read(model_config *c, const json_t *root, const char *where) {
    TRY(read_object(c, root, "rope_scaling", where));
    return read_object(c, root, "rope_parameters", where);
}

void rope_config_write(json_writer *w, const model_config *c, const family *f) {
    const rope_scaling *s = &c->rope;
    if (!strcmp(s->kind, "default") && !f->rope) {
        json_put_null(w, "rope_scaling");
        return;
    }
    json_begin_object(w, "rope_scaling");
    json_put_text(w, "rope_type", s->kind);
    for (int i = 0; i < N_NUMBERS; i++) {
        const double number = *(const double *)(const void *)((const char *)s + numbers[i].offset);
        if (!strcmp(numbers[i].kind, s->kind) && number > 0) json_put_number(w, numbers[i].key, number);
    }
    if (is_stretched(s)) json_put_integer(w, "original_max_position_embeddings", s->original);
    if (!strcmp(s->kind, "yarn")) json_put_bool(w, "truncate", s->truncate);
    json_end_object(w);
}
