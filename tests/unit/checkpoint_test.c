/* Checkpoints: what is saved loads back bit for bit, what is damaged is named, and no moment of a save can be the wrong one to crash. */
#include "formats/checkpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../test.h"
#include "base/error.h"
#include "base/random.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/model_source.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "models/families/family.h"

/* ---- a small model and its optimiser's memory -------------------------------------------------------------------------------- */

typedef struct {
    model_config config;
    weights table;
    real *moments;
    weight_moment *moment; /* a whole one of each weight, and one of its rows */
} fixture;

/* The weights of the transformer, as models/transformer.c declares them. */
static void declare_all(weights *table, const model_config *c) {
    weight *w;
    ptrdiff_t D = c->hidden_size, F = c->intermediate_size, E = c->moe.experts;
    ptrdiff_t queries = c->num_attention_heads * c->head_dim, keys = c->num_key_value_heads * c->head_dim;
    EXPECT_OK(weights_declare(&w, table, "embedding", -1, ROLE_EMBEDDING, 1, c->vocab_size, D, 1));
    for (int l = 0; l < c->num_hidden_layers; l++) {
        EXPECT_OK(weights_declare(&w, table, "attention.norm", l, ROLE_NORM, 1, 1, D, 0));
        EXPECT_OK(weights_declare(&w, table, "attention.query", l, ROLE_MATRIX, 1, queries, D, 1));
        EXPECT_OK(weights_declare(&w, table, "attention.key", l, ROLE_MATRIX, 1, keys, D, 1));
        EXPECT_OK(weights_declare(&w, table, "attention.value", l, ROLE_MATRIX, 1, keys, D, 1));
        EXPECT_OK(weights_declare(&w, table, "attention.output", l, ROLE_MATRIX, 1, D, queries, 1));
        EXPECT_OK(weights_declare(&w, table, "mlp.norm", l, ROLE_NORM, 1, 1, D, 0));
        EXPECT_OK(weights_declare(&w, table, "moe.router", l, ROLE_ROUTER, 1, E, D, 1));
        EXPECT_OK(weights_declare(&w, table, "moe.gate", l, ROLE_EXPERT, E, F, D, 1));
        EXPECT_OK(weights_declare(&w, table, "moe.up", l, ROLE_EXPERT, E, F, D, 1));
        EXPECT_OK(weights_declare(&w, table, "moe.down", l, ROLE_EXPERT, E, D, F, 1));
    }
    EXPECT_OK(weights_declare(&w, table, "norm", -1, ROLE_NORM, 1, 1, D, 0));
    EXPECT_OK(weights_declare(&w, table, "head", -1, ROLE_MATRIX, 1, c->vocab_size, D, 1));
    EXPECT((double)table->total == family_parameter_count(c), "%td weights, %.0f counted", table->total, family_parameter_count(c));
}

static void fixture_make(fixture *f) {
    memset(f, 0, sizeof *f);
    f->config = (model_config){.family = "mixtral",
                               .vocab_size = 11,
                               .hidden_size = 8,
                               .intermediate_size = 6,
                               .num_hidden_layers = 2,
                               .num_attention_heads = 2,
                               .num_key_value_heads = 1,
                               .max_position_embeddings = 16,
                               .rope_theta = 1e4,
                               .rms_norm_eps = 1e-5,
                               .end_of_text = 10,
                               .moe = {.kind = "softmax", .experts = 3, .top_k = 2, .normalize = true, .scale = 1}};
    EXPECT_OK(family_complete(&f->config, "test"));
    declare_all(&f->table, &f->config);
    EXPECT_OK(weights_allocate_values(&f->table));
    weights_initialize(&f->table, 1);
    f->moments = calloc(2 * (size_t)f->table.total, sizeof(real));
    f->moment = calloc(2 * (size_t)f->table.n, sizeof *f->moment);
    for (ptrdiff_t i = 0; i < 2 * f->table.total; i++) f->moments[i] = (real)i;
    real *values = f->moments;
    for (int i = 0; i < 2 * f->table.n; i++) {
        const weight *w = f->table.row[i / 2];
        f->moment[i] = (weight_moment){i % 2 ? "row_squares" : "first_moment", w, w->out, i % 2 ? 1 : w->in, STORED_REAL, values};
        values += moment_size(&f->moment[i]);
    }
}

