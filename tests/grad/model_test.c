/* Whole models, with everything that a block or a layer may have: the loss against central differences in every weight. */
#include <string.h>

#include "../test.h"
#include "gradient_check.h"
#include "lamp.h"
#include "models/model.h"

enum { V = 11, N = 9 };

static const model_config base = {
    .family = "olmoe",
    .vocab_size = V,
    .hidden_size = 6,
    .intermediate_size = 5,
    .num_hidden_layers = 2,
    .num_attention_heads = 2,
    .num_key_value_heads = 1,
    .head_dim = 4,
    .max_position_embeddings = 16,
    .rope_theta = 100,
    .rms_norm_eps = 1e-6,
    .initializer_range = 0.5,
    .end_of_text = -1,
    .moe = {.router = &router_softmax, .experts = 3, .top_k = 2, .scale = 1},
};

static tensor *run(tape *t, problem *p) {
    static const int32_t token[N] = {3, 0, 10, 3, 7, 2, 5, 3, 9}, target[N] = {0, 10, 3, -1, 2, 5, 3, 9, 1};
    static const ptrdiff_t start[] = {0, 4, N};
    static token_batch batch = {N, token, target, 2, start};
    t->loss_scale = 1.0 / N;
    model_loss(t, p->context, &batch, NULL, NULL);
    return NULL;
}

static void check(const char *name, const model_config *c) {
    model m;
    EXPECT_OK(model_open(&m, c));
    problem p = {.name = name, .forward = run, .context = &m, .weights = m.weights};
    problem_ready(&p);
    problem_check(&p);
    m.weights = p.weights;
    model_close(&m);
}

static void plain(void) {
    model_config c = base;
    check("sparse", &c);
    c.qk_norm = QK_NORM_HEAD, c.tie_word_embeddings = true, c.moe.normalize = true;
    check("sparse, head norms, tied", &c);
    c.qk_norm = QK_NORM_FULL, c.num_key_value_heads = 2, c.dense_layers = 1, c.dense_size = 7;
    check("a dense layer, full norms", &c);
}

static void biases_and_bounds(void) {
    model_config c = base;
    c.attention_bias = BIAS_QUERY_KEY_VALUE;
    check("biases of queries, keys and values", &c);
    c.attention_bias = BIAS_ALL, c.clip_qkv = 0.9, c.qk_norm = QK_NORM_FULL;
    check("all biases, clipped", &c);
}

/* With both losses of 2017, whose noise is the same each time. */
static void lstms(void) {
    model_config c = base;
    c.backbone = &lstm_moe_backbone, c.num_hidden_layers = 3, c.sparse_step = 2, c.dense_size = 6;
    c.moe.router = &router_noisy_top_k, c.moe.relu = true, c.moe.normalize = true;
    c.moe.balance[BALANCE_IMPORTANCE] = 0.1, c.moe.balance[BALANCE_LOAD] = 0.2;
    check("LSTM, experts, LSTM", &c);
    c.dense_size = 9, c.moe.experts = 1, c.moe.top_k = 1, c.tie_word_embeddings = true;
    check("projected LSTMs and one expert, tied", &c);
    c.softmax_samples = 4;
    check("the same, its softmax sampled", &c);
    c.softmax_samples = 0, c.mlp_depth = 3;
    check("projected LSTMs and one deep expert", &c);
}

/* As in 2017 the tree of gates, whose noise too is the same each time; dropout, and experts' inner values made again. */
static void a_tree_of_gates_between_lstms(void) {
    model_config c = base;
    c.backbone = &lstm_moe_backbone, c.num_hidden_layers = 3, c.sparse_step = 2, c.dense_size = 6, c.dropout = 0.2;
    c.moe.router = &router_hierarchical, c.moe.experts = 6, c.moe.top_k = 4, c.moe.groups = 3, c.moe.top_groups = 2;
    c.moe.relu = c.moe.normalize = c.moe.recompute = true;
    c.moe.balance[BALANCE_IMPORTANCE] = 0.1, c.moe.balance[BALANCE_LOAD] = 0.2;
    check("LSTM, a tree of experts, LSTM", &c);
}

static void sinks_and_windows(void) {
    model_config c = base;
    c.attention_sinks = true, c.attention_bias = BIAS_ALL, c.window = (attention_window){.size = 3, .full_step = 2};
    c.moe.biases = c.moe.normalize = true, c.moe.swiglu_limit = 0.5, c.moe.swiglu_alpha = 1.7;
    check("GPT-OSS, but for its RoPE", &c);
    c.window = (attention_window){.size = 2, .from = 1, .chunked = true}, c.interleaved = true;
    check("chunks, neighbours turned", &c);
}

static void ropes(void) {
    model_config c = base;
    c.rope = (rope_scaling){.kind = "yarn", .factor = 4, .original = 8, .beta_fast = 2, .beta_slow = 0.5};
    check("yarn", &c);
    c.rope = (rope_scaling){.kind = "llama3", .factor = 4, .original = 8, .low_frequency = 1, .high_frequency = 4};
    check("llama3", &c);
}

/* Its scores have a factor of YaRN's, and queries come from a narrow row, or do not. */
static void latents(void) {
    model_config c = base;
    c.num_key_value_heads = 2, c.head_dim = 5;
    c.latent = (latent_attention){.query_rank = 3, .key_rank = 4, .plain_dim = 3, .rotary_dim = 2, .value_dim = 3};
    c.rope = (rope_scaling){.kind = "yarn", .factor = 4, .original = 8, .beta_fast = 2, .beta_slow = 0.5, .mscale = 0.7, .mscale_all_dim = 0.9};
    c.interleaved = true;
    check("latent attention", &c);
    c.latent.query_rank = 0, c.latent.rotary_dim = 2, c.interleaved = false, c.dense_layers = 1, c.dense_size = 7;
    c.moe = (moe_config){.router = &router_sigmoid, .experts = 4, .top_k = 2, .groups = 2, .top_groups = 1, .scale = 2.5, .normalize = true};
    c.moe.shared_experts = 2, c.moe.shared_size = 3;
    check("latent attention, as DeepSeek-V3 has it", &c);
}

static const test_case cases[] = {
    {"plain", plain},
    {"biases and bounds", biases_and_bounds},
    {"sinks and windows", sinks_and_windows},
    {"ropes", ropes},
    {"latents", latents},
    {"LSTMs", lstms},
    {"a tree of gates between LSTMs", a_tree_of_gates_between_lstms},
};

int main(void) { return test_run("gradients of models", cases, sizeof cases / sizeof *cases); }
