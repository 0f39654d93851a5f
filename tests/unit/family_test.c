/* config.json: what we write reads back, what others write is understood in every spelling, and a recipe must fit its family. What is refused:
 * tests/malformed. */
#include "models/families/family.h"
#include "models/rope.h"
#include "moe/route.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "lamp.h"

static const char *config_path(void) {
    static char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), "config.json"));
    return path;
}

static int read_text(model_config *config, const char *text) {
    EXPECT_OK(file_write_whole(config_path(), text, strlen(text)));
    return family_read_config(config, config_path());
}

static void make_latent(model_config *c) {
    c->latent = (latent_attention){.query_rank = 9, .key_rank = 12, .plain_dim = 2, .rotary_dim = 6, .value_dim = 5};
    c->num_key_value_heads = 4, c->dense_layers = 1, c->dense_size = 50;
    c->moe.shared_experts = 2, c->moe.top_groups = 2, c->moe.scale = 2.5, c->moe.normalize = !strcmp(c->family, "deepseek_v3");
}

static model_config small(const char *name) {
    bool sparse = strcmp(name, "llama") && strcmp(name, "qwen2") && strcmp(name, "qwen3"), shared = !strcmp(name, "qwen2_moe");
    model_config c = {.vocab_size = 64,
                      .hidden_size = 32,
                      .intermediate_size = 24,
                      .num_hidden_layers = 2,
                      .num_attention_heads = 4,
                      .num_key_value_heads = 2,
                      .max_position_embeddings = 128,
                      .rope_theta = 12345.5,
                      .rms_norm_eps = 1e-5,
                      .tie_word_embeddings = true,
                      .initializer_range = 0.03,
                      .end_of_text = 63,
                      .biased = -1,
                      .normed = -1,
                      .interleaved = -1,
                      .moe = {.kind = "softmax",
                              .swiglu_limit = -1,
                              .swiglu_alpha = -1,
                              .experts = sparse ? 4 : 1,
                              .top_k = sparse ? 2 : 1,
                              .normalize = sparse,
                              .scale = 1,
                              .shared_experts = shared,
                              .shared_gate = shared,
                              .balance[BALANCE_SWITCH] = sparse ? 0.015 : 0}};
    snprintf(c.family, sizeof c.family, "%s", name);
    if (!strncmp(name, "deepseek", 8)) make_latent(&c);
    if (!strcmp(name, "llama4_text")) c.moe.shared_experts = 1, c.moe.top_k = 1, c.moe.weigh_input = true;
    if (!strcmp(name, "llama4_text") || !strcmp(name, "deepseek_v3")) strcpy(c.moe.kind, "sigmoid");
    return c;
}

