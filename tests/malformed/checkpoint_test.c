/* Every way a model folder's index and a checkpoint can be wrong, by name. A run with two checkpoints is spoilt by a shell command each
 * time; the second must then be refused, or the first be used. */
#include "formats/checkpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../test.h"
#include "base/log.h"
#include "formats/model_source.h"
#include "formats/safetensors_writer.h"
#include "lamp.h"
#include "models/families/family.h"

/* ---- a model of one layer -------------------------------------------------------------------------------------------------------- */

typedef struct {
    model_config config;
    weights table;
    weight_moment moment;
    real squares[64];
} fixture;

static void fixture_make(fixture *f) {
    weight *norm;
    *f = (fixture){.config = {.family = "llama",
                              .vocab_size = 2,
                              .hidden_size = 8,
                              .intermediate_size = 1,
                              .num_hidden_layers = 1,
                              .num_attention_heads = 1,
                              .num_key_value_heads = 1,
                              .max_position_embeddings = 4,
                              .rope_theta = 1e4,
                              .rms_norm_eps = 1e-5,
                              .end_of_text = -1,
                              .moe = {.kind = "softmax", .experts = 1, .top_k = 1, .scale = 1}}};
    EXPECT_OK(family_complete(&f->config, "test"));
    EXPECT_OK(weights_declare(&norm, &f->table, "norm", -1, ROLE_NORM, 1, 1, 8, 0));
    EXPECT_OK(weights_allocate_values(&f->table));
    weights_initialize(&f->table, 1);
    f->moment = (weight_moment){"first_moment", norm, 1, 8, STORED_REAL, f->squares};
}

static int save(const fixture *f, const char *run, int64_t step) {
    checkpoint contents = {.config = &f->config, .weights = &f->table, .n_moments = 1, .moments = &f->moment, .state = "{\"step\": 3}\n"};
    return checkpoint_save(run, step, &contents, 5);
}

/* Runs a command of the shell inside a folder. */
static void spoil(const char *folder, const char *command) {
    char line[2 * PATH_BYTES];
    snprintf(line, sizeof line, "cd '%s' && %s", folder, command);
    EXPECT(!system(line), "%s", line);
}

static void ignore_log(void *context, log_level level, const char *text) { (void)context, (void)level, (void)text; }

/* ---- checkpoints ----------------------------------------------------------------------------------------------------------------- */

