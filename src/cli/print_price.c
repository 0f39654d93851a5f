#include "cli/print_price.h"

#include <stdio.h>

#include "base/human.h"
#include "models/declare.h"

static int64_t count_sparse_layers(const model_config *g) { return (int64_t)declared_sparse_layers(g); }
static int64_t count_layers(const model_config *g) { return g->encoder_layers + g->num_hidden_layers; }

/* ---- text -------------------------------------------------------------------------------------------------------------------- */

static void print_experts_line(const model_config *g) {
    const moe_config *m = &g->moe;
    int64_t dense = count_layers(g) - count_sparse_layers(g);
    printf("experts                %lld of inner width %lld, each token takes %lld (%s)\n", (long long)m->experts, (long long)g->intermediate_size,
           (long long)m->top_k, m->kind);
    if (m->shared_experts > 0)
        printf("shared experts         %lld of inner width %lld%s\n", (long long)m->shared_experts, (long long)m->shared_size,
               m->shared_gate ? ", gated" : "");
    if (dense > 0)
        printf("%s           %lld of inner width %lld\n", g->num_attention_heads > 0 ? "dense layers" : "LSTM layers ", (long long)dense,
               (long long)g->dense_size);
}

static void print_shape(const model_config *g) {
    printf("family                 %s\n", g->family);
    if (g->encoder_layers > 0)
        printf("layers x width         %lld + %lld x %lld, encoder and decoder\n", (long long)g->encoder_layers, (long long)g->num_hidden_layers,
               (long long)g->hidden_size);
    else printf("layers x width         %lld x %lld\n", (long long)g->num_hidden_layers, (long long)g->hidden_size);
    if (g->latent.key_rank > 0)
        printf("heads                  %lld of %lld, keys and values from a row of %lld + %lld\n", (long long)g->num_attention_heads,
               (long long)g->head_dim, (long long)g->latent.key_rank, (long long)g->latent.rotary_dim);
    else if (g->num_attention_heads > 0)
        printf("heads                  %lld of %lld, %lld for keys and values\n", (long long)g->num_attention_heads, (long long)g->head_dim,
               (long long)g->num_key_value_heads);
    if (g->moe.experts > 1) print_experts_line(g);
    else printf("inner width            %lld, dense\n", (long long)g->intermediate_size);
    printf("vocabulary, context    %lld tokens, %lld tokens\n", (long long)g->vocab_size, (long long)g->max_position_embeddings);
}

/* One unit for a whole table. */
typedef struct {
    double size;
    char letter;
} table_unit;

static table_unit choose_unit(const model_price *p) { return p->costs.parameters < 10000000 ? (table_unit){1e3, 'k'} : (table_unit){1e6, 'M'}; }

static void print_part(const char *name, const price_count *c, const model_price *p) {
    table_unit u = choose_unit(p);
    printf("%-23s %13.1f %c %6.1f%% %12.1f %c %8.1f%%\n", name, (double)c->parameters / u.size, u.letter,
           100 * (double)c->parameters / (double)p->costs.parameters, (double)c->active / u.size, u.letter, 100 * c->flops / p->forward_flops);
}

static void print_parts(const model_price *p) {
    table_unit u = choose_unit(p);
    printf("\n%-23s %15s %7s %14s %9s\n", "part", "parameters", "share", "of a token", "its FLOPs");
    for (int i = 0; i < PRICE_PARTS; i++)
        if (p->part[i].parameters > 0 || p->part[i].active > 0) print_part(price_part_name[i], &p->part[i], p);
    print_part("without embedding, head", &p->body, p);
    printf("multiply-adds there     %13.1f %c a token, forward, without what attention does beside its matrices\n", p->multiply_adds / u.size,
           u.letter);
    printf("share of the MLP       %.1f%% of parameters, %.1f%% of a token's FLOPs (mlp and experts)\n", 100 * p->mlp_share, 100 * p->mlp_flop_share);
    printf("with all the embedding  %13.1f %c of a token, as many publish it\n", (double)p->active_with_embedding / u.size, u.letter);
}

static void print_training(const model_price *p) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES], d[HUMAN_BYTES], e[HUMAN_BYTES];
    const memory_needs *n = &p->training;
    printf("\ntraining               %sB held: weights %sB, packed copies %sB, gradients %sB, moments %sB\n",
           human_count(a, (double)memory_needs_total(n)), human_count(b, (double)n->weights), human_count(c, (double)n->packed),
           human_count(d, (double)n->gradients), human_count(e, (double)n->moments));
    if (n->activations > 0) printf("                       and activations %sB\n", human_count(a, (double)n->activations));
    printf("                       %sB of weights, gradients and moments touched by a step%s\n", human_count(a, p->training_touched),
           n->activations > 0 ? "" : "; activations are not known before it runs");
}

static void print_serving(const model_price *p) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    for (int f = 0; f < SERVE_FORMS; f++)
        printf("%-22s weights as %-5s %sB held, %sB touched by a token\n", f ? "" : "serving", serve_form_name[f], human_count(a, p->serve[f].held),
               human_count(b, p->serve[f].touched));
    printf("                       %sFLOP a token at the end of %lld tokens\n", human_count(a, p->forward_flops), (long long)p->context);
    printf("                       %sB of cache for them, %sB a token, in f32\n", human_count(a, p->cache_bytes),
           human_count(b, p->cache_bytes / (double)p->context));
    if (p->cache_bytes < p->all_heads_cache_bytes)
        printf("                       keys and values of all heads would be %sB a token\n",
               human_count(a, p->all_heads_cache_bytes / (double)p->context));
}