static void fixture_release(fixture *f) {
    weights_release(&f->table);
    free(f->moments), free(f->moment);
}

static int save(const fixture *f, const char *run, int64_t step, int keep) {
    checkpoint contents = {.config = &f->config, .weights = &f->table, .n_moments = 2 * f->table.n, .moments = f->moment, .state = "{\"step\": 3}\n"};
    return checkpoint_save(run, step, &contents, keep);
}

static bool has_step(const char *run, const char *step) {
    char path[PATH_BYTES];
    return snprintf(path, sizeof path, "%s/checkpoints/%s", run, step) > 0 && file_is_folder(path);
}

static void expect_resolves(const char *run, const char *step) {
    char path[PATH_BYTES] = "";
    EXPECT_OK(checkpoint_resolve(path, run));
    EXPECT(!strcmp(file_name(path), step), "resolved to %s, expected %s", path, step);
}

static void damage(const char *run, const char *file, long byte, int bit) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/checkpoints/%s", run, file);
    FILE *f = fopen(path, "r+b");
    EXPECT(f, "cannot open %s", path);
    if (!f) return;
    fseek(f, byte, SEEK_SET);
    int value = fgetc(f);
    fseek(f, byte, SEEK_SET);
    fputc(value ^ (1 << bit), f);
    fclose(f);
}

static buffer warnings;
static void keep_warnings(void *context, log_level level, const char *text) {
    (void)context;
    if (level == LOG_WARNING) buffer_printf(&warnings, "%s\n", text);
}

/* ---- cases ------------------------------------------------------------------------------------------------------------------- */

static void what_is_saved_loads_bit_for_bit(void) {
    const char *run = test_path("bits");
    fixture f, g;
    char path[PATH_BYTES];
    buffer text = {0};
    model_source *folder = NULL;
    fixture_make(&f), fixture_make(&g);
    EXPECT_OK(save(&f, run, 1200, 3));
    EXPECT_OK(checkpoint_resolve(path, run));
    EXPECT(strstr(path, "/checkpoints/step-00001200"), "%s", path);
    EXPECT_OK(checkpoint_verify(path));

    size_t bytes = (size_t)f.table.total * sizeof(real);
    const weight_moment *last = &g.moment[2 * g.table.n - 1];
    size_t moment_bytes = (size_t)((real *)last->values + moment_size(last) - g.moments) * sizeof(real);
    memset(g.table.values, 0, bytes), memset(g.moments, 0, moment_bytes);
    EXPECT_OK(model_source_open(&folder, path));
    EXPECT_OK(model_source_load(folder, &g.table, VALUES_COPIED));
    EXPECT_OK(checkpoint_load_moments(path, 2 * g.table.n, g.moment));
    EXPECT_OK(checkpoint_load_state(&text, path));
    EXPECT(!memcmp(f.table.values, g.table.values, bytes), "weights differ");
    EXPECT(!memcmp(f.moments, g.moments, moment_bytes), "moments differ");
    EXPECT(!strcmp(text.bytes, "{\"step\": 3}\n"), "state \"%s\"", text.bytes);
    EXPECT(!strcmp(model_source_config(folder)->family, "mixtral"), "family %s", model_source_config(folder)->family);
    g.moment[0].name = "third_moment";
    EXPECT_ERROR(checkpoint_load_moments(path, 1, g.moment), LAMP_MALFORMED, "tensor third_moment.embedding: expected [1, 11, 8], found nothing");
    model_source_close(folder);
    buffer_release(&text);
    fixture_release(&f), fixture_release(&g);
}

