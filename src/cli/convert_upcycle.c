#include "cli/convert_upcycle.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/human.h"
#include "base/log.h"
#include "cli/cli.h"
#include "formats/checkpoint_files.h"
#include "formats/manifest.h"
#include "infer/comparison.h"
#include "infer/loaded_model.h"
#include "models/upcycle.h"

enum { RECEIPT_TOKENS = 256 };

static const double TOLERANCE = 1e-4; /* of the largest logit: rounding of sums in another order stays far below */

/* Prose, code and numbers, about half as many tokens again as are used. */
static const char BUILT_IN_TEXT[] =
    "The lamplighter came at dusk, as he had come every evening for thirty years, with his ladder on one shoulder and the long pole on the "
    "other. \"You never light them all,\" said the child at the window. \"No,\" he said, \"only those that somebody will walk under; the rest "
    "of the street may sleep.\" Behind the bridge the river was already black, and the houses on its far bank had turned into one long wall "
    "with seven yellow windows in it.\n\n"
    "In 1843 the town had 212 lamps, each burning 0.14 litres of oil an hour; by 1901 there were 1,968, and the oil had become gas.\n\n"
    "for (int i = 0; i < n; i++) {\n    if (lamp[i].needed) light(&lamp[i]); /* the others stay dark */\n}\n\n"
    "Whoever wants to know what this costs must count twice: once the lamps that hang there, and once those that burn. The first number is "
    "paid in iron and glass, the second every night anew. La nuit, toutes les rues se ressemblent, and so do all mornings.\n";

typedef struct {
    char dense_family[OPTION_TEXT_BYTES];
    model_config config;
    model_costs before, after;
    comparison comparison;
    const char *tokens_of; /* what text, or none */
} receipt;

/* What the models are compared on: text if there is a tokenizer, else any tokens. */
static int choose_tokens(token_list *ids, const loaded_model *m, const upcycle_request *q) {
    int64_t V = m->model.config.vocab_size;
    encoder *e = NULL;
    buffer text = {0};
    int status = LAMP_OK;
    if (q->text) TRY(loaded_model_need_tokenizer(m));
    if (!m->tokenizer) {
        random_key key = random_key_make(q->how.seed, RANDOM_SAMPLE, 0, 0);
        for (int i = 0; i < RECEIPT_TOKENS; i++) TRY(token_list_append(ids, (int32_t)random_below(key, (uint64_t)i, (uint64_t)V)));
        return LAMP_OK;
    }
    TRY_TO(done, encoder_new(&e, m->tokenizer));
    TRY_TO(done, q->text ? cli_read_all(&text, q->text) : buffer_append_text(&text, BUILT_IN_TEXT));
    TRY_TO(done, encoder_encode(e, ids, text.bytes, text.length));
    if (ids->length < 2) FAIL_TO(done, LAMP_INVALID, "%s: expected text of at least 2 tokens, found %zu", q->text, ids->length);
    if (ids->length > RECEIPT_TOKENS) ids->length = RECEIPT_TOKENS;
done:
    encoder_free(e);
    buffer_release(&text);
    return status;
}

static int check_receipt(const receipt *r, const upcycle_request *q) {
    const comparison *c = &r->comparison;
    if (!isfinite(c->largest) || !isfinite(c->difference))
        FAIL(LAMP_FAILURE, "%s: expected finite logits, found some that are not, before or after: nothing was made", q->dense);
    if (q->how.noise == 0 && c->difference > TOLERANCE * c->largest)
        FAIL(LAMP_FAILURE,
             "%s: expected a mixture of the same function, found logits up to %.3g that differ by %.1e, more than rounding explains (%.0e of the "
             "largest): nothing was made. This is a fault of ours; please report it",
             q->dense, c->largest, c->difference, TOLERANCE);
    return LAMP_OK;
}

static int write_mixture(receipt *r, const char *folder, const loaded_model *dense, const upcycle_request *q) {
    upcycled_model mixture = {0};
    int status = LAMP_OK;
    TRY_TO(done, upcycled_model_open(&mixture, &dense->model, &r->config, &q->how));
    checkpoint contents = {.config = &r->config, .weights = &mixture.model.weights, .tokenizer_from = dense->path, .interruptible = "writing"};
    TRY_TO(done, file_remove_folder(folder));
    TRY_TO(done, file_make_folder(folder));
    TRY_TO(done, checkpoint_write_files(folder, 0, &contents));
    TRY_TO(done, manifest_check(folder, true));
done:
    upcycled_model_close(&mixture);
    return status;
}

static int prove(receipt *r, const char *folder, const loaded_model *dense, const upcycle_request *q) {
    loaded_model mixture = {0};
    token_list ids = {0};
    int status = LAMP_OK;
    log_progress("comparing");
    TRY_TO(done, choose_tokens(&ids, dense, q));
    TRY_TO(done, loaded_model_open(&mixture, folder, VALUES_STORED));
    TRY_TO(done, compare_models(&r->comparison, &dense->model, &mixture.model, ids.id, (ptrdiff_t)ids.length, NULL));
    int64_t context = r->config.max_position_embeddings;
    r->before = model_count(&dense->model, context), r->after = model_count(&mixture.model, context);
    r->tokens_of = !dense->tokenizer ? "random ids" : q->text ? q->text : "the built-in text";
    status = check_receipt(r, q);
done:
    token_list_release(&ids);
    loaded_model_close(&mixture);
    return status;
}

