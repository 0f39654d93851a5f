#include "models/families/layers_config.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"

enum { USUAL_WINDOW_LAYERS = 28 /* of Qwen */ };

static const char full_word[] = "full_attention";
static const char *windowed_word(const family *f) { return f->windows.chunked ? "chunked_attention" : "sliding_attention"; }

static int check_words(const json_t *list, const model_config *c, const family *f, const char *where) {
    const json_t *word;
    size_t i;
    if (!json_is_array(list)) FAIL(LAMP_MALFORMED, "%s: \"layer_types\": expected an array", where);
    if (json_array_size(list) != (size_t)c->num_hidden_layers)
        FAIL(LAMP_MALFORMED, "%s: \"layer_types\": expected a word for each of %" PRId64 " layers, found %zu", where, c->num_hidden_layers,
             json_array_size(list));
    json_array_foreach(list, i, word) {
        const char *text = json_string_value(word);
        if (!text) FAIL(LAMP_MALFORMED, "%s: \"layer_types\": expected words, found something else at place %zu", where, i);
        if (!strcmp(text, full_word)) continue;
        if (!f->windows.key || strcmp(text, windowed_word(f)))
            FAIL(LAMP_UNSUPPORTED, "%s: \"layer_types\": expected %s%s%s in family %s, found \"%.40s\"", where, full_word,
                 f->windows.key ? " or " : "", f->windows.key ? windowed_word(f) : "", f->model_type, text);
        if (c->window.size == 0)
            FAIL(LAMP_MALFORMED, "%s: \"layer_types\": expected %s alone where \"%s\" sets no window, found \"%s\"", where, full_word, f->windows.key,
                 text);
    }
    return LAMP_OK;
}

static bool has_window(const json_t *list, size_t layer) { return strcmp(json_string_value(json_array_get(list, layer)), full_word) != 0; }

static bool agrees(const model_config *c, const json_t *list) {
    for (size_t l = 0; l < json_array_size(list); l++)
        if (has_window(list, l) != (model_layer_window(c, (int64_t)l) > 0)) return false;
    return true;
}

/* The layers that the list names, as model_config can say it: all but every n-th one, between two bounds. */
static int find_layers(model_config *c, const json_t *list, const char *where) {
    const size_t layers = json_array_size(list);
    size_t from = 0, until = layers, step;
    while (from < layers && !has_window(list, from)) from++;
    if (from == layers) return c->window = (attention_window){0}, LAMP_OK;
    while (!has_window(list, until - 1)) until--;
    for (step = from; step < until && has_window(list, step);) step++;
    c->window.from = (int64_t)from, c->window.until = 0;
    c->window.full_step = (int64_t)(step < until ? step : layers) + 1;
    if (agrees(c, list)) return LAMP_OK;
    c->window.until = (int64_t)until;
    if (agrees(c, list)) return LAMP_OK;
    FAIL(LAMP_UNSUPPORTED, "%s: \"layer_types\": expected windows in neighbouring layers but every n-th, found another pattern", where);
}

static int read_size(model_config *c, const json_t *root, const family *f, const char *where) {
    const family_windows *w = &f->windows;
    bool counts = !w->flag;
    if (w->flag && json_find(root, w->flag)) TRY(json_get_bool(&counts, root, w->flag, where));
    if (!counts || !json_find(root, w->key)) return LAMP_OK;
    return json_get_integer(&c->window.size, root, w->key, 0, 1 << 30, where);
}

static int read_windows(model_config *c, const json_t *root, const family *f, const char *where) {
    int64_t layers = USUAL_WINDOW_LAYERS;
    const json_t *list = json_find(root, "layer_types");
    if (f->windows.key) TRY(read_size(c, root, f, where));
    if (f->windows.layers && json_find(root, f->windows.layers)) TRY(json_get_integer(&layers, root, f->windows.layers, 0, 1 << 14, where));
    if (list) TRY(check_words(list, c, f, where));
    if (c->window.size == 0) return LAMP_OK;
    c->window.full_step = f->unrotated.step > 0 ? c->unrotated.step : f->windows.full_step;
    if (list) return find_layers(c, list, where);
    if (!f->windows.layers) return LAMP_OK;
    *(f->windows.layers_end ? &c->window.until : &c->window.from) = layers;
    if (f->windows.layers_end && layers == 0) c->window = (attention_window){0};
    return LAMP_OK;
}

static bool agrees_on_rotation(const model_config *c, const json_t *list) {
    for (int64_t l = 0; l < c->num_hidden_layers; l++)
        if (model_layer_rotates(c, l) != (json_integer_value(json_array_get(list, (size_t)l)) == 1)) return false;
    return true;
}