static void weights_can_stay_in_the_file(void) {
    const char *run = test_path("mapped");
    fixture f;
    char path[PATH_BYTES];
    model_source *folder = NULL;
    weights table = {0};
    fixture_make(&f);
    EXPECT_OK(save(&f, run, 1, 1));
    EXPECT_OK(checkpoint_resolve(path, run));
    declare_all(&table, &f.config);
    EXPECT_OK(model_source_open(&folder, path));
    EXPECT_OK(model_source_load(folder, &table, VALUES_REAL));
    EXPECT(!table.values, "a block was allocated");
    for (int i = 0; i < table.n; i++)
        for (ptrdiff_t g = 0; g < table.row[i]->groups; g++)
            EXPECT(!memcmp(table.row[i]->value[g], f.table.row[i]->value[g], sizeof(real) * (size_t)(table.row[i]->out * table.row[i]->in)),
                   "%s of layer %d, group %td", table.row[i]->kind, table.row[i]->layer, g);
    weights_release(&table);
    model_source_close(folder);
    fixture_release(&f);
}

static void old_checkpoints_go_by_number(void) {
    const char *run = test_path("keep");
    fixture f;
    fixture_make(&f);
    static const int64_t steps[] = {7, 99999999, 100000000, 100000001};
    for (int i = 0; i < 4; i++) EXPECT_OK(save(&f, run, steps[i], 2));
    EXPECT(!has_step(run, "step-00000007") && !has_step(run, "step-99999999"), "old ones stayed");
    EXPECT(has_step(run, "step-100000000") && has_step(run, "step-100000001"), "new ones went");
    expect_resolves(run, "step-100000001");
    EXPECT_OK(save(&f, run, 100000002, 0));
    EXPECT(!has_step(run, "step-100000001") && has_step(run, "step-100000002"), "keep 0 keeps the one just saved");
    EXPECT_OK(save(&f, run, 50, 1)); /* resumed from an older one */
    EXPECT(has_step(run, "step-00000050") && has_step(run, "step-100000002"), "the one just saved went");
    expect_resolves(run, "step-00000050");
    fixture_release(&f);
}

/* What must be said of a flipped bit in this byte: ", in its header", ", in tensor NAME (bytes A to B)", or of other files nothing. */
static void place_of(char said[256], const safetensors *file, long byte) {
    snprintf(said, 256, "%s", file ? ", in its header" : "");
    for (size_t i = 0; file && i < file->n; i++) {
        const safetensors_entry *entry = &file->entry[i];
        ptrdiff_t first = entry->bytes - file->map.bytes, last = first + (entry->end - entry->begin) - 1;
        if (byte >= first && byte <= last) snprintf(said, 256, ", in tensor %s (bytes %td to %td)", entry->name, first, last);
    }
}

static void a_thousand_flipped_bits_are_found_and_named(void) {
    enum { FLIPS = 1000 };
    static const char *const files[] = {"config.json",           "generation_config.json", "model.safetensors",
                                        "optimizer.safetensors", "trainer.json",           "manifest.json"};
    const char *run = test_path("flip");
    random_key key = random_key_make(1, RANDOM_SAMPLE, 0, 0);
    fixture f;
    fixture_make(&f);
    EXPECT_OK(save(&f, run, 5, 1));
    char path[PATH_BYTES];
    EXPECT_OK(checkpoint_resolve(path, run));
    safetensors *tensors[6] = {NULL};
    for (int i = 0; i < 6; i++) {
        char whole[PATH_BYTES];
        if (!strstr(files[i], ".safetensors")) continue;
        EXPECT_OK(file_join(whole, path, files[i]));
        EXPECT_OK(safetensors_open(&tensors[i], whole));
    }
    for (int i = 0; i < FLIPS; i++) {
        char file[PATH_BYTES], whole[PATH_BYTES], said[256], expected[PATH_BYTES + 512];
        const char *name = files[i % 6];
        uint64_t bits = random_bits(key, (uint64_t)i);
        int64_t bytes = 0;
        snprintf(file, sizeof file, "step-00000005/%s", name);
        EXPECT_OK(file_join(whole, path, name));
        EXPECT_OK(file_size(&bytes, whole));
        long place = (long)(bits >> 3) % (long)bytes;
        damage(run, file, place, (int)(bits & 7));
        int status = checkpoint_verify(path);
        EXPECT(status == LAMP_CHECKPOINT || (!strcmp(name, "manifest.json") && (status == LAMP_MALFORMED || status == LAMP_UNSUPPORTED)),
               "%s, byte %ld, bit %d: status %d", name, place, (int)(bits & 7), status);
        EXPECT(strstr(lamp_error_message(), whole), "%s is not named: %s", name, lamp_error_message());
        place_of(said, tensors[i % 6], place);
        snprintf(expected, sizeof expected, "%s: damaged since it was saved%s: expected hash ", whole, said);
        if (strcmp(name, "manifest.json")) EXPECT(strstr(lamp_error_message(), expected), "byte %ld: %s", place, lamp_error_message());
        damage(run, file, place, (int)(bits & 7));
    }
    EXPECT_OK(checkpoint_verify(path));
    for (int i = 0; i < 6; i++) safetensors_close(tensors[i]);
    fixture_release(&f);
}

