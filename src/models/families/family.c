#include "models/families/family.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"
#include "base/problems.h"
#include "models/model.h"
#include "models/rope.h"
#include "moe/route.h"

static const family *const families[] = {
    &family_llama,       &family_mixtral,     &family_olmoe,   &family_qwen2,  &family_qwen2_moe, &family_qwen3,    &family_qwen3_moe,
    &family_deepseek_v2, &family_deepseek_v3, &family_gpt_oss, &family_llama4, &family_switch,    &family_lstm_moe,
};

enum { N_FAMILIES = sizeof families / sizeof *families };

int family_find(const family **f, const char *model_type, const char *where) {
    const char *nearest = NULL;
    int least = 4;
    char known[256] = "";
    for (int i = 0; i < N_FAMILIES; i++) {
        const char *name = families[i]->model_type;
        if (!strcmp(name, model_type)) return *f = families[i], LAMP_OK;
        int distance = strlen(model_type) < 32 ? options_edit_distance(name, model_type) : least;
        if (distance < least) least = distance, nearest = name;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", name);
    }
    FAIL(LAMP_UNSUPPORTED, "%s: unknown family \"%.64s\"; %s%s%sexpected one of %s", where, model_type, nearest ? "did you mean " : "",
         nearest ? nearest : "", nearest ? "? " : "", known);
}

