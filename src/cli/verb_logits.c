/* lamp logits MODEL --ids FILE --out FILE: (T, V) f32 logits of every position, as the tensor "logits" of a safetensors file. */
#include "base/error.h"
#include "base/interrupt.h"
#include "cli/cli.h"
#include "cli/read_ids.h"
#include "formats/safetensors_writer.h"
#include "infer/loaded_model.h"

static int write_logits(const char *path, const tensor *logits) {
    safetensors_writer *writer = NULL;
    int64_t shape[] = {logits->rows, logits->cols}, bytes;
    hash128 hash;
    int status;
    TRY_TO(done, safetensors_writer_new(&writer, path));
    TRY_TO(done, safetensors_writer_declare(writer, "logits", 2, shape));
    TRY_TO(done, safetensors_writer_write(writer, logits->x, logits->rows * logits->cols));
    TRY_TO(done, safetensors_writer_finish(writer, &hash, &bytes));
done:
    safetensors_writer_free(writer);
    return status;
}

static int check_ids(const token_list *ids, const loaded_model *m, const char *path) {
    int64_t V = m->model.config.vocab_size, context = m->model.config.max_position_embeddings;
    if (ids->length == 0) FAIL(LAMP_MALFORMED, "%s: expected token ids, found none", path);
    if ((int64_t)ids->length > context) FAIL(LAMP_INVALID, "%s: %zu ids, but the model's context holds %lld", path, ids->length, (long long)context);
    for (size_t i = 0; i < ids->length; i++)
        if (ids->id[i] >= V) FAIL(LAMP_MALFORMED, "%s: id %zu: expected 0 to %lld, found %d", path, i + 1, (long long)V - 1, ids->id[i]);
    return LAMP_OK;
}

static int put_json(const tensor *logits, const char *out) {
    buffer text = {0};
    json_writer w = {.out = &text};
    json_begin_object(&w, NULL);
    json_put_text(&w, "out", out);
    json_put_integer(&w, "tokens", logits->rows);
    json_put_integer(&w, "vocabulary", logits->cols);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

int verb_logits(int argc, char **argv) {
    cli_list arguments;
    bool json, exact = false;
    const char *ids_path = NULL, *out = NULL;
    const struct kernels *k;
    loaded_model m = {0};
    token_list ids = {0};
    tape t = {0};
    const cli_option rows[] = {
        {"ids", "FILE", "token ids, one a line; - for standard input", CLI_PATH, &ids_path, 0, 0},
        {"out", "FILE", "the safetensors file to write", CLI_PATH, &out, 0, 0},
        {"exact", NULL, "do not round rows to eight bits before they meet weights in q8_0, q4_0 or mxfp4: slower", CLI_FLAG, &exact, 0, 0},
    };
    int status = cli_parse(&arguments, &json, &(cli_command){"logits", NULL, rows, 3, 1, 1}, argc, argv);
    TRY_TO(done, status);
    if (!ids_path || !out) FAIL_TO(done, LAMP_INVALID, "lamp logits: --ids FILE and --out FILE are needed");
    TRY_TO(done, loaded_model_open(&m, arguments.item[0], VALUES_STORED));
    TRY_TO(done, read_ids(&ids, ids_path));
    TRY_TO(done, check_ids(&ids, &m, ids_path));
    TRY_TO(done, kernels_choose(&k));
    TRY_TO(done, tape_open(&t, k));
    if (!exact) t.products = &k->products_int8;
    ptrdiff_t start[] = {0, (ptrdiff_t)ids.length};
    tensor *logits = model_logits(&t, &m.model, &(token_batch){start[1], ids.id, NULL, 1, start}, NULL, false, NULL);
    TRY_TO(done, interrupt_check("computing logits"));
    TRY_TO(done, write_logits(out, logits));
    if (json) TRY_TO(done, put_json(logits, out));
done:
    if (t.k) tape_close(&t);
    token_list_release(&ids);
    loaded_model_close(&m);
    return status;
}