static void a_damaged_checkpoint_is_passed_over(void) {
    const char *run = test_path("fallback");
    fixture f;
    char file[PATH_BYTES];
    fixture_make(&f);
    for (int step = 1; step <= 3; step++) EXPECT_OK(save(&f, run, step, 5));
    log_set_sink(keep_warnings, NULL);
    snprintf(file, sizeof file, "%s/checkpoints/step-00000003/model.safetensors", run);
    EXPECT(!truncate(file, 100), "cannot truncate");
    expect_resolves(run, "step-00000002");
    EXPECT(strstr(warnings.bytes, "model.safetensors: expected ") && strstr(warnings.bytes, "found 100"), "%s", warnings.bytes);
    snprintf(file, sizeof file, "%s/checkpoints/step-00000002/manifest.json", run);
    EXPECT(!remove(file), "cannot remove");
    expect_resolves(run, "step-00000001");
    EXPECT_OK(save(&f, run, 3, 5)); /* a damaged step is replaced */
    expect_resolves(run, "step-00000003");
    log_set_sink(NULL, NULL);
    buffer_release(&warnings);
    fixture_release(&f);
}

static void every_crash_leaves_a_checkpoint(void) {
    const char *run = test_path("crash");
    fixture f;
    char latest[PATH_BYTES], partial[PATH_BYTES], inside[PATH_BYTES];
    fixture_make(&f);
    EXPECT_OK(save(&f, run, 1, 5));
    EXPECT_OK(save(&f, run, 2, 5));
    snprintf(latest, sizeof latest, "%s/checkpoints/latest", run);
    snprintf(partial, sizeof partial, "%s/checkpoints/.partial", run);
    snprintf(inside, sizeof inside, "%s/model.safetensors", partial);

    EXPECT(!remove(latest), "cannot remove"); /* before the first link was made */
    expect_resolves(run, "step-00000002");
    EXPECT(!symlink("step-00000009", latest), "cannot link"); /* to one that is gone */
    expect_resolves(run, "step-00000002");
    EXPECT(!remove(latest) && !symlink("../../elsewhere", latest), "cannot link");
    expect_resolves(run, "step-00000002");

    EXPECT_OK(file_make_folder(partial)); /* in the middle of writing */
    EXPECT_OK(file_write_whole(inside, "half", 4));
    expect_resolves(run, "step-00000002");
    EXPECT_OK(save(&f, run, 3, 5));
    EXPECT(!file_exists(partial), "%s is still there", partial);
    expect_resolves(run, "step-00000003");
    EXPECT_OK(save(&f, run, 3, 5)); /* once more, as after a resume that stops at once */
    expect_resolves(run, "step-00000003");
    fixture_release(&f);
}

