/* Every way a config.json can be wrong, by name: broken is told from sound but beyond us, and nothing is guessed. */
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/file.h"
#include "base/log.h"
#include "lamp.h"
#include "models/families/family.h"

#define SIZES "\"vocab_size\": 64, \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"max_position_embeddings\": 128"
#define LLAMA "{\"model_type\": \"llama\", " SIZES ", \"intermediate_size\": 24"
#define EXPERTS ", \"intermediate_size\": 24, \"num_experts\": 4, \"num_experts_per_tok\": 2"
#define OLMOE "{\"model_type\": \"olmoe\", " SIZES EXPERTS
#define OURS "{\"model_type\": \"lamplighter\", \"backbone\": \"olmoe\", " SIZES EXPERTS
#define LSTM(layers, units, depth)                                                                                                                   \
    "{\"model_type\": \"lamplighter\", \"backbone\": \"lstm_moe\", \"vocab_size\": 64, \"hidden_size\": 32, \"num_hidden_layers\": " #layers         \
    ", \"max_position_embeddings\": 128" EXPERTS ", \"mixture\": {\"kind\": \"noisy_top_k\", \"scale\": 1, \"weigh_input\": false, \"groups\": 0, "  \
    "\"top_groups\": 1, \"jitter\": 0, \"capacity\": 0, \"eval_capacity\": 0, \"drop_by_score\": false, \"shared_experts\": 0, \"shared_size\": 0, " \
    "\"shared_gate\": false, \"dense_layers\": 0, \"sparse_step\": 2, \"dense_size\": " #units ", \"importance_loss\": 0, \"load_loss\": 0, "        \
    "\"sequence_loss\": 0, \"z_loss\": 0, \"threshold_loss\": 0, \"bias_rate\": 0, \"relu\": true, \"mlp_depth\": " #depth "}}"
#define MIXTRAL "{\"model_type\": \"mixtral\", " SIZES ", \"intermediate_size\": 24, \"num_local_experts\": 4, \"num_experts_per_tok\": 2"
#define GPT_OSS "{\"model_type\": \"gpt_oss\", " SIZES ", \"intermediate_size\": 24, \"num_local_experts\": 4, \"num_experts_per_tok\": 2"
#define QWEN2_MOE_EXPERTS "{\"model_type\": \"qwen2_moe\", " SIZES ", \"moe_intermediate_size\": 24, \"num_experts\": 4, \"num_experts_per_tok\": 2"
#define QWEN2_MOE QWEN2_MOE_EXPERTS ", \"shared_expert_intermediate_size\": 8"
#define QWEN3_MOE "{\"model_type\": \"qwen3_moe\", " SIZES ", \"num_key_value_heads\": 2, \"moe_intermediate_size\": 24, \"num_experts_per_tok\": 2"

#define DEEPSEEK(version)                                                                                                                            \
    "{\"model_type\": \"deepseek_" version "\", " SIZES ", \"moe_intermediate_size\": 24, \"intermediate_size\": 48, \"n_routed_experts\": 8"
#define SCALED ", \"n_shared_experts\": 1, \"routed_scaling_factor\": 2.5, \"num_experts_per_tok\": 2"
#define LATENT(key, plain, rotary, value)                                                                                                            \
    ", \"kv_lora_rank\": " key ", \"qk_nope_head_dim\": " plain ", \"qk_rope_head_dim\": " rotary ", \"v_head_dim\": " value
#define DEEPSEEK_V2 DEEPSEEK("v2") SCALED LATENT("8", "4", "4", "6") ", \"first_k_dense_replace\": 1"
#define DEEPSEEK_V3 DEEPSEEK("v3") SCALED LATENT("8", "4", "4", "6") ", \"first_k_dense_replace\": 1"
#define DEEPSEEK_V3_OF(key, plain, rotary, value) DEEPSEEK("v3") SCALED LATENT(key, plain, rotary, value) ", \"first_k_dense_replace\": 1}"

#define LLAMA3(original, low, high)                                                                                                                  \
    ", \"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8, \"original_max_position_embeddings\": " original                              \
    ", \"low_freq_factor\": " low ", \"high_freq_factor\": " high "}}"
#define YARN(more) ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32, " more "}}"