/* What is done in RUN/checkpoints/, and what resolving, verifying or loading then says of step 2. code LAMP_OK: it is used. */
static const struct {
    const char *class, *command;
    int code;
    const char *text;
} rows[] = {
    {"nothing wrong", "true", LAMP_OK, ""},
    {"missing manifest", "rm step-00000002/manifest.json", LAMP_CHECKPOINT, "expected manifest.json, found none: not a finished checkpoint"},
    {"empty manifest", ": > step-00000002/manifest.json", LAMP_MALFORMED, "manifest.json: line 1, column 0: not valid JSON"},
    {"manifest cut short", "truncate -s 100 step-00000002/manifest.json", LAMP_MALFORMED, "not valid JSON"},
    {"manifest of another program", "sed -i 's/lamplighter checkpoint/lamp list/' step-00000002/manifest.json", LAMP_MALFORMED,
     "\"format\": expected \"lamplighter checkpoint\", found \"lamp list\""},
    {"newer manifest", "sed -i 's/\"version\": 2/\"version\": 3/' step-00000002/manifest.json", LAMP_UNSUPPORTED, "found 3: of a newer Lamplighter"},
    {"manifest of no version", "sed -i 's/\"version\": 2/\"version\": 0/' step-00000002/manifest.json", LAMP_MALFORMED, "\"version\": expected 1 to"},
    {"version that is text", "sed -i 's/\"version\": 2/\"version\": \"2\"/' step-00000002/manifest.json", LAMP_MALFORMED,
     "\"version\": expected an integer"},
    {"manifest that lists nothing",
     "echo '{\"format\": \"lamplighter checkpoint\", \"version\": 1, \"step\": 2, \"files\": []}' "
     "> step-00000002/manifest.json",
     LAMP_MALFORMED, "\"files\": expected config.json among them, found it left out"},
    {"manifest that leaves out the weights",
     "sed -i 's/model.safetensors/config.json/' step-00000002/manifest.json && "
     "sed -i '/\"bytes\"/s/: [0-9]*/: '$(stat -c %s step-00000002/config.json)'/' step-00000002/manifest.json && "
     "for f in generation_config.json optimizer.safetensors trainer.json; do truncate -s $(stat -c %s step-00000002/config.json) step-00000002/$f; "
     "done",
     LAMP_MALFORMED, "expected model.safetensors among them"},
    {"manifest that climbs", "sed -i 's/trainer.json/..\\/x/' step-00000002/manifest.json", LAMP_MALFORMED,
     "\"name\": expected plain file names inside the folder, found \"../x\""},
    {"manifest with an absolute path", "sed -i 's/trainer.json/\\/etc\\/passwd/' step-00000002/manifest.json", LAMP_MALFORMED,
     "found \"/etc/passwd\""},
    {"size that is negative", "sed -i 's/\"bytes\": /\"bytes\": -/' step-00000002/manifest.json", LAMP_MALFORMED, "\"bytes\": expected 0 to"},
    {"step overflow", "sed -i 's/\"step\": 2/\"step\": 9223372036854775808/' step-00000002/manifest.json", LAMP_MALFORMED, "not valid JSON"},
    {"negative step", "sed -i 's/\"step\": 2/\"step\": -2/' step-00000002/manifest.json", LAMP_MALFORMED, "\"step\": expected 0 to"},
    {"size mismatch", "truncate -s -1 step-00000002/model.safetensors", LAMP_CHECKPOINT, "model.safetensors: expected "},
    {"file missing", "rm step-00000002/optimizer.safetensors", LAMP_CHECKPOINT, "expected this file, as "},
    {"folder under another step's name", "rm -r step-00000002 && cp -r step-00000001 step-00000002", LAMP_CHECKPOINT,
     "\"step\": expected 2 as the folder is called, found 1: moved by hand?"},
    {"half-renamed folder", "mv step-00000002 .partial", LAMP_CHECKPOINT, "step-00000002: expected manifest.json, found none"},
    {"leftover of a save", "cp -r step-00000001 .partial && rm .partial/manifest.json", LAMP_OK, ""},
    {"latest is a file", "rm latest && echo step-00000002 > latest", LAMP_CHECKPOINT, "latest: cannot read this symbolic link"},
    {"latest dangles", "ln -sfn step-00000009 latest", LAMP_CHECKPOINT, "step-00000009: expected manifest.json, found none"},
    {"latest leads outside", "ln -sfn ../../elsewhere latest", LAMP_CHECKPOINT, "expected a link to step-NNNNNNNN, found one to \"../../elsewhere\""},
    {"latest leads to itself", "ln -sfn latest latest", LAMP_CHECKPOINT, "found one to \"latest\""},
    {"step above 2^63", "ln -sfn step-9223372036854775808 latest", LAMP_CHECKPOINT, "expected a link to step-NNNNNNNN"},
};

static buffer warnings;
static void keep_warnings(void *context, log_level level, const char *text) {
    (void)context;
    if (level == LOG_WARNING) buffer_printf(&warnings, "%s\n", text);
}

static void make_run(const char *run) {
    fixture f;
    fixture_make(&f);
    EXPECT_OK(file_remove_folder(run));
    EXPECT_OK(save(&f, run, 1));
    EXPECT_OK(save(&f, run, 2));
    weights_release(&f.table);
}

/* With step 1 gone, the reason is the error; with it there, the reason is a warning and step 1 is used. */
static void malformed_checkpoints_are_refused_by_name(void) {
    char run[PATH_BYTES], checkpoints[PATH_BYTES], path[PATH_BYTES];
    snprintf(run, sizeof run, "%s", test_path("run of a lamp, caf\xC3\xA9"));
    EXPECT_OK(file_join(checkpoints, run, "checkpoints"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].class);
        make_run(run);
        spoil(checkpoints, rows[i].command);
        buffer_clear(&warnings);
        log_set_sink(keep_warnings, NULL);
        EXPECT_OK(checkpoint_resolve(path, run));
        log_set_sink(ignore_log, NULL);
        const char *said = warnings.length ? warnings.bytes : "";
        bool spoilt = rows[i].code != LAMP_OK;
        EXPECT(spoilt ? strstr(said, rows[i].text) != NULL : !*said, "warned \"%s\", expected \"%s\"", said, rows[i].text);
        if (!strstr(rows[i].class, "latest") && !strstr(rows[i].class, "2^63"))
            EXPECT(strstr(path, spoilt ? "step-00000001" : "step-00000002"), "resolved to %s", path);
        if (!spoilt || !strstr(rows[i].text, "manifest") || !strstr(rows[i].command, "manifest.json")) continue;
        EXPECT_OK(file_join(path, checkpoints, "step-00000001"));
        EXPECT_OK(file_remove_folder(path));
        EXPECT_ERROR(checkpoint_resolve(path, run), rows[i].code, rows[i].text);
    }
    log_set_sink(NULL, NULL);
    buffer_release(&warnings);
}