/* A process that saves without end is killed at some moment; what is found then is one of its checkpoints, whole, never a mixture. */
static void killing_a_save_loses_nothing(void) {
    const char *run = test_path("kill");
    fixture f;
    char path[PATH_BYTES];
    fixture_make(&f);
    EXPECT_OK(save(&f, run, 0, 2));
    for (int round = 0; round < 12; round++) {
        char path_before[PATH_BYTES];
        EXPECT_OK(checkpoint_resolve(path_before, run));
        long before = strtol(strstr(path_before, "step-") + 5, NULL, 10);
        pid_t child = fork();
        if (child == 0) {
            for (long step = before + 1;; step++) {
                for (ptrdiff_t i = 0; i < f.table.total; i++) f.table.values[i] = (real)step;
                if (save(&f, run, step, 2) < 0) _exit(1);
            }
        }
        usleep((useconds_t)(3000 + 2311 * round));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);

        EXPECT_OK(checkpoint_resolve(path, run));
        EXPECT_OK(checkpoint_verify(path));
        long after = strtol(strstr(path, "step-") + 5, NULL, 10);
        EXPECT(after >= before, "step %ld became %ld", before, after);
        model_source *folder = NULL;
        weights table = {0};
        declare_all(&table, &f.config);
        EXPECT_OK(model_source_open(&folder, path));
        EXPECT_OK(model_source_load(folder, &table, VALUES_REAL));
        for (int i = 0; i < table.n && after > 0; i++)
            EXPECT(table.row[i]->value[0][0] == (real)after, "%s: %g in step %ld", table.row[i]->kind, (double)table.row[i]->value[0][0], after);
        weights_release(&table);
        model_source_close(folder);
    }
    fixture_release(&f);
}

static void what_is_no_model_is_told_so(void) {
    char path[PATH_BYTES], empty[PATH_BYTES];
    snprintf(empty, sizeof empty, "%s", test_path("empty/checkpoints"));
    EXPECT_ERROR(checkpoint_resolve(path, test_path("absent")), LAMP_IO, "absent: expected a model folder, a run folder or a GGUF file, found nothing");
    EXPECT_ERROR(checkpoint_resolve(path, test_folder()), LAMP_CHECKPOINT, "found neither");
    EXPECT_OK(file_make_folder(empty));
    EXPECT_ERROR(checkpoint_resolve(path, test_path("empty")), LAMP_CHECKPOINT, "expected a whole checkpoint step-NNNNNNNN, found none");
    EXPECT_OK(checkpoint_verify(empty));
    buffer text = {0};
    EXPECT_ERROR(checkpoint_load_state(&text, empty), LAMP_CHECKPOINT, "it can be run but not resumed");
    model_source *folder;
    EXPECT_ERROR(model_source_open(&folder, empty), LAMP_IO, "config.json: cannot open");
}

/* A folder with a config.json and as yet no weights. */
static void write_folder(const char *path, const model_config *config) {
    buffer text = {0};
    char file[PATH_BYTES];
    EXPECT_OK(file_make_folder(path));
    EXPECT_OK(file_join(file, path, "config.json"));
    EXPECT_OK(family_write_config(config, &text));
    EXPECT_OK(file_write_whole(file, text.bytes, text.length));
    buffer_release(&text);
}

typedef struct {
    const char *name;
    int rank;
    int64_t shape[2];
} tensor_row;

static void write_tensors(const char *folder, const char *name, const tensor_row *rows, int n) {
    char path[PATH_BYTES];
    safetensors_writer *writer = NULL;
    hash128 hash;
    int64_t bytes;
    EXPECT_OK(file_join(path, folder, name));
    EXPECT_OK(safetensors_writer_new(&writer, path));
    for (int i = 0; i < n; i++) EXPECT_OK(safetensors_writer_declare(writer, rows[i].name, rows[i].rank, rows[i].shape));
    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < rows[i].shape[0] * (rows[i].rank > 1 ? rows[i].shape[1] : 1); j++)
            EXPECT_OK(safetensors_writer_write(writer, &(real){(real)(i + 1)}, 1));
    EXPECT_OK(safetensors_writer_finish(writer, &hash, &bytes));
    safetensors_writer_free(writer);
}