static const struct {
    const char *class, *config;
    int code;
    const char *text;
} rows[] = {
    /* broken: the file contradicts its own format, or itself */
    {"empty file", "", LAMP_MALFORMED, "not valid JSON"},
    {"not an object", "[]", LAMP_MALFORMED, "expected an object"},
    {"truncated", LLAMA, LAMP_MALFORMED, "not valid JSON"},
    {"no model_type", "{}", LAMP_MALFORMED, "\"model_type\": expected text, found nothing"},
    {"model_type of another type", "{\"model_type\": 3}", LAMP_MALFORMED, "\"model_type\": expected text, found an integer"},
    {"model_type with a NUL inside", "{\"model_type\": \"llama\\u0000x\"}", LAMP_MALFORMED, "\"model_type\": expected text without NUL"},
    {"duplicate key", LLAMA ", \"vocab_size\": 64}", LAMP_MALFORMED, "duplicate"},
    {"missing size", "{\"model_type\": \"llama\"}", LAMP_MALFORMED, "\"vocab_size\": expected an integer, found nothing"},
    {"misspelt size", "{\"model_type\": \"llama\", \"vocab_sizes\": 64}", LAMP_MALFORMED,
     "\"vocab_size\": expected an integer, found only \"vocab_sizes\"; misspelt?"},
    {"broken, and beyond us: the first is the code", "{\"model_type\": \"llama\", \"mlp_bias\": true}", LAMP_MALFORMED,
     "\"mlp_bias\": expected nothing"},
    {"size 0", "{\"model_type\": \"llama\", \"vocab_size\": 0}", LAMP_MALFORMED, "\"vocab_size\": expected 1 to"},
    {"negative size", "{\"model_type\": \"llama\", \"vocab_size\": -5}", LAMP_MALFORMED, "found -5"},
    {"size that is a float", "{\"model_type\": \"llama\", \"vocab_size\": 64.0}", LAMP_MALFORMED, "expected an integer, found a number"},
    {"size that is text", "{\"model_type\": \"llama\", \"vocab_size\": \"64\"}", LAMP_MALFORMED, "expected an integer, found text"},
    {"size 1e308", "{\"model_type\": \"llama\", \"vocab_size\": 1e308}", LAMP_MALFORMED, "expected an integer, found a number"},
    {"size 2^53 + 1", LLAMA ", \"num_key_value_heads\": 9007199254740993}", LAMP_MALFORMED,
     "\"num_key_value_heads\": expected 1 to 16384, found 9007199254740993"},
    {"size 2^63", LLAMA ", \"num_key_value_heads\": 9223372036854775808}", LAMP_MALFORMED, "not valid JSON"},
    {"a thousand million layers",
     "{\"model_type\": \"llama\", \"vocab_size\": 64, \"hidden_size\": 32, \"intermediate_size\": 8, "
     "\"num_hidden_layers\": 1000000000, \"num_attention_heads\": 4, \"max_position_embeddings\": 8}",
     LAMP_MALFORMED, "\"num_hidden_layers\": expected 1 to 16384, found 1000000000"},
    {"width no multiple of heads",
     "{\"model_type\": \"llama\", \"vocab_size\": 64, \"hidden_size\": 30, \"intermediate_size\": 8, "
     "\"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"max_position_embeddings\": 8}",
     LAMP_MALFORMED, "\"hidden_size\": expected a multiple of num_attention_heads (4), found 30"},
    {"product of sizes overflows",
     "{\"model_type\": \"olmoe\", \"vocab_size\": 16777216, \"hidden_size\": 1048576, \"intermediate_size\": 4194304, "
     "\"num_hidden_layers\": 16384, \"num_attention_heads\": 4096, \"max_position_embeddings\": 8, \"num_experts\": 1048576, "
     "\"num_experts_per_tok\": 1}",
     LAMP_MALFORMED, "found sizes that make"},
    {"heads no multiple of key heads", LLAMA ", \"num_key_value_heads\": 3}", LAMP_MALFORMED,
     "\"num_attention_heads\": expected a multiple of num_key_value_heads (3), found 4"},
    {"more key heads than heads", LLAMA ", \"num_key_value_heads\": 8}", LAMP_MALFORMED, "expected a multiple of num_key_value_heads (8)"},
    {"odd head_dim", LLAMA ", \"head_dim\": 7}", LAMP_MALFORMED, "\"head_dim\": expected a multiple of two"},
    {"head_dim that the family derives", OLMOE ", \"head_dim\": 16}", LAMP_MALFORMED,
     "\"head_dim\": expected hidden_size / num_attention_heads = 8 in family olmoe, found 16"},
    {"epsilon 0", LLAMA ", \"rms_norm_eps\": 0}", LAMP_MALFORMED, "\"rms_norm_eps\": expected a positive number"},
    {"negative epsilon", LLAMA ", \"rms_norm_eps\": -1e-5}", LAMP_MALFORMED, "\"rms_norm_eps\": expected a positive number"},
    {"epsilon 1e308", LLAMA ", \"rms_norm_eps\": 1e308}", LAMP_MALFORMED, "\"rms_norm_eps\": expected a positive number of at most 1, found 1e+308"},
    {"theta 1e308", LLAMA ", \"rope_theta\": 1e308}", LAMP_MALFORMED, "\"rope_theta\": expected a positive number of at most 1e+15, found 1e+308"},
    {"theta 1e400", LLAMA ", \"rope_theta\": 1e400}", LAMP_MALFORMED, "not valid JSON"},
    {"theta NaN", LLAMA ", \"rope_theta\": NaN}", LAMP_MALFORMED, "not valid JSON"},
    {"theta that is text", LLAMA ", \"rope_theta\": \"NaN\"}", LAMP_MALFORMED, "\"rope_theta\": expected a number, found text"},
    {"negative initializer_range", LLAMA ", \"initializer_range\": -1}", LAMP_MALFORMED, "\"initializer_range\": expected 0 to 10, found -1"},
    {"initializer_range 1e308", LLAMA ", \"initializer_range\": 1e308}", LAMP_MALFORMED, "\"initializer_range\": expected 0 to 10, found 1e+308"},
    {"negative loss coefficient", OLMOE ", \"router_aux_loss_coef\": -1}", LAMP_MALFORMED, "\"router_aux_loss_coef\": expected 0 or more, found -1"},
    {"loss coefficient 1e308", OLMOE ", \"router_aux_loss_coef\": 1e308}", LAMP_MALFORMED,
     "\"router_aux_loss_coef\": expected 0 to 1e+06, found 1e+308"},
    {"boolean that is a number", LLAMA ", \"tie_word_embeddings\": 1}", LAMP_MALFORMED,
     "\"tie_word_embeddings\": expected a boolean, found an integer"},
    {"end of text at the vocabulary's end", LLAMA ", \"eos_token_id\": 64}", LAMP_MALFORMED,
     "\"eos_token_id\": expected a token below vocab_size (64), found 64"},
    {"negative end of text", LLAMA ", \"eos_token_id\": -1}", LAMP_MALFORMED, "\"eos_token_id\": expected a token id"},
    {"end of text in a list of texts", LLAMA ", \"eos_token_id\": [\"a\"]}", LAMP_MALFORMED, "\"eos_token_id\": expected a token id"},
    {"bias that is a number", LLAMA ", \"attention_bias\": 1}", LAMP_MALFORMED, "\"attention_bias\": expected a boolean, found an integer"},
    {"bias by another name that is text", QWEN2_MOE ", \"qkv_bias\": \"yes\"}", LAMP_MALFORMED, "\"qkv_bias\": expected a boolean, found text"},
    {"negative bound of attention", OLMOE ", \"clip_qkv\": -8.0}", LAMP_MALFORMED, "\"clip_qkv\": expected 0 to 1e+09, found -8"},
    {"bound of attention that is text", OLMOE ", \"clip_qkv\": \"8\"}", LAMP_MALFORMED, "\"clip_qkv\": expected a number, found text"},
    {"shared expert of no width", QWEN2_MOE_EXPERTS "}", LAMP_MALFORMED, "\"shared_expert_intermediate_size\": expected an integer, found nothing"},
    {"shared expert of negative width", QWEN2_MOE_EXPERTS ", \"shared_expert_intermediate_size\": -1}", LAMP_MALFORMED,
     "\"shared_expert_intermediate_size\": expected 0 to 4194304, found -1"},
    {"rope of a kind that is a number", LLAMA ", \"rope_scaling\": {\"rope_type\": 3}}", LAMP_MALFORMED,
     "\"rope_scaling\": \"rope_type\": expected text, found an integer"},
    {"rope without its factor", LLAMA ", \"rope_scaling\": {\"type\": \"linear\"}}", LAMP_MALFORMED, "\"factor\": expected a number, found nothing"},
    {"rope of factor 0", LLAMA ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}}", LAMP_MALFORMED,
     "rope: \"factor\": expected 1 to 1e+06, found 0"},
    {"rope of factor 1e308", LLAMA ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 1e308}}", LAMP_MALFORMED,
     "rope: \"factor\": expected 1 to 1e+06, found 1e+308"},
    {"rope of a factor that is text", LLAMA ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": \"4\"}}", LAMP_MALFORMED,
     "\"factor\": expected a number, found text"},
    {"llama3 without its bounds", LLAMA ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}", LAMP_MALFORMED,
     "\"low_freq_factor\": expected a number, found nothing"},
    {"llama3 with its bounds exchanged", LLAMA LLAMA3("8192", "4", "1"), LAMP_MALFORMED,
     "rope: \"high_freq_factor\": expected more than \"low_freq_factor\" (4), found 1"},
    {"llama3 with one bound", LLAMA LLAMA3("8192", "4", "4"), LAMP_MALFORMED, "rope: \"high_freq_factor\": expected more than"},
    {"llama3 with a bound of 0", LLAMA LLAMA3("8192", "0", "4"), LAMP_MALFORMED, "rope: \"low_freq_factor\": expected 1e-06 to 1e+06, found 0"},
    {"llama3 of no context", LLAMA LLAMA3("0", "1", "4"), LAMP_MALFORMED, "\"original_max_position_embeddings\": expected 1 to"},
    {"yarn with its bounds exchanged", LLAMA YARN("\"beta_fast\": 1, \"beta_slow\": 32"), LAMP_MALFORMED,
     "rope: \"beta_fast\": expected more than \"beta_slow\" (32), found 1"},
    {"yarn of a negative attention factor", LLAMA YARN("\"attention_factor\": -1"), LAMP_MALFORMED, "rope: \"attention_factor\": expected 0 to"},
    {"yarn of a negative mscale", LLAMA YARN("\"mscale\": -1"), LAMP_MALFORMED, "rope: \"mscale\": expected 0 to"},
    {"yarn of mscale_all_dim 1e308", LLAMA YARN("\"mscale_all_dim\": 1e308"), LAMP_MALFORMED, "rope: \"mscale_all_dim\": expected 0 to"},
    {"yarn of truncation that is a number", LLAMA YARN("\"truncate\": 1"), LAMP_MALFORMED, "\"truncate\": expected a boolean, found an integer"},
    {"yarn over a theta of 1", LLAMA ", \"rope_theta\": 1" YARN("\"beta_slow\": 1"), LAMP_MALFORMED, "rope: \"rope_theta\": expected more than"},
    {"negative window", MIXTRAL ", \"sliding_window\": -1}", LAMP_MALFORMED, "\"sliding_window\": expected 0 to"},
    {"window that is text", MIXTRAL ", \"sliding_window\": \"9\"}", LAMP_MALFORMED, "\"sliding_window\": expected an integer, found text"},
    {"window flag that is a number", QWEN3_MOE ", \"num_experts\": 4, \"use_sliding_window\": 1}", LAMP_MALFORMED,
     "\"use_sliding_window\": expected a boolean, found an integer"},
    {"negative window layers", QWEN2_MOE ", \"use_sliding_window\": true, \"sliding_window\": 9, \"max_window_layers\": -1}", LAMP_MALFORMED,
     "\"max_window_layers\": expected 0 to"},
    {"layers that are text", MIXTRAL ", \"layer_types\": \"full_attention\"}", LAMP_MALFORMED, "\"layer_types\": expected an array"},
    {"layers that are numbers", MIXTRAL ", \"layer_types\": [1, 2]}", LAMP_MALFORMED, "\"layer_types\": expected words"},
    {"a word too few", MIXTRAL ", \"layer_types\": [\"full_attention\"]}", LAMP_MALFORMED,
     "\"layer_types\": expected a word for each of 2 layers, found 1"},
    {"windows of no size", MIXTRAL ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]}", LAMP_MALFORMED,
     "\"layer_types\": expected full_attention alone where \"sliding_window\" sets no window, found \"sliding_attention\""},
    {"bound of 0", GPT_OSS ", \"swiglu_limit\": 0}", LAMP_MALFORMED, "\"swiglu_limit\": expected a positive number"},
    {"negative bound", GPT_OSS ", \"swiglu_limit\": -7}", LAMP_MALFORMED, "\"swiglu_limit\": expected 0 to"},
    {"bound 1e308", GPT_OSS ", \"swiglu_limit\": 1e308}", LAMP_MALFORMED, "\"swiglu_limit\": expected 0 to 1e+06"},
    {"alpha of 0", GPT_OSS ", \"swiglu_alpha\": 0}", LAMP_MALFORMED, "\"swiglu_alpha\": expected a positive number"},
    {"alpha that is text", GPT_OSS ", \"swiglu_alpha\": \"2\"}", LAMP_MALFORMED, "\"swiglu_alpha\": expected a number, found text"},
    {"latent attention without its row", DEEPSEEK_V3_OF("0", "4", "4", "6"), LAMP_MALFORMED,
     "\"kv_lora_rank\": expected at least 1 in family deepseek_v3, found 0"},
    {"latent attention of rank 2^62", DEEPSEEK_V3_OF("4611686018427387904", "4", "4", "6"), LAMP_MALFORMED,
     "\"kv_lora_rank\": expected 0 to 1048576, found 4611686018427387904"},
    {"latent attention of a rank that is text", DEEPSEEK_V3_OF("\"8\"", "4", "4", "6"), LAMP_MALFORMED,
     "\"kv_lora_rank\": expected an integer, found text"},
    {"latent attention without rotation", DEEPSEEK_V3_OF("8", "4", "0", "6"), LAMP_MALFORMED, "\"qk_rope_head_dim\": expected 1 to 8192, found 0"},
    {"latent attention, an odd rotation", DEEPSEEK_V3_OF("8", "4", "3", "6"), LAMP_MALFORMED, "\"qk_rope_head_dim\": expected a multiple of two"},
    {"latent attention, a negative width", DEEPSEEK_V3_OF("8", "-4", "4", "6"), LAMP_MALFORMED, "\"qk_nope_head_dim\": expected 0 to 8192, found -4"},
    {"latent attention without values", DEEPSEEK_V3_OF("8", "4", "4", "0"), LAMP_MALFORMED, "\"v_head_dim\": expected 1 to 16384, found 0"},
    {"latent attention, widths missing", DEEPSEEK("v3") SCALED ", \"kv_lora_rank\": 8, \"first_k_dense_replace\": 1}", LAMP_MALFORMED,
     "\"qk_nope_head_dim\": expected an integer, found nothing"},
    {"latent attention with shared keys", DEEPSEEK_V3 ", \"num_key_value_heads\": 2}", LAMP_MALFORMED,
     "\"num_key_value_heads\": expected num_attention_heads (4) with latent attention, found 2"},
    {"queries of negative rank", DEEPSEEK_V3 ", \"q_lora_rank\": -1}", LAMP_MALFORMED, "\"q_lora_rank\": expected 0 to"},
    {"queries of a rank that is a list", DEEPSEEK_V3 ", \"q_lora_rank\": [7]}", LAMP_MALFORMED,
     "\"q_lora_rank\": expected an integer, found an array"},
    {"neighbours that are a number", DEEPSEEK_V3 ", \"rope_interleave\": 1}", LAMP_MALFORMED,
     "\"rope_interleave\": expected a boolean, found an integer"},
    {"first layers that are all", DEEPSEEK("v3") SCALED LATENT("8", "4", "4", "6") ", \"first_k_dense_replace\": 2}", LAMP_MALFORMED,
     "no layer has experts: expected fewer than 2 layers before the first, found first_k_dense_replace 2"},
    {"no shared experts said", DEEPSEEK("v3") LATENT("8", "4", "4", "6") ", \"num_experts_per_tok\": 2, \"first_k_dense_replace\": 1}",
     LAMP_MALFORMED, "\"n_shared_experts\": expected an integer, found nothing\n"},
    {"scale missing", DEEPSEEK("v3") LATENT("8", "4", "4", "6") ", \"num_experts_per_tok\": 2, \"first_k_dense_replace\": 1}", LAMP_MALFORMED,
     "\"routed_scaling_factor\": expected a number, found nothing"},
    {"scale 1e308", DEEPSEEK("v3") LATENT("8", "4", "4", "6") ", \"n_shared_experts\": 1, \"routed_scaling_factor\": 1e308}", LAMP_MALFORMED,
     "\"routed_scaling_factor\": expected 0 to 1e+06, found 1e+308"},
    {"a thousand million shared experts", DEEPSEEK("v3") LATENT("8", "4", "4", "6") ", \"n_shared_experts\": 1000000000}", LAMP_MALFORMED,
     "\"n_shared_experts\": expected 0 to 1024, found 1000000000"},
    {"groups that do not divide experts", DEEPSEEK_V3 ", \"n_group\": 3, \"topk_group\": 1}", LAMP_MALFORMED,
     "\"n_group\": expected a divisor of the number of experts (8), found 3"},
    {"more groups than experts", DEEPSEEK_V3 ", \"n_group\": 16, \"topk_group\": 8}", LAMP_MALFORMED, "\"n_group\": expected a divisor"},
    {"more groups chosen than there are", DEEPSEEK_V3 ", \"n_group\": 2, \"topk_group\": 3}", LAMP_MALFORMED,
     "\"topk_group\": expected 1 to \"n_group\" (2), found 3"},
    {"no group chosen", DEEPSEEK_V3 ", \"n_group\": 2, \"topk_group\": 0}", LAMP_MALFORMED, "\"topk_group\": expected 1 to \"n_group\" (2), found 0"},
    {"groups chosen with too few experts", DEEPSEEK_V3 ", \"n_group\": 8, \"topk_group\": 1}", LAMP_MALFORMED,
     "\"num_experts_per_tok\": expected at most the 1 experts of \"topk_group\" groups, found 2"},
    {"groups chosen by a word that is none", DEEPSEEK_V2 ", \"topk_method\": 1}", LAMP_MALFORMED, "\"topk_method\": expected text, found an integer"},
    {"weights scaled in a family that never does", DEEPSEEK_V2 ", \"norm_topk_prob\": true}", LAMP_MALFORMED,
     "family deepseek_v2 never scales the chosen probabilities to sum to one: expected normalize false"},
    {"two numbers of experts", OLMOE ", \"num_local_experts\": 8}", LAMP_MALFORMED,
     "\"num_local_experts\": expected 4 as in \"num_experts\", found another number"},
    {"no experts", QWEN3_MOE ", \"num_experts\": 0}", LAMP_MALFORMED, "\"num_experts\": expected 1 to"},
    {"experts missing", QWEN3_MOE "}", LAMP_MALFORMED, "\"num_experts\": expected an integer, found nothing"},
    {"top_k above experts", QWEN3_MOE ", \"num_experts\": 1}", LAMP_MALFORMED, "\"num_experts_per_tok\": expected 1 to 1"},
    {"sparse step 0", QWEN3_MOE ", \"num_experts\": 4, \"decoder_sparse_step\": 0}", LAMP_MALFORMED, "\"decoder_sparse_step\": expected 1 to"},
    {"every layer dense", QWEN3_MOE ", \"num_experts\": 4, \"mlp_only_layers\": [0, 1], \"intermediate_size\": 9}", LAMP_MALFORMED,
     "no layer has experts"},
    {"dense layers of no width", QWEN3_MOE ", \"num_experts\": 4, \"mlp_only_layers\": [0]}", LAMP_MALFORMED,
     "\"intermediate_size\": expected an integer, found nothing"},
    {"own format without backbone", "{\"model_type\": \"lamplighter\"}", LAMP_MALFORMED, "\"backbone\": expected text, found nothing"},
    {"own format without mixture", OURS "}", LAMP_MALFORMED, "\"mixture\": expected an object, found nothing"},
    {"own mixture without kind", OURS ", \"mixture\": {}}", LAMP_MALFORMED, "\"mixture\": \"kind\": expected text, found nothing"},
    {"LSTM", LSTM(3, 48, 0), LAMP_OK, ""},
    {"LSTM of negative units", LSTM(3, -48, 0), LAMP_MALFORMED, "\"mixture\": \"dense_size\": expected 0 to"},
    {"LSTM of more units than there are channels anywhere", LSTM(3, 5000000, 0), LAMP_MALFORMED, "\"mixture\": \"dense_size\": expected 0 to"},
    {"LSTM of half a unit", LSTM(3, 0.5, 0), LAMP_MALFORMED, "\"mixture\": \"dense_size\": expected an integer"},
    {"LSTM of no layers", LSTM(0, 48, 0), LAMP_MALFORMED, "\"num_hidden_layers\": expected 1 to"},
    {"LSTM with a deep expert among others", LSTM(3, 48, 2), LAMP_MALFORMED, "only the single ReLU expert of an LSTM has more layers"},
    {"LSTM with an expert of too many layers", LSTM(3, 48, 9), LAMP_MALFORMED, "\"mixture\": \"mlp_depth\": expected 0 to 4, found 9"},
    {"own mixture of negative scale", OURS ", \"mixture\": {\"kind\": \"sigmoid\", \"scale\": -1}}", LAMP_MALFORMED,
     "\"mixture\": \"scale\": expected 0 to 1e+06, found -1"},
    {"own mixture of negative groups", OURS ", \"mixture\": {\"kind\": \"sigmoid\", \"scale\": 1, \"weigh_input\": false, \"groups\": -2}}",
     LAMP_MALFORMED, "\"mixture\": \"groups\": expected 0 to"},

    /* sound, and another function than the one we run */
    {"unknown family with a near name", "{\"model_type\": \"olmeo\"}", LAMP_UNSUPPORTED,
     "unknown family \"olmeo\"; did you mean olmoe? expected one of llama, mixtral, olmoe, qwen2, qwen2_moe, qwen3"},
    {"unknown family", "{\"model_type\": \"mamba_2\"}", LAMP_UNSUPPORTED, "unknown family \"mamba_2\"; expected one of llama"},
    {"family that writes on the terminal", "{\"model_type\": \"\\u001b[31mred\"}", LAMP_UNSUPPORTED, "unknown family \"?[31mred\""},
    {"rope of another kind", LLAMA ", \"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4}}", LAMP_UNSUPPORTED,
     "\"rope_scaling\": \"rope_type\": expected one of default|linear|dynamic|llama3|yarn, found \"longrope\""},
    {"rope of a shortened kind", LLAMA ", \"rope_scaling\": {\"type\": \"lin\", \"factor\": 2}}", LAMP_UNSUPPORTED, "found \"lin\""},
    {"rope of an empty kind", LLAMA ", \"rope_parameters\": {\"rope_type\": \"\"}}", LAMP_UNSUPPORTED,
     "\"rope_parameters\": \"rope_type\": expected"},
    {"rope by layer type", LLAMA ", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}}", LAMP_UNSUPPORTED,
     "\"rope_parameters\": \"full_attention\": expected one RoPE for all layers, found another object"},
    {"rope that is text", LLAMA ", \"rope_scaling\": \"yarn\"}", LAMP_UNSUPPORTED, "\"rope_scaling\": expected an object"},
    {"half a rotation, inside", LLAMA ", \"rope_parameters\": {\"partial_rotary_factor\": 0.5}}", LAMP_UNSUPPORTED,
     "\"rope_parameters\": \"partial_rotary_factor\": expected 1"},
    {"no rotation, inside", LLAMA ", \"rope_parameters\": {\"partial_rotary_factor\": 0}}", LAMP_UNSUPPORTED,
     "\"partial_rotary_factor\": expected 1"},
    {"half a rotation", LLAMA ", \"partial_rotary_factor\": 0.5}", LAMP_UNSUPPORTED, "\"partial_rotary_factor\": expected 1, found 0.5"},
    {"sliding window in a family without", LLAMA ", \"sliding_window\": 64}", LAMP_UNSUPPORTED,
     "\"sliding_window\": expected null or at least max_position_embeddings, found 64"},
    {"sliding window that is text", LLAMA ", \"sliding_window\": \"x\"}", LAMP_UNSUPPORTED, "\"sliding_window\""},
    {"sliding layers in a family without", LLAMA ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]}", LAMP_UNSUPPORTED,
     "\"layer_types\": expected full_attention in family llama, found \"sliding_attention\""},
    {"layers of an unknown kind", MIXTRAL ", \"sliding_window\": 9, \"layer_types\": [\"full_attention\", \"linear_attention\"]}", LAMP_UNSUPPORTED,
     "\"layer_types\": expected full_attention or sliding_attention in family mixtral, found \"linear_attention\""},
    {"windows in a pattern of their own",
     "{\"model_type\": \"qwen3\", \"vocab_size\": 64, \"hidden_size\": 32, \"intermediate_size\": 8, \"num_hidden_layers\": 5, "
     "\"num_attention_heads\": 4, "
     "\"max_position_embeddings\": 128, \"use_sliding_window\": true, \"sliding_window\": 9, \"layer_types\": [\"full_attention\", "
     "\"sliding_attention\", "
     "\"full_attention\", \"sliding_attention\", \"full_attention\"]}",
     LAMP_OK, ""},
    {"windows in no pattern",
     "{\"model_type\": \"qwen3\", \"vocab_size\": 64, \"hidden_size\": 32, \"intermediate_size\": 8, \"num_hidden_layers\": 6, "
     "\"num_attention_heads\": 4, "
     "\"max_position_embeddings\": 128, \"use_sliding_window\": true, \"sliding_window\": 9, \"layer_types\": [\"sliding_attention\", "
     "\"full_attention\", "
     "\"full_attention\", \"sliding_attention\", \"full_attention\", \"sliding_attention\"]}",
     LAMP_UNSUPPORTED, "\"layer_types\": expected windows in neighbouring layers but every n-th, found another pattern"},
    {"experts in every other layer", DEEPSEEK_V2 ", \"moe_layer_freq\": 2}", LAMP_UNSUPPORTED, "\"moe_layer_freq\": expected 1, found 2"},
    {"experts scored otherwise", DEEPSEEK_V2 ", \"scoring_func\": \"sigmoid\"}", LAMP_UNSUPPORTED,
     "\"scoring_func\": expected softmax, found \"sigmoid\""},
    {"experts scored by probabilities", DEEPSEEK_V3 ", \"scoring_func\": \"softmax\"}", LAMP_UNSUPPORTED, "\"scoring_func\": expected sigmoid"},
    {"experts chosen otherwise", DEEPSEEK_V2 ", \"topk_method\": \"noaux_tc\"}", LAMP_UNSUPPORTED,
     "\"topk_method\": expected group_limited_greedy, found \"noaux_tc\""},
    {"latent attention with biases", DEEPSEEK_V3 ", \"attention_bias\": true}", LAMP_UNSUPPORTED, "\"attention_bias\": expected nothing"},
    {"groups chosen of none", DEEPSEEK_V3 ", \"topk_group\": 2}", LAMP_OK, ""},
    {"groups that count for nothing", DEEPSEEK_V2 ", \"topk_method\": \"greedy\", \"n_group\": 3, \"topk_group\": 9}", LAMP_OK, ""},
    {"attention bias in a family without", MIXTRAL ", \"attention_bias\": true}", LAMP_UNSUPPORTED,
     "\"attention_bias\": expected nothing, false or null, found true"},
    {"mlp bias", LLAMA ", \"mlp_bias\": true}", LAMP_UNSUPPORTED, "\"mlp_bias\""},
    {"clipped attention in a family without", LLAMA ", \"clip_qkv\": 8.0}", LAMP_UNSUPPORTED,
     "\"clip_qkv\": expected nothing, false or null, found 8.0"},
    {"another activation", LLAMA ", \"hidden_act\": \"gelu\"}", LAMP_UNSUPPORTED, "\"hidden_act\": expected \"silu\" or \"swish\", found \"gelu\""},
    {"dense layers in the middle", QWEN3_MOE ", \"num_experts\": 4, \"mlp_only_layers\": [1]}", LAMP_UNSUPPORTED,
     "\"mlp_only_layers\": expected the first layers: 0, 1, ..., found [1]"},
    {"dense layers that are text", QWEN3_MOE ", \"num_experts\": 4, \"mlp_only_layers\": \"0\"}", LAMP_UNSUPPORTED,
     "\"mlp_only_layers\": expected the first layers: 0, 1, ..., found \"0\""},
    {"dense layers in a family without", OLMOE ", \"mlp_only_layers\": [0]}", LAMP_UNSUPPORTED,
     "\"mlp_only_layers\": expected nothing, false or null, found [0]"},
    {"sparse step in a family without", OLMOE ", \"decoder_sparse_step\": 2}", LAMP_UNSUPPORTED, "\"decoder_sparse_step\": expected 1, found 2"},
    {"shared experts", QWEN3_MOE ", \"num_experts\": 4, \"shared_expert_intermediate_size\": 8}", LAMP_UNSUPPORTED,
     "\"shared_expert_intermediate_size\""},
    {"quantised", LLAMA ", \"quantization_config\": {\"bits\": 4}}", LAMP_UNSUPPORTED,
     "\"quantization_config\": expected quant_method mxfp4, or fp8 in squares of 128 (weight_block_size [128, 128]), found {\"bits\": 4}"},
    {"quantised by others", LLAMA ", \"quantization_config\": {\"quant_method\": \"gptq\"}}", LAMP_UNSUPPORTED, "found {\"quant_method\": \"gptq\"}"},
    {"eight bits in other squares", LLAMA ", \"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": [64, 128]}}",
     LAMP_UNSUPPORTED, "\"quantization_config\": expected quant_method mxfp4, or fp8 in squares of 128"},
    {"eight bits without squares", LLAMA ", \"quantization_config\": {\"quant_method\": \"fp8\"}}", LAMP_UNSUPPORTED, "in squares of 128"},
    {"quantised, as text", LLAMA ", \"quantization_config\": \"fp8\"}", LAMP_UNSUPPORTED, "\"quantization_config\": expected quant_method"},

    /* harmless */
    {"unknown key", LLAMA ", \"transformers_version\": \"4.57\"}", LAMP_OK, ""},
    {"null for a default", LLAMA ", \"rope_theta\": null}", LAMP_OK, ""},
    {"file reference", LLAMA ", \"_name_or_path\": \"../../etc/passwd\"}", LAMP_OK, ""},
};

