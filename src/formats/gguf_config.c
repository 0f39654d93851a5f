/* Settings of a GGUF file <-> model_config, through the tables of gguf_architecture.c. A setting of the architecture that no table knows could
 * change the function that is computed: it is refused by name, unless it is known to be harmless. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/problems.h"
#include "formats/gguf_architecture.h"
#include "formats/gguf_latent.h"
#include "formats/gguf_rope.h"
#include "models/families/family.h"

#define AT(field) offsetof(model_config, field)

static const gguf_key usual_keys[] = {
    {"vocab_size", OPTION_INTEGER, AT(vocab_size), 1, 1 << 24, true},
    {"context_length", OPTION_INTEGER, AT(max_position_embeddings), 1, 1 << 30, false},
    {"embedding_length", OPTION_INTEGER, AT(hidden_size), 1, 1 << 20, false},
    {"block_count", OPTION_INTEGER, AT(num_hidden_layers), 1, 1 << 14, false},
    {"attention.head_count", OPTION_INTEGER, AT(num_attention_heads), 1, 1 << 14, false},
    {"attention.head_count_kv", OPTION_INTEGER, AT(num_key_value_heads), 1, 1 << 14, true},
    {"attention.key_length", OPTION_INTEGER, AT(head_dim), 2, 1 << 14, true},
    {"attention.layer_norm_rms_epsilon", OPTION_NUMBER, AT(rms_norm_eps), 0, 1, false},
    {"rope.freq_base", OPTION_NUMBER, AT(rope_theta), 0, 1e15, true},
};

enum { N_USUAL_KEYS = sizeof usual_keys / sizeof *usual_keys, KEY_BYTES = 160 };

/* Said again elsewhere, or of no consequence. */
static const char *const checked_keys[] = {"attention.value_length", "rope.dimension_count", "expert_count", "expert_used_count"};
static const char *const harmless_keys[] = {"tensor_data_layout", "rope.scaling.finetuned"};

static const gguf_key *key_of(const gguf_architecture *a, int i) { return i < N_USUAL_KEYS ? &usual_keys[i] : &a->keys[i - N_USUAL_KEYS]; }
static int n_keys(const gguf_architecture *a) { return N_USUAL_KEYS + a->n_keys; }

static void name_key(char name[KEY_BYTES], const gguf_architecture *a, const char *key) { snprintf(name, KEY_BYTES, "%s.%s", a->name, key); }

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static int read_key(model_config *c, const gguf *file, const gguf_architecture *a, const gguf_key *k) {
    char name[KEY_BYTES];
    void *at = (char *)c + k->offset;
    name_key(name, a, k->key);
    if (k->optional && !gguf_find(file, name)) return LAMP_OK;
    if (k->type == OPTION_BOOL) return gguf_get_bool(at, file, name);
    if (k->type == OPTION_INTEGER) return gguf_get_integer(at, file, name, (int64_t)k->min, (int64_t)k->max);
    TRY(gguf_get_number(at, file, name));
    double value = *(double *)at;
    if (!(value >= k->min && value <= k->max)) FAIL(LAMP_MALFORMED, "%s: %s: expected %g to %g, found %g", file->path, name, k->min, k->max, value);
    return LAMP_OK;
}

/* If it is there. */
static int check_equals(const gguf *file, const gguf_architecture *a, const char *key, int64_t expected) {
    char name[KEY_BYTES];
    int64_t found = 0;
    name_key(name, a, key);
    if (!gguf_find(file, name)) return LAMP_OK;
    TRY(gguf_get_integer(&found, file, name, 0, INT64_MAX));
    if (found != expected)
        FAIL(LAMP_UNSUPPORTED, "%s: %s: expected %lld, the head's width, found %lld", file->path, name, (long long)expected, (long long)found);
    return LAMP_OK;
}

static bool is_in(const char *const *list, size_t n, const char *key, size_t length) {
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == length && !memcmp(list[i], key, length)) return true;
    return false;
}

static bool is_known(const gguf_architecture *a, const char *key, size_t length) {
    char name[KEY_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)(length < KEY_BYTES ? length : KEY_BYTES - 1), key);
    if (gguf_rope_knows(name) || (a->latent && gguf_latent_knows(name)) || (a->gating && !strcmp(name, "expert_gating_func"))) return true;
    for (int i = 0; i < n_keys(a); i++)
        if (is_in(&key_of(a, i)->key, 1, key, length)) return true;
    return is_in(checked_keys, sizeof checked_keys / sizeof *checked_keys, key, length) ||
           is_in(harmless_keys, sizeof harmless_keys / sizeof *harmless_keys, key, length);
}

