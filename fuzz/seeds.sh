#!/usr/bin/env bash
# Makes fuzz/corpus: for each harness a few small sound files, from which libFuzzer finds the unsound. It asks build/lamp for the keys of
# a recipe, and gzip, zstd and xxh128sum for what they make.
set -eu
cd "$(dirname "$0")/.."
corpus=fuzz/corpus
rm -rf $corpus
mkdir -p $corpus/{safetensors,header,gguf,index,tokenizer_json,config,recipe,tokenizer,manifest,dataset,shard,trainer,corpus,packed,logs}

# The length of a header as the format has it, and then the header; its data is to follow.
header() { printf "$(printf '\\x%02x\\x%02x' $((${#1} % 256)) $((${#1} / 256)))\\0\\0\\0\\0\\0\\0%s" "$1"; }
{ header '{}'; } >$corpus/safetensors/none
{ header '{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}'; printf 01234567890; } >$corpus/safetensors/two
{ header '{"__metadata__":{"format":"pt"},"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"f":{"dtype":"F4","shape":[2],"data_offsets":[2,3]}}  '; printf 012; } >$corpus/safetensors/halves

number=0
for model in gpt_oss_mxfp4 deepseek_v3_fp8 gpt_oss_full llama4_full; do
    file=tests/golden/models/$model/model.safetensors
    { printf "\\x$((number++))"; tail -c +9 $file | head -c $(od -An -t u4 -N 4 $file); } >$corpus/header/$model
done

