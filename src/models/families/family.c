#include "models/families/family.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"
#include "base/problems.h"
#include "models/model.h"
#include "moe/route.h"

static const family *const families[] = {
    &family_llama,       &family_mixtral,     &family_olmoe,   &family_qwen3,  &family_qwen3_moe, &family_qwen2_moe,
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
    if (value % divisor)
        FAIL(LAMP_MALFORMED, "%s: \"%s\": expected a multiple of %s (%" PRId64 "), found %" PRId64, where, key, by, divisor, value);
    return LAMP_OK;
}

static int check_positive(const char *key, double value, double max, const char *where) {
    if (!(value > 0 && value <= max))
        FAIL(LAMP_MALFORMED, "%s: \"%s\": expected a positive number of at most %g, found %g", where, key, max, value);
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
    if (m->experts == 1) FAIL(LAMP_MALFORMED, "%s: family %s is sparse: expected at least 2 experts, found 1", where, f->model_type);
    TRY(router_choose(m, where));
    TRY(check_up_to("router_aux_loss_coef", m->balance[BALANCE_SWITCH], 1e6, where));
    if (f->always_normalizes && !m->normalize && m->router == &router_softmax)
        FAIL(LAMP_MALFORMED, "%s: family %s always scales the chosen probabilities to sum to one: expected normalize true", where,
             f->model_type);
    if (m->shared_experts > 0 && m->shared_size == 0) m->shared_size = c->intermediate_size;
    if (c->dense_size == 0)
        c->dense_size = f->recurrent ? c->hidden_size : m->top_k * c->intermediate_size + m->shared_experts * m->shared_size;
    return check_layers(c, where);
}

static int complete_heads(model_config *c, const family *f, const char *where) {
    const latent_attention *a = &c->latent;
    if (f->recurrent) return c->num_attention_heads = c->num_key_value_heads = c->head_dim = 0, LAMP_OK;
    if (f->latent != (a->key_rank > 0))
        FAIL(LAMP_MALFORMED, "%s: \"kv_lora_rank\": expected %s in family %s, found %" PRId64, where, f->latent ? "at least 1" : "0", f->model_type,
             a->key_rank);
    TRY(check_divides("hidden_size", c->hidden_size, "num_attention_heads", c->num_attention_heads, where));
    TRY(check_divides("num_attention_heads", c->num_attention_heads, "num_key_value_heads", c->num_key_value_heads, where));
    if (f->latent) c->head_dim = a->plain_dim + a->rotary_dim;
    if (c->head_dim == 0) c->head_dim = c->hidden_size / c->num_attention_heads;
    TRY(check_range("head_dim", c->head_dim, 1 << 14, where));
    TRY(check_divides("head_dim", c->head_dim, "two, the pairs that RoPE turns", 2, where));
    if (f->latent) TRY(check_range("v_head_dim", a->value_dim, 1 << 14, where));
    if (f->head_dim_is_derived && c->head_dim * c->num_attention_heads != c->hidden_size)
        FAIL(LAMP_MALFORMED, "%s: \"head_dim\": expected hidden_size / num_attention_heads = %" PRId64 " in family %s, found %" PRId64,
             where, c->hidden_size / c->num_attention_heads, f->model_type, c->head_dim);
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
    c->backbone = f->backbone, c->qk_norm = f->qk_norm, c->attention_bias = f->attention_bias, c->attention_sinks = f->attention_sinks;
    c->full_step = f->full_step, c->moe.biases = f->biases;
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
    TRY(problems_end(&p));
    TRY(complete_heads(c, f, where));
    TRY(complete_experts(c, f, where));
    TRY(check_encoder(c, f, where));
    if (c->end_of_text < -1 || c->end_of_text >= c->vocab_size)
        FAIL(LAMP_MALFORMED, "%s: \"eos_token_id\": expected a token below vocab_size (%" PRId64 "), found %" PRId64, where, c->vocab_size,
             c->end_of_text);
    if (family_parameter_count(c) > most_parameters)
        FAIL(LAMP_MALFORMED, "%s: expected at most %g parameters, found sizes that make %g", where, most_parameters,
             family_parameter_count(c));
    return LAMP_OK;
}

double family_parameter_count(const model_config *c) { return model_backbone(c)->parameters(c); }

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

