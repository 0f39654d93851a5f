#include "formats/gguf_architecture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "formats/gguf_rope.h"
#include "models/families/family.h"
#include "models/families/lamplighter.h"
#include "models/rope.h"

#define AT(field) offsetof(model_config, field)

/* ---- what they are called ---------------------------------------------------------------------------------------------------- */

static const gguf_key dense_keys[] = {
    {"feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
};

static const gguf_key mixture_keys[] = {
    {"feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
    {"expert_count", OPTION_INTEGER, AT(moe.experts), 1, 1 << 20, false},
    {"expert_used_count", OPTION_INTEGER, AT(moe.top_k), 1, 1 << 20, false},
};

/* Experts have a width of their own; that of dense layers is kept, though there are none. */
static const gguf_key narrow_mixture_keys[] = {
    {"expert_feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
    {"feed_forward_length", OPTION_INTEGER, AT(dense_size), 0, 1 << 22, true},
    {"expert_count", OPTION_INTEGER, AT(moe.experts), 1, 1 << 20, false},
    {"expert_used_count", OPTION_INTEGER, AT(moe.top_k), 1, 1 << 20, false},
};

static const gguf_key shared_mixture_keys[] = {
    {"expert_shared_feed_forward_length", OPTION_INTEGER, AT(moe.shared_size), 1, 1 << 22, false},
    {"expert_feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
    {"feed_forward_length", OPTION_INTEGER, AT(dense_size), 0, 1 << 22, true},
    {"expert_count", OPTION_INTEGER, AT(moe.experts), 1, 1 << 20, false},
    {"expert_used_count", OPTION_INTEGER, AT(moe.top_k), 1, 1 << 20, false},
};

static const gguf_key gpt_oss_keys[] = {
    {"expert_feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
    {"feed_forward_length", OPTION_INTEGER, AT(dense_size), 0, 1 << 22, true},
    {"expert_count", OPTION_INTEGER, AT(moe.experts), 1, 1 << 20, false},
    {"expert_used_count", OPTION_INTEGER, AT(moe.top_k), 1, 1 << 20, false},
    {"attention.sliding_window", OPTION_INTEGER, AT(window.size), 1, 1 << 30, false},
};

static const gguf_key llama4_keys[] = {
    {"expert_feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
    {"feed_forward_length", OPTION_INTEGER, AT(dense_size), 1, 1 << 22, false},
    {"expert_count", OPTION_INTEGER, AT(moe.experts), 1, 1 << 20, false},
    {"expert_used_count", OPTION_INTEGER, AT(moe.top_k), 1, 1 << 20, false},
    {"interleave_moe_layer_step", OPTION_INTEGER, AT(sparse_step), 1, 1 << 14, false},
};

static const gguf_key deepseek_keys[] = {
    {"expert_feed_forward_length", OPTION_INTEGER, AT(intermediate_size), 1, 1 << 22, false},
    {"feed_forward_length", OPTION_INTEGER, AT(dense_size), 0, 1 << 22, true},
    {"expert_count", OPTION_INTEGER, AT(moe.experts), 1, 1 << 20, false},
    {"expert_used_count", OPTION_INTEGER, AT(moe.top_k), 1, 1 << 20, false},
    {"expert_shared_count", OPTION_INTEGER, AT(moe.shared_experts), 0, 1 << 10, false},
    {"expert_weights_scale", OPTION_NUMBER, AT(moe.scale), 0, 1e6, true},
    {"expert_weights_norm", OPTION_BOOL, AT(moe.normalize), 0, 1, true},
    {"expert_group_count", OPTION_INTEGER, AT(moe.groups), 0, 1 << 20, true},
    {"expert_group_used_count", OPTION_INTEGER, AT(moe.top_groups), 0, 1 << 20, true},
    {"leading_dense_block_count", OPTION_INTEGER, AT(dense_layers), 0, 1 << 14, true},
    {"attention.q_lora_rank", OPTION_INTEGER, AT(latent.query_rank), 0, 1 << 20, true},
    {"attention.kv_lora_rank", OPTION_INTEGER, AT(latent.key_rank), 1, 1 << 20, false},
};

static const family_tensor deepseek_names[] = {
    {.kind = "attention.query_down", .tensor = "blk.{l}.attn_q_a.weight"},
    {.kind = "attention.query_down_norm", .tensor = "blk.{l}.attn_q_a_norm.weight"},
    {.kind = "attention.query_up", .tensor = "blk.{l}.attn_q_b.weight"},
    {.kind = "attention.key_down", .tensor = "blk.{l}.attn_kv_a_mqa.weight"},
    {.kind = "attention.key_down_norm", .tensor = "blk.{l}.attn_kv_a_norm.weight"},
    {.kind = "attention.key_value", .tensor = "blk.{l}.attn_kv_b.weight"},
    {.kind = "moe.router_bias", .tensor = "blk.{l}.exp_probs_b.bias"},
};

static const family_tensor gpt_oss_names[] = {
    {.kind = "mlp.norm", .tensor = "blk.{l}.post_attention_norm.weight"},
    {.kind = "attention.sinks", .tensor = "blk.{l}.attn_sinks.weight"},
    {.kind = "moe.router_logit_bias", .tensor = "blk.{l}.ffn_gate_inp.bias"},
    {.kind = "moe.gate_bias", .tensor = "blk.{l}.ffn_gate_exps.bias", .part = 0, .parts = 1},
    {.kind = "moe.up_bias", .tensor = "blk.{l}.ffn_up_exps.bias", .part = 0, .parts = 1},
    {.kind = "moe.down_bias", .tensor = "blk.{l}.ffn_down_exps.bias", .part = 0, .parts = 1},
};

#define NAMES(table) .names = (table), .n_names = sizeof(table) / sizeof *(table)
#define KEYS(table) .keys = (table), .n_keys = sizeof(table) / sizeof *(table)

static const gguf_architecture architectures[] = {
    {.name = "llama", .family = "llama", .biased = true, .paired = true, .stretches = true, KEYS(dense_keys)},
    {.name = "llama", .family = "mixtral", .normalizes = true, .paired = true, .stretches = true, KEYS(mixture_keys)},
    {.name = "olmoe", .family = "olmoe", .needs_head = true, .plain = true, KEYS(mixture_keys)},
    {.name = "qwen2", .family = "qwen2", .biased = true, KEYS(dense_keys)},
    {.name = "qwen2moe", .family = "qwen2_moe", .biased = true, .needs_head = true, KEYS(shared_mixture_keys)},
    {.name = "qwen3", .family = "qwen3", KEYS(dense_keys)},
    {.name = "qwen3moe", .family = "qwen3_moe", .normalizes = true, KEYS(narrow_mixture_keys)},
    {.name = "deepseek2", .family = "deepseek_v2", .gating = 1, .latent = true, KEYS(deepseek_keys), NAMES(deepseek_names)},
    {.name = "deepseek2", .family = "deepseek_v3", .gating = 2, .latent = true, KEYS(deepseek_keys), NAMES(deepseek_names)},
    {.name = "gpt-oss",
     .family = "gpt_oss",
     .normalizes = true,
     .biased = true,
     .needs_biases = true,
     .needs_head = true,
     KEYS(gpt_oss_keys),
     NAMES(gpt_oss_names)},
    {.name = "llama4", .family = "llama4_text", .stretches = true, .window = 8192, .unnormed_experts = 128, KEYS(llama4_keys)},
};

enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

static const family_tensor usual_names[] = {
    {.kind = "embedding", .tensor = "token_embd.weight"},
    {.kind = "norm", .tensor = "output_norm.weight"},
    {.kind = "head", .tensor = "output.weight"},
    {.kind = "attention.norm", .tensor = "blk.{l}.attn_norm.weight"},
    {.kind = "attention.query", .tensor = "blk.{l}.attn_q.weight"},
    {.kind = "attention.key", .tensor = "blk.{l}.attn_k.weight"},
    {.kind = "attention.value", .tensor = "blk.{l}.attn_v.weight"},
    {.kind = "attention.output", .tensor = "blk.{l}.attn_output.weight"},
    {.kind = "attention.query_bias", .tensor = "blk.{l}.attn_q.bias"},
    {.kind = "attention.key_bias", .tensor = "blk.{l}.attn_k.bias"},
    {.kind = "attention.value_bias", .tensor = "blk.{l}.attn_v.bias"},
    {.kind = "attention.output_bias", .tensor = "blk.{l}.attn_output.bias"},
    {.kind = "attention.query_norm", .tensor = "blk.{l}.attn_q_norm.weight"},
    {.kind = "attention.key_norm", .tensor = "blk.{l}.attn_k_norm.weight"},
    {.kind = "mlp.norm", .tensor = "blk.{l}.ffn_norm.weight"},
    {.kind = "mlp.gate", .tensor = "blk.{l}.ffn_gate.weight"},
    {.kind = "mlp.up", .tensor = "blk.{l}.ffn_up.weight"},
    {.kind = "mlp.down", .tensor = "blk.{l}.ffn_down.weight"},
    {.kind = "moe.router", .tensor = "blk.{l}.ffn_gate_inp.weight"},
    {.kind = "shared.gate", .tensor = "blk.{l}.ffn_gate_shexp.weight"},
    {.kind = "shared.up", .tensor = "blk.{l}.ffn_up_shexp.weight"},
    {.kind = "shared.down", .tensor = "blk.{l}.ffn_down_shexp.weight"},
    {.kind = "shared.expert_gate", .tensor = "blk.{l}.ffn_gate_inp_shexp.weight"},
    {.kind = "moe.gate", .tensor = "blk.{l}.ffn_gate_exps.weight", .part = 0, .parts = 1},
    {.kind = "moe.gate", .tensor = "blk.{l}.ffn_gate_up_exps.weight", .part = 0, .parts = 2},
    {.kind = "moe.gate", .tensor = "blk.{l}.ffn_gate.{e}.weight"}, /* as Mixtral was written at first */
    {.kind = "moe.up", .tensor = "blk.{l}.ffn_up_exps.weight", .part = 0, .parts = 1},
    {.kind = "moe.up", .tensor = "blk.{l}.ffn_gate_up_exps.weight", .part = 1, .parts = 2},
    {.kind = "moe.up", .tensor = "blk.{l}.ffn_up.{e}.weight"},
    {.kind = "moe.down", .tensor = "blk.{l}.ffn_down_exps.weight", .part = 0, .parts = 1},
    {.kind = "moe.down", .tensor = "blk.{l}.ffn_down.{e}.weight"},
};

/* ---- finding ----------------------------------------------------------------------------------------------------------------- */

static bool is_sparse(const gguf_architecture *a) {
    const family *f;
    CHECK(family_find(&f, a->family, a->name) == LAMP_OK, "%s", a->family);
    return f->experts_key != NULL;
}

int gguf_architecture_of_file(const gguf_architecture **a, const gguf *file) {
    char word[GGUF_WORD_BYTES], key[2 * GGUF_WORD_BYTES], known[256] = "";
    int64_t experts = 0, gating = 1;
    bool named = false;
    TRY(gguf_get_word(word, file, "general.architecture"));
    snprintf(key, sizeof key, "%s.expert_gating_func", word);
    if (gguf_find(file, key)) TRY(gguf_get_integer(&gating, file, key, 1, 2));
    snprintf(key, sizeof key, "%s.expert_count", word);
    if (gguf_find(file, key)) TRY(gguf_get_integer(&experts, file, key, 0, 1 << 20));
    for (int i = 0; i < N_ARCHITECTURES; i++) {
        const gguf_architecture *row = &architectures[i];
        bool same = !strcmp(row->name, word), again = i > 0 && !strcmp(row->name, row[-1].name);
        if (same && is_sparse(row) == (experts > 0) && (!row->gating || row->gating == gating)) return *a = row, LAMP_OK;
        named |= same;
        if (!again) snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", row->name);
    }
    if (named)
        FAIL(LAMP_MALFORMED, "%s: %s: expected %s, found %lld", file->path, key, experts > 0 ? "none in this architecture" : "at least 1",
             (long long)experts);
    FAIL(LAMP_UNSUPPORTED, "%s: general.architecture: expected one of %s, found %s", file->path, known, word);
}

model_config gguf_defaults(const gguf_architecture *a) {
    const family *f;
    CHECK(family_find(&f, a->family, a->name) == LAMP_OK, "%s", a->family);
    model_config c = family_defaults(f);
    const bool truncates = c.rope.truncate;
    c.rope = rope_usual, c.rope.truncate = truncates;
    c.rope_theta = 1e4, c.moe.normalize = a->normalizes, c.biased = 0;
    c.window.size = a->window, c.window.full_step = f->windows.full_step;
    return c;
}

bool gguf_is_normed(const gguf_architecture *a, const model_config *c) { return c->moe.experts != a->unnormed_experts; }

/* What the programs that read an architecture take for granted, unless a key of it says otherwise. */
static const struct {
    const char *key; /* as config.json has it */
    option_type type;
    size_t offset;
} granted[] = {
    {"norm_topk_prob", OPTION_BOOL, AT(moe.normalize)},
    {"routed_scaling_factor", OPTION_NUMBER, AT(moe.scale)},
    {"n_group", OPTION_INTEGER, AT(moe.groups)},
    {"n_shared_experts", OPTION_INTEGER, AT(moe.shared_experts)},
    {"first_k_dense_replace", OPTION_INTEGER, AT(dense_layers)},
    {"decoder_sparse_step", OPTION_INTEGER, AT(sparse_step)},
    {"sliding_window", OPTION_INTEGER, AT(window.size)},
    {"attn_scale", OPTION_NUMBER, AT(unrotated.scale)},
    {"floor_scale", OPTION_INTEGER, AT(unrotated.floor)},
    {"swiglu_limit", OPTION_NUMBER, AT(moe.swiglu_limit)},
    {"swiglu_alpha", OPTION_NUMBER, AT(moe.swiglu_alpha)},
    {"clip_qkv", OPTION_NUMBER, AT(clip_qkv)},
};

static double number_at(const void *field, option_type type) {
    if (type == OPTION_BOOL) return *(const bool *)field;
    return type == OPTION_INTEGER ? (double)*(const int64_t *)field : *(const double *)field;
}

static bool has_key(const gguf_architecture *a, size_t offset) {
    for (int i = 0; i < a->n_keys; i++)
        if (a->keys[i].offset == offset) return true;
    return false;
}

/* "dynamic" changes nothing within the context that a file states. */
static int check_rope(const gguf_architecture *a, const model_config *c, const char *where) {
    const bool truncates = gguf_defaults(a).rope.truncate;
    if (gguf_rope_has_divisors(c) && !a->stretches)
        FAIL(LAMP_UNSUPPORTED, "%s: \"rope_type\": expected another than %s, for which GGUF's architecture %s has no place", where, c->rope.kind,
             a->name);
    if (a->latent && (c->rope.mscale != c->rope.mscale_all_dim || c->rope.attention_factor > 0))
        FAIL(LAMP_UNSUPPORTED,
             "%s: \"mscale\": expected that of \"mscale_all_dim\", %g, and no attention_factor, as GGUF's architecture %s has it, found %g", where,
             c->rope.mscale_all_dim, a->name, c->rope.mscale);
    if (!strcmp(c->rope.kind, "yarn") && c->rope.truncate != truncates)
        FAIL(LAMP_UNSUPPORTED, "%s: \"truncate\": expected %s, which GGUF's architecture %s takes for granted, found %s", where,
             truncates ? "true" : "false", a->name, c->rope.truncate ? "true" : "false");
    return LAMP_OK;
}

/* Layers that see a window only, and those without RoPE. */
static int check_layers(const gguf_architecture *a, const model_config *c, const char *where) {
    model_config usual = gguf_defaults(a);
    usual.window.size = c->window.size;
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        const bool windowed = model_layer_window(&usual, l) > 0, rotates = model_layer_rotates(&usual, l);
        if ((model_layer_window(c, l) > 0) != windowed || model_layer_rotates(c, l) != rotates)
            FAIL(LAMP_UNSUPPORTED,
                 "%s: \"layer_types\": layer %" PRId64 ": expected %s and %s, which GGUF's architecture %s takes for granted, found another layer",
                 where, l, windowed ? "a window" : "no window", rotates ? "RoPE" : "no RoPE", a->name);
    }
    return LAMP_OK;
}

/* What this program reads in a file, and llama.cpp does not, or otherwise. */
static void warn_of_llama_cpp(const gguf_architecture *a, const model_config *c, const char *where) {
    if (a->plain && c->num_key_value_heads != c->num_attention_heads)
        log_warning("%s: llama.cpp's %s has no grouped heads (num_key_value_heads %" PRId64 " of %" PRId64
                    "): this program reads the file, llama.cpp does not",
                    where, a->name, c->num_key_value_heads, c->num_attention_heads);
    if (a->needs_biases && !c->biased)
        log_warning("%s: llama.cpp's %s has biases in attention: this program reads the file, llama.cpp does not", where, a->name);
    if (a->latent && a->gating == 1 && c->moe.groups > 1)
        log_warning("%s: llama.cpp's %s takes groups by the sum of their two best experts, not by the best as this model does: it says other things",
                    where, a->name);
}

static int check_granted(const gguf_architecture *a, const model_config *c, const char *where) {
    const model_config usual = gguf_defaults(a);
    for (size_t i = 0; i < sizeof granted / sizeof *granted; i++) {
        double expected = number_at((const char *)&usual + granted[i].offset, granted[i].type),
               found = number_at((const char *)c + granted[i].offset, granted[i].type);
        if (found != expected && !has_key(a, granted[i].offset))
            FAIL(LAMP_UNSUPPORTED, "%s: \"%s\": expected %g, which GGUF's architecture %s takes for granted, found %g", where, granted[i].key,
                 expected, a->name, found);
    }
    if (c->biased && !a->biased)
        FAIL(LAMP_UNSUPPORTED, "%s: \"attention_bias\": expected false, as GGUF's architecture %s has no biases, found true", where, a->name);
    if (a->unnormed_experts > 0 && (c->normed > 0) != gguf_is_normed(a, c))
        FAIL(LAMP_UNSUPPORTED, "%s: \"use_qk_norm\": expected %s, as GGUF's architecture %s has it with %" PRId64 " experts", where,
             c->normed > 0 ? "false" : "true", a->name, c->moe.experts);
    if (a->latent && !c->interleaved)
        FAIL(LAMP_UNSUPPORTED, "%s: \"rope_interleave\": expected true, which GGUF's architecture %s takes for granted, found false", where, a->name);
    warn_of_llama_cpp(a, c, where);
    TRY(check_layers(a, c, where));
    return check_rope(a, c, where);
}

int gguf_architecture_of_model(const gguf_architecture **a, const model_config *c, const char *where) {
    const family *f;
    int i = 0;
    TRY(family_find(&f, c->family, where));
    while (i < N_ARCHITECTURES && strcmp(architectures[i].family, c->family)) i++;
    if (i == N_ARCHITECTURES) FAIL(LAMP_UNSUPPORTED, "%s: family %s has no architecture in GGUF", where, c->family);
    if (lamplighter_is_needed(c, f))
        FAIL(LAMP_UNSUPPORTED, "%s: expected a model as transformers has it, found a mixture (router %s) that no architecture of GGUF describes",
             where, c->moe.kind);
    return check_granted(*a = &architectures[i], c, where);
}

/* ---- names ------------------------------------------------------------------------------------------------------------------ */

bool gguf_place_group(family_place *place, const gguf_architecture *a, const weight *w, ptrdiff_t group, int nth) {
    const family_names names = {a->names, usual_names, a->n_names, sizeof usual_names / sizeof *usual_names};
    bool found = family_place_named(place, &names, w, group, nth);
    CHECK(found || nth > 0, "architecture %s has no name for weight %s", a->name, w->kind);
    return found;
}

int gguf_dimensions(int64_t dimension[GGUF_MAX_RANK], const family_place *place) {
    for (int i = 0; i < GGUF_MAX_RANK; i++) dimension[i] = i < place->rank ? place->shape[place->rank - 1 - i] : 1;
    return place->rank;
}

ptrdiff_t gguf_pair_head(const gguf_architecture *a, const model_config *c, const weight *w) {
    static const char *const turned[] = {"attention.query", "attention.query_bias", "attention.key", "attention.key_bias"};
    for (size_t i = 0; i < sizeof turned / sizeof *turned; i++)
        if (a->paired && !strcmp(w->kind, turned[i])) return c->head_dim;
    return 0;
}
