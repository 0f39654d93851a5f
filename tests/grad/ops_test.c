/* Every operation of ops/, by itself. Sizes are odd on purpose: vector bodies, tails and short panels all take part. */
#include "ops/ops.h"

#include "../test.h"
#include "gradient_check.h"

enum { N = 7, D = 19, V = 37 };

static const int32_t tokens[N] = {3, 0, 36, 3, 11, 3, 20};

static tensor *run_embedding(tape *t, problem *p) { return embedding(t, p->w[0], tokens, N); }
static tensor *run_linear(tape *t, problem *p) { return linear(t, &p->leaf[0], p->w[0]); }
static tensor *run_rmsnorm(tape *t, problem *p) { return rmsnorm(t, &p->leaf[0], p->w[0], 1e-5); }
static tensor *run_add(tape *t, problem *p) { return add(t, &p->leaf[0], add(t, &p->leaf[1], &p->leaf[0])); }
static tensor *run_bias(tape *t, problem *p) { return add_bias(t, linear(t, &p->leaf[0], p->w[0]), p->w[1]); }
static tensor *run_clip(tape *t, problem *p) { return clip(t, linear(t, &p->leaf[0], p->w[0]), 0.8); }
static tensor *run_softmax(tape *t, problem *p) { return softmax(t, &p->leaf[0]); }

static const ptrdiff_t position[N] = {0, 1, 2, 3, 0, 1, 1000};
static const double frequency[] = {1, 0.1, 0.01};

static tensor *run_rotary(tape *t, problem *p) { return rotary(t, &p->leaf[0], 6, rotary_angles_make(t, position, N, frequency, 3, 1)); }

/* Of a head's eight channels two stay, and the others, neighbour by neighbour, become longer. */
static tensor *run_rotary_of_neighbours(tape *t, problem *p) {
    rotary_angles angles = rotary_angles_make(t, position, N, frequency, 3, 1.3);
    angles.neighbours = true;
    return rotary(t, &p->leaf[0], 8, angles);
}

/* What is dropped is the same each time. */
static tensor *run_dropout(tape *t, problem *p) {
    t->random.seed = 3, t->random.step = 5, t->random.first_token = 11;
    return dropout(t, &p->leaf[0], 0.4, 2);
}

/* Each finds a gradient where it writes its own, but for the one whose backward comes first. */
static tensor *run_sharing_an_input(tape *t, problem *p) {
    tensor *x = &p->leaf[0], *y = add(t, run_rotary(t, p), run_rotary(t, p));
    y = add(t, y, add(t, linear(t, x, p->w[0]), linear(t, x, p->w[0])));
    return add(t, add(t, y, x), add(t, run_dropout(t, p), run_dropout(t, p)));
}

static tensor *run_head_loss(tape *t, problem *p) {
    static const int32_t target[N] = {36, 0, -1, 5, 5, 11, 2};
    t->loss_scale = 0.25;
    head_loss(t, &p->leaf[0], p->w[0], target);
    return NULL;
}

/* More tokens than a chunk has; words drawn twice, and such as are what follows. */
static tensor *run_sampled_head_loss(tape *t, problem *p) {
    enum { TOKENS = 300 };
    static int32_t target[TOKENS];
    for (int n = 0; n < TOKENS; n++) target[n] = n % 11 ? n * 7 % V : -1;
    t->loss_scale = 0.25, t->random.seed = 3, t->random.step = 5, t->random.first_token = 11;
    head_loss_sampled(t, &p->leaf[0], p->w[0], target, 21);
    return NULL;
}

/* Two sequences, one longer than a block of queries and keys, of which not all are asked for; values have a width of their own, and those of a key
 * lie behind one another, as in the rows of latent attention. */
typedef struct {
    attention_shape shape;
    bool sinks;
} attention_case;