/* As the first manifests were: without hashes of tensors or of itself. */
#define VERSION_1 \
    "sed -i -e 's/\"version\": 2/\"version\": 1/' -e '/\"tensors\"/,/}/d' -e '/^  \"hash\"/d' -e 's/^  \\],/  ]/' manifest.json && " \
    "sed -i -z 's/\\(\"hash\": \"[0-9a-f]*\"\\),\\n    }/\\1\\n    }/g' manifest.json"

/* What only its hash tells, and what a state for other weights says. */
static void what_does_not_belong_is_named(void) {
    static const struct {
        const char *class, *command;
        int code;
        const char *text;
    } foreign[] = {
        {"flipped bit", "printf X | dd of=model.safetensors bs=1 seek=100 conv=notrunc 2>/dev/null", LAMP_CHECKPOINT,
         "model.safetensors: damaged since it was saved, in its header: expected hash "},
        {"weights of another run",
         "head -c $(stat -c %s model.safetensors) /dev/zero > model.safetensors.new && mv model.safetensors.new model.safetensors", LAMP_CHECKPOINT,
         "model.safetensors: damaged since it was saved"},
        {"flipped bit of a weight", "printf X | dd of=model.safetensors bs=1 seek=$(($(stat -c %s model.safetensors) - 1)) conv=notrunc 2>/dev/null",
         LAMP_CHECKPOINT, "model.safetensors: damaged since it was saved, in tensor model.norm.weight (bytes "},
        {"hash that is no hash", "sed -i 's/\"hash\": \"/&x/' manifest.json", LAMP_CHECKPOINT, "manifest.json: damaged since it was saved"},
        {"hash of a tensor that is no hash", "sed -i 's/\"model.norm.weight\": \"/&x/' manifest.json", LAMP_CHECKPOINT,
         "manifest.json: damaged since it was saved"},
        {"manifest without its own hash", "sed -i 's/^  \"hash\"/  \"hush\"/' manifest.json", LAMP_MALFORMED,
         "manifest.json: \"hash\": expected text, found nothing"},
        {"another step", "sed -i 's/\"step\": 2/\"step\": 3/' manifest.json", LAMP_CHECKPOINT, "manifest.json: damaged since it was saved"},
        {"manifest of version 1", VERSION_1, LAMP_OK, ""},
        {"manifest of version 1, flipped bit", VERSION_1 " && printf X | dd of=model.safetensors bs=1 seek=100 conv=notrunc 2>/dev/null",
         LAMP_CHECKPOINT, "model.safetensors: damaged since it was saved: expected hash "},
        {"tensors of another type", "sed -i -e 's/\"version\": 2/\"version\": 1/' -e 's/\"model.norm.weight\": .*/\"model.norm.weight\": 1/' manifest.json"
         " && printf X | dd of=model.safetensors bs=1 seek=$(($(stat -c %s model.safetensors) - 1)) conv=notrunc 2>/dev/null",
         LAMP_MALFORMED, "manifest.json: \"model.norm.weight\": expected text, found an integer"},
    };
    char run[PATH_BYTES], folder[PATH_BYTES];
    snprintf(run, sizeof run, "%s", test_path("foreign"));
    EXPECT_OK(file_join(folder, run, "checkpoints/step-00000002"));
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        test_row(foreign[i].class);
        make_run(run);
        spoil(folder, foreign[i].command);
        EXPECT_ERROR(checkpoint_verify(folder), foreign[i].code, foreign[i].text);
    }
    fixture f;
    buffer text = {0};
    fixture_make(&f);
    make_run(run);
    test_row("moments of other shapes");
    f.moment.in = 4;
    EXPECT_ERROR(checkpoint_load_moments(folder, 1, &f.moment), LAMP_MALFORMED, "expected [1, 1, 4], found [1, 1, 8]");
    f.moment.in = 8;
    test_row("moments that bf16 cannot hold");
    for (int i = 0; i < 8; i++) f.squares[i] = i < 3 ? (real)0.1 : (real)3.4e38;
    EXPECT_OK(save(&f, run, 3));
    EXPECT_OK(file_join(folder, run, "checkpoints/step-00000003"));
    f.moment.type = STORED_BF16;
    EXPECT_ERROR(checkpoint_load_moments(folder, 1, &f.moment), LAMP_UNSUPPORTED, "which bf16 can hold, found 3.4e+38");
    f.moment.type = STORED_REAL;
    test_row("moments of another type");
    spoil(folder, "sed -i 's/\"F32\"/\"I32\"/' optimizer.safetensors");
    EXPECT_ERROR(checkpoint_load_moments(folder, 1, &f.moment), LAMP_UNSUPPORTED, "expected values of F32, F16, BF16 or F64, found I32");
    test_row("optimiser absent");
    spoil(folder, "rm optimizer.safetensors trainer.json");
    EXPECT_ERROR(checkpoint_load_moments(folder, 1, &f.moment), LAMP_CHECKPOINT, "it can be run but not resumed");
    test_row("trainer's state absent");
    EXPECT_ERROR(checkpoint_load_state(&text, folder), LAMP_CHECKPOINT, "it can be run but not resumed");
    weights_release(&f.table);
}

