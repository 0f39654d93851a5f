#include "budget/price.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "models/families/family.h"
#include "train/trainer.h"

const char *const price_part_name[PRICE_PARTS] = {"embedding", "attention", "lstm", "mlp", "experts", "router", "norms", "head"};
const char *const serve_form_name[SERVE_FORMS] = {"f32", "bf16", "q8_0", "q4_0"};

/* A matrix in blocks of 32 values with a scale of two bytes has 34 bytes in eight bits, 18 in four; vectors then stay f32. */
static const struct {
    double matrix_bytes, vector_bytes;
} forms[SERVE_FORMS] = {{4, 4}, {2, 2}, {34.0 / 32, 4}, {18.0 / 32, 4}};

price_part price_part_of(const model *m, const weight *w) {
    static const struct {
        const char *begins;
        price_part part;
    } kinds[] = {
        {"attention.", PART_ATTENTION}, {"cross.", PART_ATTENTION},   {"lstm.", PART_LSTM},         {"mlp.", PART_MLP},
        {"shared.", PART_MLP},          {"moe.router", PART_ROUTER}, {"moe.group_router", PART_ROUTER}, {"moe.", PART_EXPERTS},
    };
    if (w->role == ROLE_NORM) return PART_NORMS;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strncmp(w->kind, kinds[i].begins, strlen(kinds[i].begins))) return kinds[i].part;
    return w == m->head && w->role != ROLE_EMBEDDING ? PART_HEAD : PART_EMBEDDING;
}

/* What is read of the values of w for one decoded token. */
static bool decodes(const model *m, const weight *w) { return w->layer < 0 || w->layer >= m->config.encoder_layers; }

static void add_serving(model_price *p, const model *m, const weight *w) {
    for (int f = 0; f < SERVE_FORMS; f++) {
        double bytes = weight_is_vector(w) ? forms[f].vector_bytes : forms[f].matrix_bytes;
        p->serve[f].held += bytes * (double)weight_size(w);
        if (decodes(m, w)) p->serve[f].touched += bytes * (double)model_active_values(m, w);
    }
}

/* Keys and values of each token that a layer sees; of latent attention the row they are made from, and the key's rotated part. */
static void add_cache(model_price *p, const model *m, const weight *w) {
    const model_config *c = &m->config;
    if (model_score_flops(m, w, p->context) == 0 || !decodes(m, w)) return;
    const double tokens = (double)sizeof(real) * (double)model_layer_sees(c, w->layer, p->context);
    int64_t of_token = c->latent.key_rank > 0 ? c->latent.key_rank + c->latent.rotary_dim : 2 * c->num_key_value_heads * c->head_dim;
    p->cache_bytes += tokens * (double)of_token;
    p->all_heads_cache_bytes += tokens * (double)(c->num_attention_heads * c->head_dim + model_value_width(c));
}

static void add_weight(model_price *p, const model *m, const weight *w) {
    int64_t active = model_active_values(m, w);
    bool multiplies = !model_looks_up(m, w) && !weight_is_vector(w);
    price_part part = price_part_of(m, w);
    double scores = model_score_flops(m, w, p->context);
    p->part[part].parameters += weight_size(w);
    if (w == m->head) part = PART_HEAD; /* a tied embedding is counted there, and works here */
    p->part[part].active += active;
    p->part[part].flops += (multiplies ? 2.0 * (double)active : 0) + scores;
    if (multiplies && w != m->head) p->multiply_adds += (double)active;
    add_cache(p, m, w);
    add_serving(p, m, w);
}

static void add_up(model_price *p) {
    const price_count *part = p->part;
    for (int i = 0; i < PRICE_PARTS; i++) {
        p->forward_flops += part[i].flops;
        if (i == PART_EMBEDDING || i == PART_HEAD) continue;
        p->body.parameters += part[i].parameters, p->body.active += part[i].active, p->body.flops += part[i].flops;
    }
    p->mlp_share = (double)(part[PART_MLP].parameters + part[PART_EXPERTS].parameters) / (double)p->costs.parameters;
    p->mlp_flop_share = (part[PART_MLP].flops + part[PART_EXPERTS].flops) / p->forward_flops;
    p->active_with_embedding = p->body.active + part[PART_HEAD].active + (part[PART_HEAD].parameters > 0 ? part[PART_EMBEDDING].parameters : 0);
}

/* Of all bytes that training holds of weights, alike for each; experts that no token of a step reached rest if they are lazy. They are reached as if
 * each token chose at random. */
static double touched_by_step(const model_price *p, const model *m, const recipe *r) {
    const moe_config *c = &m->config.moe;
    const memory_needs *n = &p->training;
    double held = (double)(n->weights + n->packed + n->gradients + n->moments);
    if (!r->optimizer.lazy_experts || c->experts == 1) return held;
    double missed = pow(1 - (double)c->top_k / (double)c->experts, (double)r->batch_tokens);
    return held * (1 - missed * (double)p->part[PART_EXPERTS].parameters / (double)p->costs.parameters);
}

static int price_training(model_price *p, model *m, const recipe *r) {
    const struct kernels *k;
    TRY(kernels_choose(&k));
    const struct products *products = trainer_choose_products(r, k);
    trainer_choose_passing(r, &m->weights);
    p->training = memory_needs_of(r, m, products ? products : &k->products);
    if (p->missing) p->training.activations = 0;
    p->training_touched = touched_by_step(p, m, r);
    return LAMP_OK;
}

int price_model(model_price *p, model *m, const recipe *r, int64_t context) {
    const family *f;
    TRY(family_find(&f, m->config.family, "the model to price"));
    *p = (model_price){.context = context, .costs = model_count(m, context), .missing = f->missing};
    for (int i = 0; i < m->weights.n; i++) add_weight(p, m, m->weights.row[i]);
    add_up(p);
    return price_training(p, m, r);
}
