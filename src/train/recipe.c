#include "train/recipe.h"

#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/problems.h"
#include "data/loader.h"
#include "models/families/family.h"
#include "models/rope.h"
#include "moe/route.h"

#define AT(field) offsetof(recipe, field)

static const option rows[] = {
    {"model", "family", OPTION_CHOICE, AT(model.family), "olmoe", 0, 0, SCALE_LINEAR,
     "olmoe|mixtral|qwen2_moe|qwen3_moe|deepseek_v2|deepseek_v3|gpt_oss|llama4_text|llama|qwen2|qwen3|lstm_moe|switch_transformers", "",
     "architecture, and the Hugging Face model_type of the checkpoints; llama, qwen2 and qwen3 are dense, lstm_moe is that of 2017; "
     "switch_transformers can be priced, not trained"},
    {"model", "hidden_size", OPTION_INTEGER, AT(model.hidden_size), "192", 2, 65536, SCALE_LOG, NULL, "channels", "width D of the residual stream"},
    {"model", "intermediate_size", OPTION_INTEGER, AT(model.intermediate_size), "256", 1, 1048576, SCALE_LOG, NULL, "channels",
     "inner width F of one expert, or of the dense MLP"},
    {"model", "num_hidden_layers", OPTION_INTEGER, AT(model.num_hidden_layers), "4", 1, 1024, SCALE_LINEAR, NULL, "", "blocks L"},
    {"model", "num_attention_heads", OPTION_INTEGER, AT(model.num_attention_heads), "6", 0, 1024, SCALE_LINEAR, NULL, "",
     "query heads H; an LSTM has 0"},
    {"model", "num_key_value_heads", OPTION_INTEGER, AT(model.num_key_value_heads), "0", 0, 1024, SCALE_LINEAR, NULL, "",
     "heads of keys and values, each shared by H / this many query heads; 0: H"},
    {"model", "head_dim", OPTION_INTEGER, AT(model.head_dim), "0", 0, 4096, SCALE_LINEAR, NULL, "channels",
     "width of a head; 0: hidden_size / heads"},
    {"model", "max_position_embeddings", OPTION_INTEGER, AT(model.max_position_embeddings), "256", 1, 1048576, SCALE_LOG, NULL, "tokens",
     "length T of training sequences, and the longest context"},
    {"model", "vocab_size", OPTION_INTEGER, AT(model.vocab_size), "0", 0, 1048576, SCALE_LOG, NULL, "tokens", "vocabulary V; 0: the dataset's"},
    {"model", "tie_word_embeddings", OPTION_BOOL, AT(model.tie_word_embeddings), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "one matrix for the embedding and the output head"},
    {"model", "rope_theta", OPTION_NUMBER, AT(model.rope_theta), "10000", 1, 1e9, SCALE_LOG, NULL, "", "base of the rotary frequencies"},
    {"model", "rms_norm_eps", OPTION_NUMBER, AT(model.rms_norm_eps), "1e-5", 0, 0.1, SCALE_LOG, NULL, "", "added to the mean square in norms"},
    {"model", "sliding_window", OPTION_INTEGER, AT(model.window.size), "0", 0, 1 << 30, SCALE_LOG, NULL, "tokens",
     "that attention sees, or of llama4_text the chunks that it sees; 0: all"},
    {"model", "window_from", OPTION_INTEGER, AT(model.window.from), "0", 0, 16384, SCALE_LINEAR, NULL, "layers",
     "that see all, before those with windows"},
    {"model", "window_until", OPTION_INTEGER, AT(model.window.until), "0", 0, 16384, SCALE_LINEAR, NULL, "layers",
     "after which there are no windows any more; 0: there are up to the last"},
    {"model", "full_attention_step", OPTION_INTEGER, AT(model.window.full_step), "0", 0, 16385, SCALE_LINEAR, NULL, "layers",
     "among those with windows every n-th sees all; 0: as is usual in the family (gpt_oss 2, llama4_text 4); more than there are layers: none"},
    {"model", "no_rope_layer_interval", OPTION_INTEGER, AT(model.unrotated.step), "0", 0, 16385, SCALE_LINEAR, NULL, "layers",
     "llama4_text: every n-th has no RoPE; 0: as is usual in the family, 4; more than there are layers: all have it"},
    {"model", "attn_scale", OPTION_NUMBER, AT(model.unrotated.scale), "-1", -1, 1e6, SCALE_LOG, NULL, "",
     "llama4_text: how fast queries grow with their position in layers without RoPE; 0: they do not; -1: as is usual in the family, 0.1"},
    {"model", "floor_scale", OPTION_INTEGER, AT(model.unrotated.floor), "0", 0, 1 << 30, SCALE_LOG, NULL, "tokens",
     "llama4_text: after how many they first do; 0: as is usual in the family, 8192"},
    {"model", "rope_interleave", OPTION_INTEGER, AT(model.interleaved), "-1", -1, 1, SCALE_LINEAR, NULL, "",
     "deepseek_v3: 1: RoPE turns neighbouring channels; 0: one of each half; -1: as is usual in the family"},
    {"model", "use_qk_norm", OPTION_INTEGER, AT(model.normed), "-1", -1, 1, SCALE_LINEAR, NULL, "",
     "llama4_text: 1: queries and keys have norms; 0: they have none; -1: as is usual in the family"},
    {"model", "attention_bias", OPTION_INTEGER, AT(model.biased), "-1", -1, 1, SCALE_LINEAR, NULL, "",
     "1: queries, keys and values have biases, and but for qwen2 and qwen2_moe what attention says; 0: none; -1: as is usual in the family"},
    {"model", "clip_qkv", OPTION_NUMBER, AT(model.clip_qkv), "0", 0, 1e9, SCALE_LOG, NULL, "",
     "olmoe: queries, keys and values are held between this and its negative; 0: as they are"},
    {"model", "initializer_range", OPTION_NUMBER, AT(model.initializer_range), "0", 0, 10, SCALE_LOG, NULL, "",
     "standard deviation of initial matrices, 0: 1 / sqrt(channels read); those that write into the residual stream get it divided by sqrt(2 L)"},

    {"model", "n_shared_experts", OPTION_INTEGER, AT(model.moe.shared_experts), "0", 0, 1024, SCALE_LINEAR, NULL, "experts",
     "experts beside the router's that every token takes"},
    {"model", "shared_expert_intermediate_size", OPTION_INTEGER, AT(model.moe.shared_size), "0", 0, 1048576, SCALE_LOG, NULL, "channels",
     "inner width of each shared expert; 0: intermediate_size"},
    {"model", "shared_expert_gate", OPTION_BOOL, AT(model.moe.shared_gate), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "multiply what shared experts say by a sigmoid of the token, as Qwen2-MoE does"},
    {"model", "relu_experts", OPTION_BOOL, AT(model.moe.relu), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "experts of two matrices with a ReLU between, as in 2017, in place of SwiGLU's three"},
    {"model", "swiglu_limit", OPTION_NUMBER, AT(model.moe.swiglu_limit), "-1", -1, 1e6, SCALE_LOG, NULL, "",
     "gpt_oss: the bound of what gate and up say in an expert; -1: as is usual in the family, 7 in gpt_oss and none elsewhere"},
    {"model", "swiglu_alpha", OPTION_NUMBER, AT(model.moe.swiglu_alpha), "-1", -1, 1e6, SCALE_LOG, NULL, "",
     "gpt_oss: what a gate is multiplied with in its sigmoid; -1: as is usual in the family, 1.702"},
    {"model", "first_k_dense_replace", OPTION_INTEGER, AT(model.dense_layers), "0", 0, 1024, SCALE_LINEAR, NULL, "layers",
     "the first layers are dense"},
    {"model", "decoder_sparse_step", OPTION_INTEGER, AT(model.sparse_step), "1", 1, 1024, SCALE_LINEAR, NULL, "layers",
     "after them every n-th layer has experts, the others are dense"},
    {"model", "dense_intermediate_size", OPTION_INTEGER, AT(model.dense_size), "0", 0, 1048576, SCALE_LOG, NULL, "channels",
     "inner width of dense layers among sparse ones; 0: as wide as all experts of a token. lstm_moe: units of an LSTM, 0: hidden_size"},

    {"model", "mlp_depth", OPTION_INTEGER, AT(model.mlp_depth), "0", 0, MOST_MLP_DEPTH, SCALE_LINEAR, NULL, "layers",
     "lstm_moe with router.experts = 1: ReLU layers of the one expert; 0: one"},
    {"model", "encoder_layers", OPTION_INTEGER, AT(model.encoder_layers), "0", 0, 1024, SCALE_LINEAR, NULL, "layers",
     "switch_transformers: blocks of the encoder, beside num_hidden_layers of the decoder"},
    {"model", "q_lora_rank", OPTION_INTEGER, AT(model.latent.query_rank), "0", 0, 65536, SCALE_LOG, NULL, "channels",
     "latent attention: of the row that queries are made from; 0: from the full width"},
    {"model", "kv_lora_rank", OPTION_INTEGER, AT(model.latent.key_rank), "0", 0, 65536, SCALE_LOG, NULL, "channels",
     "latent attention: of the row that keys and values are made from; 0: plain attention"},
    {"model", "qk_nope_head_dim", OPTION_INTEGER, AT(model.latent.plain_dim), "0", 0, 4096, SCALE_LINEAR, NULL, "channels",
     "latent attention: of a head's queries and keys without rotation"},
    {"model", "qk_rope_head_dim", OPTION_INTEGER, AT(model.latent.rotary_dim), "0", 0, 4096, SCALE_LINEAR, NULL, "channels",
     "latent attention: the same with rotation"},
    {"model", "v_head_dim", OPTION_INTEGER, AT(model.latent.value_dim), "0", 0, 4096, SCALE_LINEAR, NULL, "channels",
     "latent attention: of a head's values"},

    {"rope", "type", OPTION_CHOICE, AT(model.rope.kind), "default", 0, 0, SCALE_LINEAR, ROPE_KINDS, "",
     "how rotary positions are made to reach further than they were first trained to: src/models/rope.c has the formulas"},
    {"rope", "factor", OPTION_NUMBER, AT(model.rope.factor), "1", 1, 1e6, SCALE_LOG, NULL, "", "all but default: so many times further"},
    {"rope", "original_max_position_embeddings", OPTION_INTEGER, AT(model.rope.original), "0", 0, 1 << 30, SCALE_LOG, NULL, "tokens",
     "llama3, yarn: the context that was trained first; 0: max_position_embeddings"},
    {"rope", "low_freq_factor", OPTION_NUMBER, AT(model.rope.low_frequency), "1", 1e-6, 1e6, SCALE_LOG, NULL, "",
     "llama3: waves that turn fewer times in the original context are stretched"},
    {"rope", "high_freq_factor", OPTION_NUMBER, AT(model.rope.high_frequency), "4", 1e-6, 1e6, SCALE_LOG, NULL, "",
     "llama3: those that turn more often are not"},
    {"rope", "beta_fast", OPTION_NUMBER, AT(model.rope.beta_fast), "32", 1e-6, 1e6, SCALE_LOG, NULL, "",
     "yarn: pairs that turn more often in the original context are not stretched"},
    {"rope", "beta_slow", OPTION_NUMBER, AT(model.rope.beta_slow), "1", 1e-6, 1e6, SCALE_LOG, NULL, "", "yarn: those that turn less often are"},
    {"rope", "truncate", OPTION_BOOL, AT(model.rope.truncate), "true", 0, 0, SCALE_LINEAR, NULL, "", "yarn: both bounds at whole pairs"},
    {"rope", "attention_factor", OPTION_NUMBER, AT(model.rope.attention_factor), "0", 0, 1e6, SCALE_LOG, NULL, "",
     "yarn: what turned queries and keys are multiplied with; 0: 0.1 ln(factor) + 1, or as mscale and mscale_all_dim have it"},
    {"rope", "mscale", OPTION_NUMBER, AT(model.rope.mscale), "0", 0, 1e6, SCALE_LOG, NULL, "",
     "yarn: with mscale_all_dim, that factor is (0.1 mscale ln(factor) + 1) / (0.1 mscale_all_dim ln(factor) + 1)"},
    {"rope", "mscale_all_dim", OPTION_NUMBER, AT(model.rope.mscale_all_dim), "0", 0, 1e6, SCALE_LOG, NULL, "",
     "yarn: DeepSeek also multiplies its scores with (0.1 mscale_all_dim ln(factor) + 1)^2"},

    {"router", "kind", OPTION_CHOICE, AT(model.moe.kind), "softmax", 0, 0, SCALE_LINEAR, router_kinds, "",
     "how experts are chosen; src/moe/route_*.c open with what each does"},
    {"router", "experts", OPTION_INTEGER, AT(model.moe.experts), "8", 1, 1048576, SCALE_LOG, NULL, "experts",
     "experts E per layer; 1: dense, without a router"},
    {"router", "top_k", OPTION_INTEGER, AT(model.moe.top_k), "2", 1, 1024, SCALE_LINEAR, NULL, "",
     "experts K that each token takes; of batchwise and expert_choice the mean"},
    {"router", "normalize", OPTION_BOOL, AT(model.moe.normalize), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "scale the K chosen weights to sum to one; mixtral and most routers always do"},
    {"router", "scale", OPTION_NUMBER, AT(model.moe.scale), "1", 0.001, 1000, SCALE_LOG, NULL, "",
     "what weights are multiplied by (routed_scaling_factor; DeepSeek-V3: 2.5)"},
    {"router", "weigh_input", OPTION_BOOL, AT(model.moe.weigh_input), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "weights multiply what experts read, not what they say, as in Llama-4"},
    {"router", "groups", OPTION_INTEGER, AT(model.moe.groups), "0", 0, 65536, SCALE_LOG, NULL, "groups",
     "experts stand in groups of which a token uses the best; 0: none. Hierarchical: the primary gate's branches"},
    {"router", "top_groups", OPTION_INTEGER, AT(model.moe.top_groups), "1", 1, 1024, SCALE_LINEAR, NULL, "groups", "that a token may use"},
    {"router", "jitter", OPTION_NUMBER, AT(model.moe.jitter), "0", 0, 0.5, SCALE_LINEAR, NULL, "",
     "switch: while training the router reads its input times U(1 - jitter, 1 + jitter)"},
    {"router", "capacity", OPTION_NUMBER, AT(model.moe.capacity), "0", 0, 1000, SCALE_LOG, NULL, "even shares",
     "room of an expert while training, over its even share of the pairs; what finds none is dropped; 0: room for all"},
    {"router", "eval_capacity", OPTION_NUMBER, AT(model.moe.eval_capacity), "0", 0, 1000, SCALE_LOG, NULL, "even shares",
     "the same when evaluating and generating"},
    {"router", "drop_by_score", OPTION_BOOL, AT(model.moe.drop_by_score), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "drop the pairs of least weight; otherwise second choices before first ones, later tokens before earlier ones"},

    {"balance", "switch", OPTION_NUMBER, AT(model.moe.balance[BALANCE_SWITCH]), "-1", -1, 100, SCALE_LOG, NULL, "",
     "coefficient of the Switch loss, summed over layers; 1 x coefficient x L when loads are equal; -1: 0.01, or with hierarchical, hash and "
     "random 0"},
    {"balance", "sequence", OPTION_NUMBER, AT(model.moe.balance[BALANCE_SEQUENCE]), "0", 0, 100, SCALE_LOG, NULL, "",
     "of the same loss within each sequence (DeepSeek-V3: 0.0001); not with these three"},
    {"balance", "importance", OPTION_NUMBER, AT(model.moe.balance[BALANCE_IMPORTANCE]), "0", 0, 100, SCALE_LOG, NULL, "",
     "of CV^2 of the weight each expert receives (2017: 0.1)"},
    {"balance", "load", OPTION_NUMBER, AT(model.moe.balance[BALANCE_LOAD]), "0", 0, 100, SCALE_LOG, NULL, "",
     "of CV^2 of the tokens each expert may expect (2017: 0.1); teaches noisy_top_k and hierarchical only"},
    {"balance", "z", OPTION_NUMBER, AT(model.moe.balance[BALANCE_Z]), "0.001", 0, 100, SCALE_LOG, NULL, "",
     "coefficient of the router z-loss, summed over layers"},
    {"balance", "threshold", OPTION_NUMBER, AT(model.moe.balance[BALANCE_THRESHOLD]), "0.001", 0, 100, SCALE_LOG, NULL, "",
     "of the loss that teaches the thresholds of batchwise"},
    {"balance", "bias_rate", OPTION_NUMBER, AT(model.moe.bias_rate), "0", 0, 1, SCALE_LOG, NULL, "",
     "sigmoid: how far the bias of an expert moves after a step in which it had less or more than the mean (DeepSeek-V3: 0.001)"},

    {"data", "path", OPTION_TEXT, AT(data_path), "", 0, 0, SCALE_LINEAR, NULL, "", "dataset folder made by `lamp data build`"},
    {"data", "mixture", OPTION_MAP, AT(mixture), NULL, 0, 1e12, SCALE_LOG, NULL, "",
     "mixture.DOMAIN = weight, as in mixture.code = 2; none given: by the square root of each domain's tokens"},

    {"data", "stretch", OPTION_INTEGER, AT(stretch), "0", 0, MOST_STRETCH, SCALE_LOG, NULL, "sequences",
     "that a row of the batch reads as they follow one another in the text, before it turns elsewhere; what an LSTM remembers is carried from each "
     "to the next. 0: 64 where a model carries something, else 1"},

    {"optim", "learning_rate", OPTION_NUMBER, AT(schedule.learning_rate), "0.003", 0, 10, SCALE_LOG, NULL, "", "the highest of the schedule"},
    {"optim", "schedule", OPTION_CHOICE, AT(schedule.shape), "cosine", 0, 0, SCALE_LINEAR, "cosine|wsd|rsqrt", "",
     "how it falls: cosine; stable with a decay at the end; or from the end of the warm-up on as 1 / sqrt(step), which is that of 2017"},
    {"optim", "warmup", OPTION_NUMBER, AT(schedule.warmup), "0.02", 0, 1, SCALE_LINEAR, NULL, "share of the budget", "linear rise at the start"},
    {"optim", "decay", OPTION_NUMBER, AT(schedule.decay), "0.2", 0.001, 1, SCALE_LINEAR, NULL, "share of the budget", "wsd: fall at the end"},
    {"optim", "final_share", OPTION_NUMBER, AT(schedule.final_share), "0.1", 0, 1, SCALE_LINEAR, NULL, "share of learning_rate",
     "where cosine and wsd end"},
    {"optim", "beta1", OPTION_NUMBER, AT(optimizer.beta1), "0.9", 0, 0.99999, SCALE_LINEAR, NULL, "", "memory of the first moment"},
    {"optim", "beta2", OPTION_NUMBER, AT(optimizer.beta2), "0.95", 0, 0.99999, SCALE_LINEAR, NULL, "", "memory of the second moment"},
    {"optim", "epsilon", OPTION_NUMBER, AT(optimizer.epsilon), "1e-8", 0, 1, SCALE_LOG, NULL, "", "added to the root of the second moment"},
    {"optim", "weight_decay", OPTION_NUMBER, AT(optimizer.weight_decay), "0.1", 0, 10, SCALE_LOG, NULL, "",
     "of matrices; embeddings and norms have none"},
    {"optim", "clip", OPTION_NUMBER, AT(optimizer.clip), "1", 0, 1e6, SCALE_LOG, NULL, "", "largest global gradient norm; 0: no clipping"},

    {"optim", "experts", OPTION_CHOICE, AT(optimizer.experts), "adamw", 0, 0, SCALE_LINEAR, "adamw|adamw_in_backward|factored", "",
     "how expert matrices are updated; adamw_in_backward: each as soon as its gradient is there, so that where a step is one micro-batch gradients "
     "take no memory; factored: the same without a first moment, of the second only the means of rows and columns"},
    {"optim", "clip_matrix", OPTION_NUMBER, AT(optimizer.clip_matrix), "1", 0, 1e6, SCALE_LOG, NULL, "",
     "updated in backward: largest gradient norm of each expert matrix, while optim.clip is of all other weights; 0: no clipping"},
    {"optim", "moments", OPTION_CHOICE, AT(optimizer.moments), "f32", 0, 0, SCALE_LINEAR, "f32|bf16", "",
     "what AdamW's moments of matrices, embeddings and experts are kept in; bf16: rounded at random, four bytes a parameter less"},
    {"optim", "lazy_experts", OPTION_BOOL, AT(optimizer.lazy_experts), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "skip experts that no token reached in a step; each then counts its own steps"},

    {"train", "steps", OPTION_INTEGER, AT(steps), "0", 0, 1e12, SCALE_LOG, NULL, "steps", "budget; 0: see tokens"},
    {"train", "tokens", OPTION_INTEGER, AT(tokens), "0", 0, 1e18, SCALE_LOG, NULL, "tokens", "budget; 0: see minutes"},
    {"train", "minutes", OPTION_NUMBER, AT(minutes), "2", 0, 1e7, SCALE_LOG, NULL, "minutes",
     "budget by the clock; such a run does not replay bit for bit, the others do"},
    {"train", "batch_tokens", OPTION_INTEGER, AT(batch_tokens), "4096", 1, 1e9, SCALE_LOG, NULL, "tokens", "per optimiser step"},
    {"train", "micro_batch_tokens", OPTION_INTEGER, AT(micro_batch_tokens), "0", 0, 1e9, SCALE_LOG, NULL, "tokens",
     "run at once; gradients of a step's micro-batches are summed; 0: batch_tokens"},
    {"train", "checkpoint_every", OPTION_INTEGER, AT(checkpoint_every), "500", 0, 1e12, SCALE_LOG, NULL, "steps", "0: only at the end"},
    {"train", "keep_checkpoints", OPTION_INTEGER, AT(keep_checkpoints), "2", 1, 1e6, SCALE_LINEAR, NULL, "", "older ones are removed"},
    {"train", "eval_every", OPTION_INTEGER, AT(eval_every), "250", 0, 1e12, SCALE_LOG, NULL, "steps", "validation and a sample; 0: only at the end"},
    {"train", "eval_tokens", OPTION_INTEGER, AT(eval_tokens), "16384", 1, 1e12, SCALE_LOG, NULL, "tokens", "of each domain's validation text"},
    {"train", "telemetry_every", OPTION_INTEGER, AT(telemetry_every), "10", 0, 1e12, SCALE_LOG, NULL, "steps",
     "what routers did, into routing.jsonl; ten times rarer where a line would speak of more than 2048 experts; 0: never"},
    {"train", "probe_every", OPTION_INTEGER, AT(probe_every), "100", 0, 1e12, SCALE_LOG, NULL, "steps",
     "whether choices and experts still change, on a few fixed validation tokens; 0: never"},
    {"train", "guard", OPTION_CHOICE, AT(guard), "warn", 0, 0, SCALE_LINEAR, "warn|treat|stop", "",
     "when the doctor finds something: say so; treat it where a treatment is known (src/train/guard.h), and pass over steps whose loss jumps; or "
     "save and stop with exit code 5"},
    {"train", "tensorboard", OPTION_BOOL, AT(tensorboard), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "also write these numbers to RUN/tensorboard, as `tensorboard --logdir` reads them; may change from start to start"},
    {"train", "seed", OPTION_INTEGER, AT(seed), "1", 0, 9e15, SCALE_LINEAR, NULL, "", "of initial weights and the order of data"},
    {"train", "initial", OPTION_TEXT, AT(initial), "", 0, 0, SCALE_LINEAR, NULL, "",
     "model folder or run whose weights a new run begins with: of the same sizes, router and tokenizer; empty: random weights"},
    {"train", "precision", OPTION_CHOICE, AT(precision), "auto", 0, 0, SCALE_LINEAR, "auto|f32|bf16", "",
     "of products, except the router's: bf16 factors with f32 sums; auto: bf16 where the machine has instructions for it that are faster; weights stay f32"},
    {"train", "router_precision", OPTION_CHOICE, AT(router_precision), "f32", 0, 0, SCALE_LINEAR, "f32|bf16", "",
     "of the router's products; bf16 chooses other experts now and then, and is there to show it (docs/balance.md)"},
    {"train", "pack_weights", OPTION_CHOICE, AT(pack_weights), "auto", 0, 0, SCALE_LINEAR, "auto|true|false", "",
     "keep matrices a second time in the layout of products, for 8 (f32) or 4 (bf16) bytes a parameter; auto: where that is faster, "
     "which it is not for experts that few tokens of a step go to; same results"},
    {"train", "recompute_experts", OPTION_BOOL, AT(model.moe.recompute), "false", 0, 0, SCALE_LINEAR, NULL, "",
     "make the experts' inner values again in backward instead of keeping them: a sixth more work in experts, same results"},
    {"train", "dropout", OPTION_NUMBER, AT(model.dropout), "0", 0, 0.9, SCALE_LINEAR, NULL, "",
     "share of the numbers that are dropped, of the embedding and of what each layer adds (2017: 0.1, more in larger models)"},
    {"train", "softmax_samples", OPTION_INTEGER, AT(model.softmax_samples), "0", 0, 1048576, SCALE_LOG, NULL, "words",
     "drawn at random in each micro-batch, over which its softmax is taken instead of the whole vocabulary, for one of many words whose ids follow "
     "frequency; its loss is then an estimate, that of validation is not. 0: all words"},
    {"train", "threads", OPTION_INTEGER, AT(threads), "0", 0, 4096, SCALE_LINEAR, NULL, "", "0: one per core; results do not depend on it"},
};