static void a_save_that_cannot_be_made_harms_nothing(void) {
    fixture f;
    char run[PATH_BYTES], path[PATH_BYTES], endless[PATH_BYTES + 64];
    struct rlimit was;
    fixture_make(&f);
    snprintf(run, sizeof run, "%s", test_path("full"));
    EXPECT_OK(save(&f, run, 1));

    test_row("disk full"); /* as writes beyond a file's allowed size fail */
    EXPECT(!getrlimit(RLIMIT_FSIZE, &was), "no limit");
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){200, was.rlim_max});
    int status = save(&f, run, 2);
    setrlimit(RLIMIT_FSIZE, &was);
    EXPECT_ERROR(status, LAMP_IO, "cannot write");
    EXPECT_OK(checkpoint_resolve(path, run));
    EXPECT(strstr(path, "step-00000001"), "resolved to %s", path);

    test_row("a file where the folder should be");
    EXPECT_OK(file_write_whole(test_path("plain"), "x", 1));
    EXPECT_ERROR(save(&f, test_path("plain"), 1), LAMP_IO, "plain: cannot make this folder");

    test_row("path of 4 KiB");
    memset(endless, 'x', sizeof endless - 1), endless[sizeof endless - 1] = 0;
    EXPECT_ERROR(save(&f, endless, 1), LAMP_IO, "path is longer than 4095 bytes");
    EXPECT_ERROR(checkpoint_resolve(path, endless), LAMP_IO, "path is longer than 4095 bytes");
    weights_release(&f.table);
}

/* ---- the index of a model in many files ------------------------------------------------------------------------------------------ */

#define BOTH "\"model.norm.weight\": \"one.safetensors\", \"spare\": \"two.safetensors\""

static const struct {
    const char *class, *index;
    int code;
    const char *text;
} indices[] = {
    {"sound", "{\"weight_map\": {" BOTH "}}", LAMP_OK, ""},
    {"empty file", "", LAMP_MALFORMED, "not valid JSON"},
    {"not an object", "[]", LAMP_MALFORMED, "\"weight_map\": expected an object"},
    {"no weight_map", "{\"metadata\": {}}", LAMP_MALFORMED, "\"weight_map\": expected an object, found nothing"},
    {"weight_map of another type", "{\"weight_map\": []}", LAMP_MALFORMED, "\"weight_map\": expected an object, found an array"},
    {"empty weight_map", "{\"weight_map\": {}}", LAMP_MALFORMED, "but the safetensors files hold 0"},
    {"tensor twice", "{\"weight_map\": {\"a\": \"one.safetensors\", \"a\": \"two.safetensors\"}}", LAMP_MALFORMED, "duplicate"},
    {"path that climbs", "{\"weight_map\": {\"a\": \"../one.safetensors\"}}", LAMP_MALFORMED, "found \"../one.safetensors\""},
    {"path into a folder", "{\"weight_map\": {\"a\": \"x/one.safetensors\"}}", LAMP_MALFORMED, "found \"x/one.safetensors\""},
    {"absolute path", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}", LAMP_MALFORMED, "found \"/etc/passwd\""},
    {"the folder above", "{\"weight_map\": {\"a\": \"..\"}}", LAMP_MALFORMED, "found \"..\""},
    {"empty name", "{\"weight_map\": {\"a\": \"\"}}", LAMP_MALFORMED, "expected plain file names"},
    {"name with a NUL inside", "{\"weight_map\": {\"a\": \"one.safetensors\\u0000x\"}}", LAMP_MALFORMED, "\"a\": expected text without NUL"},
    {"name that is a number", "{\"weight_map\": {\"a\": 3}}", LAMP_MALFORMED, "\"a\": expected text, found an integer"},
    {"shard missing", "{\"weight_map\": {\"a\": \"three.safetensors\"}}", LAMP_IO, "three.safetensors: cannot open"},
    {"shard that is a folder", "{\"weight_map\": {\"a\": \"folder\"}}", LAMP_IO, "expected a file, found a folder"},
    {"shard that is the index", "{\"weight_map\": {\"a\": \"model.safetensors.index.json\"}}", LAMP_MALFORMED, "expected a header of at most"},
    {"tensor in two shards", "{\"weight_map\": {" BOTH ", \"b\": \"twin.safetensors\"}}", LAMP_MALFORMED,
     "tensor spare: expected in one file, found in two.safetensors and twin.safetensors"},
    {"total_size that lies", "{\"metadata\": {\"total_size\": 9223372036854775807}, \"weight_map\": {" BOTH "}}", LAMP_OK,
     ""}, /* nothing rests on it */
    {"total_size of another type", "{\"metadata\": {\"total_size\": \"x\"}, \"weight_map\": {" BOTH "}}", LAMP_OK, ""},
    {"shard that is a symbolic link", "{\"weight_map\": {" BOTH ", \"spare\\u0020\": \"link.safetensors\"}}", LAMP_OK,
     ""}, /* as the hub's cache is */
};

