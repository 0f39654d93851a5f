#include "cli/inspect_experts.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/human.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/colour_text.h"
#include "cli/find_data.h"
#include "cli/json_profiles.h"
#include "cli/print_profiles.h"
#include "cli/print_scores.h"
#include "health/telemetry.h"

static int choose_layer(int *chosen, const model_config *c, int64_t layer) {
    if (c->moe.experts == 1) FAIL(LAMP_INVALID, "this model is dense: it has no experts to look at");
    if (layer < 0)
        for (layer = c->num_hidden_layers / 2; !model_layer_is_sparse(c, layer);) layer = (layer + 1) % c->num_hidden_layers;
    if (layer >= c->num_hidden_layers) FAIL(LAMP_INVALID, "--layer: expected 0 to %lld, found %lld", (long long)c->num_hidden_layers - 1, (long long)layer);
    if (!model_layer_is_sparse(c, layer)) FAIL(LAMP_INVALID, "--layer: expected a layer with experts, found the dense layer %lld", (long long)layer);
    *chosen = (int)layer;
    return LAMP_OK;
}

static int ablate(ablation *without, evaluation *e, tape *t, model *m, int layer, const dataset *data, int64_t tokens) {
    char took[HUMAN_BYTES];
    double began = clock_seconds();
    TRY(ablation_measure(without, e, t, m, layer, data, tokens));
    log_info("ablation: %d experts in %s", without->experts, human_duration(took, clock_seconds() - began));
    return LAMP_OK;
}

static int inspect_data(json_writer *w, loaded_model *m, evaluation *e, tape *t, int layer, const inspect_wishes *wishes) {
    dataset *data = NULL;
    routed_text r = {0};
    profiles p = {0};
    ablation without = {0};
    int status;
    TRY_TO(done, open_data_for(&data, wishes->data, m));
    TRY_TO(done, routed_text_of_dataset(&r, e, t, &m->model, layer, data, wishes->tokens));
    TRY_TO(done, profiles_open(&p, &r, m->tokenizer));
    if (wishes->ablate) TRY_TO(done, ablate(&without, e, t, &m->model, layer, data, wishes->tokens));
    if (w) {
        json_put_routing(w, &e->trace, true);
        TRY_TO(done, json_put_profiles(w, &p, wishes->ablate ? &without : NULL));
    } else if (wishes->table) {
        TRY_TO(done, append_profiles_table(wishes->table, &p));
    } else {
        putchar('\n');
        print_routing(&e->trace);
        putchar('\n');
        TRY_TO(done, print_profiles(&p, wishes->ablate ? &without : NULL, wishes->all));
    }
done:
    ablation_release(&without);
    profiles_close(&p);
    routed_text_release(&r);
    dataset_free(data);
    return status;
}

/* The ids of a file, and one more, so that every token of the text is one that predicts: only those are routed. */
static int read_text(token_list *ids, const tokenizer *words, const char *path) {
    enum { MOST_BYTES = 1 << 20 };
    buffer text = {0};
    encoder *encode = NULL;
    int status;
    TRY_TO(done, cli_read_at_most(&text, path, MOST_BYTES));
    if (text.length == 0) FAIL_TO(done, LAMP_INVALID, "%s: expected text, found nothing", strcmp(path, "-") ? path : "standard input");
    TRY_TO(done, encoder_new(&encode, words));
    TRY_TO(done, encoder_encode_as(encode, ids, text.bytes, text.length, ENCODE_BEGIN));
    TRY_TO(done, token_list_append(ids, 0));
done:
    encoder_free(encode);
    buffer_release(&text);
    return status;
}

static int inspect_text(json_writer *w, const loaded_model *m, evaluation *e, tape *t, int layer, const inspect_wishes *wishes) {
    token_list ids = {0};
    routed_text r = {0};
    buffer out = {0};
    int status;
    TRY_TO(done, read_text(&ids, m->tokenizer, wishes->text));
    TRY_TO(done, routed_text_of_ids(&r, e, t, &m->model, layer, m->tokenizer, ids.id, (int64_t)ids.length));
    if (w) json_put_routed_text(w, &r, m->tokenizer);
    if (wishes->html) {
        append_coloured_page(&out, &r, m->tokenizer, strcmp(wishes->text, "-") ? file_name(wishes->text) : "standard input");
        TRY_TO(done, out.status);
        TRY_TO(done, file_write_whole(wishes->html, out.bytes, out.length));
        log_info("%s: %td tokens, layer %d", wishes->html, r.tokens, layer);
    } else if (!w) {
        append_coloured_text(&out, &r, m->tokenizer, cli_is_terminal(stdout) && !getenv("NO_COLOR"));
        status = out.status < 0 ? out.status : cli_write(out.bytes, out.length);
    }
done:
    buffer_release(&out);
    routed_text_release(&r);
    token_list_release(&ids);
    return status;
}

int inspect_experts(json_writer *w, loaded_model *m, const inspect_wishes *wishes) {
    enum { SEQUENCES = 8, LONGEST = 1024 };
    const model_config *c = &m->model.config;
    const struct kernels *k;
    tape t = {0};
    evaluation e = {0};
    int status, layer = 0;
    TRY(choose_layer(&layer, c, wishes->layer));
    TRY(loaded_model_need_tokenizer(m));
    TRY_TO(done, kernels_choose(&k));
    TRY_TO(done, tape_open(&t, k));
    t.products = &k->products_int8;
    TRY_TO(done, evaluation_open(&e, &m->model, SEQUENCES, c->max_position_embeddings < LONGEST ? (int)c->max_position_embeddings : LONGEST));
    if (wishes->experts) TRY_TO(done, inspect_data(w, m, &e, &t, layer, wishes));
    if (wishes->experts && wishes->text && !wishes->html && !w) putchar('\n');
    if (wishes->text) TRY_TO(done, inspect_text(w, m, &e, &t, layer, wishes));
done:
    evaluation_close(&e);
    if (t.k) tape_close(&t);
    return status;
}
