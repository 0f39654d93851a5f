#!/usr/bin/env bash
# golden_trained.sh [FAMILY...]: proves that transformers loads what we train. For every family a tiny model is trained on this repository's own text,
# transformers (tools/golden_check.py, in build/venv) computes its logits, and both go to tests/golden/trained/FAMILY, where
# tests/golden/models_golden_test.c compares them with ours.
set -eu
cd "$(dirname "$0")/.."
lamp=build/lamp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/code" "$work/prose"
cp src/base/*.c src/moe/*.c "$work/code"
cp README.md ARCHITECTURE.md "$work/prose"
"$lamp" data build "$work/data" --domain code="$work/code" --domain prose="$work/prose" --vocab 320 --quiet
cat > "$work/tiny.ini" <<INI
[model]
hidden_size = 32
intermediate_size = 16
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 32
[router]
experts = 4
[optim]
learning_rate = 0.01
[train]
steps = 40
batch_tokens = 512
INI

latent="model.kv_lora_rank=12 model.qk_nope_head_dim=6 model.qk_rope_head_dim=4 model.v_head_dim=5 model.num_key_value_heads=4"
declare -A settings=(
    [olmoe]=
    [mixtral]=router.normalize=true
    [qwen2_moe]="model.n_shared_experts=1 model.shared_expert_gate=true model.shared_expert_intermediate_size=20 model.tie_word_embeddings=true"
    [qwen3_moe]=router.normalize=true
    [gpt_oss]="router.normalize=true model.sliding_window=6 model.tie_word_embeddings=true rope.type=yarn rope.factor=4 rope.truncate=false
        rope.original_max_position_embeddings=16"
    [llama4_text]="router.kind=sigmoid router.top_k=1 router.weigh_input=true model.n_shared_experts=1 model.decoder_sparse_step=2
        model.sliding_window=5 model.no_rope_layer_interval=2 model.full_attention_step=2 model.floor_scale=4 model.tie_word_embeddings=true"
    [deepseek_v2]="$latent router.groups=2 router.top_groups=1 router.scale=2 model.n_shared_experts=2 model.first_k_dense_replace=1
        rope.type=yarn rope.factor=4 rope.original_max_position_embeddings=16 rope.mscale=0.7 rope.mscale_all_dim=0.7"
    [deepseek_v3]="$latent model.q_lora_rank=10 router.kind=sigmoid router.normalize=true router.scale=2.5 balance.bias_rate=0.01
        model.n_shared_experts=1 model.tie_word_embeddings=true"
    [llama]=router.experts=1
    [qwen2]="router.experts=1 model.tie_word_embeddings=true model.sliding_window=9 model.window_from=1"
    [qwen3]=router.experts=1
)
[ $# -gt 0 ] || set -- "${!settings[@]}"
for family; do
    set_all=()
    for setting in ${settings[$family]}; do set_all+=(--set "$setting"); done
    "$lamp" train "$work/tiny.ini" --set "model.family=$family" --set "data.path=$work/data" "${set_all[@]}" --run "$work/$family" --quiet
    out=tests/golden/trained/$family
    rm -rf "$out"
    mkdir -p "$out"
    cp "$work/$family"/checkpoints/latest/{config.json,generation_config.json,model.safetensors} "$out"
    head -c 400 "$work/code/error.c" | "$lamp" tokenize "$work/data" | head -n 24 > "$out/ids.txt"
    build/venv/bin/python tools/golden_check.py "$out" "$out/ids.txt" "$out/logits.safetensors"
done
