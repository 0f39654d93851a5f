/* lamp quantize MODEL OUT.gguf: matrices in fewer bits, with a receipt: what each part lost, what the logits of a text say of it, and which
 * experts lose most where it counts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/find_data.h"
#include "cli/print_conversion.h"
#include "formats/gguf.h"
#include "formats/quantise.h"
#include "infer/comparison.h"
#include "infer/loaded_model.h"

enum { EXPERTS_LISTED = 10 };

/* An expert of a layer, its gate, up and down together. */
typedef struct {
    int layer, expert;
    saved_loss loss;
    double relative;
    double share;    /* of its layer's pairs, over an even share; 1 where no text was run */
    double weighted; /* relative times share */
} expert_loss;

typedef struct {
    const char *data;
    int64_t tokens; /* of it, at most; of each domain */
    loaded_model before;
    token_list ids;
    comparison comparison;
    moe_trace trace; /* of the model before */
    expert_loss *experts;
    int n_experts;
} receipt;

/* ---- experts -------------------------------------------------------------------------------------------------------------------- */

static int compare_weighted(const void *a, const void *b) {
    const expert_loss *x = a, *y = b;
    if (x->weighted != y->weighted) return x->weighted > y->weighted ? -1 : 1;
    return x->layer != y->layer ? x->layer - y->layer : x->expert - y->expert;
}

static double share_of(const moe_trace *t, int layer, int expert) {
    if (!t->load || t->pairs[layer] == 0) return 1;
    return (double)t->load[(ptrdiff_t)layer * t->experts + expert] * t->experts / (double)t->pairs[layer];
}

static int rank_experts(receipt *r, const conversion *c) {
    const int E = (int)c->model.config.moe.experts, L = (int)c->model.config.num_hidden_layers;
    const saved_loss *loss = c->loss;
    if (E < 2) return LAMP_OK;
    TRY(memory_new(&r->experts, (size_t)(E * L), sizeof *r->experts, "what experts lose"));
    for (int i = 0; i < c->model.weights.n; i++) {
        const weight *w = c->model.weights.row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++, loss++) {
            if (w->role != ROLE_EXPERT) continue;
            expert_loss *e = &r->experts[w->layer * E + g];
            e->layer = w->layer, e->expert = (int)g;
            e->loss.size += loss->size, e->loss.difference += loss->difference;
        }
    }
    for (int i = 0; i < E * L; i++) {
        expert_loss *e = &r->experts[i];
        if (e->loss.size == 0) continue;
        e->relative = saved_loss_relative(&e->loss), e->share = share_of(&r->trace, e->layer, e->expert);
        e->weighted = e->relative * e->share;
        r->experts[r->n_experts++] = *e;
    }
    if (r->n_experts > 0) qsort(r->experts, (size_t)r->n_experts, sizeof *r->experts, compare_weighted);
    return LAMP_OK;
}

/* ---- a text --------------------------------------------------------------------------------------------------------------------- */

static int append_domain(token_list *ids, const shard *validation, int64_t most) {
    const int64_t n = validation->n < most ? validation->n : most;
    TRY(memory_reserve(&ids->id, &ids->capacity, ids->length + (size_t)n, sizeof *ids->id, "token ids"));
    TRY(shard_read(ids->id + ids->length, validation, 0, n));
    ids->length += (size_t)n;
    return LAMP_OK;
}

static int read_dataset(receipt *r, const loaded_model *m) {
    dataset *data = NULL;
    int status = open_data_for(&data, r->data, m);
    for (int i = 0; status >= 0 && i < data->n_domains; i++) status = append_domain(&r->ids, &data->domain[i].validation, r->tokens);
    dataset_free(data);
    return status;
}

static int read_text(receipt *r, const loaded_model *m) {
    buffer text = {0};
    encoder *e = NULL;
    int status = LAMP_OK;
    TRY_TO(done, loaded_model_need_tokenizer(m));
    TRY_TO(done, cli_read_all(&text, r->data));
    TRY_TO(done, encoder_new(&e, m->tokenizer));
    TRY_TO(done, encoder_encode(e, &r->ids, text.bytes, text.length));
    if (r->ids.length > (size_t)r->tokens) r->ids.length = (size_t)r->tokens;
done:
    encoder_free(e);
    buffer_release(&text);
    return status;
}

