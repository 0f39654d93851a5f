/* lamp tokenize | detokenize MODEL [FILE]: text to ids, one a line, and back. MODEL may also be a dataset, a GGUF file or a
 * tokenizer.json itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/read_ids.h"
#include "formats/checkpoint.h"
#include "formats/gguf_tokenizer.h"
#include "formats/model_source.h"
#include "formats/tokenizer_json.h"

static int open_tokenizer(tokenizer **words, const char *name) {
    char path[PATH_BYTES], folder[PATH_BYTES];
    if (model_source_is_gguf(name)) {
        TRY(gguf_read_tokenizer_of(words, name));
        if (!*words) FAIL(LAMP_CHECKPOINT, "%s: expected a tokenizer, found none", name);
        return LAMP_OK;
    }
    if (!file_is_folder(name)) return tokenizer_json_read(words, name);
    TRY(file_join(path, name, "tokenizer.json"));
    if (!file_exists(path)) {
        TRY(checkpoint_resolve(folder, name));
        TRY(file_join(path, folder, "tokenizer.json"));
    }
    return tokenizer_json_read(words, path);
}

static int encode_all(token_list *ids, const tokenizer *words, const buffer *text) {
    encoder *e = NULL;
    int status = encoder_new(&e, words);
    if (status >= 0) status = encoder_encode(e, ids, text->bytes, text->length);
    encoder_free(e);
    return status;
}

static int print_ids(const token_list *ids, bool json) {
    buffer out = {0};
    if (json) {
        json_writer w = {.out = &out};
        json_begin_object(&w, NULL);
        json_begin_array(&w, "ids");
        for (size_t i = 0; i < ids->length; i++) json_put_integer(&w, NULL, ids->id[i]);
        json_end_array(&w);
        json_put_integer(&w, "tokens", (int64_t)ids->length);
        json_end_object(&w);
        buffer_append_byte(&out, '\n');
    }
    for (size_t i = 0; i < ids->length && !json; i++) buffer_printf(&out, "%d\n", ids->id[i]);
    return cli_write_buffer(&out);
}

int verb_tokenize(int argc, char **argv) {
    cli_list arguments;
    bool json;
    tokenizer *words = NULL;
    buffer text = {0};
    token_list ids = {0};
    int status;
    TRY(cli_parse(&arguments, &json, &(cli_command){"tokenize", "Without FILE, or with -, standard input is read.\n", NULL, 0, 1, 2}, argc, argv));
    TRY_TO(done, open_tokenizer(&words, arguments.item[0]));
    TRY_TO(done, cli_read_all(&text, arguments.item[1]));
    TRY_TO(done, encode_all(&ids, words, &text));
    TRY_TO(done, print_ids(&ids, json));
done:
    token_list_release(&ids);
    buffer_release(&text);
    tokenizer_free(words);
    return status;
}

int verb_detokenize(int argc, char **argv) {
    cli_list arguments;
    bool json;
    tokenizer *words = NULL;
    token_list ids = {0};
    buffer text = {0}, out = {0};
    int status;
    TRY(cli_parse(&arguments, &json,
                  &(cli_command){"detokenize", "Without FILE, or with -, standard input is read: ids separated by white space.\n", NULL, 0, 1, 2},
                  argc, argv));
    TRY_TO(done, open_tokenizer(&words, arguments.item[0]));
    TRY_TO(done, read_ids(&ids, arguments.item[1]));
    TRY_TO(done, tokenizer_decode(words, &text, ids.id, ids.length));
    if (!json) {
        TRY_TO(done, cli_write(text.bytes, text.length));
        goto done;
    }
    json_writer w = {.out = &out};
    json_begin_object(&w, NULL);
    json_put_bytes(&w, "text", text.bytes ? text.bytes : "", text.length);
    json_end_object(&w);
    buffer_append_byte(&out, '\n');
    TRY_TO(done, cli_write_buffer(&out));
done:
    buffer_release(&text);
    token_list_release(&ids);
    tokenizer_free(words);
    return status;
}
