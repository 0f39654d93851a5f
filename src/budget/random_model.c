#include "budget/random_model.h"

#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "formats/gguf_save.h"
#include "formats/quantise.h"
#include "models/families/family.h"
#include "models/model.h"

enum { DISTINCT = 1 << 20 /* values */, SEED = 6 };

/* Where groups take their values from: the same run again and again, as long as the longest of them and one run more. */
typedef struct {
    char *bytes;
    ptrdiff_t run, groups; /* bytes; groups that have been given theirs */
} numbers;

static int olmoe_config(model_config *c) {
    const family *f;
    TRY(family_find(&f, "olmoe", "a random model"));
    *c = family_defaults(f);
    c->vocab_size = 50304, c->hidden_size = 2048, c->intermediate_size = 1024, c->num_hidden_layers = 16;
    c->num_attention_heads = 16, c->num_key_value_heads = 16;
    c->max_position_embeddings = 4096;
    c->moe.experts = 64, c->moe.top_k = 8;
    return family_complete(c, "a random model");
}

static int make_numbers(numbers *n, stored_type type, double deviation, ptrdiff_t values) {
    real *x = NULL;
    const ptrdiff_t runs = values / DISTINCT + 2;
    int status;
    n->run = stored_row_bytes(type, DISTINCT);
    TRY_TO(done, memory_new(&x, DISTINCT, sizeof *x, "random numbers"));
    TRY_TO(done, memory_new_block(&n->bytes, (size_t)(runs * n->run), 1, "random weights"));
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < DISTINCT; i++)
        x[i] = (real)(deviation > 0 ? deviation * random_normal((random_key){SEED, (uint64_t)type}, (uint64_t)i) : 1);
    if (type == STORED_REAL) memcpy(n->bytes, x, sizeof *x * DISTINCT);
    else TRY_TO(done, quantise(n->bytes, type, x, DISTINCT));
    for (ptrdiff_t r = 1; r < runs; r++) memcpy(n->bytes + r * n->run, n->bytes, (size_t)n->run);
done:
    memory_free(x);
    return status;
}

static stored_group next_group(numbers *n, stored_type type) {
    const ptrdiff_t block = stored_formats[type].bytes;
    const uint64_t place = random_below((random_key){SEED, STORED_TYPES}, (uint64_t)n->groups++, (uint64_t)(n->run / block));
    return (stored_group){.tensor = "random numbers", .bytes = n->bytes + (ptrdiff_t)place * block, .type = type};
}

static ptrdiff_t largest_group(const weights *table) {
    ptrdiff_t most = 0;
    for (int i = 0; i < table->n; i++) {
        const ptrdiff_t size = table->row[i]->out * table->row[i]->in;
        most = size > most ? size : most;
    }
    return most;
}

/* The deviation keeps activations as they are: inputs to a row are up to hidden_size many. */
static int fill_groups(stored_group *group, numbers of[3], const weights *table, stored_type type) {
    TRY(make_numbers(&of[0], type, 0.02, largest_group(table)));
    TRY(make_numbers(&of[1], STORED_REAL, 0.02, DISTINCT));
    TRY(make_numbers(&of[2], STORED_REAL, 0, DISTINCT));
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const int kind = weight_is_vector(w) ? 2 : w->role == ROLE_ROUTER ? 1 : 0;
        for (ptrdiff_t g = 0; g < w->groups; g++) *group++ = next_group(&of[kind], kind ? STORED_REAL : type);
    }
    return LAMP_OK;
}

static int write_whole(const char *path, const gguf_contents *contents) {
    char whole[PATH_BYTES], partial[PATH_BYTES];
    TRY(file_name_partial(whole, partial, path));
    TRY(gguf_save(partial, contents));
    return file_rename(partial, whole);
}

int random_model_write(const char *path, stored_type type) {
    model_config config;
    model m = {0};
    stored_group *groups = NULL;
    numbers of[3] = {{0}};
    ptrdiff_t n = 0;
    int status;
    if (file_exists(path)) FAIL(LAMP_INVALID, "%s: is there already", path);
    TRY_TO(done, olmoe_config(&config));
    TRY_TO(done, model_open(&m, &config));
    for (int i = 0; i < m.weights.n; i++) n += m.weights.row[i]->groups;
    TRY_TO(done, memory_new(&groups, (size_t)n, sizeof *groups, "random weights"));
    TRY_TO(done, fill_groups(groups, of, &m.weights, type));
    gguf_contents contents = {.config = &config, .table = &m.weights, .groups = groups};
    for (int part = 0; part < SAVED_PARTS; part++) contents.type[part] = STORED_TYPES;
    TRY_TO(done, write_whole(path, &contents));
done:
    for (int i = 0; i < 3; i++) memory_free(of[i].bytes);
    memory_free(groups);
    model_close(&m);
    return status;
}
