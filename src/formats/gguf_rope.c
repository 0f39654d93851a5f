#include "formats/gguf_rope.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "models/rope.h"

enum { KEY_BYTES = 160 };

static const struct {
    const char *key;
    size_t offset; /* of a double */
} yarn_numbers[] = {{"rope.scaling.yarn_beta_fast", offsetof(model_config, rope.beta_fast)},
                    {"rope.scaling.yarn_beta_slow", offsetof(model_config, rope.beta_slow)}};

enum { YARN_NUMBERS = sizeof yarn_numbers / sizeof *yarn_numbers };

static const char TYPE[] = "rope.scaling.type", FACTOR[] = "rope.scaling.factor", ORIGINAL[] = "rope.scaling.original_context_length",
                  LENGTH[] = "rope.scaling.attn_factor", SCORE[] = "rope.scaling.yarn_log_multiplier";

bool gguf_rope_knows(const char *key) {
    for (int i = 0; i < YARN_NUMBERS; i++)
        if (!strcmp(key, yarn_numbers[i].key)) return true;
    return !strcmp(key, TYPE) || !strcmp(key, FACTOR) || !strcmp(key, ORIGINAL) || !strcmp(key, LENGTH) || !strcmp(key, SCORE);
}

static bool is(const model_config *c, const char *kind) { return !strcmp(c->rope.kind, kind); }

static const char *named(char name[KEY_BYTES], const char *architecture, const char *key) {
    snprintf(name, KEY_BYTES, "%s.%s", architecture, key);
    return name;
}

/* What YaRN multiplies queries and keys with where nothing else is said; in latent attention it is the scores that are multiplied. */
static double usual_length(const model_config *c) {
    const rope_scaling s = {.kind = "yarn", .factor = c->rope.factor};
    return c->latent.key_rank > 0 && c->rope.mscale_all_dim > 0 ? 1 : rope_length(&s);
}

/* ---- divisors of frequencies ----------------------------------------------------------------------------------------------------- */

bool gguf_rope_has_divisors(const model_config *c) { return is(c, "llama3"); }

int gguf_rope_divisors(float *divisor, const model_config *c) {
    const int64_t half = c->head_dim / 2;
    model_config plain = *c;
    double *f;
    TRY(memory_new(&f, (size_t)half, 2 * sizeof *f, "frequencies of RoPE"));
    plain.rope = rope_usual;
    rope_frequencies(f, c, c->head_dim), rope_frequencies(f + half, &plain, c->head_dim);
    for (int64_t i = 0; i < half; i++) divisor[i] = (float)(f[half + i] / f[i]);
    memory_free(f);
    return LAMP_OK;
}

/* Where a frequency lies between those that are stretched (0) and those that are not (1). */
static double share_of(double divisor, double factor) { return (1 / divisor - 1 / factor) / (1 - 1 / factor); }

/* share = (original / (2 pi high - 2 pi low)) f - low / (high - low): two frequencies between say what both are. low is 1, as ever; where only one
 * lies between, high is 4, and where there is none, the first that is stretched is the last that could be. */
static void solve_llama3(rope_scaling *s, const float *divisor, const double *f, int64_t half) {
    const double sure = 1e-5;
    int64_t first = -1, last = -1, stretched = half - 1;
    for (int64_t i = 0; i < half; i++) {
        const double share = share_of((double)divisor[i], s->factor);
        if (share > sure && share < 1 - sure) last = i, first = first < 0 ? i : first;
        if (share <= sure && i < stretched) stretched = i;
    }
    double original = 2 * M_PI / f[stretched];
    if (first >= 0) {
        const double share = share_of((double)divisor[first], s->factor);
        double slope = (share + 1.0 / 3) / f[first];
        if (last > first) slope = (share - share_of((double)divisor[last], s->factor)) / (f[first] - f[last]);
        const double below = slope * f[first] - share; /* low / (high - low) */
        s->high_frequency = round((1 + 1 / below) * 1e4) / 1e4;
        original = 2 * M_PI * slope / below;
    }
    s->original = original < 1 << 30 ? (int64_t)round(original) : 0;
}

/* The first place that does not agree; half: there is none. */
static int64_t place_of_other(const float *divisor, const float *made, int64_t half) {
    int64_t i = 0;
    while (i < half && fabsf(divisor[i] / made[i] - 1) < 1e-4F) i++;
    return i;
}

static int find_llama3(int64_t *other, model_config *c, const float *divisor, int64_t half) {
    double *f = NULL;
    float *made = NULL;
    int status = LAMP_OK;
    *other = 0;
    TRY_TO(done, memory_new(&f, (size_t)half, sizeof *f, "frequencies of RoPE"));
    TRY_TO(done, memory_new(&made, (size_t)half, sizeof *made, "divisors of frequencies"));
    rope_frequencies(f, c, c->head_dim);
    c->rope.factor = 1;
    for (int64_t i = 0; i < half; i++)
        if ((double)divisor[i] > c->rope.factor) c->rope.factor = (double)divisor[i];
    if (c->rope.factor > 1) strcpy(c->rope.kind, "llama3"), solve_llama3(&c->rope, divisor, f, half);
    if (rope_complete(c, GGUF_ROPE_TENSOR) < 0) goto done;
    TRY_TO(done, gguf_rope_divisors(made, c));
    *other = place_of_other(divisor, made, half);
done:
    memory_free(made), memory_free(f);
    return status;
}