/* Of a list of ones and zeros, in which the layers without RoPE are zeros. */
static int find_unrotated(model_config *c, const json_t *list, const char *where) {
    const int64_t layers = c->num_hidden_layers;
    int64_t first = 0;
    if (!json_is_array(list) || json_array_size(list) < (size_t)layers)
        FAIL(LAMP_MALFORMED, "%s: \"no_rope_layers\": expected an array with a number for each of %" PRId64 " layers", where, layers);
    for (int64_t l = 0; l < layers; l++) {
        const json_t *number = json_array_get(list, (size_t)l);
        if (!json_is_integer(number) || (json_integer_value(number) & ~1))
            FAIL(LAMP_MALFORMED, "%s: \"no_rope_layers\": expected zeros and ones, found something else at place %" PRId64, where, l);
    }
    if (agrees_on_rotation(c, list)) return LAMP_OK;
    while (first < layers && json_integer_value(json_array_get(list, (size_t)first)) == 1) first++;
    c->unrotated.step = first + 1;
    if (agrees_on_rotation(c, list)) return LAMP_OK;
    FAIL(LAMP_UNSUPPORTED, "%s: \"no_rope_layers\": expected a zero for every n-th layer, found another pattern", where);
}

/* Of a list of the layers that have experts, which must be every n-th. */
static int read_sparse_layers(model_config *c, const json_t *root, const char *where) {
    const json_t *list = json_find(root, "moe_layers");
    if (!list) return LAMP_OK;
    if (!json_is_array(list)) FAIL(LAMP_MALFORMED, "%s: \"moe_layers\": expected an array", where);
    const size_t n = json_array_size(list);
    c->sparse_step = n > 0 && json_is_integer(json_array_get(list, 0)) ? json_integer_value(json_array_get(list, 0)) + 1 : 0;
    if (c->sparse_step < 1 || (int64_t)n != c->num_hidden_layers / c->sparse_step)
        FAIL(LAMP_UNSUPPORTED, "%s: \"moe_layers\": expected every n-th layer, found another pattern", where);
    for (size_t i = 0; i < n; i++)
        if (!json_is_integer(json_array_get(list, i)) || json_integer_value(json_array_get(list, i)) != (int64_t)(i + 1) * c->sparse_step - 1)
            FAIL(LAMP_UNSUPPORTED, "%s: \"moe_layers\": expected every n-th layer, found another pattern", where);
    return LAMP_OK;
}

/* "attn_temperature_tuning" was a number at first. */
static int read_growth(unrotated_layers *u, const json_t *root, const char *where) {
    const json_t *tuning = json_object_get(root, "attn_temperature_tuning");
    if (json_find(root, "attn_scale")) TRY(json_get_number(&u->scale, root, "attn_scale", where));
    if (!(u->scale >= 0)) FAIL(LAMP_MALFORMED, "%s: \"attn_scale\": expected 0 or more, found %g", where, u->scale);
    if (json_find(root, "floor_scale")) TRY(json_get_integer(&u->floor, root, "floor_scale", 1, 1 << 30, where));
    if (json_is_false(tuning) || (json_is_integer(tuning) && json_integer_value(tuning) == 0)) u->scale = 0;
    else if (json_find(root, "attn_temperature_tuning") && !json_is_true(tuning) && !json_is_integer(tuning))
        FAIL(LAMP_MALFORMED, "%s: \"attn_temperature_tuning\": expected a boolean", where);
    return LAMP_OK;
}

static int read_unrotated(model_config *c, const json_t *root, const family *f, const char *where) {
    if (f->unrotated.step == 0) return LAMP_OK;
    if (json_find(root, "no_rope_layer_interval")) TRY(json_get_integer(&c->unrotated.step, root, "no_rope_layer_interval", 1, 1 << 15, where));
    bool listed = json_array_size(json_find(root, "no_rope_layers")) > 0;
    if (listed || json_is_string(json_object_get(root, "no_rope_layers"))) TRY(find_unrotated(c, json_object_get(root, "no_rope_layers"), where));
    TRY(read_sparse_layers(c, root, where));
    return read_growth(&c->unrotated, root, where);
}

int layers_config_read(model_config *c, const json_t *root, const family *f, const char *where) {
    TRY(read_unrotated(c, root, f, where));
    return read_windows(c, root, f, where);
}

static void write_unrotated(json_writer *w, const model_config *c) {
    json_put_integer(w, "no_rope_layer_interval", c->unrotated.step);
    json_begin_array(w, "no_rope_layers");
    for (int64_t l = 0; l < c->num_hidden_layers; l++) json_put_integer(w, NULL, model_layer_rotates(c, l));
    json_end_array(w);
    json_put_bool(w, "attn_temperature_tuning", c->unrotated.scale > 0);
    json_put_number(w, "attn_scale", c->unrotated.scale > 0 ? c->unrotated.scale : 0.1);
    json_put_integer(w, "floor_scale", c->unrotated.floor);
}

void layers_config_write(json_writer *w, const model_config *c, const family *f) {
    const bool any = c->window.size > 0;
    if (f->unrotated.step > 0) write_unrotated(w, c);
    if (!f->windows.key) return;
    if (any) json_put_integer(w, f->windows.key, c->window.size);
    else json_put_null(w, f->windows.key);
    if (f->windows.flag) json_put_bool(w, f->windows.flag, any);
    if (f->windows.layers) json_put_integer(w, f->windows.layers, f->windows.layers_end && c->window.until > 0 ? c->window.until : c->window.from);
    json_begin_array(w, "layer_types");
    for (int64_t l = 0; l < c->num_hidden_layers; l++) json_put_text(w, NULL, model_layer_window(c, l) > 0 ? windowed_word(f) : full_word);
    json_end_array(w);
}