static void every_family_survives_writing_and_reading(void) {
    static const struct {
        const char *name;
        qk_norm norm;
        attention_bias bias;
    } families[] = {
        {"llama", QK_NORM_NONE, BIAS_NONE},
        {"mixtral", QK_NORM_NONE, BIAS_NONE},
        {"olmoe", QK_NORM_FULL, BIAS_NONE},
        {"qwen2", QK_NORM_NONE, BIAS_QUERY_KEY_VALUE},
        {"qwen2_moe", QK_NORM_NONE, BIAS_QUERY_KEY_VALUE},
        {"qwen3", QK_NORM_HEAD, BIAS_NONE},
        {"qwen3_moe", QK_NORM_HEAD, BIAS_NONE},
        {"gpt_oss", QK_NORM_NONE, BIAS_ALL},
        {"llama4_text", QK_NORM_PLAIN, BIAS_NONE},
        {"deepseek_v2", QK_NORM_NONE, BIAS_NONE},
        {"deepseek_v3", QK_NORM_NONE, BIAS_NONE},
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        model_config c = small(families[i].name), again;
        test_row(families[i].name);
        buffer text = {0}, same = {0};
        memset(&again, 0, sizeof again);
        EXPECT_OK(family_complete(&c, "test"));
        EXPECT(c.head_dim == 8 && c.qk_norm == families[i].norm && c.attention_bias == families[i].bias, "head_dim %d, norm %d, bias %d",
               (int)c.head_dim, c.qk_norm, c.attention_bias);
        EXPECT_OK(family_write_config(&c, &text));
        EXPECT_OK(read_text(&again, text.bytes));
        EXPECT(!strcmp(c.family, again.family) && c.vocab_size == again.vocab_size && c.hidden_size == again.hidden_size &&
                   c.intermediate_size == again.intermediate_size && c.num_hidden_layers == again.num_hidden_layers &&
                   c.num_attention_heads == again.num_attention_heads && c.num_key_value_heads == again.num_key_value_heads &&
                   c.head_dim == again.head_dim && c.max_position_embeddings == again.max_position_embeddings && c.rope_theta == again.rope_theta &&
                   c.rms_norm_eps == again.rms_norm_eps && c.tie_word_embeddings == again.tie_word_embeddings &&
                   c.initializer_range == again.initializer_range && c.moe.experts == again.moe.experts && c.moe.top_k == again.moe.top_k &&
                   c.moe.normalize == again.moe.normalize && c.moe.balance[BALANCE_SWITCH] == again.moe.balance[BALANCE_SWITCH] &&
                   c.qk_norm == again.qk_norm && c.attention_bias == again.attention_bias && c.end_of_text == again.end_of_text &&
                   c.moe.shared_experts == again.moe.shared_experts && c.moe.shared_size == again.moe.shared_size,
               "%s", text.bytes);
        EXPECT(strstr(text.bytes, families[i].name), "%s is saved as ours", families[i].name);
        EXPECT_OK(family_write_config(&again, &same));
        EXPECT(!strcmp(text.bytes, same.bytes), "%s\nbecame\n%s", text.bytes, same.bytes);
        buffer_release(&text), buffer_release(&same);
    }
}

/* As what the family says, or as ours: what is read is what was written. */
static void every_router_survives_in_every_family(void) {
    static const char *const families[] = {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "gpt_oss", "llama4_text", "deepseek_v2", "deepseek_v3"};
    const struct router *const *table;
    int n = router_table(&table);
    for (size_t i = 0; i < sizeof families / sizeof *families * (size_t)n; i++) {
        const struct router *router = table[i % (size_t)n];
        model_config c = small(families[i / (size_t)n]), again;
        buffer text = {0}, same = {0};
        char row[96];
        snprintf(row, sizeof row, "%s, %s", c.family, router->name), test_row(row);
        strcpy(c.moe.kind, router->name);
        c.moe.top_k = router->top_k ? router->top_k : 2;
        if (router != &router_softmax) c.moe.normalize = false;
        if (router->needs_groups || router->takes_groups) c.moe.groups = 2, c.moe.top_groups = 2;
        for (int loss = 0; loss < BALANCE_LOSSES; loss++)
            if (!router_takes_loss(router, loss)) c.moe.balance[loss] = 0;
        EXPECT_OK(family_complete(&c, "test"));
        EXPECT_OK(family_write_config(&c, &text));
        EXPECT_OK(read_text(&again, text.bytes));
        EXPECT_OK(family_write_config(&again, &same));
        EXPECT(!strcmp(text.bytes, same.bytes), "%s\nbecame\n%s", text.bytes, same.bytes);
        buffer_release(&text), buffer_release(&same);
    }
}