static int read_ids(receipt *r, const loaded_model *m) {
    TRY(file_is_folder(r->data) ? read_dataset(r, m) : read_text(r, m));
    if (r->ids.length < 2) FAIL(LAMP_INVALID, "%s: expected text of at least 2 tokens, found %zu", r->data, r->ids.length);
    return LAMP_OK;
}

/* Before anything is written: data that cannot be used is no reason to wait. */
static int prepare(receipt *r, const conversion_request *q) {
    if (!r->data) return LAMP_OK;
    TRY(loaded_model_open(&r->before, q->from, VALUES_STORED));
    return read_ids(r, &r->before);
}

static int compare(receipt *r, const conversion_request *q) {
    loaded_model after = {0};
    int status = LAMP_OK;
    if (!r->data) return LAMP_OK;
    log_progress("comparing");
    TRY_TO(done, loaded_model_open(&after, q->to, VALUES_STORED));
    TRY_TO(done, model_trace_open(&r->trace, &r->before.model));
    status = compare_models(&r->comparison, &r->before.model, &after.model, r->ids.id, (ptrdiff_t)r->ids.length, r->trace.load ? &r->trace : NULL);
done:
    loaded_model_close(&after);
    return status;
}

/* ---- what is said --------------------------------------------------------------------------------------------------------------- */

static void print_receipt(const receipt *r) {
    const comparison *c = &r->comparison;
    if (r->n_experts > 0 && r->experts->weighted > 0) {
        printf("experts that lose most%s\n  layer  expert     off by%s\n", r->data ? ", by how often they are chosen" : "",
               r->data ? "   share   weighted" : "");
        for (int i = 0; i < r->n_experts && i < EXPERTS_LISTED; i++) {
            const expert_loss *e = &r->experts[i];
            printf("%7d %7d %8.3g %%", e->layer, e->expert, 100 * e->relative);
            if (r->data) printf(" %7.2f %8.3g %%", e->share, 100 * e->weighted);
            putchar('\n');
        }
    }
    if (!r->data) return;
    printf("on %td tokens of %s\n", c->tokens, r->data);
    printf("loss per token   %.5f before, %.5f after; perplexity %.4f, %.4f\n", c->loss_a, c->loss_b, exp(c->loss_a), exp(c->loss_b));
    printf("logits           off by %.3g %%, by %.3g at most; divergence %.3g nats; the same most probable token %.2f %% of the time\n",
           100 * c->error, c->difference, c->divergence, 100 * c->agreement);
}

static void put_receipt(json_writer *w, const receipt *r) {
    const comparison *c = &r->comparison;
    json_begin_array(w, "experts");
    for (int i = 0; i < r->n_experts; i++) {
        json_begin_object(w, NULL);
        json_put_integer(w, "layer", r->experts[i].layer);
        json_put_integer(w, "expert", r->experts[i].expert);
        json_put_rounded(w, "relative_error", r->experts[i].relative);
        if (r->data) json_put_rounded(w, "share", r->experts[i].share);
        json_put_rounded(w, "weighted_error", r->experts[i].weighted);
        json_end_object(w);
    }
    json_end_array(w);
    if (!r->data) return;
    json_put_text(w, "data", r->data);
    json_put_integer(w, "tokens", c->tokens);
    json_put_number(w, "loss_before", c->loss_a);
    json_put_number(w, "loss", c->loss_b);
    json_put_number(w, "perplexity_before", exp(c->loss_a));
    json_put_number(w, "perplexity", exp(c->loss_b));
    json_put_rounded(w, "logits_error", c->error);
    json_put_rounded(w, "largest_difference", c->difference);
    json_put_rounded(w, "divergence", c->divergence);
    json_put_rounded(w, "agreement", c->agreement);
}

