/* Every way a recipe can be wrong, by name; problems say file and line. What a recipe lacks by design - including, expanding - is here too. */
#include "train/recipe.h"

#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "lamp.h"

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"
#define LONG_512 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64

static const struct {
    const char *class, *recipe;
    int code;
    const char *text;
} rows[] = {
    {"no sign", "[model]\nhidden_size 64\n", LAMP_MALFORMED, "bad.ini: line 2: expected [section] or key = value, found \"hidden_size 64\""},
    {"open section", "[model\nhidden_size = 64\n", LAMP_MALFORMED, "bad.ini: line 1: expected [section] or key = value"},
    {"unknown section", "[modle]\nhidden_size = 64\n", LAMP_MALFORMED, "line 2: unknown key modle.hidden_size; did you mean model.hidden_size?"},
    {"unknown key", "[model]\nhiden_size = 64\n", LAMP_MALFORMED, "line 2: unknown key model.hiden_size; did you mean model.hidden_size?"},
    {"key without section", "hidden_size = 64\n", LAMP_MALFORMED, "line 1: unknown key hidden_size; did you mean model.hidden_size?"},
    {"endless key", "[model]\n" LONG_512 " = 1\n", LAMP_MALFORMED, "line 2: unknown key model.0123"},
    {"endless section", "[" LONG_512 "]\nx = 1\n", LAMP_MALFORMED, "line 2: unknown key 0123"},
    {"duplicate key", "[model]\nhidden_size = 64\n[train]\nseed = 2\n[model]\nhidden_size = 96\n", LAMP_MALFORMED,
     "line 6: model.hidden_size: expected once, found again after line 2"},
    {"duplicate of a mixture", "[data]\nmixture.code = 1\nmixture.code = 2\n", LAMP_MALFORMED,
     "line 3: data.mixture.code: expected once, found again after line 2"},
    {"one key that begins like another", "[router]\ntop_k = 1\ntop_groups = 1\n", LAMP_OK, ""},
    {"empty value", "[model]\nhidden_size =\n", LAMP_MALFORMED, "line 2: model.hidden_size: expected an integer, found \"\""},
    {"text for an integer", "[model]\nhidden_size = wide\n", LAMP_MALFORMED, "expected an integer, found \"wide\""},
    {"float for an integer", "[model]\nhidden_size = 64.5\n", LAMP_MALFORMED, "expected an integer, found \"64.5\""},
    {"integer 0", "[model]\nhidden_size = 0\n", LAMP_MALFORMED, "model.hidden_size: expected 2 to 65536, found 0"},
    {"negative integer", "[model]\nhidden_size = -64\n", LAMP_MALFORMED, "expected 2 to 65536, found -64"},
    {"integer 2^53 + 1", "[train]\nseed = 9007199254740993\n", LAMP_MALFORMED, "expected 0 to 9e+15, found 9007199254740993"},
    {"integer above 2^63", "[train]\nseed = 99999999999999999999\n", LAMP_MALFORMED, "expected an integer, found \"99999999999999999999\""},
    {"number 1e308", "[optim]\nlearning_rate = 1e308\n", LAMP_MALFORMED, "optim.learning_rate: expected 0 to 10, found 1e308"},
    {"number 1e400", "[optim]\nlearning_rate = 1e400\n", LAMP_MALFORMED, "expected a number, found \"1e400\""},
    {"NaN", "[optim]\nlearning_rate = nan\n", LAMP_MALFORMED, "expected a number, found \"nan\""},
    {"boolean of another language", "[model]\ntie_word_embeddings = yes\n", LAMP_MALFORMED, "expected true or false, found \"yes\""},
    {"unknown choice", "[router]\nkind = sofmax\n", LAMP_MALFORMED, "router.kind: expected one of softmax|"},
    {"choice that is the start of one", "[router]\nkind = soft\n", LAMP_MALFORMED, "router.kind: expected one of softmax|"},
    {"NaN in a mixture", "[data]\nmixture.code = nan\n", LAMP_MALFORMED, "data.mixture.code: expected a number from 0 to 1e+12, found \"nan\""},
    {"mixture without a name", "[data]\nmixture = 2\n", LAMP_MALFORMED, "data.mixture needs a name: data.mixture.NAME = number"},
    {"endless text", "[data]\npath = " LONG_512 "\n", LAMP_MALFORMED, "data.path: longer than 511 bytes"},
    {"escape sequence in a value", "[router]\nkind = \033[31mred\n", LAMP_MALFORMED, "found \"?[31mred\""},
    {"something else altogether", "<html>\n<head>\n<title>\n</title>\n<meta>\n<body>\n<p>\n<b>\n</b>\n</p>\n</body>\n", LAMP_MALFORMED,
     "is this a recipe?"},
    {"include", "[include other.ini]\n@include = other.ini\n", LAMP_MALFORMED, "unknown key include other.ini.@include"},
    {"environment variable", "[train]\nseed = $HOME\n", LAMP_MALFORMED, "expected an integer, found \"$HOME\""},

    /* each line is sound, together they are not */
    {"width no multiple of heads", "[model]\nhidden_size = 100\nnum_attention_heads = 3\n", LAMP_MALFORMED,
     "\"hidden_size\": expected a multiple of"},
    {"heads no multiple of key heads", "[model]\nnum_key_value_heads = 4\n", LAMP_INVALID, "is not a multiple of model.num_key_value_heads 4"},
    {"top_k above experts", "[router]\nexperts = 4\ntop_k = 5\n", LAMP_INVALID, "router.top_k 5 is more than router.experts 4"},
    {"no budget", "[train]\nminutes = 0\n", LAMP_INVALID, "no budget: set train.steps"},
    {"a fall that has no beginning", "[optim]\nschedule = rsqrt\nwarmup = 0\n", LAMP_INVALID, "optim.warmup must be above 0"},
    {"many experts of several layers", "[model]\nfamily = lstm_moe\ndecoder_sparse_step = 2\nmlp_depth = 4\nrelu_experts = true\n", LAMP_MALFORMED,
     "\"mlp_depth\": expected 0 or 1, found 4"},
    {"more words sampled than there are", "[model]\nvocab_size = 100\n[train]\nsoftmax_samples = 100\n", LAMP_INVALID,
     "train.softmax_samples is 100, but there are only 100 words"},
    {"everything dropped", "[train]\ndropout = 1\n", LAMP_MALFORMED, "train.dropout: expected 0 to 0.9, found 1"},
    {"batch no multiple of sequences", "[train]\nbatch_tokens = 1000\n", LAMP_INVALID, "train.batch_tokens 1000 is not a multiple of"},
    {"batch no multiple of micro-batches", "[train]\nmicro_batch_tokens = 3072\n", LAMP_INVALID,
     "is not a multiple of train.micro_batch_tokens 3072"},
    {"product of sizes overflows",
     "[model]\nhidden_size = 65536\nintermediate_size = 1048576\nnum_hidden_layers = 1024\nnum_attention_heads = 512\n"
     "[router]\nexperts = 65536\n",
     LAMP_MALFORMED, "found sizes that make"},
};

