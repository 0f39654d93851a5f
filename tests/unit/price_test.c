/* Published totals, from the recipes and configs of recipes/: as many digits as were published. Where ours differ, the row says why. */
#include "budget/price.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "lamp.h"
#include "models/families/family.h"

static const char *suffix_of(const char *name) { return strrchr(name, '.'); }

/* A recipe, or a config with the defaults of one. */
static void price_file(model_price *p, const char *name, const char *const *settings) {
    recipe r;
    model m = {0};
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    if (!strcmp(suffix_of(name), ".json")) EXPECT_OK(family_read_config(&r.model, name));
    else EXPECT_OK(options_read_file(&recipe_options, &r, name));
    for (; settings && *settings; settings++) EXPECT_OK(options_assign(&recipe_options, &r, *settings, "test"));
    r.micro_batch_tokens = r.batch_tokens;
    EXPECT_OK(family_complete(&r.model, name));
    EXPECT_OK(model_open(&m, &r.model));
    EXPECT_OK(price_model(p, &m, &r, 4096));
    double declared = (double)p->costs.parameters, counted = family_parameter_count(&r.model);
    EXPECT(counted <= declared && declared - counted < 1e-3 * declared, "%s: %.0f declared, %.0f counted before", name, declared, counted);
    model_close(&m);
}

/* In as many digits as the text has. */
static void expect_digits(double value, const char *expected, const char *what) {
    char found[32];
    const char *point = strchr(expected, '.');
    snprintf(found, sizeof found, "%.*f", point ? (int)strlen(point + 1) : 0, value);
    EXPECT(!strcmp(found, expected), "%s: %s, expected %s", what, found, expected);
}

typedef enum { PLAIN, WITH_EMBEDDING } counting; /* whether who published the active parameters counted all of the embedding */

