/* lamp inspect MODEL|RECIPE: parameters, costs, bytes; with --experts what each expert of one layer specialises in, with --text whom a text
 * went to. */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/human.h"
#include "cli/cli.h"
#include "cli/find_data.h"
#include "cli/inspect_experts.h"
#include "train/recipe.h"

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

static int inspect_model(const char *name, inspect_wishes *wishes, bool json) {
    loaded_model m = {0};
    buffer text = {0};
    char found[PATH_BYTES];
    json_writer w = {&text, .indented = true};
    int status;
    TRY_TO(done, loaded_model_open(&m, name));
    model_costs costs = model_count(&m.model, m.model.config.max_position_embeddings);
    json_begin_object(&w, NULL);
    if (json) put_sizes(&w, &m.model, &costs);
    else if (!wishes->text || wishes->experts) print_sizes(&m.model, &costs);
    if (wishes->experts && !wishes->data) {
        TRY_TO(done, find_data_of_run(found, name));
        wishes->data = found;
    }
    if (wishes->experts || wishes->text) TRY_TO(done, inspect_experts(json ? &w : NULL, &m, wishes));
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
    bool json;
    inspect_wishes wishes = {.layer = -1, .tokens = 32768};
    const cli_option rows[] = {
        {"experts", NULL, "run validation text and show what each expert of one layer specialises in", CLI_FLAG, &wishes.experts, 0, 0},
        {"ablate", NULL, "with --experts: silence each expert in turn and measure the change of loss", CLI_FLAG, &wishes.ablate, 0, 0},
        {"all", NULL, "with --experts: show all of more than 64 experts", CLI_FLAG, &wishes.all, 0, 0},
        {"data", "DATASET", "with --experts: its text (default: the dataset the run was trained on)", CLI_PATH, &wishes.data, 0, 0},
        {"tokens", "N", "of each domain's validation text, at most (32768)", CLI_INTEGER, &wishes.tokens, 1, 1e15},
        {"text", "FILE", "show this text, each token in the colour of its first expert; - is standard input", CLI_PATH, &wishes.text, 0, 0},
        {"html", "OUT.html", "with --text: write it as a page instead", CLI_PATH, &wishes.html, 0, 0},
        {"layer", "L", "which layer (default: the middle one)", CLI_INTEGER, &wishes.layer, 0, 1e9},
    };
    TRY(cli_parse(&arguments, &json,
                  &(cli_command){"inspect", "Of a RECIPE the sizes are shown, with 8192 tokens where it leaves the vocabulary to the data.\n", rows,
                                 sizeof rows / sizeof *rows, 1, 1},
                  argc, argv));
    const char *name = arguments.item[0];
    if ((wishes.ablate || wishes.all || wishes.data) && !wishes.experts)
        FAIL(LAMP_INVALID, "lamp inspect: --%s goes with --experts", wishes.ablate ? "ablate" : wishes.all ? "all" : "data");
    if (wishes.html && !wishes.text) FAIL(LAMP_INVALID, "lamp inspect: --html goes with --text");
    if (wishes.layer >= 0 && !wishes.experts && !wishes.text) FAIL(LAMP_INVALID, "lamp inspect: --layer goes with --experts or --text");
    if (!file_exists(name)) FAIL(LAMP_IO, "%s: expected a model folder, a run folder or a recipe, found nothing", name);
    if (file_is_folder(name)) return inspect_model(name, &wishes, json);
    if (wishes.experts || wishes.text)
        FAIL(LAMP_INVALID, "lamp inspect: --%s needs a trained model, %s is a recipe", wishes.experts ? "experts" : "text", name);
    return inspect_recipe(name, json);
}