u32() { printf "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"; }
u64() { u32 $(($1 & 0xffffffff)); u32 $(($1 >> 32)); }
text() { u64 ${#1}; printf %s "$1"; }
pad() { head -c $((32 - $1 % 32)) /dev/zero; }
{ printf GGUF; u32 3; u64 0; u64 0; } >$corpus/gguf/none
{
    printf GGUF; u32 3; u64 2; u64 5
    text general.alignment; u32 4; u32 32
    text b; u32 7; printf '\1'
    text f; u32 6; u32 0x3fc00000
    text words; u32 9; u32 8; u64 2; text one; text ""
    text ids; u32 9; u32 5; u64 2; u32 1; u32 2
    text t; u32 2; u64 4; u64 2; u32 0; u64 0
    text q; u32 1; u64 32; u32 2; u64 32
} >$corpus/gguf/two
pad $(stat -c %s $corpus/gguf/two) >>$corpus/gguf/two
printf '%050d' 0 >>$corpus/gguf/two
cp tests/golden/tokenizer/{deepseek_v2,llama3,sentencepiece}.gguf $corpus/gguf/
for model in deepseek_v3 gpt_oss; do cp tests/golden/gguf/$model/model.gguf $corpus/gguf/$model; done

echo '{"metadata": {"total_size": 111}, "weight_map": {"model.norm.weight": "a", "lm_head.weight": "b", "spare": "b"}}' >$corpus/index/sound
echo '{"weight_map": {"model.norm.weight": "../a", "lm_head.weight": "model.safetensors.index.json"}}' >$corpus/index/climbs

for model in tests/golden/models/*; do cp $model/config.json $corpus/config/${model##*/}; done
cat >$corpus/config/own <<END
{"model_type": "lamplighter", "backbone": "olmoe", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
 "max_position_embeddings": 128, "intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": true, "mixture": {
 "kind": "sigmoid", "scale": 2.5, "weigh_input": false, "groups": 2, "top_groups": 1, "jitter": 0, "capacity": 0, "eval_capacity": 0,
 "drop_by_score": false, "shared_experts": 1, "shared_size": 8, "shared_gate": false, "dense_layers": 1, "sparse_step": 1, "dense_size": 16,
 "importance_loss": 0, "load_loss": 0, "sequence_loss": 0.0001, "z_loss": 0, "threshold_loss": 0, "bias_rate": 0.001}}
END

cp tests/golden/tokenizer/{gpt2,llama3,added,behaviors,forms,gemma,metaspace,mixtral,sentencepiece,words_split}.json $corpus/tokenizer_json/

cp recipes/*.ini $corpus/recipe/
printf '# all types\n[model]\ntie_word_embeddings = true\n[data]\npath = a b\nmixture.code = 2.5\n[optim]\nlearning_rate = 1e-3\n' >$corpus/recipe/types

{
    build/lamp train --help | awk '/^\[/ { print } /^  [a-z]/ && $1 != "mixture" { print $1, "=", match($0, /default [^ ,]+/) ? substr($0, RSTART + 8, RLENGTH - 8) : "" }'
    printf '[data]\nmixture.lamp = 2.5\n'
} >$corpus/recipe/every-key

printf 'the lamp, 12 caf\xc3\xa9s\n\n  aaaa' >$corpus/tokenizer/text
printf '\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\x00 \xe2\x82' >$corpus/tokenizer/no-text
printf ' <mask>\xe2\x96\x81the  [NORM]e\xcc\x81\xcc\xa3 1234\xe4\xb8\x80\xe2\x80\x8d\xf0\x91\xbd\x90 <0x41><s>' >$corpus/tokenizer/marks
printf '\x00\x00\x00\x00\x2b\x01\x00\x00\x2c\x01\x00\x00\xff\xff\xff\xff' >$corpus/tokenizer/ids

hash() { xxh128sum | cut -d ' ' -f 1; }
cat >$corpus/manifest/sound <<END
{"format": "lamplighter checkpoint", "version": 1, "step": 3, "files": [
  {"name": "config.json", "bytes": 4, "hash": "$(printf lamp | hash)"},
  {"name": "model.safetensors", "bytes": 5, "hash": "$(printf light | hash)"}]}
END
cat >$corpus/dataset/sound <<END
{"version": 1, "vocabulary_size": 400, "token_bytes": 2, "tokenizer_hash": "$(hash <tests/golden/tokenizer/gpt2.json)", "domains": [
  {"name": "lamp", "documents": 2, "bytes": 99, "duplicates": 0, "binary_files": 0, "empty_documents": 0, "bad_lines": 0,
   "train": {"tokens": 40, "file_bytes": 112, "hash": ""}, "validation": {"tokens": 10, "file_bytes": 52, "hash": ""}}]}
END
cat >$corpus/trainer/sound <<END
{"version": 1, "step": 3, "tokens": 6, "seconds": 0.5, "optimizer_steps": 3, "expert_steps": [3, 2, 3, 2, 3, 2], "bad_steps": 0,
 "dataset": "what seeds know", "sequence": 3, "cursor": {"lamp": 3}, "losses": [6.0, 5.5, 5.25]}
END

printf 'LAMPTOKS\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\xff\0\x2b\x01' >$corpus/shard/narrow
printf 'LAMPTOKS\x01\0\0\0\x04\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x6f\x11\x01\0' >$corpus/shard/wide

printf '{"text": "The lamp."}\r\n\n{"id": 7, "text": ""}\n{"text": 1}\n{"line": "x"}\n[]\n{"text": "caf\\u00e9 \xc3\xa9"}' >$corpus/corpus/lines
printf '\xef\xbb\xbf{"text": "\xff"}\n{"text": "\\u0000"}\n{"text": 1e999}' >$corpus/corpus/no-text

members() { seq 300 | "$@" && printf light | "$@"; }
members gzip -n >$corpus/packed/gzip
members zstd >$corpus/packed/zstd
members zstd --check --no-content-size >$corpus/packed/zstd-checked

lamp=$PWD/build/lamp
lamp() { "$lamp" "$@"; }
source tests/world.sh
logs=$PWD/$corpus/logs/sound model=$PWD/$corpus/gguf/model
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
make_world
lamp train tiny.ini --run logs --quiet --set model.num_hidden_layers=1 --set router.experts=2 --set train.steps=2 --set train.probe_every=1
{ cat logs/metrics.jsonl && echo && cat logs/routing.jsonl; } >"$logs"
lamp train tiny.ini --run small --quiet --set model.hidden_size=8 --set model.intermediate_size=4 --set model.num_attention_heads=2 \
    --set model.num_hidden_layers=1 --set router.experts=2 --set train.steps=1
lamp convert small model.gguf --type f16 --quiet >/dev/null
cp model.gguf "$model"