static void published_totals_come_out(void) {
    static const struct {
        const char *file;
        const char *total, *active; /* billions */
        counting counting;
    } rows[] = {
        {"mixtral-8x7b", "46.7", "12.9", WITH_EMBEDDING},
        {"olmoe-1b-7b", "6.9", "1.3", WITH_EMBEDDING},
        {"qwen1.5-moe-a2.7b", "14.3", "2.7", WITH_EMBEDDING},
        {"qwen3-30b-a3b", "30.5", "3.35", WITH_EMBEDDING}, /* published as 3.3: cut, not rounded */
        {"deepseek-v2", "236", "21", PLAIN},
        {"deepseek-v3", "671", "37", PLAIN},
        {"gpt-oss-20b", "20.91", "3.61", PLAIN},
        {"gpt-oss-120b", "116.83", "5.13", PLAIN},
        {"llama-4-scout", "107.8", "17", WITH_EMBEDDING},    /* 109 with the part that sees, which is not here */
        {"llama-4-maverick", "400.7", "17", WITH_EMBEDDING}, /* published as 400 */
        {"switch-base-128", "7", "0.2", PLAIN},
        {"switch-large-128", "26", "0.7", PLAIN},
        {"switch-xxl-128", "395", "11", PLAIN},
        {"switch-c-2048", "1571", "1.7", PLAIN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        model_price p;
        char name[128];
        snprintf(name, sizeof name, "recipes/published/%s.json", rows[i].file);
        test_row(rows[i].file);
        price_file(&p, name, NULL);
        expect_digits((double)p.costs.parameters / 1e9, rows[i].total, "total");
        expect_digits((double)(rows[i].counting == PLAIN ? p.costs.active_parameters : p.active_with_embedding) / 1e9, rows[i].active, "active");
    }
}

/* Tables 7 and 8 of 2017: millions of parameters and multiply-adds without embedding and softmax, billions of parameters. */
static void tables_of_2017_come_out(void) {
    static const struct {
        const char *name, *parameters, *operations, *total;
        const char *settings[8];
    } rows[] = {
        {"MoE-131072-h", "137577.6", "9.7", "137.7", {NULL}},
        {"MoE-65536-h", "68791.0", "9.2", "68.9", {"router.experts=65536"}},
        {"MoE-16384-h", "17201.0", "8.8", "17.3", {"router.experts=16384", "router.groups=128"}},
        {"MoE-4096-h", "4303.4", "8.6", "4.4", {"router.experts=4096", "router.groups=64"}},
        {"MoE-1024-h", "1079.0", "8.5", "1.2", {"router.experts=1024", "router.groups=32"}},
        {"MoE-256-h", "272.9", "8.4", "0.4", {"router.experts=256", "router.groups=32"}},
        {"MoE-32", "37.8", "8.4", "0.1", {"router.experts=32", "router.kind=noisy_top_k", "router.groups=0"}},
        {"MoE-4096-h of table 7", "4303.4", "8.9", "5.1", {"router.experts=4096", "router.groups=16", "model.vocab_size=793471"}},
        {"MoE-34M", "4313.9", "33.8", "5.9", /* published as 6.0 */
         {"router.experts=1024", "router.groups=16", "model.hidden_size=1024", "model.intermediate_size=2048", "model.vocab_size=793471"}},
        {"MoE-143M", "4371.1", "142.7", "6.0",
         {"router.experts=256", "router.groups=16", "model.hidden_size=1024", "model.intermediate_size=8192", "model.dense_intermediate_size=4096",
          "model.vocab_size=793471"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        model_price p;
        test_row(rows[i].name);
        price_file(&p, "recipes/2017/moe-131072-h.ini", rows[i].settings);
        expect_digits((double)p.body.parameters / 1e6, rows[i].parameters, "parameters");
        expect_digits(p.multiply_adds / 1e6, rows[i].operations, "ops/timestep");
        expect_digits((double)p.costs.parameters / 1e9, rows[i].total, "total");
    }
}

/* Mixtral, by hand: keys and values of a token are 2 x 8 heads x 128 channels in each of 32 layers. */
static void bytes_and_flops_add_up(void) {
    model_price p;
    int64_t parameters = 0, active = 0;
    price_file(&p, "recipes/published/mixtral-8x7b.json", NULL);
    for (int i = 0; i < PRICE_PARTS; i++) parameters += p.part[i].parameters, active += p.part[i].active;
    EXPECT(parameters == p.costs.parameters && active == p.costs.active_parameters, "%lld, %lld", (long long)parameters, (long long)active);
    EXPECT(3 * p.forward_flops == p.costs.flops_per_token, "%g forward, %g in training", p.forward_flops, p.costs.flops_per_token);
    EXPECT(p.serve[SERVE_F32].held == 4.0 * (double)parameters && p.serve[SERVE_BF16].touched == 2.0 * (double)active, "served");
    EXPECT(p.serve[SERVE_Q4].held > 18.0 / 32 * (double)parameters && p.serve[SERVE_Q4].held < 0.5626 * (double)parameters, "in four bits");
    EXPECT(p.cache_bytes == 4096.0 * 32 * 2 * 8 * 128 * 4, "%g bytes of cache", p.cache_bytes);
    EXPECT(p.training.weights == 4 * parameters && p.training.gradients == 4 * parameters && p.training.moments == 8 * parameters, "training");
    EXPECT(p.training.activations > 0 && !p.missing && p.mlp_share > 0.96, "share %g", p.mlp_share);
}

/* GPT-OSS: every other layer sees 128 tokens. DeepSeek-V3: 512 + 64 values a layer and token. */
static void windows_and_latents_are_cheap(void) {
    model_price p;
    price_file(&p, "recipes/published/gpt-oss-20b.json", NULL);
    EXPECT(p.cache_bytes == (12.0 * 128 + 12 * 4096) * 2 * 8 * 64 * 4, "%g bytes of cache", p.cache_bytes);
    EXPECT(!p.missing && p.training.activations > 0, "it does not run");
    price_file(&p, "recipes/published/deepseek-v3.json", NULL);
    EXPECT(p.cache_bytes == 4096.0 * 61 * (512 + 64) * 4, "%g bytes of cache", p.cache_bytes);
    EXPECT(p.all_heads_cache_bytes == 4096.0 * 61 * 128 * (192 + 128) * 4, "%g bytes of all heads", p.all_heads_cache_bytes);
}

/* Lazy experts rest where a step has no token for them: of 131072 with 4 chosen by each of 4096 tokens, about 1 - exp(-1/8). */
static void what_a_step_touches(void) {
    model_price p;
    static const char *const lazy[] = {"optim.lazy_experts=true", NULL};
    price_file(&p, "recipes/2017/moe-131072-h.ini", NULL);
    double held = p.training_touched;
    price_file(&p, "recipes/2017/moe-131072-h.ini", lazy);
    EXPECT(fabs(p.training_touched / held - (1 - exp(-0.125))) < 0.002, "%g of %g", p.training_touched, held);
}

static void nothing_is_allocated_for_values(void) {
    model_price p;
    static const char *const huge[] = {"router.experts=1048576", "model.num_hidden_layers=256", NULL};
    test_largest_allocation();
    price_file(&p, "recipes/2017/moe-131072-h.ini", huge);
    EXPECT(p.costs.parameters > (int64_t)1 << 46, "%lld", (long long)p.costs.parameters);
    EXPECT(test_largest_allocation() < 1 << 20, "a claim became memory");
}

static const test_case cases[] = {
    {"published totals come out", published_totals_come_out},
    {"tables of 2017 come out", tables_of_2017_come_out},
    {"bytes and FLOPs add up", bytes_and_flops_add_up},
    {"windows and latents are cheap", windows_and_latents_are_cheap},
    {"what a step touches", what_a_step_touches},
    {"nothing is allocated for values", nothing_is_allocated_for_values},
};

int main(void) { return test_run("prices", cases, sizeof cases / sizeof *cases); }
