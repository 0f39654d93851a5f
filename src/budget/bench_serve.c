/* A model that is served. Writing a token (decode) takes as long as the weights that it meets take to be read: its roof is their bytes, and those of
 * the cache, over the bandwidth that a probe reaches beside it. Reading a text (prefill) is a matter of multiplications. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/human.h"
#include "base/memory.h"
#include "budget/bench.h"
#include "infer/loaded_model.h"
#include "infer/session.h"

enum { PROMPT = 32, WRITTEN = 128 /* tokens, before the text is taken back to its prompt */, TEXT = 512 /* unless its context is shorter */ };

typedef struct {
    loaded_model loaded;
    session session;
    sampling how;
    int32_t *text;       /* any words */
    ptrdiff_t n, prompt; /* tokens of a text, and of those the first that are read at once */
    const real *logits;
} server;

static int write_token(void *context) {
    server *s = context;
    session *v = &s->session;
    const int32_t V = (int32_t)s->loaded.model.config.vocab_size;
    if (v->state.length == s->n) v->state.length = s->prompt;
    const int32_t token = sample_token(&s->how, s->logits, V, (uint64_t)v->state.length, v->candidates);
    return session_feed(v, &s->logits, &token, 1);
}

static int read_text(void *context) {
    server *s = context;
    session_clear(&s->session);
    return session_feed(&s->session, &s->logits, s->text, s->prompt);
}

/* With a text of `asked` tokens; 0: of `usual`, or of as many as the context holds. */
static int open_server(bench *b, server *s, const char *path, ptrdiff_t asked, ptrdiff_t usual) {
    s->how = sampling_defaults();
    double begin = clock_seconds();
    TRY(loaded_model_open(&s->loaded, path, VALUES_STORED));
    TRY(bench_add_time(b, "opening the model", clock_seconds() - begin));
    const model_config *c = &s->loaded.model.config;
    if (asked > c->max_position_embeddings)
        FAIL(LAMP_INVALID, "%s: %td tokens, but its context holds %lld", path, asked, (long long)c->max_position_embeddings);
    s->n = asked > 0 ? asked : usual < c->max_position_embeddings ? usual : c->max_position_embeddings;
    TRY(session_open(&s->session, &s->loaded.model, s->n));
    TRY(memory_new(&s->text, (size_t)s->n, sizeof *s->text, "a text"));
    for (ptrdiff_t i = 0; i < s->n; i++) s->text[i] = (int32_t)((uint64_t)i * 2654435761u % (uint64_t)c->vocab_size);
    return LAMP_OK;
}

static void close_server(server *s) {
    memory_free(s->text);
    session_close(&s->session);
    loaded_model_close(&s->loaded);
}

static double bytes_of(const weight *w, int64_t values) {
    return (double)values * (double)stored_formats[w->type].bytes / (double)stored_formats[w->type].values;
}

/* Of the weights that one token meets. */
static double active_bytes(const model *m) {
    double bytes = 0;
    for (int i = 0; i < m->weights.n; i++) bytes += bytes_of(m->weights.row[i], model_active_values(m, m->weights.row[i]));
    return bytes;
}

/* The type that most of its bytes are stored as. */
static const char *main_type(const model *m) {
    double bytes[STORED_TYPES] = {0};
    stored_type most = STORED_REAL;
    for (int i = 0; i < m->weights.n; i++) bytes[m->weights.row[i]->type] += bytes_of(m->weights.row[i], weight_size(m->weights.row[i]));
    for (stored_type type = 0; type < STORED_TYPES; type++)
        if (bytes[type] > bytes[most]) most = type;
    return stored_formats[most].name;
}

static double forward_flops(const model *m, int64_t context) { return model_count(m, context).flops_per_token / 3; }

static const char *precision_of(const model *m) {
    for (int i = 0; i < m->weights.n; i++)
        if (stored_formats[m->weights.row[i]->type].values > 1) return "int8";
    return "f32";
}

static void name_case(bench_case *c, const char *what, const model *m) {
    char size[HUMAN_BYTES];
    const model_config *s = &m->config;
    human_count(size, (double)model_count(m, 1).parameters);
    snprintf(c->name, sizeof c->name, "%s: %lld x %lld, %lld experts, %s, %s", what, (long long)s->num_hidden_layers, (long long)s->hidden_size,
             (long long)(s->moe.experts > 1 ? s->moe.experts : 0), size, main_type(m));
}

int bench_decode(bench *b, const char *path) {
    server s = {0};
    int status;
    TRY_TO(done, open_server(b, &s, path, 0, PROMPT + WRITTEN));
    s.prompt = s.n * PROMPT / (PROMPT + WRITTEN);
    TRY_TO(done, read_text(&s));
    const model *m = &s.loaded.model;
    const ptrdiff_t context = (s.prompt + s.n) / 2;
    const double cache = (double)state_bytes_per_token(&s.session.state) * (double)context;
    bench_probe probe = bench_probe_of(b, "f32", b->threads);
    bench_case cases[2] = {
        {"", precision_of(m), b->threads, BENCH_TOKENS, 1, forward_flops(m, context), active_bytes(m) + cache, write_token, NULL, &s},
        bench_read_case(&probe)};
    name_case(&cases[0], "writing a token", m);
    TRY_TO(done, bench_run(b, "decode", cases, 2));
done:
    close_server(&s);
    return status;
}

int bench_prefill(bench *b, const char *path, ptrdiff_t tokens) {
    server s = {0};
    int status;
    TRY_TO(done, open_server(b, &s, path, tokens, TEXT));
    tokens = s.prompt = s.n;
    const model *m = &s.loaded.model;
    const double head = 2 * (double)weight_size(m->head), flops = (double)tokens * (forward_flops(m, tokens / 2) - head) + head;
    bench_case c = {"", precision_of(m), b->threads, BENCH_TOKENS, (double)tokens, flops, 0, read_text, NULL, &s};
    name_case(&c, "reading a text", m);
    TRY_TO(done, bench_run(b, "prefill", &c, 1));
    b->row[b->n - 1].tokens = tokens;
done:
    close_server(&s);
    return status;
}