static const char *recipe_path(void) {
    static char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), "bad.ini"));
    return path;
}

/* As `lamp train` does, with a dataset of 1000 tokens. */
static int read_bytes(recipe *r, const char *bytes, size_t length) {
    EXPECT_OK(file_write_whole(recipe_path(), bytes, length));
    options_set_defaults(&recipe_options, r);
    r->model.vocab_size = 1000;
    int status = options_read_file(&recipe_options, r, recipe_path());
    return status < 0 ? status : recipe_resolve(r, recipe_path());
}

static void malformed_recipes_are_refused_by_name(void) {
    recipe r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].class);
        EXPECT_ERROR(read_bytes(&r, rows[i].recipe, strlen(rows[i].recipe)), rows[i].code, rows[i].text);
        EXPECT(rows[i].code == LAMP_OK || strstr(lamp_error_message(), "bad.ini"), "no path in %s", lamp_error_message());
    }
}

static void what_is_no_text_is_refused(void) {
    static const char nul[] = "[train]\nseed = 1\0x\nsteps = 7\n";
    recipe r;
    test_row("NUL in a line");
    EXPECT_ERROR(read_bytes(&r, nul, sizeof nul - 1), LAMP_MALFORMED, "bad.ini: line 2: expected text, found a NUL byte");
    test_row("endless line");
    buffer line = {0};
    buffer_append_text(&line, "[data]\npath = ");
    for (int i = 0; i < 1 << 18; i++) buffer_append_byte(&line, 'x');
    EXPECT_ERROR(read_bytes(&r, line.bytes, line.length), LAMP_MALFORMED, "bad.ini: line 2: expected at most 4095 bytes, found 262151");
    buffer_release(&line);
    test_row("endless file");
    test_largest_allocation();
    EXPECT_ERROR(options_read_file(&recipe_options, &r, "/dev/zero"), LAMP_UNSUPPORTED, "/dev/zero: expected at most 1048576 bytes, found more");
    EXPECT(test_largest_allocation() < 4 << 20, "%zu bytes", test_largest_allocation());
    test_row("folder");
    EXPECT_ERROR(options_read_file(&recipe_options, &r, test_folder()), LAMP_IO, "expected a file, found a folder");
    test_row("absent");
    EXPECT_ERROR(options_read_file(&recipe_options, &r, "absent.ini"), LAMP_IO, "absent.ini: cannot open");
}

static void nothing_is_expanded(void) {
    static const char text[] = "# a comment\r\n; another\r\n\r\n[data]\r\npath = $HOME/${USER} # kept";
    recipe r;
    EXPECT_OK(read_bytes(&r, text, strlen(text)));
    EXPECT(!strcmp(r.data_path, "$HOME/${USER} # kept"), "found \"%s\"", r.data_path);
    EXPECT_OK(read_bytes(&r, "", 0));
}

static const test_case cases[] = {
    {"malformed recipes are refused by name", malformed_recipes_are_refused_by_name},
    {"what is no text is refused", what_is_no_text_is_refused},
    {"nothing is expanded", nothing_is_expanded},
};

int main(void) { return test_run("malformed recipe", cases, sizeof cases / sizeof *cases); }
