/* model_config -> config.json, which transformers 4 and 5 load. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "models/families/family.h"
#include "models/families/lamplighter.h"
#include "models/families/layers_config.h"
#include "models/families/rope_config.h"
#include "moe/route.h"

static void put_none(json_writer *w, const family_key *k, const char *key) {
    if (!strcmp(k->none, "null")) json_put_null(w, key);
    else if (k->type == OPTION_INTEGER) json_put_integer(w, key, strtoll(k->none, NULL, 10));
    else json_put_number(w, key, strtod(k->none, NULL));
}

static void put_key(json_writer *w, const model_config *c, const family_key *k, const char *key) {
    const void *at = (const char *)c + k->offset;
    switch (k->type) {
    case OPTION_INTEGER:
        if (k->none && *(const int64_t *)at == 0) put_none(w, k, key);
        else json_put_integer(w, key, *(const int64_t *)at);
        break;
    case OPTION_NUMBER:
        if (k->none && *(const double *)at == 0) put_none(w, k, key);
        else json_put_number(w, key, *(const double *)at);
        break;
    default: json_put_bool(w, key, *(const bool *)at);
    }
}

/* The usual ones, but those that the family calls otherwise, and the family's own. */
static void put_keys(json_writer *w, const model_config *c, const family *f) {
    for (int i = 0; i < FAMILY_USUAL_KEYS; i++) {
        const family_key *k = &family_usual_keys[i];
        if (family_takes_usual(f, k)) put_key(w, c, k, k->key ? k->key : f->inner_key);
    }
    for (int i = 0; i < f->n_keys; i++) put_key(w, c, &f->keys[i], f->keys[i].key);
}

static void put_attention(json_writer *w, const model_config *c, const family *f) {
    if (f->recurrent) return;
    json_put_text(w, "hidden_act", "silu");
    rope_config_write(w, c, f);
    layers_config_write(w, c, f);
    json_put_bool(w, f->bias_key ? f->bias_key : "attention_bias", f->bias_key && c->biased);
    if (f->neighbours_key) json_put_bool(w, f->neighbours_key, c->interleaved);
    if (f->norm_key) json_put_bool(w, f->norm_key, c->normed);
    json_put_number(w, "attention_dropout", 0);
}

static void put_experts(json_writer *w, const model_config *c, const family *f) {
    if (!f->experts_key) return;
    json_put_integer(w, f->experts_key, c->moe.experts);
    json_put_integer(w, "num_experts_per_tok", c->moe.top_k);
    json_put_bool(w, "norm_topk_prob", c->moe.normalize);
    json_put_number(w, "router_aux_loss_coef", c->moe.balance[BALANCE_SWITCH]);
    json_put_bool(w, "output_router_logits", false);
}

static void put_choice(json_writer *w, const model_config *c, const family *f) {
    if (!f->choice.key) return;
    json_put_text(w, "scoring_func", f->router ? f->router->name : router_softmax.name);
    json_put_text(w, f->choice.key, c->moe.groups > 0 ? f->choice.grouped : f->choice.plain);
}

static void put_dense_layers(json_writer *w, const model_config *c, const family *f) {
    if (!f->dense_key) return;
    json_put_integer(w, f->dense_key, c->dense_size);
    json_put_integer(w, "decoder_sparse_step", c->sparse_step > 1 ? c->sparse_step : 1);
    json_begin_array(w, "mlp_only_layers");
    for (int64_t l = 0; l < c->dense_layers; l++) json_put_integer(w, NULL, l);
    json_end_array(w);
}

int family_write_config_as(const model_config *c, stored_type type, buffer *out) {
    static const char *const dtypes[] = {[STORED_REAL] = "float32", [STORED_F16] = "float16", [STORED_BF16] = "bfloat16"};
    const family *f;
    TRY(family_check_runs(c, "the model to save"));
    TRY(family_find(&f, c->family, "the model to save"));
    json_writer w = {.out = out, .indented = true};
    bool own = lamplighter_is_needed(c, f);
    json_begin_object(&w, NULL);
    json_begin_array(&w, "architectures");
    json_put_text(&w, NULL, own ? LAMPLIGHTER_ARCHITECTURE : f->architecture);
    json_end_array(&w);
    json_put_text(&w, "model_type", own ? LAMPLIGHTER_MODEL_TYPE : f->model_type);
    if (own) json_put_text(&w, "backbone", f->model_type);
    json_put_text(&w, "torch_dtype", dtypes[type]);
    put_keys(&w, c, f);
    put_attention(&w, c, f);
    put_experts(&w, c, f);
    if (own) lamplighter_write(&w, c);
    else put_choice(&w, c, f), put_dense_layers(&w, c, f);
    json_put_null(&w, "bos_token_id"); /* absent, it would become the family's own */
    json_put_null(&w, "pad_token_id");
    if (c->end_of_text >= 0) json_put_integer(&w, "eos_token_id", c->end_of_text);
    else json_put_null(&w, "eos_token_id");
    json_end_object(&w);
    return buffer_append_byte(out, '\n');
}

int family_write_config(const model_config *c, buffer *out) { return family_write_config_as(c, STORED_REAL, out); }