static int check_all_known(const gguf *file, const gguf_architecture *a) {
    size_t prefix = strlen(a->name) + 1;
    problem_list p = {0};
    for (size_t i = 0; i < file->n_settings; i++) {
        gguf_text key = file->setting[i].key;
        bool ours = key.length > prefix && !memcmp(key.bytes, a->name, prefix - 1) && key.bytes[prefix - 1] == '.';
        if (ours && !is_known(a, key.bytes + prefix, key.length - prefix))
            problems_add(&p, error_set(LAMP_UNSUPPORTED, "%s: %.*s: expected nothing, found a setting that could change what the model computes",
                                       file->path, (int)(key.length < 100 ? key.length : 100), key.bytes));
    }
    return problems_end(&p);
}

/* The vocabulary, which is said once or several times, and the token that ends a text. */
static int read_vocabulary(model_config *c, const gguf *file) {
    const gguf_tensor *embedding = gguf_find_tensor(file, "token_embd.weight");
    int64_t rows = embedding ? embedding->dimension[1] : 0;
    if (!embedding) FAIL(LAMP_MALFORMED, "%s: tensor token_embd.weight: expected {embedding_length, vocabulary}, found nothing", file->path);
    if (c->vocab_size == 0) c->vocab_size = rows;
    if (c->vocab_size != rows)
        FAIL(LAMP_MALFORMED, "%s: vocab_size: expected %lld, the rows of token_embd.weight, found %lld", file->path, (long long)rows,
             (long long)c->vocab_size);
    c->tie_word_embeddings = !gguf_find_tensor(file, "output.weight");
    c->end_of_text = -1;
    if (!gguf_find(file, "tokenizer.ggml.eos_token_id")) return LAMP_OK;
    return gguf_get_integer(&c->end_of_text, file, "tokenizer.ggml.eos_token_id", 0, rows - 1);
}

static int check_not_split(const gguf *file) {
    int64_t parts = 1;
    if (gguf_find(file, "split.count")) TRY(gguf_get_integer(&parts, file, "split.count", 0, 1 << 16));
    if (parts > 1)
        FAIL(LAMP_UNSUPPORTED, "%s: split.count: expected a whole model, found one of %lld files: join them with llama-gguf-split --merge",
             file->path, (long long)parts);
    return LAMP_OK;
}

int gguf_read_config(model_config *c, const gguf *file, const gguf_architecture *a) {
    problem_list p = {0};
    *c = gguf_defaults(a);
    TRY(check_not_split(file));
    for (int i = 0; i < n_keys(a); i++) problems_add(&p, read_key(c, file, a, key_of(a, i)));
    TRY(problems_end(&p));
    if (c->num_key_value_heads == 0) c->num_key_value_heads = c->num_attention_heads;
    if (a->unnormed_experts > 0) c->normed = gguf_is_normed(a, c);
    if (a->biased) c->biased = gguf_find_tensor(file, "blk.0.attn_q.bias") != NULL;
    if (a->latent) problems_add(&p, gguf_read_latent(c, file, a->name));
    problems_add(&p, read_vocabulary(c, file));
    problems_add(&p, check_all_known(file, a));
    TRY(problems_end(&p));
    TRY(family_complete(c, file->path));
    TRY(gguf_read_rope(c, file, a->name));
    if (a->latent) return LAMP_OK;
    TRY(check_equals(file, a, "attention.value_length", c->head_dim));
    return check_equals(file, a, "rope.dimension_count", c->head_dim);
}

int gguf_read_config_of(model_config *c, const char *path) {
    gguf *file;
    const gguf_architecture *a;
    TRY(gguf_open(&file, path));
    int status = gguf_architecture_of_file(&a, file);
    if (status >= 0) status = gguf_read_config(c, file, a);
    gguf_close(file);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------------------- */

static void write_key(gguf_writer *w, const model_config *c, const gguf_architecture *a, const gguf_key *k) {
    char name[KEY_BYTES];
    const void *at = (const char *)c + k->offset;
    name_key(name, a, k->key);
    if (k->type == OPTION_BOOL) gguf_put_bool(w, name, *(const bool *)at);
    else if (k->type == OPTION_INTEGER) gguf_put_integer(w, name, (uint32_t) * (const int64_t *)at);
    else gguf_put_number(w, name, *(const double *)at);
}

void gguf_write_config(gguf_writer *w, const model_config *c, const gguf_architecture *a) {
    char name[KEY_BYTES];
    gguf_put_text(w, "general.architecture", a->name, strlen(a->name));
    gguf_put_text(w, "general.type", "model", strlen("model"));
    for (int i = 0; i < n_keys(a); i++) write_key(w, c, a, key_of(a, i));
    if (a->gating) name_key(name, a, "expert_gating_func"), gguf_put_integer(w, name, (uint32_t)a->gating);
    if (a->latent) {
        gguf_write_latent(w, c, a->name);
    } else {
        name_key(name, a, "attention.value_length"), gguf_put_integer(w, name, (uint32_t)c->head_dim);
        name_key(name, a, "rope.dimension_count"), gguf_put_integer(w, name, (uint32_t)c->head_dim);
    }
    gguf_write_rope(w, c, a->name);
}
