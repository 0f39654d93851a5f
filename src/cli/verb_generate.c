/* lamp generate MODEL: text that continues a prompt, as it comes. */
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "infer/loaded_model.h"
#include "infer/session.h"

typedef struct {
    buffer text; /* for --json */
    bool json;
} output;

static int put_piece(void *context, const char *bytes, size_t length) {
    output *out = context;
    if (out->json) return buffer_append(&out->text, bytes, length);
    TRY(cli_write(bytes, length));
    if (fflush(stdout)) FAIL(LAMP_IO, "cannot write to standard output");
    return LAMP_OK;
}

static int put_json(output *out, const char *prompt, const sampling *how) {
    buffer text = {0};
    json_writer w = {.out = &text};
    json_begin_object(&w, NULL);
    json_put_text(&w, "prompt", prompt);
    json_put_bytes(&w, "text", out->text.bytes ? out->text.bytes : "", out->text.length);
    json_put_integer(&w, "seed", (int64_t)how->seed);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    return cli_write_buffer(&text);
}

static int generate(const loaded_model *m, const char *prompt, int64_t tokens, const sampling *how, output *out) {
    session s = {0};
    encoder *e = NULL;
    token_list ids = {0};
    int64_t context = m->model.config.max_position_embeddings;
    int status;
    TRY_TO(done, encoder_new(&e, m->tokenizer));
    TRY_TO(done, encoder_encode_as(e, &ids, prompt, strlen(prompt), ENCODE_PROMPT));
    TRY_TO(done, session_open(&s, &m->model, context));
    if ((ptrdiff_t)ids.length >= state_room(&s.state))
        FAIL_TO(done, LAMP_INVALID, "the prompt has %zu tokens, the model's context holds %lld; shorten the prompt", ids.length, (long long)context);
    if (!out->json) TRY_TO(done, cli_write(prompt, strlen(prompt)));
    TRY_TO(done, session_generate(&s, m->tokenizer, how, ids.id, (ptrdiff_t)ids.length, tokens, put_piece, out));
    if (!out->json) TRY_TO(done, cli_write("\n", 1));
    if (state_room(&s.state) == 0 && !cli_quiet) fprintf(stderr, "the context of %lld tokens is full\n", (long long)context);
done:
    session_close(&s);
    token_list_release(&ids);
    encoder_free(e);
    return status;
}

int verb_generate(int argc, char **argv) {
    cli_list arguments;
    bool json;
    const char *prompt = "";
    sampling how = sampling_defaults();
    int64_t tokens = 128, seed = 0;
    const cli_option rows[] = {
        {"prompt", "TEXT", "what to continue (default: the beginning of a document)", CLI_TEXT, &prompt, 0, 0},
        {"tokens", "N", "how many tokens to write (128); the end of the document or of the context ends it sooner", CLI_INTEGER, &tokens, 1, 1e9},
        {"temperature", "T", "0: always the most likely token (0.8)", CLI_NUMBER, &how.temperature, 0, 100},
        {"top-k", "K", "draw from the K most likely tokens; 0: all (40)", CLI_INTEGER, &how.top_k, 0, 1e9},
        {"top-p", "P", "draw from the fewest tokens that together reach P (0.95)", CLI_NUMBER, &how.top_p, 1e-9, 1},
        {"seed", "S", "same seed, same text (0)", CLI_INTEGER, &seed, 0, 9e15},
    };
    loaded_model m = {0};
    output out = {0};
    int status = cli_parse(&arguments, &json, &(cli_command){"generate", NULL, rows, 6, 1, 1}, argc, argv);
    TRY_TO(done, status);
    how.seed = (uint64_t)seed;
    out.json = json;
    TRY_TO(done, loaded_model_open(&m, arguments.item[0], VALUES_STORED));
    TRY_TO(done, loaded_model_need_tokenizer(&m));
    TRY_TO(done, generate(&m, prompt, tokens, &how, &out));
    if (json) TRY_TO(done, put_json(&out, prompt, &how));
done:
    buffer_release(&out.text);
    loaded_model_close(&m);
    return status;
}