static tensor *run_attention(tape *t, problem *p) {
    static const ptrdiff_t query_start[] = {0, 5, 137}, key_start[] = {0, 5}, key_end[] = {5, 140};
    const attention_case *c = p->context;
    tensor_heads k = {&p->leaf[1], 0, 3}, v = {&p->leaf[2], 1, 6};
    return attention(t, &p->leaf[0], k, v, c->sinks ? p->w[0] : NULL, (attention_span){2, query_start, key_start, key_end}, c->shape);
}

/* A leaf that is cut, and heads that share what is turned. */
static tensor *run_columns(tape *t, problem *p) { return columns(t, &p->leaf[0], 3, 11); }
static tensor *run_latent_keys(tape *t, problem *p) {
    return latent_keys(t, &p->leaf[0], columns(t, &p->leaf[1], 5, 4), (latent_shape){.heads = 3, .plain = 5, .rotary = 4, .value = 2});
}

/* Through time: five sequences, each of another length; one has no tokens, one is alone in its last steps. */
typedef struct {
    ptrdiff_t width, units;
    bool carried; /* the sequences begin with what others said before them */
} lstm_shape;

static tensor *run_lstm(tape *t, problem *p) {
    static const ptrdiff_t start[] = {0, 3, 3, 9, 11, 19};
    static real hidden[5 * D], cell[5 * D];
    const lstm_shape *s = p->context;
    const lstm_weights w = {p->w[0], p->w[1], p->w[2], p->w[3]};
    for (int i = 0; i < 5 * D; i++) hidden[i] = (real)0.9 * (real)(i % 7 - 3) / 3, cell[i] = (real)(i % 5 - 2);
    return lstm(t, &p->leaf[0], &w, &(token_batch){.n_tokens = 19, .n_sequences = 5, .sequence_start = start}, s->carried ? hidden : NULL,
                s->carried ? cell : NULL);
}

static void check_lstm(const char *name, lstm_shape s) {
    problem p = {.name = name, .forward = run_lstm, .context = &s};
    problem_add_leaf(&p, 19, 8);
    p.w[0] = problem_add_weight(&p, "input", ROLE_MATRIX, 1, LSTM_GATES * s.units, 8);
    p.w[1] = problem_add_weight(&p, "recurrent", ROLE_MATRIX, 1, LSTM_GATES * s.units, s.width);
    p.w[2] = problem_add_weight(&p, "bias", ROLE_BIAS, 1, 1, LSTM_GATES * s.units);
    if (s.units != s.width) p.w[3] = problem_add_weight(&p, "projection", ROLE_MATRIX, 1, s.width, s.units);
    problem_ready(&p);
    problem_check(&p);
    problem_release(&p);
}

static void lstm_gradient(void) {
    check_lstm("lstm", (lstm_shape){7, 7, false});
    check_lstm("lstm, carried", (lstm_shape){7, 7, true});
    check_lstm("lstm, projected, carried", (lstm_shape){5, 11, true});
}

static void check(const char *name, tensor *(*forward)(tape *, problem *), int n_leaves, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t out,
                  ptrdiff_t in) {
    problem p = {.name = name, .forward = forward};
    for (int i = 0; i < n_leaves; i++) problem_add_leaf(&p, rows, cols);
    if (out) p.w[0] = problem_add_weight(&p, "w", ROLE_MATRIX, 1, out, in), problem_ready(&p);
    problem_check(&p);
    problem_release(&p);
}