void print_sizes(const model *m, const model_price *p) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    print_shape(&m->config);
    printf("parameters             %s, of which one token meets %s\n", human_count(a, (double)p->costs.parameters),
           human_count(b, (double)p->costs.active_parameters));
    printf("training a token       %sFLOP\n", human_count(a, p->costs.flops_per_token));
    printf("bytes of weights       %sB held, %sB touched by a token\n", human_count(a, (double)p->costs.parameters * sizeof(real)),
           human_count(b, (double)p->costs.active_parameters * sizeof(real)));
    if (p->missing) printf("does not run yet       we do not compute %s\n", p->missing);
}

void print_price(const model_price *p) {
    print_parts(p);
    print_training(p);
    print_serving(p);
}

void print_stored(const stored_bytes *s) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    printf("\nstored in its files    %sB, %sB of them touched by a token\n", human_count(a, s->held), human_count(b, s->touched));
    for (int i = 0; i < s->n; i++) {
        const stored_share *share = &s->share[i];
        printf("%-22s %-10s %-7s %9sB, %9sB\n", "", price_part_name[share->part], share->form, human_count(a, share->held), human_count(b, share->touched));
    }
}

/* ---- JSON -------------------------------------------------------------------------------------------------------------------- */

static void put_shape(json_writer *w, const model_config *g) {
    json_put_text(w, "family", g->family);
    json_put_integer(w, "num_hidden_layers", g->num_hidden_layers);
    json_put_integer(w, "encoder_layers", g->encoder_layers);
    json_put_integer(w, "hidden_size", g->hidden_size);
    json_put_integer(w, "intermediate_size", g->intermediate_size);
    json_put_integer(w, "experts", g->moe.experts);
    json_put_integer(w, "top_k", g->moe.top_k);
    json_put_text(w, "router", g->moe.experts > 1 ? g->moe.kind : "none");
    json_put_integer(w, "shared_experts", g->moe.shared_experts);
    json_put_integer(w, "dense_layers", count_layers(g) - count_sparse_layers(g));
    json_put_integer(w, "vocab_size", g->vocab_size);
}

static void put_count(json_writer *w, const char *name, const price_count *c) {
    json_begin_object(w, name);
    json_put_integer(w, "parameters", c->parameters);
    json_put_integer(w, "active_parameters", c->active);
    json_put_number(w, "forward_flops", c->flops);
    json_end_object(w);
}

static void put_training(json_writer *w, const model_price *p) {
    const memory_needs *n = &p->training;
    json_begin_object(w, "training");
    json_put_integer(w, "bytes_held", memory_needs_total(n));
    json_put_number(w, "bytes_touched", p->training_touched);
    json_put_integer(w, "weights", n->weights);
    json_put_integer(w, "packed", n->packed);
    json_put_integer(w, "gradients", n->gradients);
    json_put_integer(w, "moments", n->moments);
    if (n->activations > 0) json_put_integer(w, "activations", n->activations);
    else json_put_null(w, "activations");
    json_end_object(w);
}

static void put_serving(json_writer *w, const model_price *p) {
    json_begin_object(w, "serving");
    for (int f = 0; f < SERVE_FORMS; f++) {
        json_begin_object(w, serve_form_name[f]);
        json_put_number(w, "bytes_held", p->serve[f].held);
        json_put_number(w, "bytes_touched", p->serve[f].touched);
        json_end_object(w);
    }
    json_put_number(w, "flops_per_token", p->forward_flops);
    json_put_number(w, "cache_bytes", p->cache_bytes);
    json_put_number(w, "cache_bytes_per_token", p->cache_bytes / (double)p->context);
    json_put_number(w, "all_heads_cache_bytes_per_token", p->all_heads_cache_bytes / (double)p->context);
    json_end_object(w);
}

void put_price(json_writer *w, const model *m, const model_price *p) {
    put_shape(w, &m->config);
    json_put_integer(w, "context", p->context);
    if (p->missing) json_put_text(w, "missing", p->missing);
    else json_put_null(w, "missing");
    json_put_integer(w, "parameters", p->costs.parameters);
    json_put_integer(w, "active_parameters", p->costs.active_parameters);
    json_put_integer(w, "active_parameters_with_embedding", p->active_with_embedding);
    json_put_number(w, "flops_per_token", p->costs.flops_per_token);
    json_put_number(w, "multiply_adds_per_token", p->multiply_adds);
    json_put_integer(w, "bytes_held", p->costs.parameters * (int64_t)sizeof(real));
    json_put_integer(w, "bytes_touched", p->costs.active_parameters * (int64_t)sizeof(real));
    json_put_number(w, "mlp_share_of_parameters", p->mlp_share);
    json_put_number(w, "mlp_share_of_flops", p->mlp_flop_share);
    json_begin_object(w, "parts");
    for (int i = 0; i < PRICE_PARTS; i++) put_count(w, price_part_name[i], &p->part[i]);
    json_end_object(w);
    put_count(w, "without_embedding_and_head", &p->body);
    put_training(w, p);
    put_serving(w, p);
}

void put_stored(json_writer *w, const stored_bytes *s) {
    json_begin_array(w, "stored");
    for (int i = 0; i < s->n; i++) {
        json_begin_object(w, NULL);
        json_put_text(w, "part", price_part_name[s->share[i].part]);
        json_put_text(w, "type", s->share[i].form);
        json_put_integer(w, "bytes_held", (int64_t)s->share[i].held);
        json_put_integer(w, "bytes_touched", (int64_t)s->share[i].touched);
        json_end_object(w);
    }
    json_end_array(w);
}
