/* config.json -> model_config: every spelling that transformers 4 and 5 write, and a refusal of each setting that would make the model another
 * function than the one we run. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "base/problems.h"
#include "models/families/family.h"
#include "models/families/lamplighter.h"
#include "models/families/layers_config.h"
#include "models/families/rope_config.h"
#include "moe/route.h"

/* transformers reads a null as the default. */
static bool is_off(const json_t *value) {
    if (json_is_integer(value)) return json_integer_value(value) == 0;
    if (json_is_array(value)) return json_array_size(value) == 0;
    return !value || json_is_false(value) || json_is_null(value);
}

static int refuse(const json_t *root, const char *key, const char *expected, const char *where) {
    char *found = json_dumps(json_object_get(root, key), JSON_ENCODE_ANY);
    int status = error_set(LAMP_UNSUPPORTED, "%s: \"%s\": expected %s, found %.200s", where, key, expected, found ? found : "?");
    free(found);
    return status;
}

static bool is_known(const family *f, const char *key) {
    for (int i = 0; i < f->n_keys; i++)
        if (!strcmp(f->keys[i].key, key)) return true;
    return f->bias_key && !strcmp(f->bias_key, key);
}

/* How values lie in the files is seen there; here is what they do not say (formats/placed_values.h). */
static int check_quantization(const json_t *root, const char *where) {
    static const char expected[] = "quant_method mxfp4, or fp8 in squares of 128 (weight_block_size [128, 128])";
    const json_t *quantization = json_find(root, "quantization_config"), *size = json_find(quantization, "weight_block_size");
    const char *method = json_string_value(json_find(quantization, "quant_method"));
    if (is_off(json_object_get(root, "quantization_config"))) return LAMP_OK;
    if (!method || (strcmp(method, "mxfp4") && strcmp(method, "fp8"))) return refuse(root, "quantization_config", expected, where);
    if (!strcmp(method, "mxfp4")) return LAMP_OK;
    bool squares =
        json_array_size(size) == 2 && json_integer_value(json_array_get(size, 0)) == 128 && json_integer_value(json_array_get(size, 1)) == 128;
    return squares ? LAMP_OK : refuse(root, "quantization_config", expected, where);
}

/* What would change the function computed. A window at least as long as the context changes nothing. */
static int check_supported(const json_t *root, const family *f, int64_t context, const char *where) {
    static const char *const must_be_off[] = {"attention_bias",   "mlp_bias",           "clip_qkv",
                                              "n_shared_experts", "num_shared_experts", "shared_expert_intermediate_size"};
    const json_t *act = json_find(root, "hidden_act"), *window = json_find(root, "sliding_window"),
                 *rotary = json_find(root, "partial_rotary_factor");
    problem_list p = {0};
    for (size_t i = 0; i < sizeof must_be_off / sizeof *must_be_off; i++)
        if (!is_known(f, must_be_off[i]) && !is_off(json_object_get(root, must_be_off[i])))
            problems_add(&p, refuse(root, must_be_off[i], "nothing, false or null", where));
    if (act && (!json_is_string(act) || (strcmp(json_string_value(act), "silu") && strcmp(json_string_value(act), "swish"))))
        problems_add(&p, refuse(root, "hidden_act", "\"silu\" or \"swish\"", where));
    if (rotary && json_number_value(rotary) != 1) problems_add(&p, refuse(root, "partial_rotary_factor", "1", where));
    problems_add(&p, check_quantization(root, where));
    if (!f->windows.key && window && !json_is_false(json_object_get(root, "use_sliding_window")) && json_integer_value(window) < context)
        problems_add(&p, refuse(root, "sliding_window", "null or at least max_position_embeddings", where));
    return problems_end(&p);
}

/* Of a key that is missing the one it was perhaps misspelt as, or NULL. */
static const char *find_misspelt(const json_t *root, const char *key) {
    const char *other, *nearest = NULL;
    const json_t *value;
    int least = 3;
    if (json_object_get(root, key)) return NULL;
    json_object_foreach((json_t *)(uintptr_t)root, other, value) {
        int distance = options_edit_distance(key, other);
        if (distance < least) least = distance, nearest = other;
    }
    return nearest;
}

static int read_size(int64_t *size, const json_t *root, const char *key, const char *where) {
    const char *misspelt = find_misspelt(root, key);
    if (misspelt) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected an integer, found only \"%s\"; misspelt?", where, key, misspelt);
    return json_get_integer(size, root, key, 1, INT64_MAX, where);
}

