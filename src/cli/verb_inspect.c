/* lamp inspect MODEL|CONFIG|RECIPE: the price of a model, from its sizes alone (docs/pricing.md); with --experts what each expert of one layer
 * specialises in, with --text whom a text went to. */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "budget/price.h"
#include "cli/cli.h"
#include "cli/find_data.h"
#include "cli/inspect_experts.h"
#include "cli/print_price.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/gguf_architecture.h"
#include "models/families/family.h"
#include "train/recipe.h"

static bool is_json(const char *name) {
    size_t length = strlen(name), suffix = strlen(".json");
    return length > suffix && !strcmp(name + length - suffix, ".json");
}

static bool is_model(const char *name) { return file_is_folder(name) || gguf_is_named(name); }

/* What is priced and not inside: training as the run's recipe has it, or by default. */
static int read_config(recipe *r, const char *name) {
    char folder[PATH_BYTES], path[PATH_BYTES];
    if (is_json(name)) return family_read_config(&r->model, name);
    if (gguf_is_named(name)) return gguf_read_config_of(&r->model, name);
    TRY(file_join(path, name, "recipe.ini"));
    if (file_exists(path)) TRY(options_read_file(&recipe_options, r, path));
    TRY(checkpoint_resolve(folder, name));
    TRY(file_join(path, folder, "config.json"));
    return family_read_config(&r->model, path);
}

static int read_priced(recipe *r, const char *name, const cli_list *settings) {
    bool is_config = is_model(name) || is_json(name);
    memset(r, 0, sizeof *r);
    options_set_defaults(&recipe_options, r);
    TRY(is_config ? read_config(r, name) : options_read_file(&recipe_options, r, name));
    for (int i = 0; i < settings->n; i++) TRY(options_assign(&recipe_options, r, settings->item[i], "--set"));
    if (r->model.vocab_size == 0) r->model.vocab_size = 8192;
    if (!is_config) return recipe_resolve(r, name);
    if (r->micro_batch_tokens == 0) r->micro_batch_tokens = r->batch_tokens;
    return family_complete(&r->model, name);
}

/* Of a model whose files are there; there may be none. */
static int show_stored(json_writer *w, const char *name, const model *m) {
    static const char *const files[] = {"model.safetensors", "model.safetensors.index.json"};
    char folder[PATH_BYTES], path[PATH_BYTES];
    stored_bytes stored;
    bool there = !file_is_folder(name);
    TRY(checkpoint_resolve(folder, name));
    for (size_t i = 0; i < sizeof files / sizeof *files && !there; i++) {
        TRY(file_join(path, folder, files[i]));
        there = file_exists(path);
    }
    if (!there) return LAMP_OK;
    TRY(stored_bytes_count(&stored, m, folder));
    if (w) put_stored(w, &stored);
    else print_stored(&stored);
    return LAMP_OK;
}

static int price(json_writer *w, const char *name, const inspect_wishes *wishes, const cli_list *settings, int64_t context) {
    recipe r;
    model m = {0};
    model_price p;
    int status;
    TRY_TO(done, read_priced(&r, name, settings));
    TRY_TO(done, model_open(&m, &r.model));
    TRY_TO(done, price_model(&p, &m, &r, context > 0 ? context : r.model.max_position_embeddings));
    if (w) put_price(w, &m, &p);
    else if (!wishes->text || wishes->experts) print_sizes(&m, &p);
    bool all = !wishes->text && !wishes->experts;
    if (!w && all) print_price(&p);
    if (all && is_model(name) && settings->n == 0 && !p.missing) status = show_stored(w, name, &m);
done:
    model_close(&m);
    return status;
}

static int show_experts(json_writer *w, const char *name, inspect_wishes *wishes) {
    loaded_model m = {0};
    char found[PATH_BYTES];
    int status;
    TRY_TO(done, loaded_model_open(&m, name, VALUES_STORED));
    if (wishes->experts && !wishes->data) {
        TRY_TO(done, find_data_of_run(found, name));
        wishes->data = found;
    }
    TRY_TO(done, inspect_experts(w, &m, wishes));
done:
    loaded_model_close(&m);
    return status;
}

static int inspect(const char *name, inspect_wishes *wishes, const cli_list *settings, int64_t context, bool json) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    int status;
    json_begin_object(&w, NULL);
    TRY_TO(done, price(json ? &w : NULL, name, wishes, settings, context));
    if (wishes->experts || wishes->text) TRY_TO(done, show_experts(json ? &w : NULL, name, wishes));
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    if (json) status = cli_write_buffer(&text);
done:
    buffer_release(&text);
    return status;
}

int verb_inspect(int argc, char **argv) {
    cli_list arguments, settings = {0};
    bool json;
    int64_t context = 0;
    inspect_wishes wishes = {.layer = -1, .tokens = 32768};
    const cli_option rows[] = {
        {"context", "N", "price a token at the end of this many (default: max_position_embeddings)", CLI_INTEGER, &context, 1, 1 << 30},
        {"set", "KEY=VALUE", "price another value of a recipe's key, as section.key=value", CLI_SETTINGS, &settings, 0, 0},
        {"experts", NULL, "run validation text and show what each expert of one layer specialises in", CLI_FLAG, &wishes.experts, 0, 0},
        {"ablate", NULL, "with --experts: silence each expert in turn and measure the change of loss", CLI_FLAG, &wishes.ablate, 0, 0},
        {"all", NULL, "with --experts: show all of more than 64 experts", CLI_FLAG, &wishes.all, 0, 0},
        {"data", "DATASET", "with --experts: its text (default: the dataset the run was trained on)", CLI_PATH, &wishes.data, 0, 0},
        {"tokens", "N", "of each domain's validation text, at most (32768)", CLI_INTEGER, &wishes.tokens, 1, 1e15},
        {"text", "FILE", "show this text, each token in the colour of its first expert; - is standard input", CLI_PATH, &wishes.text, 0, 0},
        {"html", "OUT.html", "with --text: write it as a page instead", CLI_PATH, &wishes.html, 0, 0},
        {"layer", "L", "which layer (default: the middle one)", CLI_INTEGER, &wishes.layer, 0, 1e9},
    };
    const char *details = "Sizes come from a RECIPE, with 8192 tokens where it leaves the vocabulary to the data, a CONFIG.json, a GGUF file,\n"
                          "or a MODEL folder, which need not hold weights; none are read. Training is priced as the recipe has it, or by default.\n";
    TRY(cli_parse(&arguments, &json, &(cli_command){"inspect", details, rows, sizeof rows / sizeof *rows, 1, 1}, argc, argv));
    const char *name = arguments.item[0];
    if ((wishes.ablate || wishes.all || wishes.data) && !wishes.experts)
        FAIL(LAMP_INVALID, "lamp inspect: --%s goes with --experts", wishes.ablate ? "ablate" : wishes.all ? "all" : "data");
    if (wishes.html && !wishes.text) FAIL(LAMP_INVALID, "lamp inspect: --html goes with --text");
    if (wishes.layer >= 0 && !wishes.experts && !wishes.text) FAIL(LAMP_INVALID, "lamp inspect: --layer goes with --experts or --text");
    if (!file_exists(name)) FAIL(LAMP_IO, "%s: expected a model folder, a run folder, a GGUF file, a config.json or a recipe, found nothing", name);
    if ((wishes.experts || wishes.text) && !is_model(name))
        FAIL(LAMP_INVALID, "lamp inspect: --%s needs a trained model, %s is %s", wishes.experts ? "experts" : "text", name,
             is_json(name) ? "a config" : "a recipe");
    return inspect(name, &wishes, &settings, context, json);
}