static const char *config_path(void) {
    static char path[PATH_BYTES];
    EXPECT_OK(file_join(path, test_folder(), "config.json"));
    return path;
}

static void read_bytes(const char *bytes, size_t length, int code, const char *text) {
    model_config config;
    EXPECT_OK(file_write_whole(config_path(), bytes, length));
    test_largest_allocation();
    EXPECT_ERROR(family_read_config(&config, config_path()), code, text);
    EXPECT(test_largest_allocation() < 4096, "a claim became memory");
    EXPECT(code == LAMP_OK || strstr(lamp_error_message(), "config.json: "), "no path in %s", lamp_error_message());
}

static void malformed_configs_are_refused_by_name(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].class);
        read_bytes(rows[i].config, strlen(rows[i].config), rows[i].code, rows[i].text);
    }
}

static void depth_is_bounded(void) {
    buffer bomb = {0};
    buffer_append_text(&bomb, LLAMA ", \"x\": ");
    for (int i = 0; i < 100000; i++) buffer_append_byte(&bomb, '[');
    read_bytes(bomb.bytes, bomb.length, LAMP_MALFORMED, "depth");
    buffer_release(&bomb);
}

/* A sparse file costs no disk: its end is all zeros that were never written. */
static void no_file_is_read_that_would_fill_memory(void) {
    FILE *file = fopen(config_path(), "wb");
    EXPECT(file && !fseek(file, 300 << 20, SEEK_SET) && fputc('}', file) == '}', "cannot write %s", config_path());
    if (file) fclose(file);
    model_config config;
    EXPECT_ERROR(family_read_config(&config, config_path()), LAMP_UNSUPPORTED,
                 "config.json: expected at most 268435456 bytes of JSON, found 314572801");
    EXPECT(!remove(config_path()), "cannot remove");
}

static char warning[512];
static void keep_warning(void *context, log_level level, const char *text) {
    (void)context;
    if (level == LOG_WARNING) snprintf(warning, sizeof warning, "%s", text);
}

static void code_in_a_folder_is_never_run(void) {
    static const char text[] = LLAMA ", \"auto_map\": {\"AutoModel\": \"modeling_x.X\"}, \"trust_remote_code\": true}";
    log_set_sink(keep_warning, NULL);
    read_bytes(text, strlen(text), LAMP_OK, "");
    log_set_sink(NULL, NULL);
    EXPECT(strstr(warning, "\"auto_map\" is ignored: no code from a model folder is ever run"), "%s", warning);
}

static const test_case cases[] = {
    {"malformed configs are refused by name", malformed_configs_are_refused_by_name},
    {"depth is bounded", depth_is_bounded},
    {"no file is read that would fill memory", no_file_is_read_that_would_fill_memory},
    {"code in a folder is never run", code_in_a_folder_is_never_run},
};

int main(void) { return test_run("malformed config", cases, sizeof cases / sizeof *cases); }
