/* lamp inspect MODEL|RECIPE [--experts]: parameters, costs, bytes; with --experts, what each expert of one layer likes. */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/human.h"
#include "cli/cli.h"
#include "cli/find_data.h"
#include "cli/print_scores.h"
#include "health/telemetry.h"
#include "infer/loaded_model.h"
#include "inspect/affinity.h"
#include "train/recipe.h"
#include "train/run_folder.h"

enum { TOP_TOKENS = 12 };

typedef struct {
    int64_t held, touched; /* bytes of weights: all, and those one token meets */
} model_bytes;

static model_bytes count_bytes(const model_costs *c) {
    return (model_bytes){c->parameters * (int64_t)sizeof(real), c->active_parameters * (int64_t)sizeof(real)};
}

static int64_t count_sparse_layers(const model_config *g) {
    int64_t n = 0;
    for (int64_t l = 0; l < g->num_hidden_layers; l++) n += model_layer_is_sparse(g, l);
    return n;
}

static void print_experts_line(const model_config *g) {
    const moe_config *m = &g->moe;
    int64_t sparse = count_sparse_layers(g);
    printf("experts                %lld of inner width %lld, each token takes %lld (%s)\n", (long long)m->experts, (long long)g->intermediate_size,
           (long long)m->top_k, m->kind);
    if (m->shared_experts > 0)
        printf("shared experts         %lld of inner width %lld%s\n", (long long)m->shared_experts, (long long)m->shared_size, m->shared_gate ? ", gated" : "");
    if (sparse < g->num_hidden_layers)
        printf("dense layers           %lld of inner width %lld\n", (long long)(g->num_hidden_layers - sparse), (long long)g->dense_size);
}

static void print_sizes(const model *m, const model_costs *c) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    const model_config *g = &m->config;
    model_bytes bytes = count_bytes(c);
    printf("family                 %s\n", g->family);
    printf("layers x width         %lld x %lld\n", (long long)g->num_hidden_layers, (long long)g->hidden_size);
    printf("heads                  %lld of %lld, %lld for keys and values\n", (long long)g->num_attention_heads, (long long)g->head_dim,
           (long long)g->num_key_value_heads);
    if (g->moe.experts > 1) print_experts_line(g);
    else printf("inner width            %lld, dense\n", (long long)g->intermediate_size);
    printf("vocabulary, context    %lld tokens, %lld tokens\n", (long long)g->vocab_size, (long long)g->max_position_embeddings);
    printf("parameters             %s, of which one token meets %s\n", human_count(a, (double)c->parameters), human_count(b, (double)c->active_parameters));
    printf("training a token       %sFLOP\n", human_count(a, c->flops_per_token));
    printf("bytes of weights       %sB held, %sB touched by a token\n", human_count(a, (double)bytes.held), human_count(b, (double)bytes.touched));
}

static void put_sizes(json_writer *w, const model *m, const model_costs *c) {
    const model_config *g = &m->config;
    model_bytes bytes = count_bytes(c);
    json_put_text(w, "family", g->family);
    json_put_integer(w, "num_hidden_layers", g->num_hidden_layers);
    json_put_integer(w, "hidden_size", g->hidden_size);
    json_put_integer(w, "intermediate_size", g->intermediate_size);
    json_put_integer(w, "experts", g->moe.experts);
    json_put_integer(w, "top_k", g->moe.top_k);
    json_put_text(w, "router", g->moe.experts > 1 ? g->moe.kind : "none");
    json_put_integer(w, "shared_experts", g->moe.shared_experts);
    json_put_integer(w, "dense_layers", g->num_hidden_layers - count_sparse_layers(g));
    json_put_integer(w, "vocab_size", g->vocab_size);
    json_put_integer(w, "parameters", c->parameters);
    json_put_integer(w, "active_parameters", c->active_parameters);
    json_put_number(w, "flops_per_token", c->flops_per_token);
    json_put_integer(w, "bytes_held", bytes.held);
    json_put_integer(w, "bytes_touched", bytes.touched);
}

/* A token as one can read it on a line: control bytes and broken UTF-8 escaped as JSON does, a space shown as such. */
static void append_readable(buffer *out, const tokenizer *words, int32_t id) {
    size_t length;
    const char *bytes = tokenizer_token_bytes(words, id, &length);
    json_writer w = {.out = out};
    if (tokenizer_is_special(words, id)) buffer_append_text(out, "(end of text)");
    else json_put_bytes(&w, NULL, bytes, length);
}

static int print_experts(const affinity *a, const tokenizer *words, const evaluation *e) {
    buffer line = {0};
    int status = LAMP_OK;
    print_routing(&e->trace);
    printf("\nlayer %d: the tokens each expert receives more than its share of (token, times its share)\n", a->layer);
    for (int expert = 0; expert < a->experts; expert++) {
        affinity_token top[TOP_TOKENS];
        int n = affinity_top(a, expert, top, TOP_TOKENS);
        buffer_clear(&line);
        for (int i = 0; i < n; i++) {
            append_readable(&line, words, top[i].token);
            buffer_printf(&line, " %.1f  ", top[i].lift);
        }
        TRY_TO(done, line.status);
        printf("%4d  %s\n", expert, n ? line.bytes : "nothing: this expert is dead");
    }
done:
    buffer_release(&line);
    return status;
}

