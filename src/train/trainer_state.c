/* The training state beside the weights, as trainer.json:
 *
 *     {"version": 1, "step": 1200, "tokens": ..., "seconds": ..., "optimizer_steps": ..., "bad_steps": 0, "dataset": HASH,
 *      "sequence": ..., "cursor": {DOMAIN: ..., ...}, "losses": [the last 128, oldest first],
 *      "expert_steps": [of each expert's matrices, if they count their own],
 *      "guard": {"spikes": 0, "treated": [steps, of the run and of each layer], "balance": {NAME: coefficient, ...}}}   with train.guard = treat
 *
 * Random numbers need no state: they are functions of seed and step. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "formats/checkpoint.h"
#include "formats/model_source.h"
#include "train/trainer.h"

enum { VERSION = 1 };

/* Of counts: JSON readers hold it exactly, and no step from there overflows. */
static const int64_t MOST = INT64_C(1) << 53;

static void put_guard(json_writer *w, const trainer *tr) {
    json_begin_object(w, "guard");
    json_put_integer(w, "spikes", tr->spikes);
    json_begin_array(w, "treated");
    for (int64_t i = 0; i <= tr->model.config.num_hidden_layers; i++) json_put_integer(w, NULL, tr->treated[i]);
    json_end_array(w);
    json_begin_object(w, "balance");
    for (int i = 0; i < BALANCE_LOSSES; i++) json_put_number(w, balance_terms[i].name, tr->model.config.moe.balance[i]);
    json_end_object(w);
    json_end_object(w);
}

static int read_guard(trainer *tr, const json_t *root, const char *where) {
    json_t *guard, *treated, *balance;
    int64_t spikes;
    if (!json_object_get(root, "guard")) return LAMP_OK;
    TRY(json_get_object(&guard, root, "guard", where));
    TRY(json_get_integer(&spikes, guard, "spikes", 0, 1000, where));
    TRY(json_get_array(&treated, guard, "treated", where));
    if (json_array_size(treated) != (size_t)tr->model.config.num_hidden_layers + 1)
        FAIL(LAMP_MALFORMED, "%s: \"treated\": expected %lld steps, found %zu", where, (long long)tr->model.config.num_hidden_layers + 1,
             json_array_size(treated));
    for (size_t i = 0; i < json_array_size(treated); i++) tr->treated[i] = json_integer_value(json_array_get(treated, i));
    TRY(json_get_object(&balance, guard, "balance", where));
    for (int i = 0; i < BALANCE_LOSSES; i++) {
        double coefficient;
        TRY(json_get_number(&coefficient, balance, balance_terms[i].name, where));
        if (!(coefficient >= 0)) FAIL(LAMP_MALFORMED, "%s: \"%s\": expected a coefficient, found %g", where, balance_terms[i].name, coefficient);
        tr->model.config.moe.balance[i] = coefficient;
    }
    tr->spikes = (int)spikes;
    return LAMP_OK;
}