/* Every router, in a model with all that none of the families has, comes back as it went, as one of ours; what a family can say stays one. */
static void what_no_family_expresses_is_saved_as_ours(void) {
    const struct router *const *table;
    int n = router_table(&table);
    for (int i = 0; i < 2 * n; i++) {
        bool plain = i >= n;
        model_config c = small("olmoe"), again;
        moe_config *m = &c.moe;
        buffer text = {0};
        const struct router *router = table[i % n];
        strcpy(m->kind, router->name);
        m->normalize = false, m->top_k = router->top_k ? router->top_k : 2;
        if (router->needs_groups || (router->takes_groups && !plain)) m->groups = 2, m->top_groups = 2;
        if (!plain) {
            c.dense_layers = 1, m->shared_experts = 2, m->shared_gate = m->weigh_input = true, m->scale = 2.5;
            for (int loss = 0; loss < BALANCE_LOSSES; loss++) m->balance[loss] = 0.5 + loss;
            if (router->takes_drop) m->capacity = 1.25, m->eval_capacity = 2, m->drop_by_score = true;
            if (router->takes_bias) m->bias_rate = 0.001;
            if (router->takes_jitter) m->jitter = 0.01;
        }
        for (int loss = 0; loss < BALANCE_LOSSES; loss++)
            if (!router_takes_loss(router, loss)) m->balance[loss] = 0;
        EXPECT_OK(family_complete(&c, "test"));
        EXPECT_OK(family_write_config(&c, &text));
        bool ours = strstr(text.bytes, "\"model_type\": \"lamplighter\"") != NULL;
        EXPECT(ours == !(plain && router->serves_as_softmax), "%s is saved as %s", router->name, text.bytes);
        memset(&again, 0, sizeof again);
        EXPECT_OK(read_text(&again, text.bytes));
        EXPECT(!strcmp(again.family, "olmoe") && again.qk_norm == QK_NORM_FULL && again.moe.router == (ours ? router : &router_softmax), "%s",
               text.bytes);
        EXPECT(again.dense_layers == c.dense_layers && again.sparse_step <= 1 && (!ours || again.dense_size == c.dense_size), "%s", text.bytes);
        again.moe.router = m->router, strcpy(again.moe.kind, m->kind); /* the rest must agree to the last field, of ours */
        for (int loss = 0; loss < BALANCE_LOSSES; loss++) EXPECT(!ours || again.moe.balance[loss] == m->balance[loss], "loss %d", loss);
        EXPECT(again.moe.experts == m->experts && again.moe.top_k == m->top_k && again.moe.normalize == m->normalize && again.moe.scale == m->scale &&
                   again.moe.groups == m->groups && (again.moe.top_groups == m->top_groups || !m->groups) && again.moe.jitter == m->jitter &&
                   again.moe.capacity == m->capacity && again.moe.eval_capacity == m->eval_capacity && again.moe.drop_by_score == m->drop_by_score &&
                   again.moe.shared_experts == m->shared_experts && again.moe.shared_size == m->shared_size &&
                   again.moe.shared_gate == m->shared_gate && again.moe.weigh_input == m->weigh_input && again.moe.bias_rate == m->bias_rate,
               "%s", text.bytes);
        buffer_release(&text);
    }
}

/* The LSTM of 2017, with experts and without, has no heads to speak of. */
static void an_lstm_is_saved_as_ours(void) {
    for (int experts = 1; experts <= 4; experts += 3) {
        model_config c = small("lstm_moe"), again;
        buffer text = {0};
        c.num_hidden_layers = 3, c.sparse_step = 2, c.dense_size = experts > 1 ? 0 : 48;
        c.moe.experts = experts, c.moe.top_k = experts / 2 + (experts == 1), c.moe.relu = true, c.mlp_depth = experts > 1 ? 0 : 4;
        EXPECT_OK(family_complete(&c, "test"));
        EXPECT(c.dense_size == (experts > 1 ? 32 : 48) && c.num_attention_heads == 0, "%d units, %d heads", (int)c.dense_size,
               (int)c.num_attention_heads);
        EXPECT_OK(family_write_config(&c, &text));
        EXPECT(strstr(text.bytes, "\"model_type\": \"lamplighter\"") && !strstr(text.bytes, "head"), "%s", text.bytes);
        memset(&again, 0, sizeof again);
        EXPECT_OK(read_text(&again, text.bytes));
        EXPECT(!strcmp(again.family, "lstm_moe") && again.backbone == c.backbone && again.sparse_step == 2 && again.dense_size == c.dense_size &&
                   again.moe.experts == experts && again.moe.relu && again.mlp_depth == c.mlp_depth && again.num_attention_heads == 0,
               "%s", text.bytes);
        buffer_release(&text);
    }
}