static void tensors_that_do_not_fit_are_listed(void) {
    static const tensor_row rows[] = {{"model.norm.weight", 1, {9}}, {"lm_head.weight", 2, {11, 8}}, {"spare", 2, {100, 100}}};
    const char *path = test_path("misfit");
    fixture f;
    model_source *folder = NULL;
    fixture_make(&f);
    write_folder(path, &f.config);
    EXPECT_ERROR(model_source_open(&folder, path), LAMP_IO, "expected model.safetensors or model.safetensors.index.json, found neither");
    write_tensors(path, "model.safetensors", rows, 2);
    EXPECT_ERROR(model_source_open(&folder, path), LAMP_MALFORMED, "but the safetensors files hold 97");
    write_tensors(path, "model.safetensors", rows, 3);
    EXPECT_OK(model_source_open(&folder, path));
    EXPECT_ERROR(model_source_load(folder, &f.table, VALUES_COPIED), LAMP_MALFORMED, "\n  model.embed_tokens.weight: expected [11, 8], found nothing");
    EXPECT(strstr(lamp_error_message(), "and 26 more"), "%s", lamp_error_message());
    model_source_close(folder);

    weights table = {0};
    weight *w;
    folder = NULL;
    EXPECT_OK(weights_declare(&w, &table, "norm", -1, ROLE_NORM, 1, 1, 8, 0));
    EXPECT_OK(model_source_open(&folder, path));
    EXPECT_ERROR(model_source_load(folder, &table, VALUES_REAL), LAMP_MALFORMED, "\n  model.norm.weight: expected [8], found [9]");
    model_source_close(folder);
    weights_release(&table);

    log_set_sink(keep_warnings, NULL);
    folder = NULL;
    EXPECT_OK(weights_declare(&w, &table, "norm", -1, ROLE_NORM, 1, 1, 9, 0));
    EXPECT_OK(model_source_open(&folder, path));
    EXPECT_OK(model_source_load(folder, &table, VALUES_REAL));
    EXPECT(strstr(warnings.bytes, "2 tensors that this model has no use for are ignored: lm_head.weight, spare"), "%s", warnings.bytes);
    log_set_sink(NULL, NULL);
    buffer_release(&warnings);
    model_source_close(folder);
    weights_release(&table);
    fixture_release(&f);
}

static int open_index(const char *path, const char *index) {
    char file[PATH_BYTES];
    model_source *folder = NULL;
    EXPECT_OK(file_join(file, path, "model.safetensors.index.json"));
    EXPECT_OK(file_write_whole(file, index, strlen(index)));
    int status = model_source_open(&folder, path);
    model_source_close(folder);
    return status;
}

static void shards_are_files_of_the_folder(void) {
    static const tensor_row one[] = {{"model.norm.weight", 1, {8}}, {"spare", 2, {100, 100}}}, two[] = {{"lm_head.weight", 2, {11, 8}}};
    const char *path = test_path("shards");
    fixture f;
    fixture_make(&f);
    write_folder(path, &f.config);
    write_tensors(path, "one.safetensors", one, 2);
    write_tensors(path, "two.safetensors", two, 1);
    EXPECT_OK(open_index(
        path, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\"model.norm.weight\": \"one.safetensors\", "
              "\"lm_head.weight\": \"two.safetensors\", \"spare\": \"one.safetensors\", \"model.embed_tokens.weight\": \"two.safetensors\"}}"));
    model_source *folder = NULL;
    weights table = {0};
    weight *norm, *head;
    EXPECT_OK(weights_declare(&norm, &table, "norm", -1, ROLE_NORM, 1, 1, 8, 0));
    EXPECT_OK(weights_declare(&head, &table, "head", -1, ROLE_MATRIX, 1, 11, 8, 0));
    EXPECT_OK(model_source_open(&folder, path));
    EXPECT_OK(model_source_load(folder, &table, VALUES_REAL));
    EXPECT(norm->value[0][7] == 1 && head->value[0][87] == 1, "found %g and %g", (double)norm->value[0][7], (double)head->value[0][87]);
    model_source_close(folder);
    weights_release(&table);
    fixture_release(&f);
}