static void embedding_gradient(void) { check("embedding", run_embedding, 0, 0, 0, V, D); }
static void linear_gradient(void) { check("linear", run_linear, 1, N, D, V, D); }
static void clip_gradient(void) { check("clip", run_clip, 1, N, D, V, D); }
static void rmsnorm_gradient(void) { check("rmsnorm", run_rmsnorm, 1, N, D, 1, D); }
static void rmsnorm_of_heads_gradient(void) { check("rmsnorm of heads", run_rmsnorm, 1, N, 3 * 6, 1, 6); }
static void add_gradient(void) { check("add", run_add, 2, N, D, 0, 0); }
static void softmax_gradient(void) { check("softmax", run_softmax, 1, N, D, 0, 0); }
static void rotary_gradient(void) { check("rotary", run_rotary, 1, N, 18, 0, 0); }
static void rotary_of_neighbours_gradient(void) { check("rotary of neighbours", run_rotary_of_neighbours, 1, N, 24, 0, 0); }
static void head_loss_gradient(void) { check("head_loss", run_head_loss, 1, N, D, V, D); }
static void sampled_head_loss_gradient(void) { check("sampled head_loss", run_sampled_head_loss, 1, 300, D, V, D); }

static void bias_gradient(void) {
    problem p = {.name = "bias", .forward = run_bias};
    problem_add_leaf(&p, N, D);
    p.w[0] = problem_add_weight(&p, "w", ROLE_MATRIX, 1, V, D), p.w[1] = problem_add_weight(&p, "b", ROLE_BIAS, 1, 1, V);
    problem_ready(&p);
    problem_check(&p);
    problem_release(&p);
}

static void check_attention(const char *name, attention_case c) {
    problem p = {.name = name, .forward = run_attention, .context = &c};
    c.shape.heads = 4, c.shape.kv_heads = 2, c.shape.head_dim = 3, c.shape.value_dim = 5, c.shape.scale = (real)0.7;
    problem_add_leaf(&p, 137, 12), problem_add_leaf(&p, 140, 6), problem_add_leaf(&p, 140, 13);
    if (c.sinks) p.w[0] = problem_add_weight(&p, "sinks", ROLE_BIAS, 1, 1, 4), problem_ready(&p);
    problem_check(&p);
    problem_release(&p);
}

static void attention_gradient(void) { check_attention("attention", (attention_case){.sinks = false}); }
static void sinks_gradient(void) { check_attention("attention with sinks", (attention_case){.sinks = true}); }
static void window_gradient(void) { check_attention("attention in a window", (attention_case){.shape = {.window = 7}, .sinks = true}); }
static void chunks_gradient(void) { check_attention("attention in chunks", (attention_case){.shape = {.window = 51, .chunked = true}}); }
static void columns_gradient(void) { check("columns", run_columns, 1, N, D, 0, 0); }

static void latent_keys_gradient(void) {
    problem p = {.name = "latent_keys", .forward = run_latent_keys};
    problem_add_leaf(&p, N, 3 * (5 + 2)), problem_add_leaf(&p, N, 11);
    problem_check(&p);
    problem_release(&p);
}

static void shared_input_gradient(void) { check("operations that share an input", run_sharing_an_input, 1, N, 18, 18, 18); }
static void dropout_gradient(void) { check("dropout", run_dropout, 1, N, D, 0, 0); }

static const test_case cases[] = {
    {"embedding", embedding_gradient},
    {"linear", linear_gradient},
    {"bias", bias_gradient},
    {"clip", clip_gradient},
    {"rmsnorm", rmsnorm_gradient},
    {"rmsnorm of heads", rmsnorm_of_heads_gradient},
    {"add", add_gradient},
    {"softmax", softmax_gradient},
    {"rotary", rotary_gradient},
    {"rotary of neighbours", rotary_of_neighbours_gradient},
    {"attention", attention_gradient},
    {"attention with sinks", sinks_gradient},
    {"attention in a window", window_gradient},
    {"attention in chunks", chunks_gradient},
    {"columns", columns_gradient},
    {"latent_keys", latent_keys_gradient},
    {"head_loss", head_loss_gradient},
    {"sampled head_loss", sampled_head_loss_gradient},
    {"lstm", lstm_gradient},
    {"dropout", dropout_gradient},
    {"operations that share an input", shared_input_gradient},
};

int main(void) { return test_run("gradients of ops", cases, sizeof cases / sizeof *cases); }
