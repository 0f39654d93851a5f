#!/usr/bin/env python3
"""Makes tests/golden/gguf: tiny random models as GGUF files that the package gguf wrote, with what transformers computes for them in float32.

    python3 -m venv build/venv && build/venv/bin/pip install torch transformers safetensors gguf
    build/venv/bin/python tools/golden_gguf.py [NAME...]        of MODELS below; all by default

Per model: model.gguf, and ids.txt, greedy.txt, logits.safetensors as tools/golden_models.py has them. The files are kept in the repository:
neither building nor testing needs this script. Names of tensors are those of the package's own tables. Matrices are in turn F16, BF16 and F32,
and values are rounded to what the file stores before transformers sees them."""
import itertools
import math
import pathlib
import re
import shutil
import sys

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file

from golden_models import T, V, evaluate, is_robust, randomise

SIZES = dict(vocab_size=V, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
             initializer_range=0.25, bos_token_id=None, pad_token_id=None, eos_token_id=V - 1, use_cache=False)
DEEPSEEK = dict(n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=2, intermediate_size=40, moe_intermediate_size=12, first_k_dense_replace=1,
                kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16, routed_scaling_factor=1.5)
EXPERTS = dict(num_experts=5, num_experts_per_tok=2)

MODELS = {
    "llama": ("llama", transformers.LlamaConfig, dict(intermediate_size=40, rope_theta=5e5)),
    "llama_tied": ("llama", transformers.LlamaConfig, dict(intermediate_size=32, num_key_value_heads=4, attention_bias=True, tie_word_embeddings=True)),
    "mixtral": ("llama", transformers.MixtralConfig, dict(num_local_experts=5, num_experts_per_tok=2, intermediate_size=12)),
    "olmoe": ("olmoe", transformers.OlmoeConfig, dict(**EXPERTS, intermediate_size=12)),
    "qwen2": ("qwen2", transformers.Qwen2Config, dict(intermediate_size=40, tie_word_embeddings=True)),
    "qwen2moe": ("qwen2moe", transformers.Qwen2MoeConfig, dict(**EXPERTS, moe_intermediate_size=12, intermediate_size=40,
                                                              shared_expert_intermediate_size=24)),
    "qwen3": ("qwen3", transformers.Qwen3Config, dict(intermediate_size=40, head_dim=16, tie_word_embeddings=True)),
    "llama3": ("llama", transformers.LlamaConfig, dict(intermediate_size=40, head_dim=16, rope_parameters=dict(
        rope_type="llama3", rope_theta=1e4, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64))),
    "qwen2_yarn": ("qwen2", transformers.Qwen2Config, dict(intermediate_size=40, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=4.0, beta_fast=8.0, beta_slow=2.0, attention_factor=0.9, original_max_position_embeddings=32))),
    "gpt_oss": ("gpt-oss", transformers.GptOssConfig, dict(num_local_experts=5, num_experts_per_tok=2, intermediate_size=32, head_dim=8, sliding_window=9,
                                                          rope_parameters=dict(rope_type="yarn", rope_theta=150000.0, factor=4.0, truncate=False,
                                                                               original_max_position_embeddings=32))),
    "llama4": ("llama4", transformers.Llama4TextConfig, dict(num_hidden_layers=4, num_local_experts=5, num_experts_per_tok=1, intermediate_size=12,
                                                            intermediate_size_mlp=40, head_dim=8, interleave_moe_layer_step=2, attention_chunk_size=8192,
                                                            rope_parameters=dict(rope_type="default", rope_theta=1e4))),
    "deepseek_v2": ("deepseek2", transformers.DeepseekV2Config, dict(**DEEPSEEK, num_key_value_heads=4, q_lora_rank=None, topk_method="greedy",
                                                                    rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=4.0, mscale=0.707, mscale_all_dim=0.707, original_max_position_embeddings=32))),
    "deepseek_v3": ("deepseek2", transformers.DeepseekV3Config, dict(**DEEPSEEK, num_key_value_heads=4, q_lora_rank=20, n_group=2, topk_group=1,
                                                                    rope_parameters=dict(rope_type="default", rope_theta=1e4))),
    "qwen3moe": ("qwen3moe", transformers.Qwen3MoeConfig, dict(**EXPERTS, moe_intermediate_size=12, head_dim=16, norm_topk_prob=True)),
}