static void write_shard(const char *folder, const char *name, const char *tensor, int64_t n) {
    char path[PATH_BYTES];
    safetensors_writer *writer = NULL;
    hash128 hash;
    int64_t bytes;
    EXPECT_OK(file_join(path, folder, name));
    EXPECT_OK(safetensors_writer_new(&writer, path));
    EXPECT_OK(safetensors_writer_declare(writer, tensor, 1, &n));
    for (int64_t i = 0; i < n; i++) EXPECT_OK(safetensors_writer_write(writer, &(real){1}, 1));
    EXPECT_OK(safetensors_writer_finish(writer, &hash, &bytes));
    safetensors_writer_free(writer);
}

static int open_index(const char *folder, const char *index, size_t length) {
    char path[PATH_BYTES];
    model_source *model = NULL;
    EXPECT_OK(file_join(path, folder, "model.safetensors.index.json"));
    EXPECT_OK(file_write_whole(path, index, length));
    int status = model_source_open(&model, folder);
    model_source_close(model);
    return status;
}

static void malformed_indices_are_refused_by_name(void) {
    char folder[PATH_BYTES], path[PATH_BYTES];
    fixture f;
    buffer text = {0};
    fixture_make(&f);
    snprintf(folder, sizeof folder, "%s", test_path("index"));
    EXPECT_OK(file_join(path, folder, "folder"));
    EXPECT_OK(file_make_folder(path));
    EXPECT_OK(file_join(path, folder, "config.json"));
    EXPECT_OK(family_write_config(&f.config, &text));
    EXPECT_OK(file_write_whole(path, text.bytes, text.length));
    write_shard(folder, "one.safetensors", "model.norm.weight", 8);
    write_shard(folder, "two.safetensors", "spare", 1000);
    write_shard(folder, "twin.safetensors", "spare", 1000);
    write_shard(test_path(""), "elsewhere.safetensors", "other", 1);
    spoil(folder, "ln -s ../elsewhere.safetensors link.safetensors");
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        test_row(indices[i].class);
        test_largest_allocation();
        EXPECT_ERROR(open_index(folder, indices[i].index, strlen(indices[i].index)), indices[i].code, indices[i].text);
        EXPECT(test_largest_allocation() < 65536, "a claim became memory");
    }
    test_row("a million shards");
    buffer_clear(&text);
    buffer_append_text(&text, "{\"weight_map\": {\"-1\": \"one.safetensors\"");
    for (int i = 0; i < 1000000; i++) buffer_printf(&text, ", \"%d\": \"%d\"", i, i);
    buffer_append_text(&text, "}}");
    EXPECT_ERROR(open_index(folder, text.bytes, text.length), LAMP_UNSUPPORTED, "expected at most 1024 files, found more");
    buffer_release(&text);
    weights_release(&f.table);
}

static const test_case cases[] = {
    {"malformed checkpoints are refused by name", malformed_checkpoints_are_refused_by_name},
    {"what does not belong is named", what_does_not_belong_is_named},
    {"a save that cannot be made harms nothing", a_save_that_cannot_be_made_harms_nothing},
    {"malformed indices are refused by name", malformed_indices_are_refused_by_name},
};

int main(void) { return test_run("malformed checkpoint", cases, sizeof cases / sizeof *cases); }