static void windows_are_said_as_shortly_as_they_can_be(void) {
    model_config c = small("qwen2_moe"), again;
    buffer text = {0};
    c.window = (attention_window){.size = 9, .until = 28};
    EXPECT_OK(family_complete(&c, "test"));
    EXPECT(c.window.size == 9 && c.window.until == 0, "%d to %d", (int)c.window.size, (int)c.window.until);
    c = small("qwen3");
    c.window = (attention_window){.size = 9, .from = 2};
    EXPECT_OK(family_complete(&c, "test"));
    EXPECT_OK(family_write_config(&c, &text));
    EXPECT(strstr(text.bytes, "\"sliding_window\": null"), "%s", text.bytes);
    EXPECT_OK(read_text(&again, text.bytes));
    EXPECT(c.window.size == 0 && again.window.size == 0, "%d, %d", (int)c.window.size, (int)again.window.size);
    buffer_release(&text);
}

static void qwen3_moe_has_dense_layers(void) {
    model_config c = small("qwen3_moe"), again;
    buffer text = {0};
    c.num_hidden_layers = 7, c.dense_layers = 2, c.sparse_step = 3, c.dense_size = 40;
    EXPECT_OK(family_complete(&c, "test"));
    EXPECT_OK(family_write_config(&c, &text));
    EXPECT(strstr(text.bytes, "\"model_type\": \"qwen3_moe\""), "%s", text.bytes);
    EXPECT_OK(read_text(&again, text.bytes));
    EXPECT(again.dense_layers == 2 && again.sparse_step == 3 && again.dense_size == 40, "%s", text.bytes);
    for (int l = 0; l < 7; l++) EXPECT(model_layer_is_sparse(&again, l) == (l == 2 || l == 5), "layer %d", l); /* as transformers: (l + 1) % 3 == 0 */
    buffer_release(&text);
}

#define SIZES "\"vocab_size\": 64, \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"max_position_embeddings\": 128"
#define OLMOE "{\"model_type\": \"olmoe\", " SIZES ", \"intermediate_size\": 24, \"num_experts\": 4, \"num_experts_per_tok\": 2"
#define QWEN3_MOE "{\"model_type\": \"qwen3_moe\", " SIZES ", \"num_key_value_heads\": 2, \"moe_intermediate_size\": 24, \"num_experts_per_tok\": 2"
#define LLAMA "{\"model_type\": \"llama\", " SIZES ", \"intermediate_size\": 24"

static void what_is_absent_is_the_familys_own(void) {
    model_config c;
    EXPECT_OK(read_text(&c, OLMOE "}"));
    EXPECT(c.rms_norm_eps == 1e-5 && c.rope_theta == 1e4 && c.num_key_value_heads == 4 && c.head_dim == 8 && !c.moe.normalize &&
               c.end_of_text == -1 && !c.tie_word_embeddings,
           "eps %g, theta %g, heads %d of %d", c.rms_norm_eps, c.rope_theta, (int)c.num_key_value_heads, (int)c.head_dim);
    EXPECT_OK(read_text(&c, QWEN3_MOE ", \"num_local_experts\": 4, \"norm_topk_prob\": true, \"head_dim\": null}"));
    EXPECT(c.rms_norm_eps == 1e-6 && c.head_dim == 8 && c.moe.experts == 4 && c.moe.normalize, "eps %g, head_dim %d", c.rms_norm_eps,
           (int)c.head_dim);
    EXPECT_OK(read_text(&c, "{\"model_type\": \"qwen3\", " SIZES ", \"intermediate_size\": 24}"));
    EXPECT(c.head_dim == 128, "head_dim %d", (int)c.head_dim);
    EXPECT_OK(
        read_text(&c, "{\"model_type\": \"mixtral\", " SIZES ", \"intermediate_size\": 24, \"num_local_experts\": 4, \"num_experts_per_tok\": 2}"));
    EXPECT(c.moe.normalize && c.rope_theta == 1e6, "normalize %d, theta %g", c.moe.normalize, c.rope_theta);
}