/* The same model twice, by transformers: a tensor per expert as on the hub, and all experts in one. */
static void fused_experts_are_the_same_weights(void) {
    model_source *plain = NULL, *fused = NULL;
    weights a = {0}, b = {0};
    EXPECT_OK(model_source_open(&plain, "tests/golden/models/mixtral"));
    EXPECT_OK(model_source_open(&fused, "tests/golden/models/mixtral_fused"));
    if (plain && fused) {
        declare_all(&a, model_source_config(plain)), declare_all(&b, model_source_config(fused));
        EXPECT_OK(model_source_load(plain, &a, VALUES_REAL));
        EXPECT_OK(model_source_load(fused, &b, VALUES_REAL));
        for (int i = 0; i < a.n; i++)
            for (ptrdiff_t g = 0; g < a.row[i]->groups; g++)
                EXPECT(a.row[i]->value[g] && b.row[i]->value[g] &&
                           !memcmp(a.row[i]->value[g], b.row[i]->value[g], sizeof(real) * (size_t)(a.row[i]->out * a.row[i]->in)),
                       "%s of layer %d, expert %td", a.row[i]->kind, a.row[i]->layer, g);
    }
    model_source_close(plain), model_source_close(fused);
    weights_release(&a), weights_release(&b);
}

static void the_tokenizer_travels_with_the_weights(void) {
    static const char text[] = "the lamp lights the street, the street lights the lamp";
    const char *run = test_path("tokenizer");
    char path[PATH_BYTES], file[PATH_BYTES];
    tokenizer_trainer *trainer = NULL;
    tokenizer *t = NULL;
    fixture f;
    fixture_make(&f);
    EXPECT_OK(tokenizer_trainer_new(&trainer, VOCABULARY_OF_BYTES));
    EXPECT_OK(tokenizer_trainer_feed(trainer, text, strlen(text)));
    EXPECT_OK(tokenizer_trainer_finish(&t, trainer, 270));
    tokenizer_trainer_free(trainer);
    checkpoint contents = {.config = &f.config, .weights = &f.table, .tokenizer = t};
    EXPECT_OK(checkpoint_save(run, 1, &contents, 1));
    EXPECT_OK(checkpoint_resolve(path, run));
    EXPECT_OK(checkpoint_verify(path));
    EXPECT_OK(file_join(file, path, "tokenizer_config.json"));
    json_t *root = NULL;
    const char *end = "";
    EXPECT_OK(json_read_file(&root, file));
    EXPECT_OK(json_get_text(&end, root, "eos_token", file));
    EXPECT(strstr(end, "endoftext"), "eos_token \"%s\"", end);
    json_decref(root);
    damage(run, "step-00000001/tokenizer.json", 40, 4);
    EXPECT_ERROR(checkpoint_verify(path), LAMP_CHECKPOINT, "tokenizer.json: damaged");
    tokenizer_free(t);
    fixture_release(&f);
}

static const test_case cases[] = {
    {"what is saved loads bit for bit", what_is_saved_loads_bit_for_bit},
    {"weights can stay in the file", weights_can_stay_in_the_file},
    {"old checkpoints go by number", old_checkpoints_go_by_number},
    {"a thousand flipped bits are found and named", a_thousand_flipped_bits_are_found_and_named},
    {"a damaged checkpoint is passed over", a_damaged_checkpoint_is_passed_over},
    {"every crash leaves a checkpoint", every_crash_leaves_a_checkpoint},
    {"killing a save loses nothing", killing_a_save_loses_nothing},
    {"what is no model is told so", what_is_no_model_is_told_so},
    {"tensors that do not fit are listed", tensors_that_do_not_fit_are_listed},
    {"shards are files of the folder", shards_are_files_of_the_folder},
    {"fused experts are the same weights", fused_experts_are_the_same_weights},
    {"the tokenizer travels with the weights", the_tokenizer_travels_with_the_weights},
};

int main(void) { return test_run("checkpoint", cases, sizeof cases / sizeof *cases); }