static int write_state(buffer *text, const trainer *tr) {
    loader_state at;
    loader_get_state(tr->loader, &at);
    json_writer w = {text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_integer(&w, "version", VERSION);
    json_put_integer(&w, "step", tr->step);
    json_put_integer(&w, "tokens", tr->tokens);
    json_put_number(&w, "seconds", tr->seconds);
    json_put_integer(&w, "optimizer_steps", tr->optimizer.steps);
    if (tr->optimizer.expert_steps) {
        json_begin_array(&w, "expert_steps");
        for (ptrdiff_t i = 0; i < tr->optimizer.n_experts; i++) json_put_integer(&w, NULL, tr->optimizer.expert_steps[i]);
        json_end_array(&w);
    }
    json_put_integer(&w, "bad_steps", tr->bad_steps);
    json_put_text(&w, "dataset", tr->data->hash);
    json_put_integer(&w, "sequence", at.sequence);
    json_begin_object(&w, "cursor");
    for (int i = 0; i < tr->data->n_domains; i++) json_put_integer(&w, tr->data->domain[i].summary.name, at.cursor[i]);
    json_end_object(&w);
    json_begin_array(&w, "losses");
    for (int64_t i = tr->n_losses < LOSS_WINDOW ? 0 : tr->n_losses - LOSS_WINDOW; i < tr->n_losses; i++)
        json_put_number(&w, NULL, tr->window[i % LOSS_WINDOW]);
    json_end_array(&w);
    if (recipe_treats(&tr->recipe)) put_guard(&w, tr);
    json_end_object(&w);
    return text->status;
}

static int read_expert_steps(optimizer *o, const json_t *root, const char *where) {
    json_t *list;
    TRY(json_get_array(&list, root, "expert_steps", where));
    if (json_array_size(list) != (size_t)o->n_experts)
        FAIL(LAMP_MALFORMED, "%s: \"expert_steps\": expected %td, found %zu", where, o->n_experts, json_array_size(list));
    for (ptrdiff_t i = 0; i < o->n_experts; i++) {
        const json_t *steps = json_array_get(list, (size_t)i);
        if (!json_is_integer(steps) || json_integer_value(steps) < 0 || json_integer_value(steps) > MOST)
            FAIL(LAMP_MALFORMED, "%s: \"expert_steps\"[%td]: expected a count of steps", where, i);
        o->expert_steps[i] = json_integer_value(steps);
    }
    return LAMP_OK;
}

static int read_state(trainer *tr, const json_t *root, const char *where) {
    loader_state at = {0};
    int64_t version, bad_steps;
    const char *dataset_hash;
    json_t *cursor, *losses;
    TRY(json_get_integer(&version, root, "version", 1, INT64_MAX, where));
    if (version > VERSION)
        FAIL(LAMP_UNSUPPORTED, "%s: \"version\": expected at most %d, found %lld: of a newer Lamplighter", where, VERSION, (long long)version);
    TRY(json_get_text(&dataset_hash, root, "dataset", where));
    if (strcmp(dataset_hash, tr->data->hash))
        FAIL(LAMP_CHECKPOINT, "%s: the run was trained on dataset %s, data.path holds %s; point data.path at the same dataset", where, dataset_hash,
             tr->data->hash);
    TRY(json_get_integer(&tr->step, root, "step", 0, MOST, where));
    TRY(json_get_integer(&tr->tokens, root, "tokens", 0, MOST, where));
    TRY(json_get_number(&tr->seconds, root, "seconds", where));
    if (tr->seconds < 0) FAIL(LAMP_MALFORMED, "%s: \"seconds\": expected 0 or more, found %g", where, tr->seconds);
    TRY(json_get_integer(&tr->optimizer.steps, root, "optimizer_steps", 0, MOST, where));
    TRY(json_get_integer(&bad_steps, root, "bad_steps", 0, 1000, where));
    tr->bad_steps = (int)bad_steps;
    TRY(json_get_integer(&at.sequence, root, "sequence", 0, MOST, where));
    TRY(json_get_object(&cursor, root, "cursor", where));
    for (int i = 0; i < tr->data->n_domains; i++) TRY(json_get_integer(&at.cursor[i], cursor, tr->data->domain[i].summary.name, 0, MOST, where));
    if (tr->optimizer.expert_steps) TRY(read_expert_steps(&tr->optimizer, root, where));
    TRY(json_get_array(&losses, root, "losses", where));
    if (json_array_size(losses) > LOSS_WINDOW)
        FAIL(LAMP_MALFORMED, "%s: \"losses\": expected at most %d, found %zu", where, LOSS_WINDOW, json_array_size(losses));
    tr->n_losses = (int64_t)json_array_size(losses);
    for (size_t i = 0; i < json_array_size(losses); i++) {
        if (!json_is_number(json_array_get(losses, i))) FAIL(LAMP_MALFORMED, "%s: \"losses\"[%zu]: expected a number", where, i);
        tr->window[i] = json_number_value(json_array_get(losses, i));
    }
    if (recipe_treats(&tr->recipe)) TRY(read_guard(tr, root, where));
    int status = loader_set_state(tr->loader, &at);
    return status < 0 ? error_add_context(status, "%s", where) : LAMP_OK;
}

int trainer_save(const trainer *tr, const char *run) {
    buffer text = {0};
    const optimizer *o = &tr->optimizer;
    int status = write_state(&text, tr);
    if (status >= 0) {
        checkpoint contents = {.config = &tr->model.config,
                               .weights = &tr->model.weights,
                               .tokenizer = tr->data->tokenizer,
                               .n_moments = o->n_moments,
                               .moments = o->moment,
                               .memory = &tr->memory,
                               .state = text.bytes};
        status = checkpoint_save(run, tr->step, &contents, (int)tr->recipe.keep_checkpoints);
    }
    buffer_release(&text);
    return status;
}

/* Weights, moments, and the document of the rest, which is the caller's. */
static int load_folder(json_t **root, char where[PATH_BYTES], trainer *tr, const char *checkpoint_folder) {
    int status = LAMP_OK;
    model_source *folder = NULL;
    buffer text = {0};
    *root = NULL;
    TRY_TO(done, checkpoint_verify(checkpoint_folder));
    TRY_TO(done, model_source_open(&folder, checkpoint_folder));
    TRY_TO(done, model_source_load(folder, &tr->model.weights, VALUES_COPIED));
    weights_pack(&tr->model.weights, tr->tape.products);
    TRY_TO(done, checkpoint_load_moments(checkpoint_folder, tr->optimizer.n_moments, tr->optimizer.moment));
    TRY_TO(done, checkpoint_load_state(&text, checkpoint_folder));
    TRY_TO(done, file_join(where, checkpoint_folder, "trainer.json"));
    TRY_TO(done, json_read_bytes(root, text.bytes, text.length, where));
done:
    buffer_release(&text);
    model_source_close(folder);
    return status;
}

int trainer_resume(trainer *tr, const char *checkpoint_folder) {
    json_t *root;
    char where[PATH_BYTES];
    int status = load_folder(&root, where, tr, checkpoint_folder);
    if (status >= 0) status = read_state(tr, root, where);
    json_decref(root);
    return status < 0 ? status : checkpoint_load_memory(checkpoint_folder, &tr->memory);
}

int trainer_rewind(trainer *tr, const char *checkpoint_folder, int64_t *from) {
    json_t *root;
    char where[PATH_BYTES];
    int status = load_folder(&root, where, tr, checkpoint_folder);
    if (status >= 0) status = json_get_integer(from, root, "step", 0, MOST, where);
    if (status >= 0 && tr->optimizer.expert_steps) status = read_expert_steps(&tr->optimizer, root, where);
    json_decref(root);
    state_clear(&tr->memory); /* what other weights have read is not theirs */
    return status;
}

static int check_same_model(const trainer *tr, const model_config *c, const char *folder) {
    recipe same = tr->recipe;
    buffer differences = {0};
    int status = LAMP_OK;
    recipe_take_model(&same, c);
    if (options_difference(&recipe_options, &tr->recipe, &same, &differences))
        status = error_set(LAMP_INVALID, "train.initial: %s is another model than the recipe's; set these keys as it has them:\n%s", folder,
                           differences.bytes);
    buffer_release(&differences);
    return status;
}

static int check_same_tokenizer(const trainer *tr, const char *folder) {
    char path[PATH_BYTES];
    TRY(file_join(path, folder, "tokenizer.json"));
    if (!file_exists(path)) FAIL(LAMP_INVALID, "train.initial: %s: expected the dataset's tokenizer, found none", path);
    int status = dataset_check_tokenizer(tr->data, path);
    return status < 0 ? error_add_context(status, "train.initial") : LAMP_OK;
}

int trainer_take_initial(trainer *tr) {
    int status = LAMP_OK;
    model_source *folder = NULL;
    char path[PATH_BYTES];
    TRY_TO(done, checkpoint_resolve(path, tr->recipe.initial));
    if (!file_is_folder(path)) FAIL_TO(done, LAMP_INVALID, "train.initial: %s: expected a folder, found a file; lamp convert makes one of a GGUF file", path);
    TRY_TO(done, checkpoint_verify(path));
    TRY_TO(done, model_source_open(&folder, path));
    TRY_TO(done, check_same_model(tr, model_source_config(folder), path));
    TRY_TO(done, check_same_tokenizer(tr, path));
    TRY_TO(done, model_source_load(folder, &tr->model.weights, VALUES_COPIED));
    weights_pack(&tr->model.weights, tr->tape.products);
done:
    model_source_close(folder);
    return status;
}
