/* lamp eval MODEL [--data DATASET|FILE]: loss, perplexity and bits per byte per domain, and what the routers did; with --flips, how many
 * assignments a router in bf16 would change. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/find_data.h"
#include "cli/print_scores.h"
#include "health/telemetry.h"
#include "infer/loaded_model.h"
#include "train/flips.h"
#include "train/run_folder.h"

static int evaluate_file(evaluation *e, tape *t, const loaded_model *m, const char *path) {
    mapped_file map = {0};
    encoder *words = NULL;
    token_list ids = {0};
    int status;
    TRY_TO(done, file_map(&map, path));
    TRY_TO(done, encoder_new(&words, m->tokenizer));
    TRY_TO(done, encoder_encode_as(words, &ids, (const char *)map.bytes, map.length, ENCODE_BEGIN));
    if (ids.length < 2) FAIL_TO(done, LAMP_INVALID, "%s: expected at least two tokens of text, found %zu", path, ids.length);
    TRY_TO(done, evaluate_tokens(e, t, &m->model, m->tokenizer, file_name(path), ids.id, (int64_t)ids.length));
done:
    token_list_release(&ids);
    encoder_free(words);
    file_unmap(&map);
    return status;
}

/* flips (layers) or NULL */
static int report(const evaluation *e, const double *flips, double seconds, bool json) {
    if (!json) {
        print_scores(e);
        if (e->trace.load) putchar('\n'), print_routing(&e->trace);
        for (int l = 0; flips && l < e->trace.layers; l++)
            printf("%slayer %d: %.3f %% of assignments change when the router's products are bf16\n", l ? "" : "\n", l, 100 * flips[l]);
        return LAMP_OK;
    }
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_scores(&w, e);
    json_put_number(&w, "tokens_per_second", (double)e->total.tokens / seconds);
    json_put_routing(&w, &e->trace, true);
    if (flips) {
        json_begin_array(&w, "flips");
        for (int l = 0; l < e->trace.layers; l++) json_put_number(&w, NULL, flips[l]);
        json_end_array(&w);
    }
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

int verb_eval(int argc, char **argv) {
    enum { SEQUENCES = 8, LONGEST = 1024 };
    cli_list arguments;
    bool json, count_flips = false, exact = false;
    double *flips = NULL; /* (layers) */
    const char *data_name = NULL;
    int64_t tokens = 65536;
    char found[PATH_BYTES];
    loaded_model m = {0};
    tape t = {0};
    evaluation e = {0};
    dataset *data = NULL;
    const struct kernels *k;
    const cli_option rows[] = {
        {"data", "DATASET|FILE", "what to predict (default: the dataset the run was trained on)", CLI_PATH, &data_name, 0, 0},
        {"tokens", "N", "of each domain's validation text, at most (65536)", CLI_INTEGER, &tokens, 1, 1e15},
        {"flips", NULL, "also count the assignments that change when the router's products are bf16", CLI_FLAG, &count_flips, 0, 0},
        {"exact", NULL, "do not round rows to eight bits before they meet weights in q8_0, q4_0 or mxfp4: slower", CLI_FLAG, &exact, 0, 0},
    };
    int status = cli_parse(&arguments, &json, &(cli_command){"eval", NULL, rows, 4, 1, 1}, argc, argv);
    TRY_TO(done, status);
    TRY_TO(done, loaded_model_open(&m, arguments.item[0], VALUES_STORED));
    TRY_TO(done, loaded_model_need_tokenizer(&m));
    if (!data_name) {
        TRY_TO(done, find_data_of_run(found, arguments.item[0]));
        data_name = found;
    }
    int T = m.model.config.max_position_embeddings < LONGEST ? (int)m.model.config.max_position_embeddings : LONGEST;
    TRY_TO(done, kernels_choose(&k));
    TRY_TO(done, tape_open(&t, k));
    if (!exact) t.products = &k->products_int8;
    TRY_TO(done, evaluation_open(&e, &m.model, SEQUENCES, T));
    if (count_flips && !(e.trace.load && file_is_folder(data_name)))
        FAIL_TO(done, LAMP_INVALID, "lamp eval: --flips needs a model with experts and a dataset");
    if (count_flips) TRY_TO(done, memory_new(&flips, (size_t)e.trace.layers, sizeof *flips, "flips of each layer"));
    double begin = clock_seconds();
    if (file_is_folder(data_name)) {
        TRY_TO(done, open_data_for(&data, data_name, &m));
        if (flips) TRY_TO(done, flips_measure(flips, &e, &t, &m.model, data, tokens));
        else TRY_TO(done, evaluate_dataset(&e, &t, &m.model, data, tokens));
    } else {
        TRY_TO(done, evaluate_file(&e, &t, &m, data_name));
    }
    if (!isfinite(e.total.nats)) TRY_TO(done, model_source_check_finite(m.source, &m.model.weights));
    TRY_TO(done, report(&e, flips, clock_seconds() - begin, json));
done:
    memory_free(flips);
    dataset_free(data);
    evaluation_close(&e);
    if (t.k) tape_close(&t);
    loaded_model_close(&m);
    return status;
}