/* max 0: family_complete knows what goes, which is at least 1. */
static int read_key(model_config *c, const json_t *root, const family_key *k, const char *key, const char *where) {
    void *at = (char *)c + k->offset;
    if (k->optional && !json_find(root, key)) return LAMP_OK;
    if (k->type == OPTION_BOOL) return json_get_bool(at, root, key, where);
    if (k->type == OPTION_INTEGER) return k->max > 0 ? json_get_integer(at, root, key, 0, (int64_t)k->max, where) : read_size(at, root, key, where);
    TRY(json_get_number(at, root, key, where));
    if (k->max > 0 && !(*(double *)at >= 0 && *(double *)at <= k->max))
        FAIL(LAMP_MALFORMED, "%s: \"%s\": expected 0 to %g, found %g", where, key, k->max, *(double *)at);
    return LAMP_OK;
}

/* The usual ones, but those that the family calls otherwise, and the family's own. */
static int read_keys(model_config *c, const json_t *root, const family *f, const char *where) {
    problem_list p = {0};
    for (int i = 0; i < FAMILY_USUAL_KEYS; i++) {
        const family_key *k = &family_usual_keys[i];
        if (family_takes_usual(f, k)) problems_add(&p, read_key(c, root, k, k->key ? k->key : f->inner_key, where));
    }
    for (int j = 0; j < f->n_keys; j++) problems_add(&p, read_key(c, root, &f->keys[j], f->keys[j].key, where));
    return problems_end(&p);
}

/* mlp_only_layers: only the first ones, in order. */
static int read_dense_layers(model_config *c, const json_t *root, const family *f, const char *where) {
    const json_t *list = json_find(root, "mlp_only_layers");
    if (!f->dense_key) {
        if (!is_off(list)) return refuse(root, "mlp_only_layers", "nothing, false or null", where);
        if (json_find(root, "decoder_sparse_step") && json_integer_value(json_find(root, "decoder_sparse_step")) != 1)
            return refuse(root, "decoder_sparse_step", "1", where);
        return LAMP_OK;
    }
    if (list && !json_is_array(list)) return refuse(root, "mlp_only_layers", "the first layers: 0, 1, ...", where);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_integer(json_array_get(list, i)) || json_integer_value(json_array_get(list, i)) != (json_int_t)i)
            return refuse(root, "mlp_only_layers", "the first layers: 0, 1, ...", where);
    c->dense_layers = (int64_t)json_array_size(list);
    if (json_find(root, "decoder_sparse_step")) TRY(json_get_integer(&c->sparse_step, root, "decoder_sparse_step", 1, 1 << 14, where));
    if (c->dense_layers > 0 || c->sparse_step > 1) TRY(read_size(&c->dense_size, root, f->dense_key, where));
    return LAMP_OK;
}

/* Of a token's experts, those of the best groups: DeepSeek's keys. */
static int check_groups(const moe_config *m, const char *where) {
    if (m->groups == 0) return LAMP_OK;
    if (m->experts % m->groups)
        FAIL(LAMP_MALFORMED, "%s: \"n_group\": expected a divisor of the number of experts (%" PRId64 "), found %" PRId64, where, m->experts,
             m->groups);
    if (m->top_groups < 1 || m->top_groups > m->groups)
        FAIL(LAMP_MALFORMED, "%s: \"topk_group\": expected 1 to \"n_group\" (%" PRId64 "), found %" PRId64, where, m->groups, m->top_groups);
    if (m->top_k > m->top_groups * (m->experts / m->groups))
        FAIL(LAMP_MALFORMED, "%s: \"num_experts_per_tok\": expected at most the %" PRId64 " experts of \"topk_group\" groups, found %" PRId64, where,
             m->top_groups * (m->experts / m->groups), m->top_k);
    return LAMP_OK;
}

/* The words of DeepSeek for how experts are scored and chosen, and which layers have them. */
static int read_choice(moe_config *m, const json_t *root, const family *f, const char *where) {
    const char *scores = m->kind, *chosen = f->choice.plain;
    if (!f->choice.key) return LAMP_OK;
    if (json_find(root, "moe_layer_freq") && json_number_value(json_find(root, "moe_layer_freq")) != 1)
        return refuse(root, "moe_layer_freq", "1", where);
    if (json_find(root, "scoring_func")) TRY(json_get_word(&scores, root, "scoring_func", where));
    if (strcmp(scores, m->kind)) return refuse(root, "scoring_func", m->kind, where);
    if (json_find(root, f->choice.key)) TRY(json_get_word(&chosen, root, f->choice.key, where));
    if (!strcmp(chosen, f->choice.grouped)) return check_groups(m, where);
    if (strcmp(chosen, f->choice.plain)) return refuse(root, f->choice.key, f->choice.grouped, where);
    m->groups = 0, m->top_groups = 1;
    return LAMP_OK;
}