int family_check_runs(const model_config *c, const char *where) {
    const family *f;
    TRY(family_find(&f, c->family, where));
    if (f->missing)
        FAIL(LAMP_UNSUPPORTED, "%s: family %s can be priced (lamp inspect), not run: we do not compute %s yet", where, f->model_type, f->missing);
    return LAMP_OK;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------------- */

static int check_range(const char *key, int64_t value, int64_t max, const char *where) {
    if (value < 1 || value > max) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected 1 to %" PRId64 ", found %" PRId64, where, key, max, value);
    return LAMP_OK;
}

static int check_divides(const char *key, int64_t value, const char *by, int64_t divisor, const char *where) {
    if (value % divisor) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected a multiple of %s (%" PRId64 "), found %" PRId64, where, key, by, divisor, value);
    return LAMP_OK;
}

static int check_positive(const char *key, double value, double max, const char *where) {
    if (!(value > 0 && value <= max)) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected a positive number of at most %g, found %g", where, key, max, value);
    return LAMP_OK;
}

static int check_up_to(const char *key, double value, double max, const char *where) {
    if (!(value >= 0 && value <= max)) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected 0 to %g, found %g", where, key, max, value);
    return LAMP_OK;
}

static int check_layers(const model_config *c, const char *where) {
    for (int64_t l = 0; l < c->num_hidden_layers; l++)
        if (model_layer_is_sparse(c, l)) return LAMP_OK;
    FAIL(LAMP_MALFORMED,
         "%s: no layer has experts: expected fewer than %" PRId64 " layers before the first, found first_k_dense_replace %" PRId64
         " and decoder_sparse_step %" PRId64,
         where, c->num_hidden_layers, c->dense_layers, c->sparse_step);
}

static int complete_experts(model_config *c, const family *f, const char *where) {
    moe_config *m = &c->moe;
    if (!f->experts_key) {
        if (m->experts != 1 || m->top_k != 1)
            FAIL(LAMP_MALFORMED, "%s: family %s is dense: expected 1 expert and top_k 1, found %" PRId64 " and %" PRId64, where, f->model_type,
                 m->experts, m->top_k);
        return LAMP_OK;
    }
    TRY(check_range(f->experts_key, m->experts, 1 << 20, where));
    if (m->top_k < 1 || m->top_k > m->experts)
        FAIL(LAMP_MALFORMED, "%s: \"num_experts_per_tok\": expected 1 to %" PRId64 ", the number of experts, found %" PRId64, where, m->experts,
             m->top_k);
    if (f->recurrent && c->dense_size == 0) c->dense_size = c->hidden_size;
    if (f->recurrent && m->experts == 1) return memset(m->balance, 0, sizeof m->balance), LAMP_OK;
    if (m->experts == 1) FAIL(LAMP_MALFORMED, "%s: family %s is sparse: expected at least 2 experts, found 1", where, f->model_type);
    TRY(router_choose(m, where));
    TRY(check_up_to("router_aux_loss_coef", m->balance[BALANCE_SWITCH], 1e6, where));
    if (f->never_normalizes && m->normalize && m->router == &router_softmax)
        FAIL(LAMP_MALFORMED, "%s: family %s never scales the chosen probabilities to sum to one: expected normalize false", where, f->model_type);
    if (f->always_normalizes && !m->normalize && m->router == &router_softmax)
        FAIL(LAMP_MALFORMED, "%s: family %s always scales the chosen probabilities to sum to one: expected normalize true", where, f->model_type);
    if (m->shared_experts > 0 && m->shared_size == 0) m->shared_size = c->intermediate_size;
    if (c->dense_size == 0) c->dense_size = m->top_k * c->intermediate_size + m->shared_experts * m->shared_size;
    return check_layers(c, where);
}

static int complete_heads(model_config *c, const family *f, const char *where) {
    const latent_attention *a = &c->latent;
    if (f->recurrent) return c->num_attention_heads = c->num_key_value_heads = c->head_dim = 0, LAMP_OK;
    if (f->latent != (a->key_rank > 0))
        FAIL(LAMP_MALFORMED, "%s: \"kv_lora_rank\": expected %s in family %s, found %" PRId64, where, f->latent ? "at least 1" : "0", f->model_type,
             a->key_rank);
    TRY(check_divides("num_attention_heads", c->num_attention_heads, "num_key_value_heads", c->num_key_value_heads, where));
    if (f->latent) c->head_dim = a->plain_dim + a->rotary_dim;
    if (c->head_dim == 0 || f->head_dim_is_derived)
        TRY(check_divides("hidden_size", c->hidden_size, "num_attention_heads", c->num_attention_heads, where));
    if (c->head_dim == 0) c->head_dim = c->hidden_size / c->num_attention_heads;
    TRY(check_range("head_dim", c->head_dim, 1 << 14, where));
    if (!f->latent) TRY(check_divides("head_dim", c->head_dim, "two, the pairs that RoPE turns", 2, where));
    if (f->latent && c->num_key_value_heads != c->num_attention_heads)
        FAIL(LAMP_MALFORMED, "%s: \"num_key_value_heads\": expected num_attention_heads (%" PRId64 ") with latent attention, found %" PRId64, where,
             c->num_attention_heads, c->num_key_value_heads);
    if (f->latent) TRY(check_range("qk_rope_head_dim", a->rotary_dim, 1 << 13, where));
    if (f->latent) TRY(check_divides("qk_rope_head_dim", a->rotary_dim, "two, the pairs that RoPE turns", 2, where));
    if (f->latent) TRY(check_range("v_head_dim", a->value_dim, 1 << 14, where));
    if (f->head_dim_is_derived && c->head_dim * c->num_attention_heads != c->hidden_size)
        FAIL(LAMP_MALFORMED, "%s: \"head_dim\": expected hidden_size / num_attention_heads = %" PRId64 " in family %s, found %" PRId64, where,
             c->hidden_size / c->num_attention_heads, f->model_type, c->head_dim);
    return LAMP_OK;
}

/* Experts come at the same places of encoder and decoder only if both begin at one. */
static int check_encoder(const model_config *c, const family *f, const char *where) {
    bool expected = f->backbone == &encoder_decoder_backbone;
    if (expected != (c->encoder_layers > 0))
        FAIL(LAMP_MALFORMED, "%s: \"num_layers\" of the encoder: expected %s in family %s, found %" PRId64, where, expected ? "at least 1" : "0",
             f->model_type, c->encoder_layers);
    return c->sparse_step > 1 ? check_divides("num_layers", c->encoder_layers, "decoder_sparse_step", c->sparse_step, where) : LAMP_OK;
}

static void take_differences(model_config *c, const family *f) {
    c->backbone = f->backbone, c->attention_sinks = f->attention_sinks;
    c->moe.biases = f->biases, c->window.chunked = f->windows.chunked;
    if (c->moe.swiglu_limit < 0) c->moe.swiglu_limit = f->swiglu.limit;
    if (c->moe.swiglu_alpha < 0) c->moe.swiglu_alpha = f->swiglu.alpha;
    if (c->window.full_step == 0) c->window.full_step = f->windows.full_step;
    if (c->sparse_step < 1) c->sparse_step = 1;
    if (c->normed < 0 || !f->norm_key) c->normed = f->qk_norm != QK_NORM_NONE;
    c->qk_norm = c->normed ? f->qk_norm : QK_NORM_NONE, c->moe.unbiased = f->unbiased;
    if (c->unrotated.step == 0) c->unrotated.step = f->unrotated.step;
    if (c->unrotated.scale < 0) c->unrotated.scale = f->unrotated.scale;
    if (c->unrotated.floor == 0) c->unrotated.floor = f->unrotated.floor;
    if (c->interleaved < 0 || !f->neighbours_key) c->interleaved = f->rope_neighbours;
    if (f->choice.key && c->moe.groups <= 1) c->moe.groups = 0, c->moe.top_groups = 1;
    if (c->biased < 0) c->biased = !f->bias_key ? f->attention_bias != BIAS_NONE : f->biased;
    c->attention_bias = c->biased ? f->attention_bias : BIAS_NONE;
}

/* Said as shortly as it can be: a window that no layer has is none, and no end is one behind the last layer. */
static void simplify_window(model_config *c) {
    if (c->window.until >= c->num_hidden_layers) c->window.until = 0;
    for (int64_t l = 0; l < c->num_hidden_layers; l++)
        if (model_layer_window(c, l) > 0) return;
    c->window.size = c->window.from = c->window.until = 0;
}

/* What a recipe asks for and this family cannot be. */
static int check_differences(const model_config *c, const family *f, const char *where) {
    if (c->biased && f->attention_bias == BIAS_NONE)
        FAIL(LAMP_MALFORMED, "%s: \"attention_bias\": expected none in family %s, found biases", where, f->model_type);
    if (!c->biased && f->attention_bias != BIAS_NONE && !f->bias_key)
        FAIL(LAMP_MALFORMED, "%s: \"attention_bias\": expected biases in family %s, found none", where, f->model_type);
    if (f->swiglu.limit > 0) {
        TRY(check_positive("swiglu_limit", c->moe.swiglu_limit, 1e6, where));
        TRY(check_positive("swiglu_alpha", c->moe.swiglu_alpha, 1e6, where));
    } else if (c->moe.swiglu_limit != 0)
        FAIL(LAMP_MALFORMED, "%s: \"swiglu_limit\": expected 0 in family %s, found %g; gpt_oss has it", where, f->model_type, c->moe.swiglu_limit);
    if (f->unrotated.step == 0 && (c->unrotated.step > 0 || c->unrotated.scale > 0))
        FAIL(LAMP_MALFORMED, "%s: \"no_rope_layer_interval\": expected RoPE in all layers in family %s, found %" PRId64 "; llama4_text has others",
             where, f->model_type, c->unrotated.step);
    if (c->window.size > 0 && !f->windows.key)
        FAIL(LAMP_MALFORMED, "%s: \"sliding_window\": expected 0 in family %s, found %" PRId64, where, f->model_type, c->window.size);
    if (c->mlp_depth > 1 && !(f->recurrent && c->moe.experts == 1 && c->moe.relu))
        FAIL(LAMP_MALFORMED, "%s: \"mlp_depth\": expected 0 or 1, found %" PRId64 ": only the single ReLU expert of an LSTM has more layers", where,
             c->mlp_depth);
    if (c->clip_qkv > 0 && !family_has_field(f, offsetof(model_config, clip_qkv)))
        FAIL(LAMP_MALFORMED, "%s: \"clip_qkv\": expected 0 in family %s, found %g; olmoe has it", where, f->model_type, c->clip_qkv);
    return LAMP_OK;
}

int family_complete(model_config *c, const char *where) {
    const double most_parameters = 0x1p48;
    const family *f;
    problem_list p = {0};
    TRY(family_find(&f, c->family, where));
    take_differences(c, f);
    problems_add(&p, check_range("vocab_size", c->vocab_size, 1 << 24, where));
    problems_add(&p, check_range("hidden_size", c->hidden_size, 1 << 20, where));
    problems_add(&p, check_range(f->inner_key, c->intermediate_size, 1 << 22, where));
    problems_add(&p, check_range("num_hidden_layers", c->num_hidden_layers, 1 << 14, where));
    if (!f->recurrent) problems_add(&p, check_range("num_attention_heads", c->num_attention_heads, 1 << 14, where));
    if (!f->recurrent) problems_add(&p, check_range("num_key_value_heads", c->num_key_value_heads, 1 << 14, where));
    problems_add(&p, check_range("max_position_embeddings", c->max_position_embeddings, 1 << 30, where));
    problems_add(&p, check_positive("rope_theta", c->rope_theta, 1e15, where));
    problems_add(&p, check_positive("rms_norm_eps", c->rms_norm_eps, 1, where));
    problems_add(&p, check_up_to("initializer_range", c->initializer_range, 10, where));
    problems_add(&p, check_up_to("attn_scale", c->unrotated.scale, 1e6, where));
    problems_add(&p, check_up_to("floor_scale", (double)c->unrotated.floor, 1 << 30, where));
    problems_add(&p, check_up_to("window", (double)c->window.size, 1 << 30, where));
    problems_add(&p, check_up_to("clip_qkv", c->clip_qkv, 1e9, where));
    TRY(problems_end(&p));
    TRY(check_differences(c, f, where));
    simplify_window(c);
    TRY(rope_complete(c, where));
    TRY(complete_heads(c, f, where));
    TRY(complete_experts(c, f, where));
    TRY(check_encoder(c, f, where));
    if (c->end_of_text < -1 || c->end_of_text >= c->vocab_size)
        FAIL(LAMP_MALFORMED, "%s: \"eos_token_id\": expected a token below vocab_size (%" PRId64 "), found %" PRId64, where, c->vocab_size,
             c->end_of_text);
    if (family_parameter_count(c) > most_parameters)
        FAIL(LAMP_MALFORMED, "%s: expected at most %g parameters, found sizes that make %g", where, most_parameters, family_parameter_count(c));
    return LAMP_OK;
}

/* ---- keys of config.json ------------------------------------------------------------------------------------------------------ */

#define AT(field) offsetof(model_config, field)

const family_key family_usual_keys[FAMILY_USUAL_KEYS] = {
    {"vocab_size", OPTION_INTEGER, AT(vocab_size), 0, false, NULL},
    {"hidden_size", OPTION_INTEGER, AT(hidden_size), 0, false, NULL},
    {NULL, OPTION_INTEGER, AT(intermediate_size), 0, false, NULL},
    {"num_hidden_layers", OPTION_INTEGER, AT(num_hidden_layers), 0, false, NULL},
    {"num_attention_heads", OPTION_INTEGER, AT(num_attention_heads), 0, false, NULL},
    {"max_position_embeddings", OPTION_INTEGER, AT(max_position_embeddings), 0, false, NULL},
    {"num_key_value_heads", OPTION_INTEGER, AT(num_key_value_heads), 0, true, NULL},
    {"head_dim", OPTION_INTEGER, AT(head_dim), 0, true, NULL},
    {"rms_norm_eps", OPTION_NUMBER, AT(rms_norm_eps), 0, true, NULL},
    {"rope_theta", OPTION_NUMBER, AT(rope_theta), 0, true, NULL},
    {"initializer_range", OPTION_NUMBER, AT(initializer_range), 0, true, "0.02"},
    {"tie_word_embeddings", OPTION_BOOL, AT(tie_word_embeddings), 0, true, NULL},
};

model_config family_defaults(const family *f) {
    model_config c = {.head_dim = f->head_dim,
                      .rms_norm_eps = f->rms_norm_eps,
                      .rope_theta = f->rope_theta,
                      .rope = f->rope ? *f->rope : rope_usual,
                      .initializer_range = 0.02,
                      .sparse_step = 1,
                      .max_position_embeddings = f->context,
                      .biased = -1,
                      .normed = -1,
                      .interleaved = -1,
                      .unrotated = f->unrotated,
                      .moe = {.experts = 1, .top_k = f->top_k > 0 ? f->top_k : 1, .normalize = f->always_normalizes, .scale = 1}};
    strcpy(c.family, f->model_type);
    strcpy(c.moe.kind, f->router ? f->router->name : router_softmax.name);
    c.moe.swiglu_limit = f->swiglu.limit, c.moe.swiglu_alpha = f->swiglu.alpha;
    c.moe.shared_experts = f->shared_experts, c.moe.shared_gate = f->shared_gate, c.moe.weigh_input = f->weigh_input;
    return c;
}

bool family_takes_usual(const family *f, const family_key *k) {
    static const size_t of_attention[] = {AT(num_attention_heads), AT(num_key_value_heads), AT(head_dim), AT(rms_norm_eps), AT(rope_theta)};
    for (size_t i = 0; f->recurrent && i < sizeof of_attention / sizeof *of_attention; i++)
        if (k->offset == of_attention[i]) return false;
    if (f->latent && k->offset == AT(head_dim)) return false; /* transformers has the channels that turn there */
    return !family_has_field(f, k->offset);
}

bool family_has_field(const family *f, size_t offset) {
    for (int i = 0; i < f->n_keys; i++)
        if (f->keys[i].offset == offset) return true;
    return false;
}

double family_parameter_count(const model_config *c) { return model_backbone(c)->parameters(c); }