static void both_spellings_of_transformers_are_read(void) {
    model_config c;
    EXPECT_OK(read_text(
        &c, LLAMA ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5}, \"dtype\": \"bfloat16\", \"eos_token_id\": [7, 9]}"));
    EXPECT(c.rope_theta == 5e5 && c.end_of_text == 7, "theta %g, end %d", c.rope_theta, (int)c.end_of_text);
    EXPECT_OK(read_text(&c, LLAMA ", \"rope_theta\": 300, \"rope_scaling\": null, \"torch_dtype\": \"bfloat16\", \"sliding_window\": 4096}"));
    EXPECT(c.rope_theta == 300, "theta %g", c.rope_theta);
    EXPECT_OK(read_text(
        &c, LLAMA ", \"rope_scaling\": {\"type\": \"default\"}, \"sliding_window\": 4, \"use_sliding_window\": false, \"hidden_act\": \"swish\"}"));
}

/* The factors of published models, worked out from their configs. */
static void ropes_survive_and_have_their_factors(void) {
    static const struct {
        rope_scaling rope;
        double length, score_factor;
    } rows[] = {
        {{.kind = "default"}, 1, 1},
        {{.kind = "linear", .factor = 3}, 1, 1},
        {{.kind = "llama3", .factor = 8, .low_frequency = 1, .high_frequency = 4, .original = 8192}, 1, 1},
        {{.kind = "yarn", .factor = 32, .beta_fast = 32, .beta_slow = 1, .original = 4096}, 1.346574, 1},
        {{.kind = "yarn", .factor = 4, .beta_fast = 32, .beta_slow = 1, .original = 64, .attention_factor = 0.7, .truncate = true}, 0.7, 1},
        {{.kind = "yarn", .factor = 40, .beta_fast = 32, .beta_slow = 1, .original = 4096, .mscale = 1, .mscale_all_dim = 1, .truncate = true},
         1,
         1.873854},
        {{.kind = "yarn", .factor = 40, .beta_fast = 32, .beta_slow = 1, .original = 4096, .mscale = 0.707, .mscale_all_dim = 0.707}, 1, 1.589626},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        model_config c = small("olmoe"), again;
        buffer text = {0};
        c.rope = rows[i].rope;
        EXPECT_OK(family_complete(&c, "test"));
        EXPECT(fabs(rope_length(&c.rope) - rows[i].length) < 5e-7 && fabs(rope_score_factor(&c.rope) - rows[i].score_factor) < 5e-7,
               "row %zu: %.7f, %.7f", i, rope_length(&c.rope), rope_score_factor(&c.rope));
        EXPECT_OK(family_write_config(&c, &text));
        EXPECT_OK(read_text(&again, text.bytes));
        const rope_scaling *a = &c.rope, *b = &again.rope;
        bool stretched = i > 1, yarn = i > 2;
        EXPECT(!strcmp(a->kind, b->kind) && (i == 0 || a->factor == b->factor) && (!stretched || a->original == b->original) &&
                   (i != 2 || (a->low_frequency == b->low_frequency && a->high_frequency == b->high_frequency)) &&
                   (!yarn || (a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow && a->attention_factor == b->attention_factor &&
                              a->mscale == b->mscale && a->mscale_all_dim == b->mscale_all_dim && a->truncate == b->truncate)),
               "%s", text.bytes);
        buffer_release(&text);
    }
}

static void a_recipe_must_fit_its_family(void) {
    model_config c = small("mixtral");
    c.biased = 1;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "\"attention_bias\": expected none in family mixtral, found biases");
    c = small("qwen2");
    c.biased = 0;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "\"attention_bias\": expected biases in family qwen2, found none");
    c = small("qwen3");
    c.clip_qkv = 3;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "\"clip_qkv\": expected 0 in family qwen3, found 3; olmoe has it");
    c = small("mixtral");
    c.moe.normalize = false;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "demo.ini: family mixtral always scales the chosen probabilities");
    c = small("llama");
    c.moe.experts = 4;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "family llama is dense: expected 1 expert and top_k 1, found 4 and 1");
    c = small("olmoe");
    c.moe.experts = c.moe.top_k = 1;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "family olmoe is sparse: expected at least 2 experts, found 1");
    c = small("olmoe");
    c.moe.top_k = 5;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "expected 1 to 4, the number of experts, found 5");
    c = small("olmoe");
    c.moe.balance[BALANCE_SWITCH] = NAN;
    EXPECT_ERROR(family_complete(&c, "demo.ini"), LAMP_MALFORMED, "\"router_aux_loss_coef\"");
}

