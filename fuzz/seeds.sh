#!/usr/bin/env bash
# Makes fuzz/corpus: for each harness a few small sound files, from which libFuzzer finds the unsound.
set -eu
cd "$(dirname "$0")/.."
corpus=fuzz/corpus
rm -rf $corpus
mkdir -p $corpus/{safetensors,index,tokenizer_json,config,recipe,tokenizer}

# The length of a header as the format has it, and then the header; its data is to follow.
header() { printf "$(printf '\\x%02x\\x%02x' $((${#1} % 256)) $((${#1} / 256)))\\0\\0\\0\\0\\0\\0%s" "$1"; }
{ header '{}'; } >$corpus/safetensors/none
{ header '{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}'; printf 01234567890; } >$corpus/safetensors/two
{ header '{"__metadata__":{"format":"pt"},"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"f":{"dtype":"F4","shape":[2],"data_offsets":[2,3]}}  '; printf 012; } >$corpus/safetensors/halves

echo '{"metadata": {"total_size": 111}, "weight_map": {"model.norm.weight": "a", "lm_head.weight": "b", "spare": "b"}}' >$corpus/index/sound
echo '{"weight_map": {"model.norm.weight": "../a", "lm_head.weight": "model.safetensors.index.json"}}' >$corpus/index/climbs

for family in llama mixtral olmoe qwen3 qwen3_moe; do cp tests/golden/models/$family/config.json $corpus/config/$family; done
cat >$corpus/config/own <<END
{"model_type": "lamplighter", "backbone": "olmoe", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
 "max_position_embeddings": 128, "intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": true, "mixture": {
 "kind": "sigmoid", "scale": 2.5, "weigh_input": false, "groups": 2, "top_groups": 1, "jitter": 0, "capacity": 0, "eval_capacity": 0,
 "drop_by_score": false, "shared_experts": 1, "shared_size": 8, "shared_gate": false, "dense_layers": 1, "sparse_step": 1, "dense_size": 16,
 "importance_loss": 0, "load_loss": 0, "sequence_loss": 0.0001, "z_loss": 0, "threshold_loss": 0, "bias_rate": 0.001}}
END

cp tests/golden/tokenizer/{gpt2,llama3}.json $corpus/tokenizer_json/

cp recipes/*.ini $corpus/recipe/
printf '# all types\n[model]\ntie_word_embeddings = true\n[data]\npath = a b\nmixture.code = 2.5\n[optim]\nlearning_rate = 1e-3\n' >$corpus/recipe/types

printf 'the lamp, 12 caf\xc3\xa9s\n\n  aaaa' >$corpus/tokenizer/text
printf '\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\x00 \xe2\x82' >$corpus/tokenizer/no-text
printf '\x00\x00\x00\x00\x2b\x01\x00\x00\x2c\x01\x00\x00\xff\xff\xff\xff' >$corpus/tokenizer/ids
