#include "text/normalizer.h"

#include <string.h>

#include "base/characters.h"
#include "base/error.h"
#include "base/memory.h"
#include "text/pattern.h"

struct normalizer {
    const normalizer_step *steps; /* borrowed */
    size_t n;
    pattern **patterns; /* (n); NULL where a step has none */
    buffer before, after;
};

int normalizer_new(normalizer **result, const normalizer_step *steps, size_t n_steps) {
    int status = LAMP_OK;
    normalizer *n = NULL;
    TRY_TO(done, memory_new(&n, 1, sizeof *n, "a normalizer"));
    n->steps = steps, n->n = n_steps;
    TRY_TO(done, memory_new(&n->patterns, n_steps, sizeof *n->patterns, "a normalizer"));
    for (size_t i = 0; i < n_steps; i++) {
        if (steps[i].kind != NORMALIZE_REPLACE) continue;
        TRY_TO(done, steps[i].is_regex ? pattern_new(&n->patterns[i], steps[i].text)
                                       : pattern_new_plain(&n->patterns[i], steps[i].text, strlen(steps[i].text)));
    }
    *result = n;
    n = NULL;
done:
    normalizer_free(n);
    return status;
}

void normalizer_free(normalizer *n) {
    if (!n) return;
    buffer_release(&n->before);
    buffer_release(&n->after);
    for (size_t i = 0; n->patterns && i < n->n; i++) pattern_free(n->patterns[i]);
    memory_free(n->patterns);
    memory_free(n);
}

/* ---- steps, each of which appends what valid UTF-8 becomes -------------------------------------------------------------------------- */

typedef int step_on_characters(buffer *out, const normalizer_step *step, pattern *p, const char *text, size_t length);

static int change_form(buffer *out, const normalizer_step *step, pattern *p, const char *text, size_t length) {
    (void)p;
    return unicode_normalize(out, text, length, step->form);
}

static int make_lower(buffer *out, const normalizer_step *step, pattern *p, const char *text, size_t length) {
    (void)step, (void)p;
    return unicode_lower(out, text, length);
}

static int replace(buffer *out, const normalizer_step *step, pattern *p, const char *text, size_t length) {
    bool any;
    return pattern_replace(out, &any, p, text, length, step->with);
}

static int change_characters(buffer *out, step_on_characters *change, const normalizer_step *step, pattern *p, const char *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t valid = characters_valid(bytes + at, length - at);
        if (valid > 0) TRY(change(out, step, p, bytes + at, valid));
        at += valid;
        size_t broken = characters_broken(bytes + at, length - at);
        TRY(buffer_append(out, bytes + at, broken));
        at += broken;
    }
    return LAMP_OK;
}

/* ---- steps on any bytes ------------------------------------------------------------------------------------------------------------- */

static void strip(const normalizer_step *step, const char **bytes, size_t *length) {
    size_t n;
    uint32_t point;
    while (step->at_start && *length > 0 && (n = character_length(*bytes, *length, &point)) && unicode_is_space(point)) *bytes += n, *length -= n;
    while (step->at_end && *length > 0 && (n = character_before(*bytes, *length, &point)) && unicode_is_space(point)) *length -= n;
}

static int put_before(buffer *out, const char *first, const char *bytes, size_t length) {
    TRY(buffer_append_text(out, first));
    return buffer_append(out, bytes, length);
}

static int run_step(normalizer *n, size_t i, const char **bytes, size_t *length) {
    const normalizer_step *step = &n->steps[i];
    pattern *p = n->patterns[i];
    buffer *out = &n->after;
    if (step->kind == NORMALIZE_STRIP) {
        strip(step, bytes, length);
        return LAMP_OK;
    }
    if (step->kind == NORMALIZE_FORM && unicode_normal_prefix(*bytes, *length, step->form) == *length) return LAMP_OK;
    buffer_clear(out);
    switch (step->kind) {
    case NORMALIZE_FORM: TRY(change_characters(out, change_form, step, p, *bytes, *length)); break;
    case NORMALIZE_LOWER: TRY(change_characters(out, make_lower, step, p, *bytes, *length)); break;
    case NORMALIZE_PREPEND: TRY(put_before(out, step->text, *bytes, *length)); break;
    default:
        if (pattern_is_regex(p)) TRY(change_characters(out, replace, step, p, *bytes, *length));
        else TRY(replace(out, step, p, *bytes, *length));
    }
    buffer before = n->before;
    n->before = n->after, n->after = before;
    *bytes = n->before.bytes, *length = n->before.length;
    return LAMP_OK;
}

int normalizer_run(normalizer *n, const char **bytes, size_t *length) {
    for (size_t i = 0; *length > 0 && i < n->n; i++) TRY(run_step(n, i, bytes, length));
    return LAMP_OK;
}
