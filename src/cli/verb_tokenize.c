/* lamp tokenize | detokenize MODEL [FILE]: text to ids, one a line, and back. MODEL may also be a dataset, a GGUF file or a
 * tokenizer.json itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/read_ids.h"
#include "formats/tokenizer_folder.h"

/* Each text's ids follow those of the text before; ends[i]: how many there are up to the end of text i. */
typedef struct {
    token_list ids;
    size_t *ends; /* (n) */
    size_t n, capacity;
} encoded;

static int encode_text(encoded *result, encoder *e, const char *text, size_t length, unsigned how) {
    TRY(memory_reserve(&result->ends, &result->capacity, result->n + 1, sizeof *result->ends, "the ends of texts"));
    TRY(encoder_encode_as(e, &result->ids, text, length, how));
    result->ends[result->n++] = result->ids.length;
    return LAMP_OK;
}

/* One text, or if each ends in a NUL byte, many. */
static int encode_all(encoded *result, const tokenizer *words, const buffer *text, unsigned how, bool many) {
    encoder *e = NULL;
    int status;
    TRY_TO(done, encoder_new(&e, words));
    if (!many) TRY_TO(done, encode_text(result, e, text->bytes, text->length, how));
    for (size_t at = 0, end; many && at < text->length; at = end + 1) {
        const char *nul = memchr(text->bytes + at, 0, text->length - at);
        end = nul ? (size_t)(nul - text->bytes) : text->length;
        TRY_TO(done, encode_text(result, e, text->bytes + at, end - at, how));
    }
done:
    encoder_free(e);
    return status;
}

static void put_ids(json_writer *w, const char *key, const int32_t *ids, size_t n) {
    json_begin_array(w, key);
    for (size_t i = 0; i < n; i++) json_put_integer(w, NULL, ids[i]);
    json_end_array(w);
}

static void put_json(buffer *out, const encoded *result, bool many) {
    json_writer w = {.out = out};
    json_begin_object(&w, NULL);
    if (!many) put_ids(&w, "ids", result->ids.id, result->ids.length);
    if (many) json_begin_array(&w, "texts");
    for (size_t i = 0, start = 0; many && i < result->n; start = result->ends[i++])
        put_ids(&w, NULL, result->ids.id + start, result->ends[i] - start);
    if (many) json_end_array(&w);
    json_put_integer(&w, "tokens", (int64_t)result->ids.length);
    json_end_object(&w);
    buffer_append_byte(out, '\n');
}

static int print_ids(const encoded *result, bool json, bool many) {
    buffer out = {0};
    if (json) put_json(&out, result, many);
    for (size_t i = 0, at = 0; i < result->n && !json; i++) {
        for (; at < result->ends[i]; at++) buffer_printf(&out, many && at + 1 < result->ends[i] ? "%d " : "%d\n", result->ids.id[at]);
        if (many && result->ends[i] == (i > 0 ? result->ends[i - 1] : 0)) buffer_append_byte(&out, '\n');
    }
    return cli_write_buffer(&out);
}

int verb_tokenize(int argc, char **argv) {
    static const char *const choices[] = {"all", "named", "none", NULL};
    static const unsigned ways[] = {ENCODE_PROMPT | ENCODE_END, ENCODE_SPECIALS, 0};
    cli_list arguments;
    bool json, many = false;
    const char *specials = choices[0];
    int way;
    tokenizer *words = NULL;
    buffer text = {0};
    encoded result = {0};
    int status;
    const cli_option rows[] = {
        {"special", "WHICH", "special tokens: those named in the text and those that stand around one (all), only the former (named), or none",
         CLI_TEXT, &specials, 0, 0},
        {"null", NULL, "FILE holds texts that each end in a NUL byte; the ids of each are one line", CLI_FLAG, &many, 0, 0},
    };
    const cli_command command = {"tokenize", "Without FILE, or with -, standard input is read.\n", rows, sizeof rows / sizeof *rows, 1, 2};
    TRY(cli_parse(&arguments, &json, &command, argc, argv));
    TRY(cli_choose(&way, choices, specials, "tokenize", "special"));
    TRY_TO(done, tokenizer_open(&words, arguments.item[0]));
    TRY_TO(done, cli_read_all(&text, arguments.item[1]));
    TRY_TO(done, encode_all(&result, words, &text, ways[way], many));
    TRY_TO(done, print_ids(&result, json, many));
done:
    memory_free(result.ends);
    token_list_release(&result.ids);
    buffer_release(&text);
    tokenizer_free(words);
    return status;
}

static int decode_all(buffer *text, const tokenizer *words, const token_list *ids, bool shows_specials) {
    decoder d;
    decoder_begin(&d, words, true, shows_specials);
    for (size_t i = 0; i < ids->length; i++) {
        int status = decoder_add(&d, text, ids->id[i]);
        if (status < 0) return error_add_context(status, "token %zu of %zu", i, ids->length);
    }
    return decoder_end(&d, text);
}

int verb_detokenize(int argc, char **argv) {
    cli_list arguments;
    bool json, specials = false;
    tokenizer *words = NULL;
    token_list ids = {0};
    buffer text = {0}, out = {0};
    int status;
    const cli_option rows[] = {{"special", NULL, "write the names of special tokens, too", CLI_FLAG, &specials, 0, 0}};
    const cli_command command = {"detokenize", "Without FILE, or with -, standard input is read: ids separated by white space.\n", rows, 1, 1, 2};
    TRY(cli_parse(&arguments, &json, &command, argc, argv));
    TRY_TO(done, tokenizer_open(&words, arguments.item[0]));
    TRY_TO(done, read_ids(&ids, arguments.item[1]));
    TRY_TO(done, decode_all(&text, words, &ids, specials));
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
