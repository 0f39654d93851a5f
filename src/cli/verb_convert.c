/* lamp convert MODEL OUT: the same model in another form, a folder or a GGUF file; or with --upcycle, a dense one as a mixture. */
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/convert_upcycle.h"
#include "cli/print_conversion.h"
#include "formats/quantise.h"

static int convert(const conversion_request *q, bool json) {
    conversion c;
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    TRY(conversion_run(&c, q));
    if (!json) print_conversion(&c, q->to);
    json_begin_object(&w, NULL);
    put_conversion(&w, &c, q);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    conversion_close(&c);
    if (json) return cli_write_buffer(&text);
    buffer_release(&text);
    return LAMP_OK;
}

/* One type for all of the model; NULL: as it is. */
static int read_type(conversion_request *q, const char *name) {
    const stored_type type = name ? quantise_type_named(name) : STORED_TYPES;
    if (name && type > STORED_BF16) FAIL(LAMP_INVALID, "lamp convert: --type: expected f32, f16 or bf16, found \"%.40s\"; see lamp quantize", name);
    for (int p = 0; p < SAVED_PARTS; p++) q->type[p] = type;
    return LAMP_OK;
}

int verb_convert(int argc, char **argv) {
    cli_list arguments;
    bool json, upcycles = false;
    int64_t seed = -1;
    const char *type = NULL;
    upcycle_request q = {.how = {.slices = 1}};
    const cli_option rows[] = {
        {"type", "TYPE", "f32, f16 or bf16 for all matrices (default: as they are)", CLI_TEXT, &type, 0, 0},
        {"upcycle", NULL, "turn each dense MLP into experts; what follows goes with it", CLI_FLAG, &upcycles, 0, 0},
        {"experts", "E", "experts per layer, copies of the dense MLP", CLI_INTEGER, &q.how.experts, 2, 1 << 20},
        {"top-k", "K", "experts that each token takes", CLI_INTEGER, &q.how.top_k, 1, 1 << 20},
        {"split", "G", "cut each copy into G experts of a G-th of its width; E and K are multiples of G (1)", CLI_INTEGER, &q.how.slices, 1, 1 << 20},
        {"noise", "S", "add noise to the experts: its standard deviation over the weights' own (0)", CLI_NUMBER, &q.how.noise, 0, 100},
        {"seed", "N", "of the routers and the noise (1)", CLI_INTEGER, &seed, 0, 9e15},
        {"family", "NAME", "model_type of OUT (default: llama becomes mixtral, qwen3 becomes qwen3_moe)", CLI_TEXT, &q.family, 0, 0},
        {"text", "FILE", "what the two models are compared on (default: a built-in text; without a tokenizer random ids)", CLI_PATH, &q.text, 0, 0},
    };
    const char *details =
        "MODEL is a model folder, a run, or a GGUF file; OUT is new, and has its name only when it is complete: a GGUF file if that ends in .gguf,\n"
        "else a folder as transformers has it. Values stay what they are, bit for bit, and vectors f32 in a GGUF file; blocks of fewer bits\n"
        "(lamp quantize) become f32 in a folder.\n"
        "With --upcycle MODEL is dense, and OUT a folder of f32. Without noise the mixture computes the function of the dense model whatever its\n"
        "routers choose, and the receipt proves it from the written files: the largest difference of logits, and the loss of both (also in\n"
        "OUT/receipt.json). More than rounding is an error. To train on from it: lamp train DATASET --set train.initial=OUT.\n";
    TRY(cli_parse(&arguments, &json, &(cli_command){"convert", details, rows, sizeof rows / sizeof *rows, 2, 2}, argc, argv));
    conversion_request plain = {.from = arguments.item[0], .to = arguments.item[1]};
    bool asked = q.how.experts || q.how.top_k || q.how.slices > 1 || q.how.noise > 0 || seed >= 0 || q.family || q.text;
    if (!upcycles && asked) FAIL(LAMP_INVALID, "lamp convert: --experts and the options after it go with --upcycle");
    if (upcycles && type) FAIL(LAMP_INVALID, "lamp convert: --type does not go with --upcycle, which writes f32");
    if (!upcycles) {
        TRY(read_type(&plain, type));
        return convert(&plain, json);
    }
    if (q.how.experts == 0 || q.how.top_k == 0) FAIL(LAMP_INVALID, "lamp convert --upcycle: --experts E and --top-k K are needed");
    q.dense = plain.from, q.out = plain.to, q.how.seed = seed < 0 ? 1 : (uint64_t)seed;
    return convert_upcycle(&q, json);
}