const option_table recipe_options = {rows, sizeof rows / sizeof *rows};

static int check_multiple(const char *key, int64_t value, const char *of, int64_t unit, const char *where) {
    if (unit > 0 && value % unit) FAIL(LAMP_INVALID, "%s: %s %lld is not a multiple of %s %lld", where, key, (long long)value, of, (long long)unit);
    return LAMP_OK;
}

int recipe_resolve(recipe *r, const char *where) {
    model_config *m = &r->model;
    problem_list p = {0};
    if (m->num_key_value_heads == 0) m->num_key_value_heads = m->num_attention_heads;
    if (m->moe.experts == 1) m->moe.top_k = 1;
    if (r->micro_batch_tokens == 0) r->micro_batch_tokens = r->batch_tokens;
    problems_add(&p, check_multiple(r->micro_batch_tokens == r->batch_tokens ? "train.batch_tokens" : "train.micro_batch_tokens", r->micro_batch_tokens,
                                    "model.max_position_embeddings", m->max_position_embeddings, where));
    problems_add(&p, check_multiple("train.batch_tokens", r->batch_tokens, "train.micro_batch_tokens", r->micro_batch_tokens, where));
    problems_add(&p, check_multiple("model.num_attention_heads", m->num_attention_heads, "model.num_key_value_heads", m->num_key_value_heads, where));
    if (m->moe.top_k > m->moe.experts)
        problems_add(&p, error_set(LAMP_INVALID, "%s: router.top_k %lld is more than router.experts %lld", where, (long long)m->moe.top_k,
                                   (long long)m->moe.experts));
    if (m->vocab_size > 0 && m->softmax_samples >= m->vocab_size)
        problems_add(&p, error_set(LAMP_INVALID, "%s: train.softmax_samples is %lld, but there are only %lld words; 0 takes them all", where,
                                   (long long)m->softmax_samples, (long long)m->vocab_size));
    if (r->steps == 0 && r->tokens == 0 && r->minutes == 0)
        problems_add(&p, error_set(LAMP_INVALID, "%s: no budget: set train.steps, train.tokens or train.minutes", where));
    if (!strcmp(r->schedule.shape, "rsqrt") && r->schedule.warmup == 0)
        problems_add(&p, error_set(LAMP_INVALID, "%s: optim.schedule rsqrt falls from the warm-up on: optim.warmup must be above 0", where));
    TRY(problems_end(&p));
    return family_complete(m, where);
}