static int read_experts(model_config *c, const json_t *root, const family *f, const char *where) {
    moe_config *m = &c->moe;
    TRY(read_dense_layers(c, root, f, where));
    if (!f->experts_key) return LAMP_OK;
    static const char *const spellings[] = {"num_experts", "num_local_experts"};
    const char *other = spellings[!strcmp(f->experts_key, spellings[0])];
    const char *key = json_find(root, f->experts_key) || !json_find(root, other) ? f->experts_key : other;
    TRY(read_size(&m->experts, root, key, where));
    for (int i = 0; i < 2; i++)
        if (json_find(root, spellings[i]) && json_integer_value(json_object_get(root, spellings[i])) != m->experts)
            FAIL(LAMP_MALFORMED, "%s: \"%s\": expected %" PRId64 " as in \"%s\", found another number", where, spellings[i], m->experts, key);
    if (f->top_k == 0 || json_find(root, "num_experts_per_tok")) TRY(read_size(&m->top_k, root, "num_experts_per_tok", where));
    m->normalize = f->always_normalizes;
    if (!f->always_normalizes && json_find(root, "norm_topk_prob")) TRY(json_get_bool(&m->normalize, root, "norm_topk_prob", where));
    TRY(read_choice(m, root, f, where));
    if (json_find(root, "router_aux_loss_coef")) TRY(json_get_number(&m->balance[BALANCE_SWITCH], root, "router_aux_loss_coef", where));
    if (m->balance[BALANCE_SWITCH] < 0)
        FAIL(LAMP_MALFORMED, "%s: \"router_aux_loss_coef\": expected 0 or more, found %g", where, m->balance[BALANCE_SWITCH]);
    return LAMP_OK;
}

/* One id, or a list whose first we take. */
static int read_end_of_text(model_config *c, const json_t *root, const char *where) {
    const json_t *id = json_find(root, "eos_token_id");
    if (json_is_array(id)) id = json_array_get(id, 0);
    c->end_of_text = -1;
    if (!id) return LAMP_OK;
    if (!json_is_integer(id) || json_integer_value(id) < 0) FAIL(LAMP_MALFORMED, "%s: \"eos_token_id\": expected a token id", where);
    c->end_of_text = json_integer_value(id);
    return LAMP_OK;
}

/* What attention may have or not. key NULL: the family always has it, or never. */
static int read_whether(int64_t *has, const json_t *root, const char *key, bool usual, const char *where) {
    if (!key) return LAMP_OK;
    if (json_find(root, key)) TRY(json_get_bool(&usual, root, key, where));
    *has = usual;
    return LAMP_OK;
}

/* T5 says in a word what experts and dense layers compute between their matrices. */
static int read_activation(model_config *c, const json_t *root, const char *where) {
    const char *word = "relu";
    if (json_find(root, "feed_forward_proj")) TRY(json_get_word(&word, root, "feed_forward_proj", where));
    c->moe.relu = strncmp(word, "gated-", strlen("gated-")) != 0;
    return LAMP_OK;
}

static int read_config(model_config *c, const json_t *root, const char *where) {
    const char *model_type;
    const family *f;
    problem_list p = {0};
    if (!json_is_object(root)) FAIL(LAMP_MALFORMED, "%s: expected an object", where);
    if (json_is_object(json_find(root, "text_config"))) root = json_find(root, "text_config"); /* of a model that also sees */
    TRY(json_get_word(&model_type, root, "model_type", where));
    bool own = !strcmp(model_type, LAMPLIGHTER_MODEL_TYPE);
    if (own) TRY(json_get_word(&model_type, root, "backbone", where));
    TRY(family_find(&f, model_type, where));
    *c = family_defaults(f);
    problems_add(&p, read_keys(c, root, f, where));
    if (c->num_key_value_heads == 0) c->num_key_value_heads = c->num_attention_heads;
    problems_add(&p, read_experts(c, root, f, where));
    problems_add(&p, read_whether(&c->biased, root, f->bias_key, f->biased, where));
    problems_add(&p, read_whether(&c->interleaved, root, f->neighbours_key, f->rope_neighbours, where));
    problems_add(&p, read_whether(&c->normed, root, f->norm_key, true, where));
    if (own) problems_add(&p, lamplighter_read(c, root, where));
    if (c->encoder_layers > 0) problems_add(&p, read_activation(c, root, where));
    problems_add(&p, read_end_of_text(c, root, where));
    if (!f->backbone) problems_add(&p, rope_config_read(c, root, where)), problems_add(&p, layers_config_read(c, root, f, where));
    if (!f->missing) problems_add(&p, check_supported(root, f, c->max_position_embeddings, where)); /* a price does not depend on it */
    TRY(problems_end(&p));
    if (json_find(root, "auto_map")) log_warning("%s: \"auto_map\" is ignored: no code from a model folder is ever run", where);
    return family_complete(c, where);
}

int family_read_config(model_config *config, const char *path) {
    json_t *root;
    TRY(json_read_file(&root, path));
    int status = read_config(config, root, path);
    json_decref(root);
    return status;
}