static const family_tensor usual_tensors[] = {
    {.kind = "embedding", .tensor = "model.embed_tokens.weight"},
    {.kind = "norm", .tensor = "model.norm.weight"},
    {.kind = "head", .tensor = "lm_head.weight"},
    {.kind = "attention.norm", .tensor = "model.layers.{l}.input_layernorm.weight"},
    {.kind = "attention.query", .tensor = "model.layers.{l}.self_attn.q_proj.weight"},
    {.kind = "attention.key", .tensor = "model.layers.{l}.self_attn.k_proj.weight"},
    {.kind = "attention.value", .tensor = "model.layers.{l}.self_attn.v_proj.weight"},
    {.kind = "attention.output", .tensor = "model.layers.{l}.self_attn.o_proj.weight"},
    {.kind = "attention.query_norm", .tensor = "model.layers.{l}.self_attn.q_norm.weight"},
    {.kind = "attention.key_norm", .tensor = "model.layers.{l}.self_attn.k_norm.weight"},
    {.kind = "mlp.norm", .tensor = "model.layers.{l}.post_attention_layernorm.weight"},
    {.kind = "mlp.gate", .tensor = "model.layers.{l}.mlp.gate_proj.weight"},
    {.kind = "mlp.up", .tensor = "model.layers.{l}.mlp.up_proj.weight"},
    {.kind = "mlp.down", .tensor = "model.layers.{l}.mlp.down_proj.weight"},
    {.kind = "moe.router", .tensor = "model.layers.{l}.mlp.gate.weight"},
    {.kind = "moe.router_noise", .tensor = "model.layers.{l}.mlp.gate.noise.weight"},
    {.kind = "moe.router_bias", .tensor = "model.layers.{l}.mlp.gate.e_score_correction_bias"},
    {.kind = "moe.router_threshold", .tensor = "model.layers.{l}.mlp.gate.threshold"},
    {.kind = "moe.group_router", .tensor = "model.layers.{l}.mlp.group_gate.weight"},
    {.kind = "moe.group_router_noise", .tensor = "model.layers.{l}.mlp.group_gate.noise.weight"},
    {.kind = "shared.gate", .tensor = "model.layers.{l}.mlp.shared_expert.gate_proj.weight"},
    {.kind = "shared.up", .tensor = "model.layers.{l}.mlp.shared_expert.up_proj.weight"},
    {.kind = "shared.down", .tensor = "model.layers.{l}.mlp.shared_expert.down_proj.weight"},
    {.kind = "shared.expert_gate", .tensor = "model.layers.{l}.mlp.shared_expert_gate.weight"},
    {.kind = "moe.gate",
     .tensor = "model.layers.{l}.mlp.experts.{e}.gate_proj.weight",
     .fused = "model.layers.{l}.mlp.experts.gate_up_proj",
     .part = 0,
     .parts = 2},
    {.kind = "moe.up",
     .tensor = "model.layers.{l}.mlp.experts.{e}.up_proj.weight",
     .fused = "model.layers.{l}.mlp.experts.gate_up_proj",
     .part = 1,
     .parts = 2},
    {.kind = "moe.down",
     .tensor = "model.layers.{l}.mlp.experts.{e}.down_proj.weight",
     .fused = "model.layers.{l}.mlp.experts.down_proj",
     .part = 0,
     .parts = 1},
};

static const family_tensor *find_tensor(const family *f, const char *kind) {
    for (int i = 0; i < f->n_tensors; i++)
        if (!strcmp(f->tensors[i].kind, kind)) return &f->tensors[i];
    for (size_t i = 0; i < sizeof usual_tensors / sizeof *usual_tensors; i++)
        if (!strcmp(usual_tensors[i].kind, kind)) return &usual_tensors[i];
    CHECK(false, "family %s has no name for weight %s", f->model_type, kind);
}

static void expand(char name[TENSOR_NAME_BYTES], const char *pattern, int layer, ptrdiff_t group) {
    size_t length = 0;
    while (*pattern && length < TENSOR_NAME_BYTES - 24) {
        if (*pattern != '{') {
            name[length++] = *pattern++;
            continue;
        }
        length += (size_t)sprintf(name + length, "%td", pattern[1] == 'l' ? (ptrdiff_t)layer : group);
        pattern += strlen("{l}");
    }
    name[length] = 0;
}

void family_place_group(family_place *place, const family *f, const weight *w, ptrdiff_t group) {
    if (weight_is_vector(w)) *place = (family_place){.rank = 1, .shape = {w->in}};
    else *place = (family_place){.rank = 2, .shape = {w->out, w->in}};
    expand(place->name, find_tensor(f, w->kind)->tensor, w->layer, group);
}

bool family_place_fused(family_place *place, const family *f, const weight *w, ptrdiff_t group) {
    const family_tensor *names = find_tensor(f, w->kind);
    if (!names->fused) return false;
    if (names->parts == 0) *place = (family_place){.rank = 2, .shape = {w->out, w->in}};
    else
        *place = (family_place){.rank = 3,
                                .shape = {w->groups, names->parts * w->out, w->in},
                                .first = (group * names->parts + names->part) * w->out * w->in};
    expand(place->name, names->fused, w->layer, group);
    return true;
}