static int read_divisors(model_config *c, const gguf *file, const gguf_tensor *t) {
    const int64_t half = c->head_dim / 2;
    const float *divisor = (const float *)(const void *)t->bytes; /* the data of a file is aligned to 32 bytes */
    int64_t other;
    if (t->rank != 1 || t->size != half || strcmp(t->type->name, "F32"))
        FAIL(LAMP_MALFORMED, "%s: tensor %s: expected {%" PRId64 "} of F32, half a head, found %" PRId64 " of %s", file->path, t->name, half, t->size,
             t->type->name);
    if (!is(c, "default")) FAIL(LAMP_UNSUPPORTED, "%s: tensor %s: expected none beside scaling of type %s", file->path, t->name, c->rope.kind);
    TRY(find_llama3(&other, c, divisor, half));
    if (other < half)
        FAIL(LAMP_UNSUPPORTED, "%s: tensor %s: expected divisors of frequencies as llama3 makes them, found others, %g at place %" PRId64, file->path,
             t->name, (double)divisor[other], other);
    return LAMP_OK;
}

/* ---- settings -------------------------------------------------------------------------------------------------------------------- */

static int read_positive(double *value, const gguf *file, const char *key) {
    TRY(gguf_get_number(value, file, key));
    if (!(*value > 0 && *value <= 1e6)) FAIL(LAMP_MALFORMED, "%s: %s: expected a positive number of at most 1e6, found %g", file->path, key, *value);
    return LAMP_OK;
}

static int read_yarn(model_config *c, const gguf *file, const char *architecture) {
    char name[KEY_BYTES];
    double length;
    TRY(gguf_get_integer(&c->rope.original, file, named(name, architecture, ORIGINAL), 1, 1 << 30));
    for (int i = 0; i < YARN_NUMBERS; i++)
        if (gguf_find(file, named(name, architecture, yarn_numbers[i].key)))
            TRY(read_positive((double *)((char *)c + yarn_numbers[i].offset), file, name));
    if (gguf_find(file, named(name, architecture, SCORE))) {
        if (c->latent.key_rank == 0) FAIL(LAMP_UNSUPPORTED, "%s: %s: expected none without latent attention, found one", file->path, name);
        TRY(read_positive(&length, file, name));
        c->rope.mscale = c->rope.mscale_all_dim = round(10 * length * 1e6) / 1e6;
    }
    if (!gguf_find(file, named(name, architecture, LENGTH))) return LAMP_OK;
    TRY(read_positive(&length, file, name));
    c->rope.attention_factor = length * usual_length(c);
    return LAMP_OK;
}

int gguf_read_rope(model_config *c, const gguf *file, const char *architecture) {
    char name[KEY_BYTES], word[GGUF_WORD_BYTES] = "none";
    const gguf_tensor *divisors = gguf_find_tensor(file, GGUF_ROPE_TENSOR);
    if (gguf_find(file, named(name, architecture, TYPE))) TRY(gguf_get_word(word, file, name));
    const bool linear = !strcmp(word, "linear"), yarn = !strcmp(word, "yarn");
    if (!linear && !yarn && strcmp(word, "none")) FAIL(LAMP_UNSUPPORTED, "%s: %s: expected none, linear or yarn, found %s", file->path, name, word);
    if (linear || yarn) strcpy(c->rope.kind, word);
    if (linear || yarn) TRY(read_positive(&c->rope.factor, file, named(name, architecture, FACTOR)));
    if (yarn) TRY(read_yarn(c, file, architecture));
    TRY(rope_complete(c, file->path));
    return divisors ? read_divisors(c, file, divisors) : LAMP_OK;
}

void gguf_write_rope(gguf_writer *w, const model_config *c, const char *architecture) {
    char name[KEY_BYTES];
    if (!is(c, "linear") && !is(c, "yarn")) return;
    gguf_put_text(w, named(name, architecture, TYPE), c->rope.kind, strlen(c->rope.kind));
    gguf_put_number(w, named(name, architecture, FACTOR), c->rope.factor);
    if (!is(c, "yarn")) return;
    gguf_put_integer(w, named(name, architecture, ORIGINAL), (uint32_t)c->rope.original);
    for (int i = 0; i < YARN_NUMBERS; i++)
        gguf_put_number(w, named(name, architecture, yarn_numbers[i].key), *(const double *)((const char *)c + yarn_numbers[i].offset));
    if (c->latent.key_rank > 0 && c->rope.mscale_all_dim > 0) gguf_put_number(w, named(name, architecture, SCORE), 0.1 * c->rope.mscale_all_dim);
    if (rope_length(&c->rope) != usual_length(c)) gguf_put_number(w, named(name, architecture, LENGTH), rope_length(&c->rope) / usual_length(c));
}