packing recipe_packing(const recipe *r) {
    const double experts = r->model.moe.experts > 1 ? (double)r->model.moe.experts / (double)r->model.moe.top_k : 1;
    packing p = {PACK_WORTHY, (double)r->batch_tokens / experts};
    if (!strcmp(r->pack_weights, "true")) p.which = PACK_ALL;
    if (!strcmp(r->pack_weights, "false")) p.which = PACK_NONE;
    return p;
}

void recipe_take_model(recipe *r, const model_config *c) {
    const model_config had = r->model;
    moe_config *m = &r->model.moe;
    r->model = *c;
    r->model.max_position_embeddings = had.max_position_embeddings, r->model.initializer_range = had.initializer_range;
    r->model.end_of_text = had.end_of_text, r->model.dropout = had.dropout, r->model.softmax_samples = had.softmax_samples;
    memcpy(m->balance, had.moe.balance, sizeof m->balance);
    m->recompute = had.moe.recompute, m->bias_rate = had.moe.bias_rate, m->jitter = had.moe.jitter, m->drop_by_score = had.moe.drop_by_score;
    m->capacity = had.moe.capacity, m->eval_capacity = had.moe.eval_capacity;
    if (c->dense_layers == 0 && c->sparse_step <= 1) r->model.dense_size = had.dense_size;
    if (m->groups == 0) m->top_groups = had.moe.top_groups;
    if (m->router && had.moe.router && m->router->serves_as_softmax && had.moe.router->serves_as_softmax)
        strcpy(m->kind, had.moe.kind), m->router = had.moe.router;
}