static int say(const receipt *r, const conversion *c, const conversion_request *q, bool json) {
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    if (!json) return print_conversion(c, q->to), print_receipt(r), LAMP_OK;
    json_begin_object(&w, NULL);
    put_conversion(&w, c, q);
    put_receipt(&w, r);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static int quantize(const conversion_request *q, const char *data, int64_t tokens, bool json) {
    conversion c = {0};
    receipt r = {.data = data, .tokens = tokens};
    int status = LAMP_OK;
    TRY_TO(done, prepare(&r, q));
    TRY_TO(done, conversion_run(&c, q));
    TRY_TO(done, compare(&r, q));
    TRY_TO(done, rank_experts(&r, &c));
    status = say(&r, &c, q, json);
done:
    memory_free(r.experts);
    moe_trace_close(&r.trace);
    token_list_release(&r.ids);
    loaded_model_close(&r.before);
    conversion_close(&c);
    return status;
}

/* Of a part that has none of its own: the type of all. */
static int read_type(stored_type *type, const char *called, const char *name, const char *otherwise) {
    if (!name) name = otherwise;
    if ((*type = quantise_type_named(name)) == STORED_TYPES)
        FAIL(LAMP_INVALID, "lamp quantize: --%s: expected f32, f16, bf16, q8_0, q4_0 or mxfp4, found \"%.40s\"", called, name);
    return LAMP_OK;
}

int verb_quantize(int argc, char **argv) {
    cli_list arguments;
    bool json;
    const char *all = NULL, *data = NULL, *part[SAVED_PARTS] = {0};
    int64_t tokens = 16384;
    const cli_option rows[] = {
        {"type", "TYPE", "of all matrices: q8_0, q4_0, mxfp4, bf16, f16 or f32", CLI_TEXT, &all, 0, 0},
        {"experts", "TYPE", "of the experts that the router chooses from", CLI_TEXT, &part[SAVED_EXPERTS], 0, 0},
        {"shared", "TYPE", "of what every token goes through: attention, dense layers, shared experts", CLI_TEXT, &part[SAVED_SHARED], 0, 0},
        {"head", "TYPE", "of the output", CLI_TEXT, &part[SAVED_HEAD], 0, 0},
        {"embeddings", "TYPE", "of the rows that tokens become", CLI_TEXT, &part[SAVED_EMBEDDING], 0, 0},
        {"data", "DATASET|FILE", "run both models on its text: loss, logits, and which experts lose most by how often they are chosen", CLI_PATH,
         &data, 0, 0},
        {"tokens", "N", "of the file, or of each domain's validation text, at most (16384)", CLI_INTEGER, &tokens, 2, 1e9},
    };
    static const char *const options[SAVED_PARTS] = {
        [SAVED_EXPERTS] = "experts", [SAVED_SHARED] = "shared", [SAVED_HEAD] = "head", [SAVED_EMBEDDING] = "embeddings"};
    const char *details =
        "MODEL is a model folder, a run, or a GGUF file; OUT.gguf, a new file, has its name only when it is complete. q8_0, q4_0 and mxfp4 are\n"
        "blocks of 32 neighbours with a scale each, in 34, 18 and 17 bytes; a matrix whose rows are no multiple of 32 becomes f16. Routers, norms "
        "and\n"
        "biases stay f32. \"off by\" is the root of the squares of what changed over those of what there was. docs/quantisation.md has "
        "measurements.\n";
    TRY(cli_parse(&arguments, &json, &(cli_command){"quantize", details, rows, sizeof rows / sizeof *rows, 2, 2}, argc, argv));
    conversion_request q = {.from = arguments.item[0], .to = arguments.item[1]};
    if (!all) FAIL(LAMP_INVALID, "lamp quantize: --type TYPE is needed, such as q8_0");
    if (!gguf_is_named(q.to)) FAIL(LAMP_INVALID, "lamp quantize: expected a new file whose name ends in .gguf, found %s", q.to);
    for (int p = 0; p < SAVED_PARTS; p++) TRY(read_type(&q.type[p], part[p] ? options[p] : "type", part[p], all));
    return quantize(&q, data, tokens, json);
}