static void put_experts(json_writer *w, const affinity *a, const tokenizer *words, const evaluation *e) {
    json_put_routing(w, &e->trace, true);
    json_put_integer(w, "layer", a->layer);
    json_begin_array(w, "experts_like");
    for (int expert = 0; expert < a->experts; expert++) {
        affinity_token top[TOP_TOKENS];
        int n = affinity_top(a, expert, top, TOP_TOKENS);
        json_begin_array(w, NULL);
        for (int i = 0; i < n; i++) {
            size_t length;
            const char *bytes = tokenizer_token_bytes(words, top[i].token, &length);
            json_begin_object(w, NULL);
            json_put_integer(w, "id", top[i].token);
            json_put_bytes(w, "token", bytes, length);
            json_put_integer(w, "count", top[i].count);
            json_put_number(w, "lift", top[i].lift);
            json_end_object(w);
        }
        json_end_array(w);
    }
    json_end_array(w);
}

static int inspect_experts(json_writer *w, const loaded_model *m, const char *data_name, int64_t layer, int64_t tokens) {
    enum { SEQUENCES = 8, LONGEST = 1024 };
    const model_config *c = &m->model.config;
    const struct kernels *k;
    tape t = {0};
    evaluation e = {0};
    affinity a = {0};
    dataset *data = NULL;
    int status;
    if (c->moe.experts == 1) FAIL(LAMP_INVALID, "this model is dense: it has no experts to look at");
    if (layer < 0)
        for (layer = c->num_hidden_layers / 2; !model_layer_is_sparse(c, layer);) layer = (layer + 1) % c->num_hidden_layers;
    if (layer >= c->num_hidden_layers) FAIL(LAMP_INVALID, "--layer: expected 0 to %lld, found %lld", (long long)c->num_hidden_layers - 1, (long long)layer);
    if (!model_layer_is_sparse(c, layer)) FAIL(LAMP_INVALID, "--layer: expected a layer with experts, found the dense layer %lld", (long long)layer);
    TRY(loaded_model_need_tokenizer(m));
    TRY_TO(done, open_data_for(&data, data_name, m));
    TRY_TO(done, kernels_choose(&k));
    TRY_TO(done, tape_open(&t, k));
    TRY_TO(done, evaluation_open(&e, &m->model, SEQUENCES, c->max_position_embeddings < LONGEST ? (int)c->max_position_embeddings : LONGEST));
    TRY_TO(done, affinity_open(&a, (int)layer, (int)c->moe.experts, (int32_t)c->vocab_size));
    TRY_TO(done, affinity_measure(&a, &e, &t, &m->model, data, tokens));
    if (w) put_experts(w, &a, m->tokenizer, &e);
    else putchar('\n'), status = print_experts(&a, m->tokenizer, &e);
done:
    affinity_close(&a);
    evaluation_close(&e);
    if (t.k) tape_close(&t);
    dataset_free(data);
    return status;
}

static int inspect_recipe(const char *path, bool json) {
    recipe r;
    model m = {0};
    buffer text = {0};
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    TRY(options_read_file(&recipe_options, &r, path));
    if (r.model.vocab_size == 0) r.model.vocab_size = 8192;
    TRY(recipe_resolve(&r, path));
    TRY(model_open(&m, &r.model));
    model_costs costs = model_count(&m, r.model.max_position_embeddings);
    if (json) {
        json_writer w = {&text, .indented = true};
        json_begin_object(&w, NULL);
        put_sizes(&w, &m, &costs);
        json_end_object(&w);
        buffer_append_byte(&text, '\n');
    } else {
        print_sizes(&m, &costs);
    }
    model_close(&m);
    return cli_write_buffer(&text);
}

static int inspect_model(const char *name, bool experts, const char *data_name, int64_t layer, int64_t tokens, bool json) {
    loaded_model m = {0};
    buffer text = {0};
    char found[PATH_BYTES];
    json_writer w = {&text, .indented = true};
    int status;
    TRY_TO(done, loaded_model_open(&m, name));
    model_costs costs = model_count(&m.model, m.model.config.max_position_embeddings);
    json_begin_object(&w, NULL);
    if (json) put_sizes(&w, &m.model, &costs);
    else print_sizes(&m.model, &costs);
    if (experts && !data_name) {
        TRY_TO(done, find_data_of_run(found, name));
        data_name = found;
    }
    if (experts) TRY_TO(done, inspect_experts(json ? &w : NULL, &m, data_name, layer, tokens));
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    if (json) status = cli_write_buffer(&text);
done:
    buffer_release(&text);
    loaded_model_close(&m);
    return status;
}

int verb_inspect(int argc, char **argv) {
    cli_list arguments;
    bool json, experts = false;
    const char *data_name = NULL;
    int64_t layer = -1, tokens = 32768;
    const cli_option rows[] = {
        {"experts", NULL, "run validation text and show what each expert of one layer likes", CLI_FLAG, &experts, 0, 0},
        {"layer", "L", "which layer (default: the middle one)", CLI_INTEGER, &layer, 0, 1e9},
        {"data", "DATASET", "the text (default: the dataset the run was trained on)", CLI_PATH, &data_name, 0, 0},
        {"tokens", "N", "of each domain's validation text, at most (32768)", CLI_INTEGER, &tokens, 1, 1e15},
    };
    TRY(cli_parse(
        &arguments, &json,
        &(cli_command){"inspect", "Of a RECIPE the sizes are shown, with 8192 tokens where it leaves the vocabulary to the data.\n", rows, 4, 1, 1},
        argc, argv));
    if (layer >= 0 && !experts) FAIL(LAMP_INVALID, "lamp inspect: --layer goes with --experts");
    if (!file_exists(arguments.item[0])) FAIL(LAMP_IO, "%s: expected a model folder, a run folder or a recipe, found nothing", arguments.item[0]);
    if (!file_is_folder(arguments.item[0])) {
        if (experts) FAIL(LAMP_INVALID, "lamp inspect: --experts needs a trained model, %s is a recipe", arguments.item[0]);
        return inspect_recipe(arguments.item[0], json);
    }
    return inspect_model(arguments.item[0], experts, data_name, layer, tokens, json);
}