static void names_are_those_of_the_hub(void) {
    static const struct {
        const char *family, *kind;
        weight_role role;
        int layer;
        ptrdiff_t group;
        const char *name, *fused;
        int64_t first; /* in the fused tensor, for 4 experts of (6, 5) */
    } cases[] = {
        {"olmoe", "moe.gate", ROLE_EXPERT, 3, 2, "model.layers.3.mlp.experts.2.gate_proj.weight", "model.layers.3.mlp.experts.gate_up_proj", 120},
        {"qwen3_moe", "moe.up", ROLE_EXPERT, 0, 1, "model.layers.0.mlp.experts.1.up_proj.weight", "model.layers.0.mlp.experts.gate_up_proj", 90},
        {"mixtral", "moe.down", ROLE_EXPERT, 12, 3, "model.layers.12.block_sparse_moe.experts.3.w2.weight", "model.layers.12.mlp.experts.down_proj",
         90},
        {"mixtral", "moe.up", ROLE_EXPERT, 0, 0, "model.layers.0.block_sparse_moe.experts.0.w3.weight", "model.layers.0.mlp.experts.gate_up_proj",
         30},
        {"mixtral", "moe.router", ROLE_ROUTER, 1, 0, "model.layers.1.block_sparse_moe.gate.weight", "model.layers.1.mlp.gate.weight", 0},
        {"llama", "embedding", ROLE_EMBEDDING, -1, 0, "model.embed_tokens.weight", NULL, 0},
        {"qwen3", "attention.query_norm", ROLE_NORM, 1, 0, "model.layers.1.self_attn.q_norm.weight", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const family *f = NULL;
        family_place place = {.rank = 0}, fused = {.rank = 0};
        weight w = {.kind = cases[i].kind, .layer = cases[i].layer, .role = cases[i].role, .groups = 4, .out = 6, .in = 5};
        EXPECT_OK(family_find(&f, cases[i].family, "test"));
        EXPECT(family_place_group(&place, f, &w, cases[i].group, 0), "%s has no name", cases[i].kind);
        EXPECT(!strcmp(place.name, cases[i].name) && place.first == 0, "found %s", place.name);
        EXPECT(place.rank == (w.role == ROLE_NORM ? 1 : 2), "%s: rank %d", place.name, place.rank);
        bool has_fused = family_place_group(&fused, f, &w, cases[i].group, 1);
        EXPECT(!family_place_group(&(family_place){.rank = 0}, f, &w, cases[i].group, 2), "%s has a third name", cases[i].kind);
        EXPECT(has_fused == (cases[i].fused != NULL), "%s", place.name);
        if (has_fused) EXPECT(!strcmp(fused.name, cases[i].fused) && fused.first == cases[i].first, "%s at %d", fused.name, (int)fused.first);
    }
}

static const test_case cases[] = {
    {"every family survives writing and reading", every_family_survives_writing_and_reading},
    {"windows are said as shortly as they can be", windows_are_said_as_shortly_as_they_can_be},
    {"every router survives in every family", every_router_survives_in_every_family},
    {"what no family expresses is saved as ours", what_no_family_expresses_is_saved_as_ours},
    {"an LSTM is saved as ours", an_lstm_is_saved_as_ours},
    {"qwen3_moe has dense layers", qwen3_moe_has_dense_layers},
    {"what is absent is the family's own", what_is_absent_is_the_familys_own},
    {"both spellings of transformers are read", both_spellings_of_transformers_are_read},
    {"ropes survive and have their factors", ropes_survive_and_have_their_factors},
    {"a recipe must fit its family", a_recipe_must_fit_its_family},
    {"names are those of the hub", names_are_those_of_the_hub},
};

int main(void) { return test_run("family", cases, sizeof cases / sizeof *cases); }