def permute(rows, heads):
    """Neighbours are turned together: rows i and i + half of a head become 2i and 2i + 1."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def tensors_of(arch, model):
    """The name of a parameter, the name under which the package's table knows its tensor, and the tensor's values."""
    c = model.config
    for name, value in model.state_dict().items():
        value = value.numpy()
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        if "experts.gate_up_proj" in name and arch == "gpt-oss":
            gate, up = value[..., 0::2], value[..., 1::2]
            suffix = ".bias" if name.endswith("bias") else ".weight"
            yield name, re.sub("gate_up_proj.*", "gate_proj" + suffix, name), gate if suffix == ".bias" else gate.swapaxes(1, 2)
            yield name, re.sub("gate_up_proj.*", "up_proj" + suffix, name), up if suffix == ".bias" else up.swapaxes(1, 2)
        elif "experts.down_proj" in name and arch == "gpt-oss":
            yield name, re.sub("_bias$", ".bias", name) if name.endswith("bias") else name + ".weight", value if name.endswith("bias") else value.swapaxes(1, 2)
        elif name.endswith("kv_b_proj.weight"):
            key, value = np.split(value.reshape(c.num_attention_heads, -1, c.kv_lora_rank), [c.qk_nope_head_dim], axis=1)
            yield name, name.replace("kv_b_proj", "k_b_proj"), key.swapaxes(1, 2)
            yield name, name.replace("kv_b_proj", "v_b_proj"), value
        elif name.endswith("e_score_correction_bias"):
            yield name, name.replace("_bias", ".bias"), value
        elif name.endswith("sinks"):
            yield name, name + ".weight", value
        elif name.endswith("experts.gate_up_proj") and arch == "llama4":
            gate, up = np.split(value.swapaxes(1, 2), 2, axis=1)
            yield name, name.replace("gate_up_proj", "gate_proj.weight"), gate
            yield name, name.replace("gate_up_proj", "up_proj.weight"), up
        elif name.endswith("experts.down_proj") and arch == "llama4":
            yield name, name + ".weight", value.swapaxes(1, 2)
        elif name.endswith("experts.gate_up_proj"):
            gate, up = np.split(value, 2, axis=1)
            yield name, name.replace("gate_up_proj", "gate_proj.weight"), gate
            yield name, name.replace("gate_up_proj", "up_proj.weight"), up
        elif name.endswith("experts.down_proj"):
            yield name, name + ".weight", value
        elif arch == "llama" and re.search(r"q_proj\.\w+$", name):
            yield name, name, permute(value, c.num_attention_heads)
        elif arch == "llama" and re.search(r"k_proj\.\w+$", name):
            yield name, name, permute(value, c.num_key_value_heads)
        elif name.endswith("shared_expert_gate.weight"):
            yield name, name, value[0]
        else:
            yield name, name, value


def round_values(model, arch):
    """Every parameter to the type it will be stored in, which is told by its name. Of GPT-OSS, experts are in four bits, as they always are."""
    types, turn = {}, itertools.cycle([Type.F16, Type.BF16, Type.F32])
    for name, value in model.named_parameters():
        small = value.dim() == 1 or name.endswith("bias") or re.search(r"(mlp\.gate|router)\.weight|shared_expert_gate", name)
        types[name] = Type.F32 if small else Type.MXFP4 if arch == "gpt-oss" and "experts" in name else next(turn)
        turned = arch in ("gpt-oss", "llama4") and value.dim() == 3
        rows = np.ascontiguousarray((value.detach().swapaxes(1, 2) if turned else value.detach()).numpy())
        rounded = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(rows, types[name]), types[name]).reshape(rows.shape).copy())
        value.data = rounded.swapaxes(1, 2).contiguous() if turned else rounded
    return types


def add_latent(w, c):
    """One head of keys, which is what a cache holds."""
    w.add_key_length(c.kv_lora_rank + c.qk_rope_head_dim)
    w.add_value_length(c.kv_lora_rank)
    w.add_key_length_mla(c.qk_nope_head_dim + c.qk_rope_head_dim)
    w.add_value_length_mla(c.v_head_dim)
    w.add_rope_dimension_count(c.qk_rope_head_dim)
    w.add_kv_lora_rank(c.kv_lora_rank)
    if c.q_lora_rank:
        w.add_q_lora_rank(c.q_lora_rank)
    w.add_leading_dense_block_count(c.first_k_dense_replace)
    w.add_expert_shared_count(c.n_shared_experts)
    w.add_expert_weights_scale(c.routed_scaling_factor)
    if c.model_type == "deepseek_v3":
        w.add_expert_group_count(c.n_group)
        w.add_expert_group_used_count(c.topk_group)
        w.add_expert_weights_norm(c.norm_topk_prob)
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)


def add_rope(w, c):
    """As llama.cpp's converter says it; returns what frequencies are divided by, which it keeps as a tensor."""
    rope = c.rope_parameters
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "beta_fast" in rope:
            w.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
            w.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        if "mscale_all_dim" in rope:
            w.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
        if "attention_factor" in rope:
            w.add_rope_scaling_attn_factors(rope["attention_factor"] / (0.1 * math.log(rope["factor"]) + 1))
    if rope["rope_type"] != "llama3":
        return None
    divisors = []
    for i in range(0, c.head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / c.head_dim)
        longest, shortest = (rope["original_max_position_embeddings"] / rope[f"{which}_freq_factor"] for which in ("low", "high"))
        smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        divisors.append(1 if wave < shortest else rope["factor"] if wave > longest else 1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


def write_model(path, arch, model, types):
    c = model.config
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(getattr(c, "intermediate_size_mlp", c.intermediate_size))
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(1 if arch == "deepseek2" else c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_vocab_size(c.vocab_size)
    if arch == "deepseek2":
        add_latent(w, c)
    elif getattr(c, "head_dim", None):
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
    if hasattr(c, "num_experts_per_tok"):
        w.add_expert_count(getattr(c, "num_experts", None) or getattr(c, "n_routed_experts", None) or c.num_local_experts)
        w.add_expert_used_count(c.num_experts_per_tok)
    if hasattr(c, "moe_intermediate_size"):
        w.add_expert_feed_forward_length(c.moe_intermediate_size)
    if hasattr(c, "shared_expert_intermediate_size"):
        w.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
    if arch == "gpt-oss":
        w.add_sliding_window(c.sliding_window)
        w.add_expert_feed_forward_length(c.intermediate_size)
    if arch == "llama4":
        w.add_interleave_moe_layer_step(c.interleave_moe_layer_step)
        w.add_expert_feed_forward_length(c.intermediate_size)
    divisors = add_rope(w, c)
    w.add_eos_token_id(c.eos_token_id)
    w.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == arch), c.num_hidden_layers)
    if divisors is not None:
        w.add_tensor(names.get_name("rope_freqs") + ".weight", divisors)
    for parameter, name, value in tensors_of(arch, model):
        stored_type = types.get(parameter, Type.F32)  # of what is no parameter
        stored = gguf.quants.quantize(np.ascontiguousarray(value), stored_type)
        w.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), stored, raw_dtype=stored_type)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make(name, folder):
    arch, config, options = MODELS[name]
    for seed in range(1000):
        torch.manual_seed(seed)
        c = config(**{**SIZES, **options})
        model = transformers.AutoModelForCausalLM.from_config(c, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
        randomise(model)
        types = round_values(model, arch)
        ids = torch.randint(0, V, (1, T))
        logits, greedy, experts = evaluate(model, ids)
        if is_robust(model, ids, greedy, experts):
            break
    else:
        raise SystemExit(f"{name}: no seed without near-ties")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_model(folder / "model.gguf", arch, model, types)
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in ids[0].tolist()))
    (folder / "greedy.txt").write_text("".join(f"{i}\n" for i in greedy.tolist()))
    save_file({"logits": logits.contiguous()} | ({} if experts is None else {"experts": experts.contiguous()}), folder / "logits.safetensors")
    for file in folder.iterdir():
        file.chmod(0o644)
    print(f"{name}: seed {seed}, {sum(p.numel() for p in model.parameters())} parameters, logits of deviation {logits.std():.2f}")


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for model in sys.argv[1:] or MODELS:
        make(model, pathlib.Path("tests/golden/gguf") / model)