static void put_json(buffer *text, const receipt *r, const upcycle_request *q) {
    json_writer w = {text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "lamplighter", lamp_version());
    json_put_text(&w, "conversion", "upcycle");
    json_put_text(&w, "model", q->dense);
    json_put_text(&w, "out", q->out);
    json_put_text(&w, "dense_family", r->dense_family);
    json_put_text(&w, "family", r->config.family);
    json_put_integer(&w, "experts", r->config.moe.experts);
    json_put_integer(&w, "top_k", r->config.moe.top_k);
    json_put_integer(&w, "split", q->how.slices);
    json_put_integer(&w, "intermediate_size", r->config.intermediate_size);
    json_put_number(&w, "noise", q->how.noise);
    json_put_integer(&w, "seed", (int64_t)q->how.seed);
    json_put_integer(&w, "dense_parameters", r->before.parameters);
    json_put_integer(&w, "parameters", r->after.parameters);
    json_put_integer(&w, "active_parameters", r->after.active_parameters);
    json_put_integer(&w, "tokens", r->comparison.tokens);
    json_put_text(&w, "tokens_of", r->tokens_of);
    json_put_number(&w, "largest_difference", r->comparison.difference);
    json_put_number(&w, "largest_logit", r->comparison.largest);
    json_put_number(&w, "relative_difference", r->comparison.difference / r->comparison.largest);
    json_put_number(&w, "dense_loss", r->comparison.loss_a);
    json_put_number(&w, "loss", r->comparison.loss_b);
    json_end_object(&w);
    buffer_append_byte(text, '\n');
}

static void print_receipt(const receipt *r, const upcycle_request *q) {
    char before[HUMAN_BYTES], after[HUMAN_BYTES], active[HUMAN_BYTES];
    const comparison *c = &r->comparison;
    printf("%s, %s parameters -> %s, %s parameters, of which one token meets %s\n", r->dense_family,
           human_count(before, (double)r->before.parameters), r->config.family, human_count(after, (double)r->after.parameters),
           human_count(active, (double)r->after.active_parameters));
    printf("%lld experts of inner width %lld, each token takes %lld; ", (long long)r->config.moe.experts, (long long)r->config.intermediate_size,
           (long long)r->config.moe.top_k);
    if (q->how.slices > 1) printf("%lld copies of %lld slices\n", (long long)(q->how.experts / q->how.slices), (long long)q->how.slices);
    else printf("all copies\n");
    if (q->how.noise > 0) printf("noise %g changes the function: largest difference", q->how.noise);
    else printf("step 0 computes the same function: largest difference");
    printf(" %.1e of logits up to %.3g (%.1e), on %td tokens of %s\n", c->difference, c->largest, c->difference / c->largest, c->tokens,
           r->tokens_of);
    printf("loss per token %.4f before, %.4f after\n", c->loss_a, c->loss_b);
    printf("to go on: lamp train DATASET --set train.initial=%s\n", q->out);
}

int convert_upcycle(const upcycle_request *q, bool json) {
    char out[PATH_BYTES], partial[PATH_BYTES], path[PATH_BYTES];
    loaded_model dense = {0};
    receipt r = {0};
    buffer text = {0};
    TRY(file_name_partial(out, partial, q->out));
    if (file_exists(out)) FAIL(LAMP_INVALID, "%s is already there; give another name", out);
    int status;
    TRY_TO(done, loaded_model_open(&dense, q->dense, VALUES_REAL));
    TRY_TO(done, checkpoint_verify(dense.path));
    TRY_TO(done, model_source_check_finite(dense.source, &dense.model.weights));
    strcpy(r.dense_family, dense.model.config.family);
    if ((status = upcycle_config(&r.config, &dense.model.config, q->family, &q->how)) < 0) {
        error_add_context(status, "%s", q->dense);
        goto done;
    }
    if (q->how.top_k == 1)
        log_warning("top-k 1: a single weight normalised to one teaches its router nothing, only the balance loss does; take --top-k 2, or --split");
    status = write_mixture(&r, partial, &dense, q);
    if (status >= 0) status = prove(&r, partial, &dense, q);
    if (status >= 0) put_json(&text, &r, q), status = text.status;
    if (status >= 0) status = file_join(path, partial, "receipt.json");
    if (status >= 0) status = file_write_whole(path, text.bytes, text.length);
    if (status >= 0) status = file_rename(partial, out);
    if (status < 0) file_remove_folder(partial);
done:
    loaded_model_close(&dense);
    if (status >= 0 && json) return cli_write_buffer(&text);
    if (status >= 0) print_receipt(&r, q);
    buffer_release(&text);
    return status;
}
